//! Datasets that flip together: the record of a group, and what is decided by it. State in, decision out.
//!
//! The record is one small object beside the tables, and every change of it takes the one before (`If-Match`). So of all
//! that go about a group one after the other wins, and whoever finds a flip that was begun knows what to finish.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::{
    decision::{Decision, Who},
    error::{Error, Result},
    layout::{Generation, Home, Location},
    manifest::Run,
    record::{By, Hold, text},
};

/// `_groups/GROUP.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub group: String,
    /// One more with every change: no two contents are the same.
    pub serial: u64,
    /// What readers may take as one: these generations were live together, and are there as long as they are named here.
    pub live: Option<Set>,
    /// What was begun, and is finished by whoever comes next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flipping: Option<Flipping>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// The last flip that went back, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub went_back: Option<WentBack>,
    /// What was live before, latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<Past>,
}

/// Generations of one run, one of each member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    #[serde(with = "text")]
    pub run: Ulid,
    /// When the snapshot was taken that all rows are of.
    pub as_of: Timestamp,
    /// Since when all of them have been live.
    pub since: Timestamp,
    pub by: By,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// By dataset.
    pub tables: BTreeMap<String, Member>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// `DATABASE.TABLE` in Glue.
    pub table: String,
    pub generation: Generation,
    pub location: Location,
}

/// A flip of a group that is under way, or was left midway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flipping {
    pub to: Set,
    /// Where each table was when it began; `None`: there was none.
    pub from: BTreeMap<String, Option<Location>>,
    /// Why it goes back. From then on nobody goes forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WentBack {
    #[serde(with = "text")]
    pub run: Ulid,
    pub at: Timestamp,
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    #[serde(flatten)]
    pub set: Set,
    /// When the record ceased to name it as live.
    pub until: Timestamp,
}

/// Where a table is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Where it should be.
    There,
    /// Where it came from: it is to be moved.
    Move,
    /// Where none of ours has put it.
    Elsewhere,
}

impl Flipping {
    /// How a table stands that is at this location.
    pub fn step(&self, dataset: &str, at: Option<&Location>) -> Step {
        let to = self.to.tables.get(dataset).map(|member| &member.location);
        let from = self.from.get(dataset).and_then(Option::as_ref);
        let (start, end) = if self.back.is_some() { (to, from) } else { (from, to) };
        if at == end {
            Step::There
        } else if at == start {
            Step::Move
        } else {
            Step::Elsewhere
        }
    }

    /// Whether this flip moves the table at all.
    pub fn moves(&self, dataset: &str) -> bool {
        let to = self.to.tables.get(dataset).map(|member| &member.location);
        self.from.get(dataset).and_then(Option::as_ref) != to
    }
}

/// How long sets of the past stay on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// At least so many, for rollbacks.
    pub sets: u64,
    /// And all that were live within this time, for their readers: the longest of the members' drains.
    pub drain: SignedDuration,
}

impl Record {
    /// Of a group that has never flipped.
    pub fn new(group: &str) -> Record {
        Record {
            group: group.into(),
            serial: 0,
            live: None,
            flipping: None,
            hold: None,
            went_back: None,
            past: Vec::new(),
        }
    }

    fn next(&self) -> Record {
        Record { serial: self.serial + 1, ..self.clone() }
    }

    pub fn begun(&self, to: Set, from: BTreeMap<String, Option<Location>>) -> Record {
        Record { flipping: Some(Flipping { to, from, back: None }), ..self.next() }
    }

    /// From now on the flip goes back.
    pub fn turned(&self, why: String) -> Record {
        let back = |flipping: &Flipping| Flipping { back: Some(why.clone()), ..flipping.clone() };
        Record { flipping: self.flipping.as_ref().map(back), ..self.next() }
    }

    /// All tables are where the flip wanted them.
    pub fn flipped(&self, now: Timestamp, memory: Memory) -> Record {
        let Some(flipping) = &self.flipping else { return self.clone() };
        let live = Set { since: now, ..flipping.to.clone() };
        let before = self.live.iter().map(|set| Past { set: set.clone(), until: now });
        let past = before.chain(self.past.iter().cloned()).filter(|past| past.set.run != live.run);
        let drains = |past: &Past| now.duration_since(past.until) < memory.drain;
        let past = past.enumerate().filter(|(at, past)| (*at as u64) < memory.sets || drains(past));
        let past = past.map(|(_, past)| past).collect();
        Record { live: Some(live), flipping: None, past, ..self.next() }
    }

    /// All tables are where they came from, but for what `left` says.
    pub fn gone_back(&self, now: Timestamp, left: &[String]) -> Record {
        let went_back = self.flipping.as_ref().map(|flipping| WentBack {
            run: flipping.to.run,
            at: now,
            why: flipping.back.iter().chain(left).cloned().collect::<Vec<_>>().join("; "),
        });
        Record { flipping: None, went_back, ..self.next() }
    }

    pub fn with_hold(&self, hold: Hold) -> Record {
        Record { hold: Some(hold), ..self.next() }
    }

    /// The operator's hold, if it is on.
    pub fn held(&self) -> Option<&Hold> {
        self.hold.as_ref().filter(|hold| !hold.released)
    }

    /// What is under way, or was left midway, in words.
    pub fn unfinished(&self) -> Option<String> {
        let flipping = self.flipping.as_ref()?;
        let way = flipping.back.as_ref().map_or_else(|| "forward".into(), |why| format!("back, because of {why}"));
        Some(format!(
            "group {}: a flip to run {} was begun at {} and goes {way}: the next request or event of the group finishes it",
            self.group, flipping.to.run, flipping.to.since
        ))
    }

    /// What of a dataset readers may have from here, or may get back, and until when it was named; `None`: it still is.
    pub fn named(&self, dataset: &str, home: &Home) -> BTreeMap<Generation, Option<Timestamp>> {
        let of = |set: &Set| set.tables.get(dataset).map(|member| member.generation);
        let past = self.past.iter().rev().filter_map(|past| Some((of(&past.set)?, Some(past.until))));
        let now = self.live.iter().chain(self.flipping.iter().map(|flipping| &flipping.to)).filter_map(of);
        let from = self.flipping.iter().filter_map(|flipping| flipping.from.get(dataset)?.as_ref());
        let from = from.filter_map(|from| home.parse_generation(from));
        past.chain(now.chain(from).map(|generation| (generation, None))).collect()
    }
}

/// Why a run has other members than the group has now.
pub fn other_members(run: &Run, group: &str, members: &[&str]) -> Option<String> {
    let then: Vec<&str> = run.members.keys().map(String::as_str).collect();
    if run.group != group {
        return Some(format!("it was exported with group {}, and belongs to {group} now: export it again", run.group));
    }
    (then != members).then(|| {
        format!(
            "group {group} was {} when it was exported and is {} now: export it again",
            then.join(", "),
            members.join(", ")
        )
    })
}

/// What becomes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    AlreadyLive,
    Held(Hold),
    /// What is live is better.
    Stale(String),
    /// It has been tried, and went back: only an operator's request tries it again.
    WentBack(String),
    /// All members flip, if all pass their audits.
    Flip,
}

/// Whether a run flips, where no other flip is under way. `members` are the decisions about each of them alone ([`crate::decision::flip`]).
pub fn flip(record: &Record, run: &Run, as_of: Timestamp, members: &[(&str, Decision)], who: Who) -> Next {
    let is_live = record.live.as_ref().is_some_and(|live| live.run == run.run);
    if is_live && members.iter().all(|(_, decision)| *decision == Decision::AlreadyLive) {
        return Next::AlreadyLive;
    }
    if let Some(hold) = record.held() {
        return Next::Held(hold.clone());
    }
    if let Some(back) = record.went_back.as_ref().filter(|back| who == Who::Event && back.run == run.run) {
        return Next::WentBack(back.why.clone());
    }
    if let Some(live) = record.live.as_ref().filter(|_| !is_live) {
        if as_of <= live.as_of {
            return Next::Stale(format!(
                "run {} is as of {as_of}, and live run {} as of {}: not fresher",
                run.run, live.run, live.as_of
            ));
        }
        if who == Who::Event && live.by == By::Rollback && as_of <= live.since {
            return Next::Stale(format!(
                "run {} is as of {as_of}, before the rollback to run {} at {}",
                run.run, live.run, live.since
            ));
        }
    }
    for (name, decision) in members {
        match decision {
            Decision::Held(hold) => return Next::Held(hold.clone()),
            Decision::Stale(why) => return Next::Stale(format!("{name}: {why}")),
            Decision::AlreadyLive | Decision::Flip => {}
        }
    }
    Next::Flip
}

/// What a rollback goes back to: the set with the named generation of a dataset, or what was live before live.
pub fn rollback(record: &Record, dataset: &str, wanted: Option<Generation>) -> Result<Set> {
    let Some(wanted) = wanted else {
        let before = record.past.first().map(|past| past.set.clone());
        return before.ok_or_else(|| {
            Error::input(format!("group {}: nothing was live before, as far as its record goes", record.group))
        });
    };
    let sets = record.live.iter().chain(record.past.iter().map(|past| &past.set));
    let has = |set: &&Set| set.tables.get(dataset).is_some_and(|member| member.generation == wanted);
    sets.into_iter().find(has).cloned().ok_or_else(|| {
        Error::input(format!(
            "group {}: no run with {wanted} of {dataset} is on record as live; `status` names those that are",
            record.group
        ))
    })
}

#[cfg(test)]
mod tests;
