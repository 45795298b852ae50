//! `export`: writes a dataset's next generation, with the manifest last; or starts an engine's run that writes it, and
//! settles that run when it has ended.

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
    answer::{EngineResponse, Exported},
    config::{Config, Dataset, Source},
    decision::{self, Live},
    environment::Environment,
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

/// The clients and the environment of `export`.
#[derive(Clone)]
pub struct Export {
    pub env: Environment,
    /// The queue for requests for many datasets, one message per dataset.
    pub queue: Arc<dyn Queue>,
    pub engine: Arc<dyn Engine>,
    pub secrets: Option<Arc<dyn Secrets>>,
    /// When the invocation must have stopped by itself; `None` for no limit.
    pub deadline: Option<Deadline>,
    pub iam: Option<Arc<dyn TokenSigner>>,
}

/// The answer of an invocation.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    Exported(Exported),
    EngineResponse(EngineResponse),
    Queued {
        queued: Vec<String>,
    },
    /// The answer to an SQS event: the messages to redeliver.
    Batch {
        #[serde(rename = "batchItemFailures")]
        failures: Vec<Value>,
    },
}

/// Handles one invocation. A failed message of a queue is redelivered or goes to the dead-letter queue, and does not
/// fail the invocation.
pub async fn handle(export: Export, event: Value) -> Result<Answer> {
    let config = || export.env.config();
    match request::Export::parse(&event)? {
        request::Export::One(name) => {
            let config = config().await?;
            export_one(&export, &config, config.dataset(&name)?).await
        }
        request::Export::Ended(run) => engines::ended(&export, &config().await?, &run).await,
        request::Export::Pending(name, generation) => {
            engines::pending(&export, config().await?.dataset(&name)?, &generation).await
        }
        request::Export::Fan(names) => enqueue(&export, &config().await?, names).await,
        request::Export::Queue(messages) => {
            let mut failures = Vec::new();
            for message in messages {
                if let Err(failure) = handle_message(&export, &message.body).await {
                    let (id, kind) = (&message.id, failure.kind().as_str());
                    error!(
                        message_id = id,
                        dataset = failure.dataset(),
                        kind,
                        received = message.received,
                        error = failure.report(),
                        "export failed"
                    );
                    if let MessageOutcome::Redeliver = settle(&export, &message, &failure).await {
                        failures.push(json!({ "itemIdentifier": id }));
                    }
                }
            }
            Ok(Answer::Batch { failures })
        }
    }
}

/// Queues one message per dataset. Without names, for every dataset that is not an inbox.
async fn enqueue(export: &Export, config: &Config, names: Option<Vec<String>>) -> Result<Answer> {
    let queued = match names {
        Some(names) => names,
        None => config.datasets().filter(|dataset| !dataset.is_inbox()).map(|dataset| dataset.name.clone()).collect(),
    };
    // A message for one member exports the whole group, so one message per group is enough.
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

/// What to do with a message that failed.
enum MessageOutcome {
    Redeliver,
    Done,
}

/// The delays before a failed message is redelivered, if its failure may be temporary. After the last, the message goes
/// to the dead-letter queue.
///
/// The queue's own visibility timeout is for invocations that died. It must be longer than the longest invocation.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(300)];

/// Settles a failed message. A failure that may be temporary is retried within minutes. Any other failure needs an
/// operator, so the message goes to the dead-letter queue at once.
async fn settle(export: &Export, message: &Message, failure: &Error) -> MessageOutcome {
    let may_pass = matches!(failure.kind(), Kind::Unavailable | Kind::Conflict);
    let pause = RETRY_DELAYS.get(message.received.saturating_sub(1) as usize).filter(|_| may_pass);
    let done = match pause {
        Some(pause) => {
            export.queue.change_visibility(&message.receipt, *pause).await.map(|()| MessageOutcome::Redeliver)
        }
        None => export.queue.dead_letter(&message.body, failure).await.map(|()| MessageOutcome::Done),
    };
    // If that fails, the message is redelivered after the queue's visibility timeout. It goes to the dead-letter queue
    // after the queue's maximum number of receives.
    done.unwrap_or_else(|error| {
        error!(message_id = message.id, kind = error.kind().as_str(), error = error.report(), "message not settled");
        MessageOutcome::Redeliver
    })
}

/// Handles one message of the queue: a request for one dataset.
///
/// If `datasets.toml` can't be read, the message fails and not the invocation. A failed invocation would leave the
/// message invisible for the queue's visibility timeout, which is longer than an hour.
async fn handle_message(export: &Export, body: &str) -> Result<()> {
    let request = request::Export::parse(&request::message(body)?)?;
    let config = export.env.config().await?;
    match request {
        request::Export::One(name) => export_one(export, &config, config.dataset(&name)?).await.map(drop),
        request::Export::Pending(name, generation) => {
            engines::pending(export, config.dataset(&name)?, &generation).await.map(drop)
        }
        _ => Err(Error::input("the message must name one dataset: expected {\"dataset\": NAME}")),
    }
}

/// Exports one dataset: builds its generation, or starts an engine's run. For a member of a group, builds all members.
async fn export_one(export: &Export, config: &Config, dataset: &Dataset) -> Result<Answer> {
    let built = match config.group_of(dataset) {
        Some(members) => group::build(export, &members, dataset).await.map(Answer::Exported),
        None if dataset.source.is_engine() => engines::export(export, dataset).await,
        None => build(export, dataset).await.map(Answer::Exported),
    };
    built.map_err(|failure| failure.of(&dataset.name))
}

/// Builds a generation: source → data files → manifest.
async fn build(export: &Export, dataset: &Dataset) -> Result<Exported> {
    let started = Instant::now();
    let head = NewGeneration::now(&export.env, dataset).await?;
    let context = context(export, dataset);
    let opened = tokio::select! {
        opened = sources::open(&dataset.source, &context) => opened?,
        () = lambda::passed(export.deadline) => return Err(out_of_time(dataset, started, None, None)),
    };
    let manifest = match head.write(export, opened).await? {
        Ok(manifest) => manifest,
        Err(progress) => return Err(out_of_time(dataset, started, Some(progress), None)),
    };
    complete(&export.env, dataset, &manifest).await?;
    Ok(exported(&export.env, manifest, started.elapsed()))
}

/// A generation that has its identifier and location, but no data yet.
struct NewGeneration<'a> {
    dataset: &'a Dataset,
    live: Live,
    generation: Generation,
    location: Location,
}

impl<'a> NewGeneration<'a> {
    /// Begins a generation. Fails here, before the work, if a flip would refuse the table.
    async fn now(env: &Environment, dataset: &'a Dataset) -> Result<NewGeneration<'a>> {
        let live = publish::live_to_follow(env, dataset).await?;
        let generation = decision::next(&dataset.paths, &live, env.clock.ulid());
        let location = dataset.paths.generation(&generation);
        decision::beside(&live, &location)?;
        Ok(NewGeneration { dataset, live, generation, location })
    }

    /// Writes all rows. Returns the manifest, not yet written; or the progress if the deadline came first.
    async fn write(self, export: &Export, opened: Opened) -> Result<Result<Manifest, Progress>> {
        let NewGeneration { dataset, live, generation, location } = self;
        let columns = arrow_types::columns(&opened.rows.schema).map_err(|fault| {
            Error::config(format!("datasets.{}.source: {fault}: cast the column in the query", dataset.name))
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
            base: live.location(&dataset.paths),
            as_of,
            created_at: export.env.clock.now(),
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
        objects: export.env.objects.clone(),
        secrets: export.secrets.clone(),
        iam: export.iam.clone(),
        now: export.env.clock.now(),
        table: dataset.table.clone(),
        on_unrepresentable: dataset.on_unrepresentable,
        // A passthrough copies whole files with all their columns, so it can't be partitioned.
        copies: dataset.partition_by.is_empty().then_some(dataset.parquet),
    }
}

/// Logs a complete generation, emits its metrics, and returns the answer.
fn exported(env: &Environment, manifest: Manifest, took: Duration) -> Exported {
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
    emit(env.clock.now(), &manifest.dataset, &metrics);
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

/// Returns the error of an export that reached its deadline. It is a `Config` error, because a retry would not help.
fn out_of_time(dataset: &Dataset, started: Instant, progress: Option<Progress>, of: Option<group::Stopped>) -> Error {
    let seconds = started.elapsed().as_secs_f64();
    let progress = match progress {
        Some(Progress { rows, bytes, files }) => {
            format!("{rows} rows were read, and {bytes} bytes in {files} files were written")
        }
        None => "the source was still being opened".into(),
    };
    let faster = match &dataset.source {
        Source::Postgres(_) => {
            "read over several connections (set parallel, and split_by unless the query reads a whole table)"
        }
        Source::Files(_) => "split the source into more objects: four are read at a time",
        _ => "reduce the rows of the source",
    };
    let (together, split) = of.map_or((String::new(), ""), |of| (format!(" ({of})"), "split the group, "));
    Error::config(format!(
        "{}{together}: export stopped after {seconds:.0} s, shortly before the function's timeout: {progress}; nothing \
         was published. To make it faster, {split}{faster}, or give the function more memory, which adds processors too \
         (ExportMemory in template.yaml)",
        dataset.name
    ))
}

/// Writes the rows. Returns the files, the columns in them and the partition columns; or the progress if the deadline
/// came first.
async fn write(
    export: &Export,
    dataset: &Dataset,
    location: &Location,
    rows: Rows,
    mut columns: Vec<Column>,
) -> Result<Result<(Vec<File>, Vec<Column>, Vec<Partition>), Progress>> {
    let (stop, objects, by) = (lambda::passed(export.deadline), &export.env.objects, &dataset.partition_by);
    if by.is_empty() {
        return Ok(match parquet::write_until(stop, objects, location, rows, dataset.parquet).await? {
            Written::All(files) => Ok((files, columns, Vec::new())),
            Written::Stopped(progress) => Err(progress),
        });
    }
    let table = format!("datasets.{}", dataset.name);
    let ended = partitioned::write_until(stop, objects, location, rows, &columns, by, dataset.parquet, &table).await?;
    let written = match ended {
        partitioned::PartitionedOutcome::All(written) => written,
        partitioned::PartitionedOutcome::Stopped(progress) => return Ok(Err(progress)),
    };
    let (existing, projected) = (written.existing as u64, written.projected);
    info!(dataset = dataset.name, partitions = existing, projected, "partitioned");
    if projected > 2 * existing.max(1) {
        // Athena's guide: if more than half of the projected partitions are empty, registered partitions are faster.
        warn!(dataset = dataset.name, partitions = existing, projected, "most projected partitions are empty");
    }
    columns.retain(|column| !by.contains(&column.name));
    Ok(Ok((written.files, columns, written.partitions)))
}

/// Writes the manifest, which makes the generation complete. It comes last.
async fn complete(env: &Environment, dataset: &Dataset, manifest: &Manifest) -> Result<()> {
    let key = dataset.paths.manifest(&manifest.generation);
    match env.objects.put_new(&key, manifest.to_json().into()).await? {
        Put::Created => Ok(()),
        Put::Exists => Err(Error::corrupt(format!("{key}: the generation already exists: run export again"))),
    }
}
