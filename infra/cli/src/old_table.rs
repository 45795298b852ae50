//! `retire`, `rename` and `move`: decide what happens to a table or a folder that datasets.toml no longer names.

use anyhow::Result;
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::{
    dataset::Dataset,
    done::Done,
    prompt::{Answer, Change, confirm},
    target::{Format, Function, Target},
};

/// What to do with the old table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OldTable {
    /// Leave it as it is, and keep its files
    Keep,
    /// Drop it; sweep deletes its files when no query can read them any more
    Drop,
}

impl OldTable {
    fn name(self) -> &'static str {
        match self {
            OldTable::Keep => "keep",
            OldTable::Drop => "drop",
        }
    }
}

/// What has changed in datasets.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The dataset is no longer there.
    Retire { table: OldTable },
    /// The dataset has another table. `from` is the old one, as `DATABASE.TABLE`.
    Rename { from: String, table: OldTable },
    /// The dataset has another location. `from` is the old one.
    Move { from: String },
}

impl Step {
    fn request(&self, dataset: &str, reason: &str) -> Value {
        let mut request = json!({ "dataset": dataset, "reason": reason });
        let mut set = |name: &str, value: &str| request[name] = value.into();
        match self {
            Step::Retire { table } => {
                set("action", "retire");
                set("table", table.name());
            }
            Step::Rename { from, table } => {
                set("action", "rename");
                set("from", from);
                set("table", table.name());
            }
            Step::Move { from } => {
                set("action", "move");
                set("from", from);
            }
        }
        request
    }

    /// Returns the outcome that means that the request did what it should.
    fn wanted(&self) -> &'static str {
        match self {
            Step::Retire { .. } => "retired",
            Step::Rename { .. } => "renamed",
            Step::Move { .. } => "moved",
        }
    }

    /// Describes what the request will change.
    fn planned(&self, dataset: &str, who: String, options: &str) -> Change {
        const DROPPED: &str = "and sweep deletes its files when no query can read them any more";
        let (what, from, to, undo) = match self {
            Step::Retire { table: OldTable::Keep } => (
                format!("retire {dataset}, and keep its table"),
                "a table that status lists, because no dataset publishes it".to_owned(),
                "the same table with the same rows, which status doesn't list".to_owned(),
                format!("add {dataset} to datasets.toml again"),
            ),
            Step::Retire { table: OldTable::Drop } => (
                format!("retire {dataset}, and drop its table"),
                "a table that status lists, because no dataset publishes it".to_owned(),
                format!("no table and none of its views, {DROPPED}"),
                format!("nothing brings the rows back; add {dataset} to datasets.toml again for a new table"),
            ),
            Step::Rename { from, table } => {
                let old = match table {
                    OldTable::Keep => format!("{from} stays as it is"),
                    OldTable::Drop => format!("{from} is dropped, so queries that name it fail"),
                };
                let undo = match table {
                    OldTable::Keep => format!("set the old table in datasets.toml again; {from} is still there"),
                    OldTable::Drop => format!(
                        "set the old table in datasets.toml again, then turntable rename {dataset} --from DATABASE.TABLE \
                         --table drop --reason TEXT{options}"
                    ),
                };
                let to = format!("the table that datasets.toml names now; {old}");
                (format!("rename the table of {dataset}"), from.clone(), to, undo)
            }
            Step::Move { from } => (
                format!("move {dataset} and all members of its group"),
                from.clone(),
                "the location that datasets.toml has now, with the next flip; sweep deletes the old folder".to_owned(),
                format!(
                    "set the old location in datasets.toml again, then turntable move {dataset} --from LOCATION --reason \
                     TEXT{options}"
                ),
            ),
        };
        Change { who, what, from, to, undo }
    }
}

/// Asks for confirmation, sends the request, and shows the result.
pub async fn old_table(
    target: &Target,
    dataset: &str,
    step: &Step,
    (reason, yes): (&str, bool),
    format: Format,
) -> Result<Done> {
    let stack = target.connect().await?;
    let change = step.planned(dataset, stack.described().await, &target.options());
    if let Answer::No(done) = confirm(&change, yes)? {
        return Ok(done);
    }
    let answer = stack.invoke(Function::Flip, &step.request(dataset, reason)).await?;
    let done = Dataset::read(&answer)?;
    let is_done = done.outcome == step.wanted();
    let text = match format {
        Format::Json => format!("{answer}\n"),
        Format::Table => shown(&done),
    };
    Ok(Done::with(text).needing_attention(!is_done))
}

fn shown(done: &Dataset) -> String {
    let mut text = format!("{}: {}\n", done.dataset, done.outcome);
    text.extend(done.reasons.iter().map(|reason| format!("  {reason}\n")));
    if !done.stays.is_empty() {
        text += "stays in the bucket:\n";
        text.extend(done.stays.iter().map(|one| format!("  {}  {}\n", one.at, one.what)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_those_of_the_wire() {
        let (keep, drop) = (OldTable::Keep, OldTable::Drop);
        assert_eq!(
            Step::Retire { table: keep }.request("orders", "frozen"),
            json!({ "dataset": "orders", "action": "retire", "table": "keep", "reason": "frozen" })
        );
        assert_eq!(
            Step::Rename { from: "dmp.users".into(), table: drop }.request("users", "r"),
            json!({ "dataset": "users", "action": "rename", "from": "dmp.users", "table": "drop", "reason": "r" })
        );
        assert_eq!(
            Step::Move { from: "s3://lake/a".into() }.request("users", "r"),
            json!({ "dataset": "users", "action": "move", "from": "s3://lake/a", "reason": "r" })
        );
    }

    #[test]
    fn a_prompt_says_what_goes_what_stays_and_how_to_undo_it() {
        let told = |step: Step| step.planned("orders", "me".into(), " --aws").shown();
        let expected = "\
who   me
what  retire orders, and keep its table
from  a table that status lists, because no dataset publishes it
to    the same table with the same rows, which status doesn't list
undo  add orders to datasets.toml again
";
        assert_eq!(told(Step::Retire { table: OldTable::Keep }), expected);
        let expected = "\
who   me
what  retire orders, and drop its table
from  a table that status lists, because no dataset publishes it
to    no table and none of its views, and sweep deletes its files when no query can read them any more
undo  nothing brings the rows back; add orders to datasets.toml again for a new table
";
        assert_eq!(told(Step::Retire { table: OldTable::Drop }), expected);
        let expected = "\
who   me
what  rename the table of orders
from  dmp.orders
to    the table that datasets.toml names now; dmp.orders is dropped, so queries that name it fail
undo  set the old table in datasets.toml again, then turntable rename orders --from DATABASE.TABLE --table drop --reason TEXT --aws
";
        assert_eq!(told(Step::Rename { from: "dmp.orders".into(), table: OldTable::Drop }), expected);
        let kept = told(Step::Rename { from: "dmp.orders".into(), table: OldTable::Keep });
        assert!(
            kept.ends_with("undo  set the old table in datasets.toml again; dmp.orders is still there\n"),
            "{kept}"
        );
        let expected = "\
who   me
what  move orders and all members of its group
from  s3://lake/a
to    the location that datasets.toml has now, with the next flip; sweep deletes the old folder
undo  set the old location in datasets.toml again, then turntable move orders --from LOCATION --reason TEXT --aws
";
        assert_eq!(told(Step::Move { from: "s3://lake/a".into() }), expected);
    }

    #[test]
    fn what_stays_in_the_bucket_is_listed() {
        let answer = json!({
            "dataset": "orders", "outcome": "retired", "live": null, "previous": null, "reasons": ["dmp.orders is dropped"],
            "stays": [{ "at": "s3://lake/_retired/schemas/orders.json", "what": "this decision" }],
        });
        let expected = "\
orders: retired
  dmp.orders is dropped
stays in the bucket:
  s3://lake/_retired/schemas/orders.json  this decision
";
        assert_eq!(shown(&Dataset::read(&answer).unwrap()), expected);
    }
}
