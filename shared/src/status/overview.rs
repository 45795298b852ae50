//! Loads a summary of all datasets with a few requests per dataset.

use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    condition::{Condition, Topic},
    inboxes, matches, refresh, retired,
    summary::{DatasetSummary, InboxSummary},
};
use crate::{
    buckets::{self, BucketFault, Subject},
    catalog,
    dead_letters::{self, DeadLetters},
    environment::Environment,
    optout::returning::{self, HeldDrops},
    publish::{self, Outcome, TableHead, detect_drift, drift_suspected, group},
};
use turntable_core::{
    config::{Config, Dataset, Source},
    decision::{self, Decision, FlipState, Live, Trigger},
    error::{Error, Result},
    group::Record,
    layout::{Generation, TablePaths, time_of},
    manifest::Manifest,
    optout::consumed,
    record::{ExportFailure, Verdict},
};
use turntable_sources::inbox;

/// The maximum number of datasets that are loaded concurrently.
///
/// Each takes about ten requests: for the table, its view, the live generation's manifest, the hold, the list of flip
/// records since the live generation, the last flip record, the lists of manifests and of live files, the table's
/// record, and the last failed export. A group's member takes two more, for the group's record. An inbox takes one
/// more, for the list of its drops, and so does a dataset with its own schedules, for their record.
const MAX_CONCURRENT_DATASETS: usize = 16;

/// The status of all datasets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Overview {
    /// Always `status`.
    pub outcome: Outcome,
    /// When the status was loaded.
    pub at: Timestamp,
    /// The messages from `conditions`, in the same order.
    pub attention: Vec<String>,
    /// The conditions that need an operator.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// The dead-letter queues that have messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dead_letters: Vec<DeadLetters>,
    /// All datasets, ordered by name.
    pub datasets: Vec<DatasetSummary>,
}

/// Returns the status of all datasets. If a dataset can't be loaded, its summary has the error, and the other datasets
/// are unaffected.
pub async fn overview(env: &Environment, config: &Config) -> Overview {
    let now = env.clock.now();
    let standings = config.datasets().map(|dataset| async move {
        standing(env, dataset, now).await.unwrap_or_else(|error| DatasetSummary {
            error: Some(format!("{}: {}", error.kind().as_str(), error.report())),
            ..DatasetSummary::of(dataset)
        })
    });
    let standings: Vec<_> = standings.collect();
    let datasets: Vec<DatasetSummary> = stream::iter(standings).buffered(MAX_CONCURRENT_DATASETS).collect().await;
    let mut conditions: Vec<Condition> = datasets.iter().flat_map(|one| one.conditions(now)).collect();
    conditions.extend(config.broken().map(|entry| {
        let message = format!(
            "{}: nothing is published, because its entry in datasets.toml has errors: {}",
            entry.name,
            entry.faults.join("; ")
        );
        Condition::new(Topic::BrokenEntry, &entry.name, message)
    }));
    let found = inboxes::conditions(env, config).await;
    conditions.extend(or_unreadable(found, "inboxes", "the inboxes can't be listed"));
    for dataset in config.datasets().filter(|dataset| dataset.is_inbox()) {
        let (subject, what) =
            (format!("matches:{}", dataset.name), format!("{}: the last count of matches is unreadable", dataset.name));
        conditions.extend(or_unreadable(matches::conditions(env, dataset).await, &subject, &what));
    }
    let tables = catalog::tables(env, config).await;
    conditions.extend(
        tables
            .failed
            .iter()
            .map(|(database, error)| unreadable(database, &format!("{database}: its tables can't be listed"), error)),
    );
    let over = catalog::over_folders(config, &tables.listed).into_iter();
    conditions.extend(over.map(|(table, message)| Condition::new(Topic::OverFolder, table, message)));
    let retired_tables = catalog::retired(env, config, &tables.listed).await.map(|found| {
        found.into_iter().map(|(table, message)| Condition::new(Topic::RetiredTable, table, message)).collect()
    });
    let what = "tables that no dataset publishes could not be listed";
    conditions.extend(or_unreadable(retired_tables, "retired-tables", what));
    let elsewhere = retired::in_other_databases(env, config).await;
    conditions.extend(or_unreadable(elsewhere, "other-databases", "tables in other databases could not be checked"));
    let buckets = buckets::read(env).await;
    let buckets = buckets.map(|found| found.into_iter().flat_map(|found| found.faults).map(bucket_condition).collect());
    let what = "sweep's findings about the buckets' settings are unreadable";
    conditions.extend(or_unreadable(buckets, "buckets", what));
    let dead_letters = dead_letters::look(env, config).await.unwrap_or_else(|error| {
        conditions.push(unreadable("dead-letters", "the dead-letter queues can't be read", &error));
        Vec::new()
    });
    let dead = dead_letters.iter();
    conditions.extend(
        dead.map(|queue| Condition::new(Topic::DeadLetters, &queue.function, queue.message()).since(queue.oldest)),
    );
    let attention = conditions.iter().map(|condition| condition.message.clone()).collect();
    Overview { outcome: Outcome::Status, at: now, attention, conditions, dead_letters, datasets }
}

/// Returns the conditions, or one condition that says that they can't be read.
fn or_unreadable(found: Result<Vec<Condition>>, subject: &str, what: &str) -> Vec<Condition> {
    found.unwrap_or_else(|error| vec![unreadable(subject, what, &error)])
}

fn unreadable(subject: &str, what: &str, error: &Error) -> Condition {
    Condition::new(Topic::Unreadable, subject, format!("{what}: {}", error.report()))
}

fn bucket_condition(fault: BucketFault) -> Condition {
    let topic = match fault.subject {
        Subject::Notifications => Topic::BucketNotifications,
        Subject::Versioning => Topic::BucketVersioning,
        Subject::Lifecycle => Topic::BucketLifecycle,
        Subject::MissingRule => Topic::BucketMissingRule,
        Subject::Unreadable => Topic::BucketUnreadable,
    };
    let message = format!("{}. Then invoke sweep with {{}}, which checks again", fault.message);
    Condition::new(topic, fault.bucket, message).since(Some(fault.since))
}

async fn standing(env: &Environment, dataset: &Dataset, now: Timestamp) -> Result<DatasetSummary> {
    let head = TableHead::now(env, dataset).await?;
    let listed = dataset.paths.manifests();
    let (hold, manifests, record) =
        futures::try_join!(head.hold(env, dataset), env.objects.list(&listed, None), group::record(env, dataset),)?;
    let hold = record.as_ref().and_then(Record::held).cloned().or(hold);
    let loaded = head.finish(env, dataset, hold).await?;
    let live = &loaded.state.live;
    let drift = match drift_suspected(dataset, live, &loaded.recorded()) {
        true => detect_drift(env, dataset).await?.map(|drift| drift.told(dataset)),
        false => None,
    };
    let complete: Vec<Generation> =
        manifests.iter().filter_map(|entry| TablePaths::parse_manifest(&entry.key)).map(|(_, found)| found).collect();
    let younger = complete.iter().filter(|found| live.generation().is_none_or(|live| found.ulid > live.ulid));
    let waits = younger.filter(|found| !loaded.state.was_live(found)).max_by_key(|found| found.ulid).copied();
    let newest = complete.iter().map(|found| time_of(found.ulid)).max();
    let (table, manifest) = (loaded.table.as_ref(), loaded.live_manifest.as_ref());
    let (stale, rejected, failed_export, standing, (refresh, outdated), inbox, differences) = futures::try_join!(
        is_stale(env, dataset, &loaded.state, waits),
        verdict(env, dataset, waits),
        failed_export(env, dataset, newest),
        publish::identity::standing(env, dataset, live),
        refresh::load(env, dataset, manifest, now),
        inbox_summary(env, dataset, manifest, now),
        publish::verify::verify(env, dataset, table, manifest),
    )?;
    let last = loaded.state.flips.last();
    Ok(DatasetSummary {
        live: match live {
            Live::NoTable => None,
            Live::Unmanaged(location) => Some(location.to_string()),
            Live::Managed(generation) => Some(generation.to_string()),
        },
        rows: manifest.map(|manifest| manifest.rows),
        bytes: manifest.map(|manifest| manifest.bytes),
        as_of: manifest.map(|manifest| manifest.as_of),
        age_seconds: manifest.map(|manifest| now.duration_since(manifest.snapshot_at()).as_secs()),
        flipped_at: last.map(|flip| flip.at),
        by: last.map(|flip| flip.by),
        waits,
        stale,
        rejected,
        failed_export,
        crawler: table.filter(|_| !matches!(live, Live::NoTable)).and_then(|table| table.crawler.clone()),
        other_stack: standing.other_stack.map(|other| publish::identity::other_stack_message(dataset, &other)),
        renaming: standing.renaming.iter().map(|old| publish::identity::unfinished_message(dataset, old)).collect(),
        left: standing.left.iter().map(|folder| publish::identity::left_message(dataset, folder)).collect(),
        hold: loaded.state.hold.as_ref().map(|hold| hold.reason.clone()),
        held_at: loaded.state.hold.as_ref().map(|hold| hold.at),
        unfinished: record.as_ref().and_then(Record::unfinished),
        unfinished_since: record.and_then(|record| record.flipping).map(|flipping| flipping.to.since),
        refresh,
        built_from: manifest.map(|manifest| manifest.inputs.clone()).unwrap_or_default(),
        outdated,
        inbox,
        drift,
        edited: differences.edited,
        damaged: differences.damaged,
        ..DatasetSummary::of(dataset)
    })
}

/// Returns whether an event would not make the candidate live. The members of a group are judged together elsewhere.
async fn is_stale(env: &Environment, dataset: &Dataset, state: &FlipState, waits: Option<Generation>) -> Result<bool> {
    let Some(waits) = waits else { return Ok(false) };
    if dataset.group.is_some() {
        return Ok(true);
    }
    let Some(candidate) = publish::manifest(env, dataset, &waits).await? else { return Ok(true) };
    let decision = decision::flip(&dataset.paths, &candidate, state, Trigger::Event);
    Ok(!matches!(decision, Ok(Decision::Flip | Decision::Held(_))))
}

async fn verdict(env: &Environment, dataset: &Dataset, of: Option<Generation>) -> Result<Option<Verdict>> {
    match of {
        Some(generation) => publish::verdict::read(env, dataset, &generation).await,
        None => Ok(None),
    }
}

/// Returns the last failed export, or `None` if there is none or if a generation that was started after it is complete.
async fn failed_export(
    env: &Environment,
    dataset: &Dataset,
    newest: Option<Timestamp>,
) -> Result<Option<ExportFailure>> {
    let found: Option<ExportFailure> = env.record(&dataset.paths.export_failure()).await?;
    Ok(found.filter(|failure| newest.is_none_or(|newest| newest < failure.at)))
}

/// Summarizes an inbox. Returns `None` if the dataset's source is not an inbox.
async fn inbox_summary(
    env: &Environment,
    dataset: &Dataset,
    live: Option<&Manifest>,
    now: Timestamp,
) -> Result<Option<InboxSummary>> {
    let Source::Inbox(source) = &dataset.source else { return Ok(None) };
    let (listed, record) =
        futures::try_join!(inbox::list(&*env.objects, &source.location), returning::read(env, dataset, source),)?;
    let mut unread = consumed::unread(&listed, live);
    let held = HeldDrops::of(record.as_ref(), &unread);
    unread.retain(|(drop, _)| !held.drops.contains(drop));
    let record = record.filter(|_| !held.is_empty());
    let oldest_unread = unread.iter().map(|(_, entry)| entry.modified).min();
    Ok(Some(InboxSummary {
        unread: unread.len() as u64,
        oldest_unread,
        last_drop: listed.iter().map(|(_, entry)| entry.modified).max(),
        overdue: oldest_unread.is_some_and(|oldest| InboxSummary::is_overdue(source, oldest, now)),
        held_back: record.as_ref().map(|_| held.people),
        held_back_at: record.map(|record| record.at),
        held_back_message: source
            .max_returning
            .filter(|_| !held.is_empty())
            .map(|bound| held.message(&dataset.name, bound)),
    }))
}
