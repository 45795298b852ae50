//! Finds everything in the folder of all inboxes that needs an operator: objects that belong to no inbox, rejected
//! records that nobody has acknowledged, and inboxes that are no longer configured.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::condition::{Condition, Topic};
use turntable_core::{
    config::{Config, Dataset, OptoutTable},
    error::Result,
    layout::{Entry, Location, TablePaths, is_hidden},
    optout::{published, view},
};

use turntable_sources::inbox::control;

use crate::{
    environment::Environment,
    publish::{self, view_check::held_back, views::compare_protected},
};

/// The count and the age of objects of one kind.
#[derive(Default)]
struct Objects {
    count: u64,
    /// When the oldest object was uploaded.
    oldest: Option<Timestamp>,
}

impl Objects {
    fn add(&mut self, entry: &Entry) {
        self.count += 1;
        self.oldest = Some(self.oldest.map_or(entry.modified, |oldest| oldest.min(entry.modified)));
    }
}

/// Returns the conditions of the inboxes and of the protected tables' views, in no particular order. Lists the whole
/// folder of all inboxes.
pub async fn conditions(env: &Environment, config: &Config) -> Result<Vec<Condition>> {
    let Some(folder) = &env.inboxes else { return Ok(Vec::new()) };
    let inboxes: Vec<OptoutTable> = config.known().filter_map(Dataset::optouts).collect();
    let (mut strays, mut rejected, mut retired) =
        (BTreeMap::<String, Objects>::new(), BTreeMap::<&str, Objects>::new(), Vec::new());
    for entry in env.objects.list(folder, None).await? {
        let key = &entry.key.key;
        let within =
            |inbox: &&OptoutTable| inbox.inbox.bucket == entry.key.bucket && key.starts_with(&inbox.inbox.prefix);
        match inboxes.iter().find(within) {
            Some(inbox) => {
                let name = key[inbox.inbox.prefix.len()..].strip_prefix("_rejected/");
                if name.is_some_and(control::is_reject) {
                    rejected.entry(&inbox.dataset).or_default().add(&entry);
                }
            }
            None if is_hidden(key) => retired.extend(published::parse_key(&entry.key)),
            None => {
                let parent = key.rsplit_once('/').map_or("", |(parent, _)| parent);
                strays.entry(parent.to_owned()).or_default().add(&entry);
            }
        }
    }
    let bucket = &folder.bucket;
    let strays = strays.into_iter().map(|(parent, Objects { count, oldest })| {
        let objects = if count == 1 { "1 object is" } else { &format!("{count} objects are") };
        let message = format!(
            "s3://{bucket}/{parent}/: {objects} not in any inbox in datasets.toml, so opt-outs in this folder have no \
             effect: move the objects into an inbox, or configure this inbox again"
        );
        Condition::new(Topic::StrayObjects, format!("{parent}/"), message).since(oldest)
    });
    let rejected = rejected.into_iter().map(|(dataset, Objects { count, oldest })| {
        let drops = if count == 1 { "1 drop" } else { &format!("{count} drops") };
        let message = format!(
            "{dataset}: rejected records from {drops} are in the inbox's _rejected/, so these opt-outs have no \
             effect: have the records corrected and sent again, then delete the objects in _rejected/"
        );
        Condition::new(Topic::RejectedRecords, dataset, message).since(oldest)
    });
    let retired: Vec<Condition> = stream::iter(retired)
        .map(|inbox| forgotten(env, inbox))
        .buffered(MAX_CONCURRENT_DATASETS)
        .try_filter_map(async |inbox| Ok(inbox))
        .try_collect()
        .await?;
    let views: Vec<_> = config.datasets().map(|dataset| view_of(env, dataset)).collect();
    let views = stream::iter(views)
        .buffered(MAX_CONCURRENT_DATASETS)
        .try_filter_map(async |view| Ok(view))
        .try_collect::<Vec<Condition>>();
    Ok(strays.chain(rejected).chain(retired).chain(views.await?).collect())
}

/// Returns the condition of an inbox that is no longer configured, unless its table was retired.
async fn forgotten(env: &Environment, inbox: Location) -> Result<Option<Condition>> {
    // If the record can't be read, no decision is assumed.
    let published = publish::published::read(env, &inbox).await.unwrap_or_default();
    if let Some((paths, _)) = published.and_then(|published| TablePaths::of_generation(&published.location))
        && publish::retired::is_decided(env, &paths).await?
    {
        return Ok(None);
    }
    let message = format!(
        "{inbox} is an inbox that was published but is no longer in datasets.toml, so new opt-outs in it have no \
         effect: configure it again, or retire its table"
    );
    Ok(Some(Condition::new(Topic::UnconfiguredInbox, &inbox.prefix, message)))
}

/// The maximum number of datasets whose views are compared at the same time.
const MAX_CONCURRENT_DATASETS: usize = 16;

/// Returns a condition if a protected table's view can't be created, or if a view exists on a table that no inbox
/// protects any more. A view that only differs needs no operator, because it is restored within a minute.
async fn view_of(env: &Environment, dataset: &Dataset) -> Result<Option<Condition>> {
    let name = view::protected_name(&dataset.table);
    if let Some(protected) = &dataset.protected {
        if let Some(message) = held_back(env, protected).await? {
            return Ok(Some(Condition::new(Topic::ViewFails, name, format!("{}: {message}", dataset.name))));
        }
        let compared = compare_protected(env, protected).await;
        return Ok(compared
            .err()
            .map(|error| Condition::new(Topic::ViewFails, name, format!("{}: {}", dataset.name, error.report()))));
    }
    let left = env.catalog.table(&name).await?.and_then(|table| table.view);
    Ok(left.map(|_| {
        let message = format!(
            "{}: no inbox protects the table any more, but the view {name} is still there: people who opt out from now on \
             stay in it. Restore protects in datasets.toml, or drop the view",
            dataset.name
        );
        Condition::new(Topic::UnmaintainedView, name, message)
    }))
}
