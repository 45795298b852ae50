//! `status`: shows the state of all datasets in a stack, or of one.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use turntable::status::{Condition, DatasetSummary, Overview, Topic};

use crate::{
    dataset::{self, Dataset},
    done::Done,
    style::Style,
    table::{table, thousands},
    target::{Format, Function, Stack, Target},
};

/// Shows the state of all datasets or of one. The exit code is 1 if something needs attention.
pub async fn status(target: &Target, dataset: Option<&str>, format: Format, style: Style) -> Result<Done> {
    let stack = target.connect().await?;
    let (overview, answer) = overview(&stack).await?;
    let Some(name) = dataset else {
        let text = match format {
            Format::Json => format!("{answer}\n"),
            Format::Table => shown(&overview, style, &target.options()),
        };
        return Ok(Done::with(text).needing_attention(!overview.conditions.is_empty()));
    };
    let (mut one, answer) = Dataset::status(&stack, name).await?;
    mark_rejected(&mut one, &overview);
    let conditions: Vec<&Condition> = overview.conditions.iter().filter(|found| is_about(found, name)).collect();
    let text = match format {
        Format::Json => format!("{answer}\n"),
        Format::Table => {
            let options = target.options();
            shown_one(&one) + &next_step(&overview, name, &options) + &told(&conditions, &overview, style, &options)
        }
    };
    Ok(Done::with(text).needing_attention(!conditions.is_empty()))
}

/// Invokes the stack's `flip` with the action `status`. Returns the overview, and the unparsed answer.
pub async fn overview(stack: &Stack) -> Result<(Overview, Value)> {
    let answer = stack.invoke(Function::Flip, &json!({ "action": "status" })).await?;
    let overview = Overview::deserialize(&answer)
        .context("cannot read flip's answer: the stack may run another version of Turntable than this command")?;
    Ok((overview, answer))
}

/// Sets the state of the dataset's rejected generation to `rejected`. The overview names only the newest one.
pub fn mark_rejected(one: &mut Dataset, overview: &Overview) {
    let Some(summary) = overview.datasets.iter().find(|summary| summary.dataset == one.dataset) else { return };
    let Some(rejected) = summary.waits.filter(|_| summary.rejected.is_some()) else { return };
    let rejected = rejected.to_string();
    for known in one.generations.iter_mut().filter(|known| known.generation == rejected) {
        known.state = "rejected".into();
    }
}

/// Returns a line with the command that publishes the dataset's waiting candidate. Empty if no candidate waits.
pub fn next_step(overview: &Overview, dataset: &str, options: &str) -> String {
    let summary = overview.datasets.iter().find(|summary| summary.dataset == dataset);
    summary.and_then(|summary| publishing(summary, options)).unwrap_or_default()
}

/// Returns whether a condition is about a dataset. Its id is `TOPIC:SUBJECT`.
fn is_about(condition: &Condition, dataset: &str) -> bool {
    condition.id.split_once(':').is_some_and(|(_, subject)| subject == dataset)
}

/// Describes one dataset.
fn shown_one(one: &Dataset) -> String {
    let live = one.generations.iter().find(|known| Some(&known.generation) == one.live.as_ref());
    let mut lines = vec![("live", one.described(one.live.as_deref()))];
    if let Some(live) = live {
        lines.push(("as of", format!("{} ({} ago)", dataset::at(live.as_of), age(live.age_seconds))));
        if let Some(flip) = &live.flipped {
            let why = flip.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            lines.push(("flipped", format!("{} by {}{why}", dataset::at(flip.at), flip.by)));
        }
    }
    if let Some(hold) = &one.hold {
        lines.push(("held", format!("since {}: {}", dataset::at(hold.at), hold.reason)));
    }
    if let Some(group) = &one.group {
        lines.push(("group", group.name.clone()));
    }
    if let Some(inbox) = &one.inbox {
        let people = inbox.keys.map(thousands).unwrap_or_else(|| "–".into());
        lines.push(("inbox", format!("{people} people, {} unread drops, {} rejected", inbox.unread, inbox.rejected)));
    }
    for state in ["candidate", "rejected"] {
        let known = one.generations.iter().filter(|known| known.state == state);
        lines.extend(known.map(|known| (state, one.described(Some(&known.generation)))));
    }
    if let Some(skipped) = &one.next_sweep.skipped {
        lines.push(("sweep", format!("would skip this dataset: {skipped}")));
    }
    let deletes = one.next_sweep.deletes.iter();
    lines.extend(deletes.map(|fate| ("sweep", format!("would delete {}: {}", fate.generation, fate.reason))));
    let head = format!("{}\n", one.dataset);
    lines.into_iter().fold(head, |text, (name, value)| text + &format!("  {name:<9}  {value}\n"))
}

/// Returns a line for each dataset, followed by the commands that publish waiting candidates and the datasets that need
/// attention. `options` select the stack in the commands.
pub fn shown(overview: &Overview, style: Style, options: &str) -> String {
    const HEAD: [&str; 7] = ["dataset", "live", "rows", "bytes", "age", "flipped", ""];
    let number = |number: Option<u64>| number.map(thousands).unwrap_or_default();
    let row = |one: &DatasetSummary| {
        let flipped = one.flipped_at.map(|at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string());
        [
            one.dataset.clone(),
            one.live.clone().unwrap_or_else(|| "–".into()),
            number(one.rows),
            number(one.bytes),
            one.age_seconds.map(age).unwrap_or_default(),
            flipped.unwrap_or_default(),
            state(one).into(),
        ]
    };
    let rows: Vec<[String; 7]> = overview.datasets.iter().map(row).collect();
    let lines = table(HEAD, [false, false, true, true, true, false, false], &rows);
    // The first line is the header. The others are the datasets, in order.
    let needs_a_person =
        |at: usize| at.checked_sub(1).and_then(|at| rows.get(at)).is_some_and(|row| !row[6].is_empty());
    let mark = |(at, line): (usize, &str)| match at {
        0 => style.bold(line),
        at if needs_a_person(at) => style.yellow(line),
        _ => line.to_owned(),
    };
    let mut text: String = lines.lines().enumerate().map(|line| mark(line) + "\n").collect();
    let next: String = overview.datasets.iter().filter_map(|one| publishing(one, options)).collect();
    if !next.is_empty() {
        text += &format!("\n{next}");
    }
    let (missing, others): (Vec<&Condition>, Vec<&Condition>) =
        overview.conditions.iter().partition(|one| one.is(Topic::NoTable));
    text + &told(&others, overview, style, options) + &without_table(&missing, style)
}

/// Describes the datasets without a table in one paragraph, because a new stack has many.
fn without_table(missing: &[&Condition], style: Style) -> String {
    let Some(first) = missing.first() else { return String::new() };
    let names: Vec<&str> = missing.iter().filter_map(|one| Some(one.id.split_once(':')?.1)).collect();
    let what = if names.len() == 1 { "this dataset has" } else { "these datasets have" };
    format!("\n{}, see {}\n  {what} no table yet: {}\n", style.yellow("no-table"), first.runbook, names.join(", "))
}

/// Returns a line with the command that publishes a waiting candidate. `None` if no candidate waits, or if it is an
/// inbox's, which the next refresh replaces.
fn publishing(one: &DatasetSummary, options: &str) -> Option<String> {
    let waits = one.waits.filter(|_| state(one) == WAITING && !one.is_inbox)?;
    let name = &one.dataset;
    Some(format!("{name}: a candidate waits; to publish it, run turntable flip {name} {waits}{options}\n"))
}

/// Describes the conditions, after an empty line, and how to send the requests that they name.
fn told(conditions: &[&Condition], overview: &Overview, style: Style, options: &str) -> String {
    let mut text = String::new();
    for one in conditions {
        let since = one.since.map(|since| {
            let seconds = overview.at.duration_since(since).as_secs();
            format!(" for {} (since {})", age(seconds), dataset::at(since))
        });
        let since = since.unwrap_or_default();
        text += &format!("{}{since}, see {}\n  {}\n", style.yellow(&one.id), one.runbook, one.message);
    }
    if conditions.iter().any(|one| one.message.contains("invoke ")) {
        text += &format!("\nTo invoke a function, run for example turntable ask flip '{{…}}'{options}\n");
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

const WAITING: &str = "candidate waits";
const MISSING: &str = "no table yet";

fn state(one: &DatasetSummary) -> &'static str {
    match one {
        DatasetSummary { error: Some(_), .. } => "error",
        DatasetSummary { damaged: Some(_), .. } => "damaged",
        DatasetSummary { drift: Some(_), .. } | DatasetSummary { edited: Some(_), .. } => "drift",
        DatasetSummary { unfinished: Some(_), .. } => "flipping",
        DatasetSummary { hold: Some(_), .. } => "held",
        DatasetSummary { rejected: Some(_), .. } => "rejected",
        DatasetSummary { failed_export: Some(failure), .. } if failure.retry_at.is_some() => "export is retried",
        DatasetSummary { failed_export: Some(_), .. } => "export failed",
        DatasetSummary { waits: Some(_), .. } => WAITING,
        DatasetSummary { live: None, .. } => MISSING,
        _ => "",
    }
}

/// Formats an age in its two largest units, such as `3d 4h`. Below one minute, only in seconds.
fn age(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{}s", seconds.max(0)),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_each_dataset_then_what_needs_attention() {
        let answer = json!({
            "outcome": "status",
            "at": "2026-11-23T02:00:00Z",
            "attention": ["orders: held: a restore", "users: no table, and nothing has been exported yet"],
            "conditions": [
                { "id": "held:orders", "message": "orders: held: a restore", "since": "2026-11-22T22:30:00Z",
                  "runbook": "docs/operate.md#a-dataset-is-held" },
                { "id": "no-table:users", "message": "users: no table, and nothing has been exported yet",
                  "runbook": "docs/operate.md#no-table-yet" },
            ],
            "datasets": [
                { "dataset": "orders", "live": "green-01JDA00000000000000000000B", "rows": 1_234_567, "bytes": 99,
                  "as_of": "2026-11-22T01:00:00Z", "age_seconds": 90_000, "flipped_at": "2026-11-22T01:00:05Z",
                  "by": "event", "hold": "a restore" },
                { "dataset": "users", "live": null },
            ],
        });
        let overview = serde_json::from_value(answer).unwrap();
        let expected = "\
dataset  live                                   rows  bytes    age  flipped
orders   green-01JDA00000000000000000000B  1,234,567     99  1d 1h  2026-11-22 01:00:05Z  held
users    –                                                                                no table yet

held:orders for 3h 30m (since 2026-11-22 22:30:00Z), see docs/operate.md#a-dataset-is-held
  orders: held: a restore

no-table, see docs/operate.md#no-table-yet
  this dataset has no table yet: users
";
        assert_eq!(shown(&overview, Style::PLAIN, ""), expected);
    }

    #[test]
    fn a_candidate_that_waits_and_a_request_have_their_commands() {
        let answer = json!({
            "outcome": "status",
            "at": "2026-11-23T02:00:00Z",
            "attention": ["orders: invoke flip with {}"],
            "conditions": [
                { "id": "rejected:orders", "message": "orders: invoke flip with {}", "runbook": "docs/operate.md#rejected" },
            ],
            "datasets": [
                { "dataset": "orders", "live": null, "waits": "green-01JDA00000000000000000000B",
                  "rejected": { "at": "2026-11-23T01:00:00Z", "reasons": ["min_rows"] } },
                { "dataset": "users", "live": null, "waits": "green-01JDA00000000000000000000B" },
            ],
        });
        let overview: Overview = serde_json::from_value(answer).unwrap();
        let expected = "
users: a candidate waits; to publish it, run turntable flip users green-01JDA00000000000000000000B --stack lake

rejected:orders, see docs/operate.md#rejected
  orders: invoke flip with {}

To invoke a function, run for example turntable ask flip '{…}' --stack lake
";
        let text = shown(&overview, Style::PLAIN, " --stack lake");
        assert!(text.ends_with(expected), "{text}");
        let answer = json!({
            "dataset": "orders", "outcome": "status", "live": null,
            "generations": [
                { "generation": "green-01JDA00000000000000000000B", "state": "candidate", "live": false,
                  "as_of": "2026-11-22T02:00:00Z", "age_seconds": 60, "rows": 1_200, "bytes": 99 },
            ],
        });
        let mut one = Dataset::read(&answer).unwrap();
        mark_rejected(&mut one, &overview);
        let expected = "orders\n  live       no table\n  rejected   green-01JDA00000000000000000000B (1,200 rows)\n";
        assert_eq!(shown_one(&one), expected);
    }

    #[test]
    fn one_dataset_is_described() {
        let answer = json!({
            "dataset": "users", "outcome": "status", "live": "blue-01JDA00000000000000000000A", "previous": null, "reasons": [],
            "hold": { "at": "2026-11-22T03:00:01Z", "reason": "a restore", "released": false },
            "generations": [
                { "generation": "green-01JDA00000000000000000000B", "state": "candidate", "live": false,
                  "as_of": "2026-11-22T02:00:00Z", "age_seconds": 60, "rows": 1_200, "bytes": 99 },
                { "generation": "blue-01JDA00000000000000000000A", "state": "live", "live": true,
                  "as_of": "2026-11-21T02:00:00Z", "age_seconds": 86_460, "rows": 1_100, "bytes": 88,
                  "flipped": { "at": "2026-11-22T03:00:00Z", "by": "rollback", "why": "wrong prices" } },
            ],
            "next_sweep": { "deletes": [{ "generation": "green-0", "reason": "replaced" }], "keeps": [] },
        });
        let expected = "\
users
  live       blue-01JDA00000000000000000000A (1,100 rows)
  as of      2026-11-21 02:00:00Z (1d 0h ago)
  flipped    2026-11-22 03:00:00Z by rollback: wrong prices
  held       since 2026-11-22 03:00:01Z: a restore
  candidate  green-01JDA00000000000000000000B (1,200 rows)
  sweep      would delete green-0: replaced
";
        assert_eq!(shown_one(&Dataset::read(&answer).unwrap()), expected);
    }

    #[test]
    fn a_condition_belongs_to_the_dataset_of_its_id() {
        let condition = Condition::new(Topic::Held, "users", "held");
        assert!(is_about(&condition, "users") && !is_about(&condition, "user"));
    }

    #[test]
    fn age_has_two_units() {
        assert_eq!([0, 59, 60, 3_661, 90_000].map(age), ["0s", "59s", "1m 0s", "1h 1m", "1d 1h"]);
    }
}
