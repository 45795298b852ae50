//! Finds what lies in the folder of all inboxes and needs an operator: objects that belong to no inbox, rejected records
//! that nobody has acknowledged, and inboxes that are no longer configured.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};

use turntable_core::{
    config::{Config, Dataset, OptoutTable},
    error::Result,
    layout::{Location, TablePaths, is_hidden},
    optout::{published, view},
};

use crate::{
    environment::Environment,
    publish::{self, views::compare_protected},
};

/// Returns one message for each problem, in no particular order. Lists the whole folder.
pub async fn attention(env: &Environment, config: &Config) -> Result<Vec<String>> {
    let Some(folder) = &env.inboxes else { return Ok(Vec::new()) };
    let inboxes: Vec<OptoutTable> = config.datasets().filter_map(Dataset::optouts).collect();
    let (mut strays, mut rejected, mut retired) =
        (BTreeMap::<String, u64>::new(), BTreeMap::<&str, u64>::new(), Vec::new());
    for entry in env.objects.list(folder, None).await? {
        let key = &entry.key.key;
        let within =
            |inbox: &&OptoutTable| inbox.inbox.bucket == entry.key.bucket && key.starts_with(&inbox.inbox.prefix);
        match inboxes.iter().find(within) {
            Some(inbox) => {
                if key[inbox.inbox.prefix.len()..].starts_with("_rejected/") {
                    *rejected.entry(&inbox.dataset).or_default() += 1;
                }
            }
            None if is_hidden(key) => retired.extend(published::parse_key(&entry.key)),
            None => {
                let parent = key.rsplit_once('/').map_or("", |(parent, _)| parent);
                *strays.entry(parent.to_owned()).or_default() += 1;
            }
        }
    }
    let bucket = &folder.bucket;
    let strays = strays.into_iter().map(|(parent, objects)| {
        format!(
            "s3://{bucket}/{parent}/: {objects} objects are in no inbox of datasets.toml, so nobody who opted out in them is \
             out: move them into an inbox, or configure this inbox again"
        )
    });
    let rejected = rejected.into_iter().map(|(dataset, drops)| {
        format!(
            "{dataset}: rejected records of {drops} drops are in _rejected/ of the inbox, so these people are not out: \
             have them corrected and sent again, then delete the objects in _rejected/"
        )
    });
    let retired: Vec<String> = stream::iter(retired)
        .map(|inbox| forgotten(env, inbox))
        .buffered(MAX_CONCURRENT_DATASETS)
        .try_filter_map(async |inbox| Ok(inbox))
        .try_collect()
        .await?;
    let views = stream::iter(config.datasets().map(|dataset| view_of(env, dataset)))
        .buffered(MAX_CONCURRENT_DATASETS)
        .try_filter_map(async |view| Ok(view))
        .try_collect::<Vec<String>>();
    Ok(strays.chain(rejected).chain(retired).chain(views.await?).collect())
}

/// Returns a message about an inbox that is no longer configured, unless its table was retired.
async fn forgotten(env: &Environment, inbox: Location) -> Result<Option<String>> {
    let published = publish::published::read(env, &inbox).await?;
    if let Some((paths, _)) = published.and_then(|published| TablePaths::of_generation(&published.location))
        && publish::retired::is_decided(env, &paths).await?
    {
        return Ok(None);
    }
    Ok(Some(format!(
        "{inbox} is an inbox that was published and is no longer in datasets.toml: opt-outs that are put into it have no \
         effect. Configure it again, or retire its table"
    )))
}

/// The largest number of datasets whose views are compared at the same time.
const MAX_CONCURRENT_DATASETS: usize = 16;

/// Returns a message if the view of a protected table can't be made, or if a view is left of a table that no inbox
/// protects any more. A view that only differs is restored within a minute.
async fn view_of(env: &Environment, dataset: &Dataset) -> Result<Option<String>> {
    if let Some(protected) = &dataset.protected {
        let compared = compare_protected(env, protected).await;
        return Ok(compared.err().map(|error| format!("{}: {}", dataset.name, error.report())));
    }
    let name = view::protected_name(&dataset.table);
    let left = env.catalog.table(&name).await?.and_then(|table| table.view);
    Ok(left.map(|_| {
        format!(
            "{}: no inbox protects the table any more, but the view {name} is still there: people who opt out from now on \
             stay in it. Restore protects in datasets.toml, or drop the view",
            dataset.name
        )
    }))
}
