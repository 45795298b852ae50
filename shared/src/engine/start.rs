//! Starts engine runs.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tracing::info;

use super::{
    filtered,
    outcome::{Engines, Outcome},
    pending::failed,
};
use crate::{environment::Environment, inputs, publish};
use turntable_core::{
    config::{Athena, Dataset, GlueJob, Source},
    decision,
    error::{Error, Kind, Result},
    layout::{Generation, Location},
    port::Put,
    record::{self, Folder, JOB_LOCATION, Pending, Work},
    unload,
};

/// The arguments that a Glue job gets in addition to [`turntable_core::record::JOB_LOCATION`], which identifies the
/// run.
const DATASET: &str = "--turntable_dataset";
const GENERATION: &str = "--turntable_generation";
const AS_OF: &str = "--turntable_as_of";

/// The maximum total time for which a query may be queued and run. Athena limits each of the two to less than this, but
/// not their sum.
const MAX_QUERY_TIME: SignedDuration = SignedDuration::from_hours(24);

/// The time that a job may take in addition to its timeout, to acquire its workers and to stop.
const MAX_JOB_OVERHEAD: SignedDuration = SignedDuration::from_hours(1);

/// Starts a new run: checks the dataset, writes the pending record, then starts the run.
pub async fn fresh(engines: &Engines, dataset: &Dataset) -> Result<Outcome> {
    let env = &engines.env;
    let live = publish::live_to_follow(env, dataset).await?;
    let generation = decision::next(&dataset.paths, &live, env.clock.ulid());
    let location = dataset.paths.generation(&generation);
    decision::beside(&live, &location)?;
    if !env.objects.list(&location, None).await?.is_empty() {
        return Err(Error::corrupt(format!(
            "{location}, the location for the new generation, already contains objects, but UNLOAD needs it empty: run the \
             export again"
        )));
    }
    let folders = folders(engines, dataset).await?;
    let inputs = inputs::live(env, dataset).await?;
    let as_of = env.clock.now();
    let (work, longest) = work(&*filtered::resolved(env, dataset).await?, &generation, &location, as_of)?;
    let pending = Pending {
        dataset: dataset.name.clone(),
        generation,
        location,
        base: live.location(&dataset.paths),
        as_of,
        spec: dataset.spec.clone(),
        work,
        folders,
        until: as_of.checked_add(longest).unwrap_or(Timestamp::MAX),
        inputs,
        run: None,
    };
    let key = dataset.paths.pending(&generation);
    match env.objects.put_new(&key, record::to_json(&pending).into()).await? {
        Put::Created => started(engines, dataset, pending, false).await,
        Put::Exists => Err(Error::corrupt(format!(
            "{key} already exists, so another run has recorded this generation: run the export again"
        ))),
    }
}

/// Starts a pending record's run, and adds the run's id to the record. `again` says whether the run may have been
/// started before. If the engine refuses the run, writes its failed record.
pub async fn started(engines: &Engines, dataset: &Dataset, mut pending: Pending, again: bool) -> Result<Outcome> {
    let run = match engines.engine.start(&pending, again).await {
        Ok(run) => run,
        Err(error) => {
            // A refused run never starts. After a temporary error, the run may have started, so its pending record
            // stays for the retry.
            if !matches!(error.kind(), Kind::Unavailable | Kind::Conflict) {
                failed(&engines.env, &pending, &error).await?;
            }
            return Err(error);
        }
    };
    pending.run = Some(run);
    let key = dataset.paths.pending(&pending.generation);
    engines.env.objects.put(&key, record::to_json(&pending).into()).await?;
    Ok(Outcome::Started(pending))
}

/// Returns the pending record with its work taken from the current configuration, because something other than
/// Turntable could have written the record. Returns `None` if the record's work is different: the configuration has
/// changed, or Turntable didn't write the record.
pub async fn rebuilt(env: &Environment, dataset: &Dataset, pending: &Pending) -> Result<Option<Pending>> {
    let dataset = filtered::resolved(env, dataset).await?;
    let rebuilt = work(&dataset, &pending.generation, &pending.location, pending.as_of).ok();
    let same = rebuilt.filter(|(work, _)| *work == pending.work);
    Ok(same.map(|(work, _)| Pending { work, ..pending.clone() }))
}

/// Returns what the engine must run, and the maximum time that this may take.
fn work(
    dataset: &Dataset,
    generation: &Generation,
    location: &Location,
    as_of: Timestamp,
) -> Result<(Work, SignedDuration)> {
    match &dataset.source {
        Source::Athena(athena) => {
            let athena = &Athena { partition_by: dataset.partition_by.clone(), ..athena.clone() };
            let (workgroup, database) = (athena.workgroup.clone(), dataset.table.database.clone());
            Ok((Work::Athena { workgroup, database, sql: unload::sql(athena, location)? }, MAX_QUERY_TIME))
        }
        Source::GlueJob(GlueJob { name, arguments, timeout }) => {
            let reserved = [
                (JOB_LOCATION, location.to_string()),
                (DATASET, dataset.name.clone()),
                (GENERATION, generation.to_string()),
                (AS_OF, as_of.to_string()),
            ];
            let reserved = reserved.into_iter().map(|(name, value)| (name.to_owned(), value));
            let arguments: BTreeMap<String, String> = arguments.clone().into_iter().chain(reserved).collect();
            let longest = SignedDuration::from_mins((*timeout).into()) + MAX_JOB_OVERHEAD;
            Ok((Work::GlueJob { name: name.clone(), arguments, timeout: *timeout }, longest))
        }
        _ => Err(Error::corrupt(format!(
            "datasets.{}.source is not an engine: this is a bug, please report it",
            dataset.name
        ))),
    }
}

/// Returns the partition columns. For an Athena query, counts the partitions first, because an `UNLOAD` to too many
/// partitions fails only at its end.
async fn folders(engines: &Engines, dataset: &Dataset) -> Result<Vec<Folder>> {
    let by = &dataset.partition_by;
    match &dataset.source {
        Source::Athena(athena) if !by.is_empty() => {
            let athena = Athena { partition_by: by.clone(), ..athena.clone() };
            let question = unload::question(&athena);
            let answered =
                engines.engine.ask(&athena.workgroup, &dataset.table.database, &question).await.map_err(|error| {
                    let about =
                        format!("datasets.{}.source.athena: the query that counts the partitions failed", dataset.name);
                    Error::new(error.kind(), about).caused_by(error)
                })?;
            info!(dataset = dataset.name, scanned = answered.scanned, "partitions counted");
            let row = answered.rows.first().map(Vec::as_slice).unwrap_or_default();
            unload::folders(&athena, row)
        }
        _ => Ok(by.iter().map(|name| Folder { name: name.clone(), glue_type: None }).collect()),
    }
}
