//! `export`: writes a dataset's next generation, its manifest last.

use std::{sync::Arc, time::Instant};

use serde::Serialize;
use serde_json::{Value, json};
use tracing::{error, info};
use turntable::{
    config::{Config, Dataset},
    error::{Error, Result},
    manifest::{Manifest, VERSION},
    parquet,
    plan::{self, Live},
    port::{Put, Queue},
    publish,
    request::{self, Exported},
    schema,
    source::{self, Context, Secrets},
    world::World,
};

/// What `export` runs on.
#[derive(Clone)]
pub struct Export {
    pub world: World,
    /// Where a request for many datasets goes, one message each.
    pub queue: Arc<dyn Queue>,
    pub secrets: Option<Secrets>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    Exported(Exported),
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
    let config = export.world.config().await?;
    match request::Export::parse(&event)? {
        request::Export::One(name) => Ok(Answer::Exported(one(&export, config.dataset(&name)?).await?)),
        request::Export::Fan(names) => fan(&export, &config, names).await,
        request::Export::Queue(messages) => {
            let mut failures = Vec::new();
            for (id, body) in messages {
                if let Err(failure) = message(&export, &config, &body).await {
                    error!(message_id = id, kind = failure.kind().as_str(), error = failure.report(), "export failed");
                    failures.push(json!({ "itemIdentifier": id }));
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
    for name in &queued {
        config.dataset(name)?;
    }
    export.queue.send(queued.iter().map(|name| json!({ "dataset": name }).to_string()).collect()).await?;
    info!(datasets = queued.len(), "queued");
    Ok(Answer::Queued { queued })
}

/// One message of the queue: a request for one dataset.
async fn message(export: &Export, config: &Config, body: &str) -> Result<()> {
    match request::Export::parse(&request::message(body)?)? {
        request::Export::One(name) => one(export, config.dataset(&name)?).await.map(drop),
        _ => Err(Error::input("a message of the queue must name one dataset: {\"dataset\": NAME}")),
    }
}

/// Builds one generation: source → data files → manifest.
async fn one(export: &Export, dataset: &Dataset) -> Result<Exported> {
    let started = Instant::now();
    let world = &export.world;
    let live = live(world, dataset).await?;
    let generation = plan::next(&dataset.home, &live, world.clock.ulid());
    let location = dataset.home.generation(&generation);
    plan::beside(&live, &location)?;

    let context = Context {
        objects: world.objects.clone(),
        secrets: export.secrets.clone(),
        now: world.clock.now(),
        table: dataset.table.clone(),
        on_unrepresentable: dataset.on_unrepresentable,
    };
    let opened = source::open(&dataset.source, &context).await?;
    let columns = schema::columns(&opened.schema)
        .map_err(|fault| Error::config(format!("datasets.{}.source: {fault}: cast it in the query", dataset.name)))?;
    let (as_of, typed_by, unrepresentable) = (opened.as_of, opened.typed_by, opened.unrepresentable.clone());
    let files = parquet::write(&world.objects, &location, opened, dataset.parquet).await?;

    let manifest = Manifest {
        version: VERSION,
        dataset: dataset.name.clone(),
        generation,
        location,
        base: live.location(&dataset.home),
        as_of,
        created_at: world.clock.now(),
        spec: dataset.spec.clone(),
        typed_by,
        columns,
        rows: files.iter().map(|file| file.rows).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        files,
        nulled: unrepresentable.nulled(),
        merge: None,
    };
    complete(world, dataset, &manifest).await?;
    info!(
        dataset = dataset.name,
        generation = %generation,
        rows = manifest.rows,
        bytes = manifest.bytes,
        files = manifest.files.len(),
        as_of = %as_of,
        typed_by = ?typed_by,
        nulled = %json!(manifest.nulled),
        seconds = started.elapsed().as_secs_f64(),
        "exported"
    );
    Ok(Exported {
        dataset: dataset.name.clone(),
        generation,
        location: manifest.location,
        rows: manifest.rows,
        bytes: manifest.bytes,
        files: manifest.files.len(),
        as_of,
        nulled: manifest.nulled,
    })
}

/// What is live, from a table that can be flipped: what `flip` would refuse is refused before the work.
async fn live(world: &World, dataset: &Dataset) -> Result<Live> {
    let live = publish::live(world, dataset).await?;
    if live == Live::NoTable && !dataset.create {
        return Err(Error::config(format!(
            "the table {} does not exist and datasets.{} says create = false: create it first",
            dataset.table, dataset.name
        )));
    }
    Ok(live)
}

/// The manifest comes last: with it, and not before, there is a generation.
async fn complete(world: &World, dataset: &Dataset, manifest: &Manifest) -> Result<()> {
    let key = dataset.home.manifest(&manifest.generation);
    match world.objects.put_new(&key, manifest.to_json().into()).await? {
        Put::Created => Ok(()),
        Put::Exists => Err(Error::corrupt(format!("{key}: another run has used this run's name; run again"))),
    }
}
