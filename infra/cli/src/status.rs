//! `status`: shows the state of all datasets in a stack as a table.

use anyhow::{Context, Result};
use serde_json::json;
use turntable::status::{Condition, DatasetSummary, Overview, Topic};

use crate::{
    lambda::Lambda,
    place::{Account, Place},
    table::{table, thousands},
};

/// Loads a stack's overview.
pub async fn load(stack: &str, account: Account) -> Result<Overview> {
    overview(&Lambda::new(&Place::of(account).await?.aws)?, stack).await
}

/// Invokes the stack's `flip` with the action `status`, and returns the overview that it answers.
pub async fn overview(lambda: &Lambda, stack: &str) -> Result<Overview> {
    let answer = lambda.invoke(&format!("{stack}-flip"), &json!({ "action": "status" })).await??;
    serde_json::from_value(answer)
        .context("cannot read flip's result: the stack may run a different version of Turntable than this command")
}

/// Returns a line for each dataset, followed by the datasets that need attention.
pub fn shown(overview: &Overview) -> String {
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
    let mut text = table(HEAD, [false, false, true, true, true, false, false], &rows);
    // The row of a dataset without a table already says so.
    let conditions: Vec<&Condition> = overview.conditions.iter().filter(|one| !one.is(Topic::NoTable)).collect();
    if !conditions.is_empty() {
        text.push('\n');
    }
    for one in conditions {
        let since = one.since.map(|since| {
            let seconds = overview.at.duration_since(since).as_secs();
            format!(" for {} (since {})", age(seconds), since.strftime("%Y-%m-%d %H:%M:%SZ"))
        });
        text += &format!("{}{}, see {}\n  {}\n", one.id, since.unwrap_or_default(), one.runbook, one.message);
    }
    text
}

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
        DatasetSummary { waits: Some(_), .. } => "candidate waits",
        DatasetSummary { live: None, .. } => MISSING,
        _ => "",
    }
}

/// Formats an age in its two largest units, such as `3d 4h`, or in seconds below one minute.
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
";
        assert_eq!(shown(&overview), expected);
    }

    #[test]
    fn age_has_two_units() {
        assert_eq!([0, 59, 60, 3_661, 90_000].map(age), ["0s", "59s", "1m 0s", "1h 1m", "1d 1h"]);
    }
}
