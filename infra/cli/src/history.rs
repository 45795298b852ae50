//! `history`: shows a dataset's generations, newest first.

use anyhow::Result;

use crate::{
    dataset::{Dataset, Flipped, Generation, at},
    done::Done,
    status::{mark_rejected, overview},
    table::{table, thousands},
    target::{Format, Target},
};

/// Requests a dataset's generations and shows them.
pub async fn history(target: &Target, dataset: &str, format: Format) -> Result<Done> {
    let stack = target.connect().await?;
    let (mut found, answer) = Dataset::status(&stack, dataset).await?;
    Ok(Done::with(match format {
        Format::Json => format!("{}\n", answer["generations"]),
        Format::Table => {
            if found.generations.iter().any(|one| one.state == "candidate") {
                mark_rejected(&mut found, &overview(&stack).await?.0);
            }
            shown(&found)
        }
    }))
}

fn shown(dataset: &Dataset) -> String {
    const HEAD: [&str; 9] = ["generation", "state", "rows", "bytes", "as of", "flipped", "by", "why", "request"];
    if dataset.generations.is_empty() {
        return format!("{} has no complete generation\n", dataset.dataset);
    }
    let row = |one: &Generation| {
        let flipped = |show: fn(&Flipped) -> String| one.flipped.as_ref().map(show).unwrap_or_default();
        [
            one.generation.clone(),
            one.state.clone(),
            thousands(one.rows),
            thousands(one.bytes),
            at(one.as_of),
            flipped(|flip| at(flip.at)),
            flipped(|flip| flip.by.clone()),
            flipped(|flip| flip.why.clone().unwrap_or_default()),
            flipped(|flip| flip.request_id.clone().unwrap_or_default()),
        ]
    };
    let rows: Vec<[String; 9]> = dataset.generations.iter().map(row).collect();
    table(HEAD, [false, false, true, true, false, false, false, false, false], &rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_generation_has_a_line() {
        let answer = json!({
            "dataset": "users", "outcome": "status", "live": "blue-01JDA00000000000000000000A", "previous": null, "reasons": [],
            "generations": [
                { "generation": "green-01JDA00000000000000000000B", "state": "replaced", "live": false,
                  "as_of": "2026-11-22T02:00:00Z", "age_seconds": 60, "rows": 1_200, "bytes": 99,
                  "flipped": { "at": "2026-11-22T02:00:05Z", "by": "event" } },
                { "generation": "blue-01JDA00000000000000000000A", "state": "live", "live": true,
                  "as_of": "2026-11-21T02:00:00Z", "age_seconds": 86_460, "rows": 1_100, "bytes": 88,
                  "flipped": { "at": "2026-11-22T03:00:00Z", "by": "rollback", "why": "wrong prices", "request_id": "7c1e" } },
            ],
        });
        let expected = "\
generation                        state      rows  bytes  as of                 flipped               by        why           request
green-01JDA00000000000000000000B  replaced  1,200     99  2026-11-22 02:00:00Z  2026-11-22 02:00:05Z  event
blue-01JDA00000000000000000000A   live      1,100     88  2026-11-21 02:00:00Z  2026-11-22 03:00:00Z  rollback  wrong prices  7c1e
";
        assert_eq!(shown(&Dataset::read(&answer).unwrap()), expected);
        let none = json!({ "dataset": "users", "outcome": "status", "live": null });
        assert_eq!(shown(&Dataset::read(&none).unwrap()), "users has no complete generation\n");
    }
}
