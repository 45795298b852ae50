//! Parses events into requests to `flip`.

use serde::Deserialize;
use serde_json::Value;
use turntable_core::{
    error::{Error, Result},
    layout::{Generation, Location, TableName, TablePaths},
    record::OldTable,
};

use crate::event::{by_hand, created_object};

/// A request to `flip`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flip {
    /// A manifest was written: flip its generation.
    Manifest(TablePaths, Generation),
    /// An operator requests that this generation go live.
    Candidate {
        dataset: String,
        generation: Generation,
    },
    Rollback {
        dataset: String,
        generation: Option<Generation>,
        reason: Option<String>,
    },
    Hold {
        dataset: String,
        reason: String,
    },
    Release {
        dataset: String,
        reason: Option<String>,
    },
    /// An operator decides whether to keep or drop a table that is no longer configured.
    Retire {
        /// The name of the dataset that published the table, or `DATABASE.TABLE`.
        dataset: String,
        table: OldTable,
        reason: String,
    },
    /// An operator requests a rename: the dataset stops publishing `from`, and publishes the table that datasets.toml
    /// names now.
    Rename {
        dataset: String,
        from: TableName,
        /// Whether to keep or drop `from`.
        table: OldTable,
        reason: String,
    },
    /// An operator requests a move: nothing of the dataset needs to stay at its earlier location.
    Move {
        dataset: String,
        /// The `location` that datasets.toml had before.
        from: Location,
        reason: String,
    },
    Status {
        dataset: String,
    },
    /// Glue reports that a table has changed, perhaps because Turntable changed it.
    Changed(TableName),
}

const ACTIONS: [&str; 7] = ["rollback", "hold", "release", "retire", "rename", "move", "status"];

impl Flip {
    /// Returns the generation that the request names, if any.
    pub fn generation(&self) -> Option<Generation> {
        match self {
            Flip::Manifest(_, generation) | Flip::Candidate { generation, .. } => Some(*generation),
            Flip::Rollback { generation, .. } => *generation,
            Flip::Hold { .. }
            | Flip::Release { .. }
            | Flip::Retire { .. }
            | Flip::Rename { .. }
            | Flip::Move { .. }
            | Flip::Status { .. }
            | Flip::Changed(_) => None,
        }
    }

    /// Returns the request's name for messages, if only an operator may send it. Returns `None` for events, and for
    /// `status`, which changes nothing.
    pub fn of_operator(&self) -> Option<&'static str> {
        match self {
            Flip::Candidate { .. } => Some("a flip to a generation"),
            Flip::Rollback { .. } => Some("a rollback"),
            Flip::Hold { .. } => Some("a hold"),
            Flip::Release { .. } => Some("the release of a hold"),
            Flip::Retire { .. } => Some("the retirement of a table"),
            Flip::Rename { .. } => Some("the rename of a table"),
            Flip::Move { .. } => Some("the move of a table"),
            Flip::Manifest(..) | Flip::Changed(_) | Flip::Status { .. } => None,
        }
    }

    pub fn parse(event: &Value) -> Result<Flip> {
        const EXPECTED: &str = "{\"dataset\", \"generation\"} or {\"dataset\", \"action\": rollback, hold, release or status, \"reason\"?, \"generation\"?} or {\"dataset\", \"action\": retire or rename, \"table\": keep or drop, \"from\"?, \"reason\"} or {\"dataset\", \"action\": move, \"from\", \"reason\"}; {\"action\": \"status\"} is for all datasets";
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Request {
            #[serde(default)]
            dataset: Option<String>,
            #[serde(default)]
            action: Option<String>,
            #[serde(default)]
            generation: Option<Generation>,
            #[serde(default)]
            reason: Option<String>,
            #[serde(default)]
            table: Option<OldTable>,
            #[serde(default)]
            from: Option<String>,
        }
        if let Some(table) = changed_table(event)? {
            return Ok(Flip::Changed(table));
        }
        if let Some(key) = created_object(event)? {
            let (paths, generation) = TablePaths::parse_manifest(&key).ok_or_else(|| {
                Error::input(format!("{key} is not a manifest: expected …/TABLE/_manifests/COLOUR-ULID.json"))
            })?;
            return Ok(Flip::Manifest(paths, generation));
        }
        let Request { dataset, action, generation, reason, table, from } = by_hand(event, EXPECTED)?;
        let unexpected = |field: &str| {
            Error::input(format!(
                "the request has a {field}, which this kind of request doesn't take: expected {EXPECTED}"
            ))
        };
        let action = action.as_deref();
        let dataset = dataset.ok_or_else(|| match action {
            Some(other) if !ACTIONS.contains(&other) => unknown_action(other),
            _ => Error::input(format!("the request names no dataset: expected {EXPECTED}")),
        })?;
        let ends_a_table = matches!(action, Some("retire" | "rename"));
        for (given, field, fits) in [
            (table.is_some(), "table", ends_a_table),
            (from.is_some(), "from", matches!(action, Some("rename" | "move"))),
            (generation.is_some(), "generation", matches!(action, None | Some("rollback"))),
        ] {
            if given && !fits && action.is_none_or(|action| ACTIONS.contains(&action)) {
                return Err(unexpected(field));
            }
        }
        if ends_a_table {
            let table = table.ok_or_else(|| {
                Error::input(
                    "the request doesn't say what to do with the old table: add \"table\": \"keep\" or \"drop\"",
                )
            })?;
            let reason = needed(reason)?;
            if action == Some("retire") {
                return Ok(Flip::Retire { dataset, table, reason });
            }
            let from = from.ok_or_else(|| {
                Error::input(
                    "a rename needs the table that the dataset published before: add \"from\": \"DATABASE.TABLE\"",
                )
            })?;
            return Ok(Flip::Rename { dataset, from: from.parse()?, table, reason });
        }
        if action == Some("move") {
            let from = from.ok_or_else(|| {
                Error::input(
                    "a move needs the location that datasets.toml had before: add \"from\": \"s3://BUCKET/PREFIX\"",
                )
            })?;
            return Ok(Flip::Move { dataset, from: from.parse()?, reason: needed(reason)? });
        }
        match action {
            None if reason.is_some() => Err(unexpected("reason")),
            None => {
                let generation = generation.ok_or_else(|| {
                    Error::input(format!("the request names neither a generation nor an action: expected {EXPECTED}"))
                })?;
                Ok(Flip::Candidate { dataset, generation })
            }
            Some("rollback") => Ok(Flip::Rollback { dataset, generation, reason }),
            Some("hold") => {
                let reason = reason.filter(|reason| !reason.trim().is_empty());
                let reason = reason
                    .ok_or_else(|| Error::input("a hold needs a reason, so that others know why: add \"reason\""))?;
                Ok(Flip::Hold { dataset, reason })
            }
            Some("release") => Ok(Flip::Release { dataset, reason }),
            Some("status") if reason.is_some() => Err(unexpected("reason")),
            Some("status") => Ok(Flip::Status { dataset }),
            Some(other) => Err(unknown_action(other)),
        }
    }
}

fn unknown_action(action: &str) -> Error {
    Error::input(format!("unknown action {action:?}: expected one of {}", ACTIONS.join(", ")))
}

fn needed(reason: Option<String>) -> Result<String> {
    reason
        .filter(|reason| !reason.trim().is_empty())
        .ok_or_else(|| Error::input("the request needs a reason, so that others know why: add \"reason\""))
}

/// Returns whether a request to `flip` asks for the status of all datasets.
pub fn is_about_all(event: &Value) -> bool {
    *event == serde_json::json!({ "action": "status" })
}

/// Returns the table in a "Glue Data Catalog Table State Change" event, or `None` for any other event. Fails if the
/// event doesn't name a table.
fn changed_table(event: &Value) -> Result<Option<TableName>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Detail {
        database_name: String,
        table_name: String,
    }
    if event.get("detail-type").and_then(Value::as_str) != Some("Glue Data Catalog Table State Change") {
        return Ok(None);
    }
    let detail = event.get("detail").cloned().unwrap_or_default();
    let Detail { database_name, table_name } = serde_json::from_value(detail).map_err(|fault| {
        Error::input(
            "the Glue event lacks databaseName or tableName: check the EventBridge rule that invokes this function",
        )
        .caused_by(fault)
    })?;
    Ok(Some(TableName { database: database_name, table: table_name }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_say_what_was_expected() {
        let flip = |event: Value| Flip::parse(&event).unwrap_err().report();
        assert_eq!(
            flip(json!({"dataset": "users", "action": "hold"})),
            "a hold needs a reason, so that others know why: add \"reason\""
        );
        assert_eq!(
            flip(json!({"dataset": "users", "action": "rolback"})),
            "unknown action \"rolback\": expected one of rollback, hold, release, retire, rename, move, status"
        );
        assert_eq!(
            flip(json!({"action": "statuss"})),
            "unknown action \"statuss\": expected one of rollback, hold, release, retire, rename, move, status"
        );
        assert!(flip(json!({"action": "hold", "reason": "r"})).starts_with("the request names no dataset: expected "));
        assert!(flip(json!({"dataset": "users", "generation": "green-1"})).contains("\"green-1\" is not a generation"));
        assert!(flip(json!({"detail-type": "Object Created"})).starts_with("the event is not a valid S3"));
        let retire = json!({"dataset": "orders", "action": "retire", "reason": "sold"});
        assert!(flip(retire).ends_with("add \"table\": \"keep\" or \"drop\""));
        let retire = json!({"dataset": "orders", "action": "retire", "table": "drop"});
        assert!(flip(retire).ends_with("add \"reason\""));
        let rename = json!({"dataset": "orders", "action": "rename", "table": "drop", "reason": "sold"});
        assert!(flip(rename).ends_with("add \"from\": \"DATABASE.TABLE\""));
        let moved = json!({"dataset": "orders", "action": "move", "reason": "sold"});
        assert!(flip(moved).ends_with("add \"from\": \"s3://BUCKET/PREFIX\""));
        let moved = json!({"dataset": "orders", "action": "move", "from": "s3://lake/old"});
        assert!(flip(moved).ends_with("add \"reason\""));
        let moved = json!({"dataset": "orders", "action": "move", "from": "s3://lake/old", "table": "keep"});
        assert!(flip(moved).starts_with("the request has a table"));
        for field in ["from", "generation"] {
            let mut retire = json!({"dataset": "orders", "action": "retire", "table": "drop", "reason": "sold"});
            retire[field] = "green-01JD675EJRSSKNZWWST95906C6".into();
            assert!(flip(retire).starts_with(&format!("the request has a {field}")));
        }
        for nothing in [json!(null), json!([]), json!("x"), json!({"Records": 1})] {
            assert!(Flip::parse(&nothing).is_err(), "{nothing}");
        }
    }
}
