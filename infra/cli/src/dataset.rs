//! The parts of `flip`'s answers about one dataset that the commands show.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::target::{Function, Stack};

/// The status of one dataset, or the outcome of a request for it.
#[derive(Debug, Clone, Deserialize)]
pub struct Dataset {
    pub dataset: String,
    pub outcome: String,
    /// The live generation, or the live location if it is unmanaged.
    pub live: Option<String>,
    #[serde(default)]
    pub previous: Option<String>,
    #[serde(default)]
    pub reasons: Vec<String>,
    /// What stays in the bucket after the table was retired.
    #[serde(default)]
    pub stays: Vec<Stays>,
    #[serde(default)]
    pub hold: Option<Hold>,
    #[serde(default)]
    pub generations: Vec<Generation>,
    #[serde(default)]
    pub next_sweep: NextSweep,
    #[serde(default)]
    pub inbox: Option<Inbox>,
    #[serde(default)]
    pub group: Option<Group>,
}

/// An object or a folder that stays in the bucket.
#[derive(Debug, Clone, Deserialize)]
pub struct Stays {
    pub at: String,
    pub what: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Hold {
    pub at: Timestamp,
    pub reason: String,
}

/// A complete generation.
#[derive(Debug, Clone, Deserialize)]
pub struct Generation {
    pub generation: String,
    pub state: String,
    pub as_of: Timestamp,
    pub age_seconds: i64,
    pub rows: u64,
    pub bytes: u64,
    #[serde(default)]
    pub flipped: Option<Flipped>,
}

/// The last flip to a generation.
#[derive(Debug, Clone, Deserialize)]
pub struct Flipped {
    pub at: Timestamp,
    pub by: String,
    #[serde(default)]
    pub why: Option<String>,
    #[serde(default)]
    pub request_id: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct NextSweep {
    #[serde(default)]
    pub skipped: Option<String>,
    #[serde(default)]
    pub deletes: Vec<Fate>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Fate {
    pub generation: String,
    pub reason: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Inbox {
    pub keys: Option<u64>,
    pub unread: u64,
    pub rejected: u64,
}

/// The dataset's group.
#[derive(Debug, Clone, Deserialize)]
pub struct Group {
    pub name: String,
    /// What is live for each member.
    #[serde(default)]
    pub live: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub previous: BTreeMap<String, Option<String>>,
}

impl Dataset {
    /// Requests a dataset's status. Also returns the unparsed answer.
    pub async fn status(stack: &Stack, dataset: &str) -> Result<(Dataset, Value)> {
        let request = json!({ "dataset": dataset, "action": "status" });
        let answer: Value = stack.ask(Function::Flip, &request).await?;
        Ok((Dataset::read(&answer)?, answer))
    }

    /// Parses an answer.
    pub fn read(answer: &Value) -> Result<Dataset> {
        Dataset::deserialize(answer).map_err(|fault| {
            anyhow::anyhow!("cannot read flip's answer: the stack may run another version of Turntable ({fault})")
        })
    }

    /// Describes a generation with its rows, or returns its name if it isn't listed.
    pub fn described(&self, name: Option<&str>) -> String {
        let Some(name) = name else { return "no table".into() };
        match self.generations.iter().find(|one| one.generation == name) {
            Some(one) => format!("{name} ({} rows)", crate::table::thousands(one.rows)),
            None => name.to_owned(),
        }
    }
}

/// Formats a time with a precision of one second.
pub fn at(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
