//! Builds one generation: chooses its name, writes its data files, and makes its manifest.

use tracing::{info, warn};
use turntable_core::{
    config::Dataset,
    decision::{self, Live},
    due::Inputs,
    error::{Error, Result},
    layout::{Generation, Location},
    manifest::{Contents, File, Identity, Manifest, is_ahead},
    partition::Partition,
    read::Read,
    schema::Column,
};
use turntable_parquet::{Progress, Rows, arrow_types, partitioned};
use turntable_sources::Opened;

use super::environment::Export;
use crate::{
    deadline,
    environment::Environment,
    inputs,
    metric::{Metric, emit},
    publish,
};

/// A generation that has a name and a location, but no data yet.
pub(super) struct NewGeneration<'a> {
    pub dataset: &'a Dataset,
    live: Live,
    inputs: Inputs,
    pub generation: Generation,
    location: Location,
}

impl<'a> NewGeneration<'a> {
    /// Chooses a new generation's name and location. Fails before any work is done if a flip would refuse the table.
    pub(super) async fn begin(env: &Environment, dataset: &'a Dataset) -> Result<NewGeneration<'a>> {
        let live = publish::live_to_follow(env, dataset).await?;
        let generation = decision::next(&dataset.paths, &live, env.clock.ulid());
        let location = dataset.paths.generation(&generation);
        decision::beside(&live, &location)?;
        let inputs = inputs::live(env, dataset).await?;
        Ok(NewGeneration { dataset, live, inputs, generation, location })
    }

    /// Writes all rows, unless the deadline passes first. Returns the manifest, which isn't written yet.
    pub(super) async fn write(self, export: &Export, opened: Opened) -> Result<Build> {
        let NewGeneration { dataset, live, inputs, generation, location } = self;
        let columns = arrow_types::columns(&opened.rows.schema).map_err(|fault| {
            Error::config(format!(
                "datasets.{}.source: {fault}: rename the column in the source, or give it an alias or a cast in the query",
                dataset.name
            ))
        })?;
        let Opened { rows, as_of, typed_by, unrepresentable, is_unverified, objects } = opened;
        let now = export.env.clock.now();
        if is_unverified {
            emit(now, &dataset.name, &[(Metric::UnverifiedTls, 1.0)]);
        }
        if is_ahead(as_of, now) {
            return Err(Error::config(format!(
                "datasets.{}: the source dates its snapshot {as_of}, but it is only {now}, so its clock is ahead, \
                 and this generation would count as fresher than all later ones. Correct the clock on the source's \
                 server, then export again",
                dataset.name
            )));
        }
        let (files, columns, partitions) = match write(export, dataset, &location, rows, columns).await? {
            Written::Files(files, columns, partitions) => (files, columns, partitions),
            Written::OutOfTime(progress) => return Ok(Build::OutOfTime(progress)),
        };
        let identity = Identity {
            dataset: dataset.name.clone(),
            generation,
            location,
            base: live.location(&dataset.paths),
            as_of,
            spec: dataset.spec.clone(),
            inputs,
        };
        let (nulled, unmatched) = (unrepresentable.nulled(), &unrepresentable.unmatched);
        let (missing, ignored) = (unmatched.missing(), unmatched.ignored());
        let contents = Contents { typed_by, columns, partitions, files, nulled, missing, ignored };
        let read = dataset.files_on_put().map(|_| Read::of(&objects));
        let manifest = Manifest { read, ..Manifest::new(identity, contents, export.env.clock.now()) };
        Ok(Build::Complete(Box::new(manifest)))
    }
}

/// The outcome of building a generation.
pub(super) enum Build {
    Complete(Box<Manifest>),
    /// The deadline passed before all rows were written.
    OutOfTime(Progress),
}

enum Written {
    /// The files, the columns in them, and the partitions.
    Files(Vec<File>, Vec<Column>, Vec<Partition>),
    OutOfTime(Progress),
}

/// Writes the rows as data files, in partition folders if the dataset is partitioned.
async fn write(
    export: &Export,
    dataset: &Dataset,
    location: &Location,
    rows: Rows,
    mut columns: Vec<Column>,
) -> Result<Written> {
    let (stop, objects, by) = (deadline::passed(export.deadline), &export.env.objects, &dataset.partition_by);
    if by.is_empty() {
        return Ok(match turntable_parquet::write_until(stop, objects, location, rows, dataset.parquet).await? {
            turntable_parquet::Written::All(files) => Written::Files(files, columns, Vec::new()),
            turntable_parquet::Written::Stopped(progress) => Written::OutOfTime(progress),
        });
    }
    let table = format!("datasets.{}", dataset.name);
    let ended = partitioned::write_until(stop, objects, location, rows, &columns, by, dataset.parquet, &table).await?;
    let written = match ended {
        partitioned::PartitionedOutcome::All(written) => written,
        partitioned::PartitionedOutcome::Stopped(progress) => return Ok(Written::OutOfTime(progress)),
    };
    let (existing, projected) = (written.existing as u64, written.projected);
    info!(dataset = dataset.name, partitions = existing, projected, "partitioned");
    if projected > 2 * existing.max(1) {
        // According to Athena's guide, registered partitions are faster than projection if more than half of the
        // projected partitions are empty.
        warn!(dataset = dataset.name, partitions = existing, projected, "most projected partitions are empty");
    }
    columns.retain(|column| !by.contains(&column.name));
    Ok(Written::Files(written.files, columns, written.partitions))
}
