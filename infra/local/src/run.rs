//! The main job, day after day: source → schedule → `export` → manifest → S3 event → `flip`, under a reader's eyes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::Value;
use turntable::{
    config::Dataset,
    manifest::Manifest,
    name::{Generation, Location, TableName},
};

use crate::{
    Deployment, Emulator, Stack, Tools,
    datasets::{self, Datasets},
    progress::say,
    reader::{Reader, Tally},
    report::{Build, Report},
    sample,
};

/// The sample's days: the first makes the table, then two daily runs follow (blue → green → blue).
const DAYS: u32 = 3;
/// The longest that an export may take on Lambda.
const TIMEOUT: Duration = Duration::from_secs(900);
/// How long nothing may happen after an error before a dataset counts as failed.
const QUIET: Duration = Duration::from_secs(10);

/// An emulator with the product in it, and its datasets in place.
pub struct Started {
    pub emulator: Emulator,
    pub stack: Stack,
    pub datasets: Datasets,
}

/// Starts everything; `file` is the user's own datasets file. The sample's first day is in place, nothing is exported.
pub async fn start(file: Option<&Path>) -> Result<Started> {
    let deployment = Deployment::in_account("test");
    let datasets = Datasets::read(file.unwrap_or(Path::new(datasets::SAMPLE)), &deployment.bucket)?;
    let tools = Tools::prepare().await?;
    let emulator = Emulator::start(&tools).await?;
    let stack = emulator.deploy(&deployment).await?;
    stack.put("datasets.toml", datasets.text.as_bytes()).await?;
    for database in datasets.databases() {
        stack.create_database(database).await?;
    }
    if file.is_none() {
        put_sample(&stack, 0).await?;
    }
    Ok(Started { emulator, stack, datasets })
}

async fn put_sample(stack: &Stack, day: u32) -> Result<()> {
    say(format_args!("day {} of the sample → s3://{}/{}/", day + 1, stack.bucket, sample::SOURCE));
    for (name, csv) in sample::objects(day) {
        stack.put(&format!("{}/{name}", sample::SOURCE), csv).await?;
    }
    Ok(())
}

/// The whole story. A report with faults is a run that failed.
pub async fn run(file: Option<PathBuf>) -> Result<Report> {
    let Started { emulator, stack, datasets } = start(file.as_deref()).await?;
    let reader = Reader::start(&stack);
    let mut report = Report::default();
    let days = if file.is_none() { DAYS } else { 1 };
    for day in 0..days {
        if day > 0 {
            put_sample(&stack, day).await?;
        }
        Day::new(&stack, &datasets).await?.pass(&reader, &mut report).await?;
        if !report.faults.is_empty() {
            report.faults.push(format!("the end of the emulator's log:\n{}", emulator.log_tail()));
            break;
        }
    }
    report.reader = reader.finish().await?;
    judge(&stack, &datasets, &mut report).await?;
    Ok(report)
}

/// One firing of the schedule, until every dataset is live with a generation that it was not live with before.
struct Day<'a> {
    stack: &'a Stack,
    /// Those that have not flipped yet, each with what was live before.
    pending: Vec<(&'a Dataset, Option<Location>)>,
    /// Unix milliseconds.
    since: i64,
}

impl<'a> Day<'a> {
    async fn new(stack: &'a Stack, datasets: &'a Datasets) -> Result<Day<'a>> {
        let mut pending = Vec::new();
        for dataset in datasets.config.datasets() {
            pending.push((dataset, live(stack, &dataset.table).await?));
        }
        Ok(Day { stack, pending, since: jiff::Timestamp::now().as_millisecond() })
    }

    async fn pass(mut self, reader: &Reader, report: &mut Report) -> Result<()> {
        self.stack.fire_schedule().await?;
        say("the schedule is due; waiting for EventBridge, export and flip");
        let start = Instant::now();
        let mut quiet = Instant::now();
        let mut logged = 0;
        loop {
            let mut still = Vec::new();
            for (dataset, before) in std::mem::take(&mut self.pending) {
                let now = live(self.stack, &dataset.table).await?;
                match now.as_ref().and_then(|location| dataset.home.parse_generation(location)) {
                    Some(generation) if now != before => {
                        reader.add(&dataset.table);
                        let manifest = manifest(self.stack, dataset, &generation).await?;
                        say(format_args!("{} is live with {generation}: {} rows", dataset.name, manifest.rows));
                        report.builds.push(self.build(dataset, &manifest).await?);
                        quiet = Instant::now();
                    }
                    _ => still.push((dataset, before)),
                }
            }
            self.pending = still;
            if self.pending.is_empty() {
                return Ok(());
            }

            let lines = self.lines().await?;
            let errors: Vec<&Value> =
                lines.iter().filter(|line| line["level"] == "ERROR" || line.is_string()).collect();
            if lines.len() > logged {
                logged = lines.len();
                quiet = Instant::now();
            }
            // An export logs when it has ended: as long as one runs, silence means nothing.
            let ended = lines.iter().filter(|line| field(line, "generation").is_some()).count() + errors.len();
            let hopeless = !errors.is_empty() && ended >= self.pending.len() && quiet.elapsed() > QUIET;
            if hopeless || start.elapsed() > TIMEOUT {
                for (dataset, _) in &self.pending {
                    report.faults.push(format!("{} did not go live", dataset.name));
                }
                report.faults.extend(lines.iter().map(|line| format!("log: {line}")));
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn lines(&self) -> Result<Vec<Value>> {
        let mut lines = self.stack.logs("export", self.since).await?;
        lines.extend(self.stack.logs("flip", self.since).await?);
        Ok(lines)
    }

    /// The functions' own measurements. They come with the end of an invocation, shortly after the flip itself.
    async fn build(&self, dataset: &Dataset, manifest: &Manifest) -> Result<Build> {
        let mut build = Build {
            dataset: dataset.name.clone(),
            generation: manifest.generation,
            rows: manifest.rows,
            bytes: manifest.bytes,
            export_s: 0.0,
            flip_s: 0.0,
        };
        let generation = manifest.generation.to_string();
        for _ in 0..50 {
            let seconds = |lines: Vec<Value>, key: &str| {
                let line = lines.into_iter().find(|line| {
                    field(line, key).and_then(Value::as_str).is_some_and(|value| value.contains(&generation))
                })?;
                field(&line, "seconds")?.as_f64()
            };
            let export = seconds(self.stack.logs("export", self.since).await?, "generation");
            let flip = seconds(self.stack.logs("flip", self.since).await?, "live");
            if let (Some(export_s), Some(flip_s)) = (export, flip) {
                (build.export_s, build.flip_s) = (export_s, flip_s);
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(build)
    }
}

/// A field of a structured log line.
fn field<'a>(line: &'a Value, name: &str) -> Option<&'a Value> {
    line.get("fields")?.get(name)
}

/// What the Glue table's location names; `None` where there is no table.
async fn live(stack: &Stack, table: &TableName) -> Result<Option<Location>> {
    let answer = stack.glue.get_table().database_name(&table.database).name(&table.table).send().await;
    let table = match answer {
        Ok(answer) => answer.table,
        Err(error) if error.as_service_error().is_some_and(|error| error.is_entity_not_found_exception()) => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read the Glue table {table}")),
    };
    let location = table.and_then(|table| table.storage_descriptor?.location);
    Ok(location.map(|location| location.parse()).transpose()?)
}

async fn manifest(stack: &Stack, dataset: &Dataset, generation: &Generation) -> Result<Manifest> {
    let key = dataset.home.manifest(generation);
    let object = stack.s3.get_object().bucket(&key.bucket).key(&key.key).send().await;
    let object = object.with_context(|| format!("cannot read {key}"))?;
    Ok(Manifest::from_json(&key, generation, &object.body.collect().await?.to_vec())?)
}

/// Compares what the reader counted with what the manifests say: a query that missed rows did not succeed.
async fn judge(stack: &Stack, datasets: &Datasets, report: &mut Report) -> Result<()> {
    let mut tally = std::mem::take(&mut report.reader);
    for dataset in datasets.config.datasets() {
        let seen: BTreeMap<_, _> = tally.seen.iter().filter(|((table, _), _)| *table == dataset.table).collect();
        let mut short = Vec::new();
        for ((_, folder), counts) in seen {
            let location: Option<Location> = folder.parse().ok();
            let Some(generation) = location.and_then(|location| dataset.home.parse_generation(&location)) else {
                continue;
            };
            let rows = manifest(stack, dataset, &generation).await?.rows;
            short.extend(counts.iter().filter(|(counted, _)| **counted != rows).map(|(counted, queries)| {
                (
                    *queries,
                    format!("{}: {queries} queries saw {counted} of the {rows} rows of {generation}", dataset.name),
                )
            }));
        }
        for (queries, complaint) in short {
            tally.ok -= queries;
            tally.failed += queries;
            tally.complain(complaint);
        }
    }
    let Tally { failed, mixed, .. } = tally;
    if failed > 0 || mixed > 0 {
        report.faults.push(format!("the reader met {failed} failed and {mixed} mixed queries"));
    }
    report.reader = tally;
    Ok(())
}
