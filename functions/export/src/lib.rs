//! `export`: writes a dataset's next generation, its manifest last; or has an engine write it, and settles what it has
//! written.

mod engines;
mod group;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::{Value, json};
use tracing::{error, info, warn};
use turntable::{
    answer::{Engaged, Exported},
    config::{Config, Dataset, Source},
    decision::{self, Live},
    environment::World,
    error::{Error, Kind, Result},
    lambda::{self, Deadline},
    layout::{Generation, Location},
    manifest::{File, Manifest, VERSION},
    metric::{Metric, emit},
    parquet::{self, Progress, Rows, Written, arrow_types, partitioned},
    partition::Partition,
    port::{Engine, Put, Queue, Secrets, TokenSigner},
    publish,
    request::{self, Message},
    schema::Column,
    sources::{self, Context, Opened},
};

/// What `export` runs on.
#[derive(Clone)]
pub struct Export {
    pub world: World,
    /// Where a request for many datasets goes, one message each.
    pub queue: Arc<dyn Queue>,
    pub engine: Arc<dyn Engine>,
    pub secrets: Option<Arc<dyn Secrets>>,
    /// When it must have stopped by itself; `None`: never.
    pub deadline: Option<Deadline>,
    pub iam: Option<Arc<dyn TokenSigner>>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    Exported(Exported),
    Engaged(Engaged),
    Queued {
        queued: Vec<String>,
    },
    /// What SQS expects: the messages to deliver again.
    Batch {
        #[serde(rename = "batchItemFailures")]
        failures: Vec<Value>,
    },
}

pub async fn handle(export: Export, event: Value) -> Result<Answer> {
    let config = || export.world.config();
    match request::Export::parse(&event)? {
        request::Export::One(name) => {
            let config = config().await?;
            one(&export, &config, config.dataset(&name)?).await
        }
        request::Export::Ended(run) => engines::ended(&export, &config().await?, &run).await,
        request::Export::Pending(name, generation) => {
            engines::pending(&export, config().await?.dataset(&name)?, &generation).await
        }
        request::Export::Fan(names) => fan(&export, &config().await?, names).await,
        request::Export::Queue(messages) => {
            let mut failures = Vec::new();
            for message in messages {
                if let Err(failure) = of_message(&export, &message.body).await {
                    let (id, kind) = (&message.id, failure.kind().as_str());
                    error!(
                        message_id = id,
                        dataset = failure.dataset(),
                        kind,
                        received = message.received,
                        error = failure.report(),
                        "export failed"
                    );
                    if let Then::ComeAgain = then(&export, &message, &failure).await {
                        failures.push(json!({ "itemIdentifier": id }));
                    }
                }
            }
            Ok(Answer::Batch { failures })
        }
    }
}

async fn fan(export: &Export, config: &Config, names: Option<Vec<String>>) -> Result<Answer> {
    let queued = match names {
        Some(names) => names,
        None => config.datasets().filter(|dataset| !dataset.is_inbox()).map(|dataset| dataset.name.clone()).collect(),
    };
    // A message for one member is one for its group.
    let mut groups = BTreeSet::new();
    let mut first = Vec::new();
    for name in queued {
        if config.dataset(&name)?.group.as_ref().is_none_or(|group| groups.insert(group.name.clone())) {
            first.push(name);
        }
    }
    let queued = first;
    export.queue.send(queued.iter().map(|name| json!({ "dataset": name }).to_string()).collect()).await?;
    info!(datasets = queued.len(), "queued");
    Ok(Answer::Queued { queued })
}

/// What becomes of a message that has failed.
enum Then {
    ComeAgain,
    Done,
}

/// After these times a message comes again, if its failure may pass; after the last it is dead. The queue's own time is
/// for invocations that have died, and must be longer than the longest of them.
const AGAIN: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(300)];

/// What may pass is tried again within minutes. What will fail again is a dead letter at once: somebody must look.
async fn then(export: &Export, message: &Message, failure: &Error) -> Then {
    let may_pass = matches!(failure.kind(), Kind::Unavailable | Kind::Conflict);
    let pause = AGAIN.get(message.received.saturating_sub(1) as usize).filter(|_| may_pass);
    let done = match pause {
        Some(pause) => export.queue.give_back(&message.receipt, *pause).await.map(|()| Then::ComeAgain),
        None => export.queue.bury(&message.body, failure).await.map(|()| Then::Done),
    };
    // Else it comes again in the queue's own time, and is dead when it has come as often as the queue allows.
    done.unwrap_or_else(|error| {
        error!(message_id = message.id, kind = error.kind().as_str(), error = error.report(), "message not settled");
        Then::ComeAgain
    })
}

/// One message of the queue: a request for one dataset.
///
/// Without `datasets.toml` this message fails, and not the invocation: that would keep it invisible for the queue's own
/// time, which is longer than an hour.
async fn of_message(export: &Export, body: &str) -> Result<()> {
    let request = request::Export::parse(&request::message(body)?)?;
    let config = export.world.config().await?;
    match request {
        request::Export::One(name) => one(export, &config, config.dataset(&name)?).await.map(drop),
        request::Export::Pending(name, generation) => {
            engines::pending(export, config.dataset(&name)?, &generation).await.map(drop)
        }
        _ => Err(Error::input("a message of the queue must name one dataset: {\"dataset\": NAME}")),
    }
}

/// Builds one generation, or has it built; and of a member of a group, those of all members.
async fn one(export: &Export, config: &Config, dataset: &Dataset) -> Result<Answer> {
    let built = match config.group_of(dataset) {
        Some(members) => group::build(export, &members, dataset).await.map(Answer::Exported),
        None if dataset.source.is_engine() => engines::export(export, dataset).await,
        None => build(export, dataset).await.map(Answer::Exported),
    };
    built.map_err(|failure| failure.of(&dataset.name))
}

/// Source → data files → manifest.
async fn build(export: &Export, dataset: &Dataset) -> Result<Exported> {
    let started = Instant::now();
    let begun = Begun::now(&export.world, dataset).await?;
    let context = context(export, dataset);
    let opened = tokio::select! {
        opened = sources::open(&dataset.source, &context) => opened?,
        () = lambda::passed(export.deadline) => return Err(out_of_time(dataset, started, None, None)),
    };
    let manifest = match begun.write(export, opened).await? {
        Ok(manifest) => manifest,
        Err(progress) => return Err(out_of_time(dataset, started, Some(progress), None)),
    };
    complete(&export.world, dataset, &manifest).await?;
    Ok(exported(&export.world, manifest, started.elapsed()))
}

/// A generation that has got its name.
struct Begun<'a> {
    dataset: &'a Dataset,
    live: Live,
    generation: Generation,
    location: Location,
}

impl<'a> Begun<'a> {
    /// What a flip would refuse is refused here, before the work.
    async fn now(world: &World, dataset: &'a Dataset) -> Result<Begun<'a>> {
        let live = publish::live_to_follow(world, dataset).await?;
        let generation = decision::next(&dataset.home, &live, world.clock.ulid());
        let location = dataset.home.generation(&generation);
        decision::beside(&live, &location)?;
        Ok(Begun { dataset, live, generation, location })
    }

    /// Writes all rows. Gives the manifest that is to be written, or how far it came until the time was up.
    async fn write(self, export: &Export, opened: Opened) -> Result<Result<Manifest, Progress>> {
        let Begun { dataset, live, generation, location } = self;
        let columns = arrow_types::columns(&opened.rows.schema).map_err(|fault| {
            Error::config(format!("datasets.{}.source: {fault}: cast it in the query", dataset.name))
        })?;
        let (as_of, typed_by, unrepresentable) = (opened.as_of, opened.typed_by, opened.unrepresentable.clone());
        let (files, columns, partitions) = match write(export, dataset, &location, opened.rows, columns).await? {
            Ok(written) => written,
            Err(progress) => return Ok(Err(progress)),
        };
        Ok(Ok(Manifest {
            version: VERSION,
            dataset: dataset.name.clone(),
            generation,
            location,
            base: live.location(&dataset.home),
            as_of,
            created_at: export.world.clock.now(),
            spec: dataset.spec.clone(),
            typed_by,
            columns,
            partitions,
            rows: files.iter().map(|file| file.rows).sum(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            files,
            nulled: unrepresentable.nulled(),
            merge: None,
            group: None,
        }))
    }
}

fn context(export: &Export, dataset: &Dataset) -> Context {
    Context {
        objects: export.world.objects.clone(),
        secrets: export.secrets.clone(),
        iam: export.iam.clone(),
        now: export.world.clock.now(),
        table: dataset.table.clone(),
        on_unrepresentable: dataset.on_unrepresentable,
        // A copy stays one file, of all its columns.
        copies: dataset.partition_by.is_empty().then_some(dataset.parquet),
    }
}

/// Tells of a generation that is complete.
fn exported(world: &World, manifest: Manifest, took: Duration) -> Exported {
    let seconds = took.as_secs_f64();
    info!(
        dataset = manifest.dataset,
        generation = %manifest.generation,
        group = manifest.group.as_ref().map(|run| &run.group),
        rows = manifest.rows,
        bytes = manifest.bytes,
        files = manifest.files.len(),
        as_of = %manifest.as_of,
        typed_by = ?manifest.typed_by,
        nulled = %json!(manifest.nulled),
        seconds,
        "exported"
    );
    let (rows, bytes) = (manifest.rows as f64, manifest.bytes as f64);
    let metrics = [(Metric::Rows, rows), (Metric::Bytes, bytes), (Metric::ExportTime, seconds)];
    emit(world.clock.now(), &manifest.dataset, &metrics);
    Exported {
        dataset: manifest.dataset,
        generation: manifest.generation,
        location: manifest.location,
        rows: manifest.rows,
        bytes: manifest.bytes,
        files: manifest.files.len(),
        as_of: manifest.as_of,
        nulled: manifest.nulled,
        group: None,
    }
}

/// No retry helps: it takes a word of an operator's.
fn out_of_time(dataset: &Dataset, started: Instant, progress: Option<Progress>, of: Option<group::Stopped>) -> Error {
    let seconds = started.elapsed().as_secs_f64();
    let far = match progress {
        Some(Progress { rows, bytes, files }) => {
            format!("{rows} rows were read, and {bytes} bytes of {files} files were written")
        }
        None => "the source was still being opened".into(),
    };
    let faster = match &dataset.source {
        Source::Postgres(_) => {
            "read over several connections (parallel, with split_by where the query is no whole table)"
        }
        Source::Files(_) => "split the source into more objects, of which four are read at a time",
        _ => "lower what the source gives",
    };
    let (together, split) = of.map_or((String::new(), ""), |of| (format!(" ({of})"), "split the group, "));
    Error::config(format!(
        "{}{together}: the function's time is nearly up, and export has stopped by itself after {seconds:.0} s: {far}; \
         nothing was published. To be faster, {split}{faster}, or give the function more memory, and processors with it \
         (ExportMemory in template.yaml)",
        dataset.name
    ))
}

/// Writes the rows. Gives the files, the columns that are in them, and those that are folders; or how far it came until
/// the time was up.
async fn write(
    export: &Export,
    dataset: &Dataset,
    location: &Location,
    rows: Rows,
    mut columns: Vec<Column>,
) -> Result<Result<(Vec<File>, Vec<Column>, Vec<Partition>), Progress>> {
    let (stop, objects, by) = (lambda::passed(export.deadline), &export.world.objects, &dataset.partition_by);
    if by.is_empty() {
        return Ok(match parquet::write_until(stop, objects, location, rows, dataset.parquet).await? {
            Written::All(files) => Ok((files, columns, Vec::new())),
            Written::Stopped(progress) => Err(progress),
        });
    }
    let table = format!("datasets.{}", dataset.name);
    let ended = partitioned::write_until(stop, objects, location, rows, &columns, by, dataset.parquet, &table).await?;
    let written = match ended {
        partitioned::Ended::All(written) => written,
        partitioned::Ended::Stopped(progress) => return Ok(Err(progress)),
    };
    let (existing, projected) = (written.existing as u64, written.projected);
    info!(dataset = dataset.name, partitions = existing, projected, "partitioned");
    if projected > 2 * existing.max(1) {
        // Athena's guide: with more than half of them empty, registered partitions are the faster ones.
        warn!(dataset = dataset.name, partitions = existing, projected, "most projected partitions are empty");
    }
    columns.retain(|column| !by.contains(&column.name));
    Ok(Ok((written.files, columns, written.partitions)))
}

/// The manifest comes last: with it, and not before, there is a generation.
async fn complete(world: &World, dataset: &Dataset, manifest: &Manifest) -> Result<()> {
    let key = dataset.home.manifest(&manifest.generation);
    match world.objects.put_new(&key, manifest.to_json().into()).await? {
        Put::Created => Ok(()),
        Put::Exists => Err(Error::corrupt(format!("{key}: another run has used this run's name; run again"))),
    }
}
