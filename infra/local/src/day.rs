//! One day: the schedule fires, and every dataset gets a new live generation.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use client::datasets::Datasets;
use serde_json::{Value, json};
use turntable::{
    config::Dataset,
    layout::{Generation, Location, TableName},
    manifest::Manifest,
};

use crate::{
    outcome::{LiveGeneration, Rejected},
    progress::say,
    reader::Reader,
    report::Report,
    stack::Stack,
    verdict::{Pending, Verdict, verdicts},
};

/// How long to wait until every dataset is live: the maximum duration of one Lambda invocation.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(900);
/// How long to wait for more log lines. After an error, the datasets that are not live count as failed if no line
/// arrives for this long. After a flip, a duration that is not logged within this time stays 0.
const QUIET_PERIOD: Duration = Duration::from_secs(5);

/// One day of a run, from its schedule to the flips of all datasets except inboxes.
pub struct Day<'a> {
    stack: &'a Stack,
    /// The datasets that haven't flipped yet, each with its table's location before this day (`None`: no table).
    pending: Vec<(&'a Dataset, Option<Location>)>,
    /// When the day started, in Unix milliseconds.
    since: i64,
}

impl<'a> Day<'a> {
    /// Prepares a day of the datasets that the stack's schedule exports. With `all`, also of those that have a `refresh`
    /// of their own.
    pub async fn new(stack: &'a Stack, datasets: &'a Datasets, all: bool) -> Result<Day<'a>> {
        let mut pending = Vec::new();
        // Drops refresh inboxes.
        let of_the_day = |dataset: &&Dataset| !dataset.is_inbox() && (all || dataset.refresh.is_none());
        for dataset in datasets.config.datasets().filter(of_the_day) {
            pending.push((dataset, live(stack, &dataset.table).await?));
        }
        let since = jiff::Timestamp::now().as_millisecond();
        Ok(Day { stack, pending, since })
    }

    /// Fires the schedule and waits until every dataset is live. Adds each new generation to the report, and its table
    /// to the reader. When waiting longer is pointless, adds the reasons to the report's faults and returns.
    pub async fn pass(mut self, reader: &Reader, report: &mut Report) -> Result<()> {
        self.stack.fire_schedule().await?;
        self.export_unscheduled().await?;
        say("the schedule is due; the emulator fires it within ten seconds");
        let mut patience = Patience::new();
        while !self.pending.is_empty() {
            let flipped = self.flipped().await?;
            for (dataset, manifest) in &flipped {
                say(format_args!("{} is live with {}: {} rows", dataset.name, manifest.generation, manifest.rows));
                reader.add(&dataset.table);
                report.builds.push(build(self.stack, self.since, dataset, manifest).await?);
            }
            let lines = self.lines().await?;
            if patience.is_over(&lines) {
                self.explain(&lines, report).await?;
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Requests the exports that the schedule leaves out, except for datasets that are built from others: these follow
    /// by themselves.
    async fn export_unscheduled(&self) -> Result<()> {
        let is_asked = |dataset: &Dataset| dataset.refresh.as_ref().is_some_and(|refresh| refresh.after.is_empty());
        let pending = self.pending.iter().filter(|(dataset, _)| is_asked(dataset));
        let names: Vec<&str> = pending.map(|(dataset, _)| dataset.name.as_str()).collect();
        if !names.is_empty() {
            self.stack.invoke("export", &json!({ "dataset": names })).await??;
        }
        Ok(())
    }

    /// Adds the log lines to the report, and why each pending dataset is not live.
    async fn explain(&self, lines: &[Value], report: &mut Report) -> Result<()> {
        let pending = self.pending.iter().map(|(dataset, _)| Pending {
            dataset: &dataset.name,
            group: dataset.group.as_ref().map(|group| group.name.as_str()),
        });
        let (verdicts, others) = verdicts(&pending.collect::<Vec<_>>(), lines);
        for ((dataset, _), Verdict { rejected, error, .. }) in self.pending.iter().zip(verdicts) {
            let name = &dataset.name;
            let candidate: Option<Generation> = rejected.and_then(|candidate| candidate.parse().ok());
            let fault = match (candidate, error) {
                (Some(candidate), Some(error)) => {
                    let rows = manifest(self.stack, dataset, &candidate).await?.rows;
                    report.rejected.push(Rejected { dataset: name.clone(), candidate, rows, error });
                    format!("{name} is not live: its candidate was rejected")
                }
                (_, Some(error)) => format!("{name} is not live: {error}"),
                (_, None) => format!("{name} is not live, and no function says why"),
            };
            report.faults.push(fault);
        }
        report.faults.extend(others);
        report.logs.extend(lines.iter().map(shown));
        Ok(())
    }

    /// Removes the datasets that have flipped from `pending`, and returns them.
    async fn flipped(&mut self) -> Result<Vec<(&'a Dataset, Manifest)>> {
        let (mut flipped, mut still) = (Vec::new(), Vec::new());
        for (dataset, before) in std::mem::take(&mut self.pending) {
            let now = live(self.stack, &dataset.table).await?;
            match now.as_ref().and_then(|location| dataset.paths.parse_generation(location)) {
                Some(generation) if now != before => {
                    flipped.push((dataset, manifest(self.stack, dataset, &generation).await?));
                }
                _ => still.push((dataset, before)),
            }
        }
        self.pending = still;
        Ok(flipped)
    }

    async fn lines(&self) -> Result<Vec<Value>> {
        lines(self.stack, self.since).await
    }
}

async fn lines(stack: &Stack, since: i64) -> Result<Vec<Value>> {
    let mut lines = stack.logs("export", since).await?;
    lines.extend(stack.logs("flip", since).await?);
    Ok(lines)
}

/// Describes a generation that has just gone live. Its durations come from the functions' logs, which the emulator
/// delivers at the end of an invocation, shortly after the flip.
pub async fn build(stack: &Stack, since: i64, dataset: &Dataset, manifest: &Manifest) -> Result<LiveGeneration> {
    let mut build = LiveGeneration {
        dataset: dataset.name.clone(),
        generation: manifest.generation,
        rows: manifest.rows,
        bytes: manifest.bytes,
        export_s: 0.0,
        flip_s: 0.0,
    };
    let generation = manifest.generation.to_string();
    let start = Instant::now();
    while start.elapsed() < QUIET_PERIOD {
        let lines = lines(stack, since).await?;
        let seconds = |keys: &[&str]| {
            let has = |line: &Value, key| field(line, key).as_str().is_some_and(|value| value.contains(&generation));
            let names = |line: &&Value| keys.iter().any(|key| has(line, key));
            field(lines.iter().find(names)?, "seconds").as_f64()
        };
        // For a group, one line names the generations of all members.
        if let (Some(export_s), Some(flip_s)) = (seconds(&["generation"]), seconds(&["live", "members"])) {
            (build.export_s, build.flip_s) = (export_s, flip_s);
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(build)
}

/// Decides when to stop waiting for datasets that are not live.
struct Patience {
    start: Instant,
    last_line: Instant,
    lines: usize,
}

impl Patience {
    fn new() -> Patience {
        Patience { start: Instant::now(), last_line: Instant::now(), lines: 0 }
    }

    /// Returns whether to stop waiting, given all log lines of the day so far.
    fn is_over(&mut self, lines: &[Value]) -> bool {
        if lines.len() != self.lines {
            (self.lines, self.last_line) = (lines.len(), Instant::now());
        }
        let errors = lines.iter().filter(|line| is_error(line)).count();
        let exported = lines.iter().filter(|line| field(line, "message") == "exported").count();
        // `datasets` is the number of queued messages: one per dataset or group.
        let fanned_out = lines.iter().find(|line| field(line, "message") == "queued");
        let messages = fanned_out.and_then(|line| field(line, "datasets").as_u64()).unwrap_or_default();
        // An export's lines arrive only when it ends, so silence means nothing while an export is running.
        let at_rest = errors > 0 && (errors + exported) as u64 >= messages;
        self.start.elapsed() > EXPORT_TIMEOUT || at_rest && self.last_line.elapsed() > QUIET_PERIOD
    }
}

/// Returns whether a log line reports an error. An unstructured line always does: it comes from a panic, or from the
/// emulator when a function can't start.
fn is_error(line: &Value) -> bool {
    line["level"] == "ERROR" || line.is_string()
}

/// Returns a field from a structured log line, or null.
fn field<'a>(line: &'a Value, name: &str) -> &'a Value {
    &line["fields"][name]
}

/// Formats a log line as its level and its `NAME=VALUE` fields; an unstructured line stays as it is.
fn shown(line: &Value) -> String {
    let (Some(level), Some(fields)) = (line["level"].as_str(), line["fields"].as_object()) else {
        return line.as_str().map_or_else(|| line.to_string(), str::to_owned);
    };
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{level} {}", fields.join(" "))
}

/// Returns the Glue table's location, or `None` if there is no table or it has no location.
pub async fn live(stack: &Stack, table: &TableName) -> Result<Option<Location>> {
    let answer = stack.glue.get_table().database_name(&table.database).name(&table.table).send().await;
    let table = match answer {
        Ok(answer) => answer.table,
        Err(error) if error.as_service_error().is_some_and(|error| error.is_entity_not_found_exception()) => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read the Glue table {table}")),
    };
    let location = table.and_then(|table| table.storage_descriptor?.location);
    Ok(location.map(|location| location.parse()).transpose()?)
}

/// Reads a generation's manifest.
pub async fn manifest(stack: &Stack, dataset: &Dataset, generation: &Generation) -> Result<Manifest> {
    let key = dataset.paths.manifest(generation);
    let object = stack.s3.get_object().bucket(&key.bucket).key(&key.key).send().await;
    let object = object.with_context(|| format!("cannot read {key}"))?;
    Ok(Manifest::from_json(&key, generation, &object.body.collect().await?.to_vec())?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn waiting_ends_when_every_export_has_ended_and_one_failed() {
        let queued = json!({ "level": "INFO", "fields": { "message": "queued", "datasets": 2 } });
        let exported = json!({ "level": "INFO", "fields": { "message": "exported", "generation": "blue-1" } });
        let failed = json!({ "level": "ERROR", "fields": { "message": "failed" } });
        let is_over = |lines: &[Value]| {
            let mut patience = Patience::new();
            patience.is_over(lines);
            patience.last_line -= QUIET_PERIOD * 2;
            patience.is_over(lines)
        };
        assert!(is_over(std::slice::from_ref(&failed)), "the schedule's own invocation failed");
        assert!(!is_over(&[queued.clone(), failed.clone()]), "the other export may still run");
        assert!(is_over(&[queued.clone(), failed.clone(), exported.clone()]));
        assert!(!is_over(&[queued, exported.clone(), exported]), "nothing failed");
    }

    #[test]
    fn log_line_is_shown_on_one_line() {
        let line = json!({ "level": "ERROR", "fields": { "error": "no", "kind": "Input" }, "span": {} });
        assert_eq!(shown(&line), r#"ERROR error="no" kind="Input""#);
        assert_eq!(shown(&json!("thread panicked")), "thread panicked");
    }
}
