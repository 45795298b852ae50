//! `sweep`: deletes what readers can no longer reach, or only shows what it would delete.

use anyhow::Result;
use serde::Deserialize;
use serde_json::json;

use crate::{
    done::Done,
    prompt::{Answer, Change, confirm},
    table::{table, thousands},
    target::{Format, Function, Target},
};

/// What to sweep.
pub struct Sweep<'a> {
    /// The dataset. `None` means all datasets.
    pub dataset: Option<&'a str>,
    pub dry_run: bool,
    /// Whether to delete without asking.
    pub yes: bool,
}

/// The parts of `sweep`'s answer that are shown.
#[derive(Debug, Deserialize)]
struct Swept {
    dry_run: bool,
    deleted: Vec<Item>,
    kept: Vec<Item>,
    bytes: u64,
    skipped: Vec<Skipped>,
    notes: Vec<String>,
    more: bool,
}

#[derive(Debug, Deserialize)]
struct Item {
    dataset: String,
    location: String,
    reason: String,
    bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Skipped {
    dataset: String,
    reason: String,
    #[serde(default)]
    error: Option<String>,
}

/// Sweeps, and shows what was or would be deleted.
pub async fn sweep(target: &Target, sweep: &Sweep<'_>, format: Format) -> Result<Done> {
    let stack = target.connect().await?;
    let mut request = match sweep.dataset {
        Some(dataset) => json!({ "dataset": dataset }),
        None => json!({}),
    };
    if sweep.dry_run {
        request["dry_run"] = true.into();
    } else {
        let of = sweep.dataset.unwrap_or("all datasets");
        let change = Change {
            who: stack.described().await,
            what: format!("delete the unreachable generations of {of}"),
            from: "what `turntable sweep --dry-run` lists".into(),
            to: "nothing".into(),
            undo: "not possible: the files are deleted".into(),
        };
        if let Answer::No(done) = confirm(&change, sweep.yes)? {
            return Ok(done);
        }
    }
    let answer = stack.invoke(Function::Sweep, &request).await?;
    let swept: Swept = Deserialize::deserialize(&answer)?;
    let failed = swept.skipped.iter().any(|one| one.error.is_some());
    let text = match format {
        Format::Json => format!("{answer}\n"),
        Format::Table => shown(&swept),
    };
    Ok(Done::with(text).needing_attention(failed))
}

fn shown(swept: &Swept) -> String {
    let row = |what: &str, one: &Item| {
        [what.to_owned(), one.dataset.clone(), one.location.clone(), thousands(one.bytes), one.reason.clone()]
    };
    let verb = if swept.dry_run { "would delete" } else { "deleted" };
    let rows: Vec<[String; 5]> =
        swept.deleted.iter().map(|one| row(verb, one)).chain(swept.kept.iter().map(|one| row("keeps", one))).collect();
    let mut text = match rows.is_empty() {
        true => String::new(),
        false => table(["", "dataset", "location", "bytes", "why"], [false, false, false, true, false], &rows) + "\n",
    };
    for Skipped { dataset, reason, .. } in &swept.skipped {
        text += &format!("skipped {dataset}: {reason}\n");
    }
    for note in &swept.notes {
        text += &format!("note: {note}\n");
    }
    text += &format!("{verb} {} bytes in {} places\n", thousands(swept.bytes), swept.deleted.len());
    if swept.more {
        text += "there may be more to delete: run the command again\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_and_stays_is_listed_with_the_reasons() {
        let item = |location: &str, reason: &str| json!({ "dataset": "users", "location": location, "reason": reason, "objects": 1, "bytes": 1_000 });
        let answer = json!({
            "dry_run": true, "deleted": [item("s3://lake/a/", "replaced")], "kept": [item("s3://lake/b/", "kept for a rollback")],
            "bytes": 1_000, "skipped": [{ "dataset": "orders", "reason": "no table" }], "notes": ["a note"], "more": true,
        });
        let expected = "
              dataset  location      bytes  why
would delete  users    s3://lake/a/  1,000  replaced
keeps         users    s3://lake/b/  1,000  kept for a rollback

skipped orders: no table
note: a note
would delete 1,000 bytes in 1 places
there may be more to delete: run the command again
";
        assert_eq!(shown(&serde_json::from_value(answer).unwrap()), expected.trim_start_matches('\n'));
        let nothing = json!({ "dry_run": false, "deleted": [], "kept": [], "bytes": 0, "skipped": [], "notes": [], "more": false });
        assert_eq!(shown(&serde_json::from_value(nothing).unwrap()), "deleted 0 bytes in 0 places\n");
    }
}
