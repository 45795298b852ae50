//! The beginning of a run.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tracing::info;

use super::{AS_OF, DATASET, Engines, GENERATION, Outcome, failed};
use crate::publish;
use turntable_core::{
    config::{Athena, Dataset, GlueJob, Source},
    decision,
    error::{Error, Kind, Result},
    layout::{Generation, Location},
    port::Put,
    record::{self, Folder, JOB_LOCATION, Pending, Work},
    unload,
};

/// A query waits and runs for this long at most: Athena's own limits are less, and none is of both together.
const QUERY: SignedDuration = SignedDuration::from_hours(24);

/// What a job takes besides its time-out: to get its workers, and to stop.
const AROUND: SignedDuration = SignedDuration::from_hours(1);

/// A new run: checked, put on record, started.
pub async fn fresh(engines: &Engines, dataset: &Dataset) -> Result<Outcome> {
    let world = &engines.world;
    let live = publish::live_to_follow(world, dataset).await?;
    let generation = decision::next(&dataset.home, &live, world.clock.ulid());
    let location = dataset.home.generation(&generation);
    decision::beside(&live, &location)?;
    if !world.objects.list(&location, None).await?.is_empty() {
        return Err(Error::corrupt(format!("{location}: something is there already, and UNLOAD needs it empty")));
    }
    let folders = folders(engines, dataset).await?;
    let as_of = world.clock.now();
    let (work, longest) = work(dataset, &generation, &location, as_of)?;
    let pending = Pending {
        dataset: dataset.name.clone(),
        generation,
        location,
        base: live.location(&dataset.home),
        as_of,
        spec: dataset.spec.clone(),
        work,
        folders,
        until: as_of.checked_add(longest).unwrap_or(Timestamp::MAX),
        run: None,
    };
    let key = dataset.home.pending(&generation);
    match world.objects.put_new(&key, record::to_json(&pending).into()).await? {
        Put::Created => started(engines, dataset, pending, false).await,
        Put::Exists => Err(Error::corrupt(format!("{key}: another run has used this run's name; run again"))),
    }
}

/// Starts what is on record, and puts the run's name there too. `again`: it may have been started before.
pub async fn started(engines: &Engines, dataset: &Dataset, mut pending: Pending, again: bool) -> Result<Outcome> {
    let run = match engines.engine.start(&pending, again).await {
        Ok(run) => run,
        Err(error) => {
            // What was refused will never run. Of anything else nobody knows, and who tries again finds the record.
            if !matches!(error.kind(), Kind::Unavailable | Kind::Conflict) {
                failed(&engines.world, &pending, &error).await?;
            }
            return Err(error);
        }
    };
    pending.run = Some(run);
    let key = dataset.home.pending(&pending.generation);
    engines.world.objects.put(&key, record::to_json(&pending).into()).await?;
    Ok(Outcome::Started(pending))
}

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
            Ok((Work::Athena { workgroup, database, sql: unload::sql(athena, location)? }, QUERY))
        }
        Source::GlueJob(GlueJob { name, arguments, timeout }) => {
            let ours = [
                (JOB_LOCATION, location.to_string()),
                (DATASET, dataset.name.clone()),
                (GENERATION, generation.to_string()),
                (AS_OF, as_of.to_string()),
            ];
            let ours = ours.into_iter().map(|(name, value)| (name.to_owned(), value));
            let arguments: BTreeMap<String, String> = arguments.clone().into_iter().chain(ours).collect();
            let longest = SignedDuration::from_mins((*timeout).into()) + AROUND;
            Ok((Work::GlueJob { name: name.clone(), arguments, timeout: *timeout }, longest))
        }
        _ => Err(Error::corrupt(format!("datasets.{}.source is no engine: report this", dataset.name))),
    }
}

/// The folders' columns. Athena is asked about them first: `UNLOAD` would find out at its end that they are too many.
async fn folders(engines: &Engines, dataset: &Dataset) -> Result<Vec<Folder>> {
    let by = &dataset.partition_by;
    match &dataset.source {
        Source::Athena(athena) if !by.is_empty() => {
            let athena = Athena { partition_by: by.clone(), ..athena.clone() };
            let question = unload::question(&athena);
            let answered =
                engines.engine.ask(&athena.workgroup, &dataset.table.database, &question).await.map_err(|error| {
                    let about = format!("datasets.{}.source.athena: asked for its partitions", dataset.name);
                    Error::new(error.kind(), about).caused_by(error)
                })?;
            info!(dataset = dataset.name, scanned = answered.scanned, "partitions asked for");
            let row = answered.rows.first().map(Vec::as_slice).unwrap_or_default();
            unload::folders(&athena, row)
        }
        _ => Ok(by.iter().map(|name| Folder { name: name.clone(), glue_type: None }).collect()),
    }
}
