//! The record of a group, and the decisions about datasets that flip together.
//!
//! The record is one small object in the folder `_groups/`, beside the tables' folders. A change is written only if the
//! record is still the version that the change was based on (`If-Match`), so no change is lost. A process that finds a
//! flip under way learns from the record how to finish it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::{
    decision::{Decision, Trigger},
    error::{Error, Result},
    layout::{Generation, Location, TablePaths},
    manifest::{GroupRun, is_ahead},
    record::{FlipOrigin, Hold, text},
};

/// The contents of `_groups/GROUP.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub group: String,
    /// Incremented with every change, so that no two versions have the same content and thus the same ETag.
    pub serial: u64,
    /// The generations that were last live together, and that readers may read as one snapshot; `None` before the first
    /// flip. Sweep keeps them while they are named here.
    pub live: Option<Set>,
    /// The flip under way, if any. The next process that handles the group finishes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flipping: Option<Flipping>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// The last flip that was reverted, and why. `None` if none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub went_back: Option<WentBack>,
    /// The sets that were live before, latest first. [`Memory`] limits how many are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<Past>,
}

/// The generations from one run, one for each member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    #[serde(with = "text")]
    pub run: Ulid,
    /// When the members' common snapshot was taken.
    pub as_of: Timestamp,
    /// When all members had gone live. While the flip is still under way, this is when the flip started.
    pub since: Timestamp,
    pub by: FlipOrigin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// See [`crate::record::Flip::request_id`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The members, by dataset.
    pub tables: BTreeMap<String, Member>,
}

/// A table of a set, and the generation that the set names for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// `DATABASE.TABLE` in Glue.
    pub table: String,
    pub generation: Generation,
    pub location: Location,
}

/// A group flip that is under way or was interrupted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flipping {
    pub to: Set,
    /// The location of each table when the flip started, by dataset; `None` if the table did not exist.
    pub from: BTreeMap<String, Option<Location>>,
    /// Why the flip is being reverted. `None` if it isn't. While this is set, no process moves a table forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<String>,
}

/// A flip that was reverted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WentBack {
    #[serde(with = "text")]
    pub run: Ulid,
    pub at: Timestamp,
    pub why: String,
}

/// A set that was live before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    #[serde(flatten)]
    pub set: Set,
    /// When the record stopped naming the set as live.
    pub until: Timestamp,
}

/// The progress of one table in a flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The table is at its destination.
    There,
    /// The table is where it started and must be moved.
    Move,
    /// The table is neither where it started nor at its destination.
    Elsewhere,
}

impl Flipping {
    /// Returns the progress of a table whose location is `at`. A flip that is being reverted goes from `to` to `from`.
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

    /// Returns whether the table started anywhere other than its destination, so that this flip moves it.
    pub fn moves(&self, dataset: &str) -> bool {
        let to = self.to.tables.get(dataset).map(|member| &member.location);
        self.from.get(dataset).and_then(Option::as_ref) != to
    }
}

/// Decides which earlier sets stay on record: a set stays if at least one of the fields keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// How many of the latest earlier sets are always kept, for rollbacks.
    pub sets: u64,
    /// The longest drain among the members. A set is kept for its readers until it has been replaced for this long.
    pub drain: SignedDuration,
}

impl Record {
    /// Returns the record of a group that has never flipped.
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

    /// Returns this record, changed to say that a flip has started.
    pub fn begin_flip(&self, to: Set, from: BTreeMap<String, Option<Location>>) -> Record {
        Record { flipping: Some(Flipping { to, from, back: None }), ..self.next() }
    }

    /// Returns this record, changed to say that the flip under way is to be reverted. `why` is the reason.
    pub fn turned(&self, why: String) -> Record {
        let back = |flipping: &Flipping| Flipping { back: Some(why.clone()), ..flipping.clone() };
        Record { flipping: self.flipping.as_ref().map(back), ..self.next() }
    }

    /// Returns this record, changed to say that the flip under way has moved all tables to their destinations.
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

    /// Returns this record, changed to say that the flip under way has been reverted. `left` names the tables that
    /// could not be moved back, and says why.
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

    /// Returns the operator's hold, unless it has been released.
    pub fn held(&self) -> Option<&Hold> {
        self.hold.as_ref().filter(|hold| !hold.released)
    }

    /// Returns the earlier sets, latest first, without those that a rollback or a repair replaced: their rows are known to
    /// be bad, or their files to be lost.
    pub fn not_taken_back(&self) -> impl Iterator<Item = &Set> {
        let sets = || self.live.iter().chain(self.past.iter().map(|past| &past.set));
        let is_bad = move |past: &&Past| {
            let goes_back = |set: &Set| matches!(set.by, FlipOrigin::Rollback | FlipOrigin::Repair);
            sets().any(|next| next.since == past.until && goes_back(next))
        };
        self.past.iter().filter(move |past| !is_bad(past)).map(|past| &past.set)
    }

    /// Describes the flip that is under way or was interrupted, for an operator. Returns `None` if there is none.
    pub fn unfinished(&self) -> Option<String> {
        let flipping = self.flipping.as_ref()?;
        let way =
            flipping.back.as_ref().map_or_else(|| "going forward".into(), |why| format!("being reverted ({why})"));
        Some(format!(
            "group {}: a flip to run {} started at {} and is {way}; the group's next request or event finishes it",
            self.group, flipping.to.run, flipping.to.since
        ))
    }

    /// Returns the dataset's generations that the record names or has named, because readers may read them or a revert
    /// may make them live again. The value is the time when the record stopped naming the generation; `None` if it
    /// still names it.
    pub fn named(&self, dataset: &str, paths: &TablePaths) -> BTreeMap<Generation, Option<Timestamp>> {
        let of = |set: &Set| set.tables.get(dataset).map(|member| member.generation);
        let past = self.past.iter().rev().filter_map(|past| Some((of(&past.set)?, Some(past.until))));
        let now = self.live.iter().chain(self.flipping.iter().map(|flipping| &flipping.to)).filter_map(of);
        let from = self.flipping.iter().filter_map(|flipping| flipping.from.get(dataset)?.as_ref());
        let from = from.filter_map(|from| paths.parse_generation(from));
        past.chain(now.chain(from).map(|generation| (generation, None))).collect()
    }
}

/// Returns why a run no longer fits the group: it was exported with another group or with other members. Returns `None`
/// if it fits.
pub fn other_members(run: &GroupRun, group: &str, members: &[&str]) -> Option<String> {
    let then: Vec<&str> = run.members.keys().map(String::as_str).collect();
    if run.group != group {
        return Some(format!("it was exported with group {}, but belongs to {group} now: export it again", run.group));
    }
    (then != members).then(|| {
        format!(
            "group {group} was exported with the members {}, but has {} now: export it again",
            then.join(", "),
            members.join(", ")
        )
    })
}

/// The decision about a group run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    AlreadyLive,
    Held(Hold),
    /// The run must not replace live; the text says why.
    Stale(String),
    /// A flip to the run was reverted; the text says why. Only an operator's request flips to the run again.
    WentBack(String),
    /// If all members pass their audits, all flip.
    Flip,
}

/// Decides whether a group run flips. The caller must make sure that no other flip of the group is under way. `members`
/// contains the decision about each member on its own ([`crate::decision::flip`]).
pub fn flip(record: &Record, run: &GroupRun, as_of: Timestamp, members: &[(&str, Decision)], who: Trigger) -> Next {
    let is_live = record.live.as_ref().is_some_and(|live| live.run == run.run);
    if is_live && members.iter().all(|(_, decision)| *decision == Decision::AlreadyLive) {
        return Next::AlreadyLive;
    }
    if let Some(hold) = record.held() {
        return Next::Held(hold.clone());
    }
    if let Some(back) = record.went_back.as_ref().filter(|back| who == Trigger::Event && back.run == run.run) {
        return Next::WentBack(back.why.clone());
    }
    if let Some(live) = record.live.as_ref().filter(|_| !is_live) {
        // If a source's clock was ahead, this set must not count as fresher than all later ones.
        let live_as_of = if is_ahead(live.as_of, live.since) { live.since } else { live.as_of };
        if as_of <= live_as_of {
            return Next::Stale(format!(
                "run {} is as of {as_of}, not fresher than live run {}, which is as of {}",
                run.run, live.run, live.as_of
            ));
        }
        if who == Trigger::Event && live.by == FlipOrigin::Rollback && as_of <= live.since {
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

/// Returns the set that a rollback makes live: the set that contains `wanted`, a generation of `dataset`, or, if
/// `wanted` is `None`, the set before live. Fails with `Input` if the record names no such set.
pub fn rollback(record: &Record, dataset: &str, wanted: Option<Generation>) -> Result<Set> {
    let Some(wanted) = wanted else {
        let before = record.past.first().map(|past| past.set.clone());
        return before.ok_or_else(|| {
            Error::input(format!(
                "group {}: no earlier run is on record, so there is nothing to roll back to: invoke flip with a \
                 generation",
                record.group
            ))
        });
    };
    let sets = record.live.iter().chain(record.past.iter().map(|past| &past.set));
    let has = |set: &&Set| set.tables.get(dataset).is_some_and(|member| member.generation == wanted);
    sets.into_iter().find(has).cloned().ok_or_else(|| {
        Error::input(format!(
            "group {}: no run on record that was live contains generation {wanted} of {dataset}: name a generation from \
             a run that `status` lists",
            record.group
        ))
    })
}

#[cfg(test)]
mod tests;
