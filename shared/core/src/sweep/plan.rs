//! Plans a sweep: computes what to delete from a table's state and the time.

use std::{collections::BTreeMap, fmt};

use jiff::{SignedDuration, Timestamp};
use ulid::Ulid;

use crate::{
    config::Retain,
    decision::Live,
    layout::{Generation, Key, Location, TableName, TablePaths, time_of},
    record::{Flip, FlipOrigin},
};

/// A table, the objects in its folder, and what its records say. The table is read before everything else.
#[derive(Debug, Clone)]
pub struct SweepState {
    pub live: Live,
    /// Every location that Athena reads for the table.
    pub reads: Vec<Location>,
    /// Other tables in the configured databases that read a location in or above the table's folder, with this
    /// location.
    pub readers: Vec<(TableName, Location)>,
    /// The flips on record, in order, since the run of the oldest generation that still exists started. The last flip
    /// is always included. If live is not managed, this holds only the last flip.
    pub flips: Vec<(Ulid, Flip)>,
    /// The ULIDs of all flip records, in order.
    pub records: Vec<Ulid>,
    /// The ULIDs of all intents in `_returns/`, in order.
    pub revert_intents: Vec<Ulid>,
    pub generations: BTreeMap<Generation, Found>,
    /// The generations that the record of the dataset's group names or has named. The value is the time when the record
    /// stopped naming the generation; `None` if it still names it.
    pub named: BTreeMap<Generation, Option<Timestamp>>,
}

/// The objects and records of one generation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// When the manifest was created; `None` if there is no manifest.
    pub manifest: Option<Timestamp>,
    /// When a sweep started to delete the generation; `None` if none has.
    pub sweeping: Option<Timestamp>,
    /// The engine run that builds the generation, if there is one.
    pub run: Option<PendingRun>,
    pub objects: Vec<Key>,
    pub bytes: u64,
}

/// An engine run, according to its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingRun {
    /// The time by which the engine will have ended the run.
    pub until: Timestamp,
    /// Whether a record says that the run failed.
    pub failed: bool,
}

/// When the oldest query that may still be running was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OldestQuery {
    /// `None` if no query is queued or running.
    Known(Option<Timestamp>),
    /// The time is unknown; the string says why. In this case, only `drain` protects readers.
    NotAsked(String),
}

/// What a sweep deletes and keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The generations to delete, oldest first.
    pub go: Vec<(Generation, Reason)>,
    pub kept: Vec<Kept>,
    /// Generations that a sweep started to delete and that must now be kept. Their marks are deleted.
    pub spared: Vec<Generation>,
    /// Flip records to delete: they name only generations that no longer exist.
    pub records: Vec<Ulid>,
    /// Complete generations whose engine run records are to be deleted.
    pub runs: Vec<Generation>,
    /// Intents in `_returns/` to delete: they name only generations that no longer exist.
    pub revert_intents: Vec<Ulid>,
    /// The earliest time at which a generation that still exists was replaced. `None` if none was.
    pub oldest_replaced: Option<Timestamp>,
}

/// A generation that is kept, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub generation: Generation,
    pub reason: Reason,
    /// When the generation may be deleted if nothing else happens; `None` if that is unknown.
    pub until: Option<Timestamp>,
}

/// Why a generation is kept or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    Live,
    /// Kept: another table reads it.
    ReadBy(TableName),
    /// Kept: named by its group's record.
    Group,
    /// Kept for a rollback.
    Rollback,
    /// Kept: replaced at this time, less than `drain` ago.
    Draining(Timestamp),
    /// Kept: replaced at the second time, but a query that was submitted before that, at the first time, is still
    /// running.
    Query(Timestamp, Timestamp),
    /// Kept: it was live, and no record says until when.
    Unrecorded,
    /// Kept: complete, but never live so far.
    Candidate,
    /// Kept: it has no manifest, and its run may still be under way.
    Unfinished,
    /// Deleted: replaced at this time.
    Replaced(Timestamp),
    /// Deleted: it would be kept for a rollback, but was replaced at this time, more than `max_age` ago.
    MaxAge(Timestamp),
    /// Deleted: complete, but did not go live within the period `abandoned` after it was written.
    AbandonedCandidate,
    /// Deleted: data without a manifest, because its run died.
    Orphan,
}

impl SweepState {
    /// Returns the generations whose engine run is neither complete nor recorded as failed.
    pub fn pending(&self) -> impl Iterator<Item = Generation> {
        let open = |found: &Found| found.manifest.is_none() && found.run.is_some_and(|run| !run.failed);
        self.generations.iter().filter(move |(_, found)| open(found)).map(|(generation, _)| *generation)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Live => f.write_str("live"),
            Reason::ReadBy(table) => write!(f, "read by {table}"),
            Reason::Group => f.write_str("named by its group's record"),
            Reason::Rollback => f.write_str("kept for a rollback"),
            Reason::Draining(at) => write!(f, "draining: replaced at {at}"),
            Reason::Query(query, at) => write!(f, "replaced at {at}, but a query from {query} is still running"),
            Reason::Unrecorded => f.write_str("was live, but no record says until when"),
            Reason::Candidate => f.write_str("a candidate"),
            Reason::Unfinished => f.write_str("no manifest: its run may still be under way"),
            Reason::Replaced(at) => write!(f, "replaced at {at}"),
            Reason::MaxAge(at) => write!(f, "max_age: replaced at {at}"),
            Reason::AbandonedCandidate => f.write_str("an abandoned candidate: it was never live"),
            Reason::Orphan => f.write_str("no manifest: its run died"),
        }
    }
}

/// Returns the ULID since which all flips must be known: the oldest among live and `generations`. Returns `None` if
/// live is not managed, because then the last flip is enough: it shows whether the dataset has ever flipped.
pub fn since<'a>(live: &Live, generations: impl Iterator<Item = &'a Generation>) -> Option<Ulid> {
    live.generation().map(|live| generations.map(|generation| generation.ulid).fold(live.ulid, Ulid::min))
}

/// How long flip records and intents are kept, even if `retain.max_age` is shorter: 30 days.
const MIN_RECORD_RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A duration that no sweep reaches, because a Lambda invocation lasts at most 15 minutes. A `_sweeping` mark that is
/// at least this old comes from a sweep that has ended.
const MAX_SWEEP_DURATION: SignedDuration = SignedDuration::from_hours(1);

/// Plans what to delete. The caller must read the clock for `now` before it loads `state`. The error says why nothing
/// in the table's folder may be deleted.
pub fn plan(
    paths: &TablePaths,
    state: &SweepState,
    retain: &Retain,
    oldest_query: &OldestQuery,
    now: Timestamp,
) -> Result<Plan, String> {
    if state.generations.is_empty() && state.flips.is_empty() {
        return Ok(Plan::default());
    }
    leads_to_live(paths, state)?;
    let replaced = replacements(paths, state);
    let rollback = kept_for_rollback(state, &replaced, retain.generations);
    let (records, revert_intents) = expired_records(state, retain, now);
    let mut plan = Plan { records, revert_intents, ..Plan::default() };
    plan.oldest_replaced = replaced.values().filter_map(|at| *at).min();
    for (generation, found) in &state.generations {
        let verdict = if is_read_by_table(paths, state, generation) {
            Err((Reason::Live, None))
        } else if let Some(table) = reader(paths, state, generation) {
            Err((Reason::ReadBy(table.clone()), None))
        } else {
            match replaced.get(generation) {
                _ if state.named.get(generation) == Some(&None) => Err((Reason::Group, None)),
                Some(None) => Err((Reason::Unrecorded, None)),
                Some(Some(at)) => once_live(*at, rollback.contains(generation), retain, oldest_query, now),
                None => never_live(generation, found, retain, now),
            }
        };
        if found.manifest.is_some() && found.run.is_some_and(|run| now >= run.until) {
            plan.runs.push(*generation);
        }
        match verdict {
            Ok(reason) => plan.go.push((*generation, reason)),
            Err((reason, until)) => {
                plan.kept.push(Kept { generation: *generation, reason, until });
                if found.sweeping.is_some_and(|since| now >= saturating_add(since, MAX_SWEEP_DURATION)) {
                    plan.spared.push(*generation);
                }
            }
        }
    }
    plan.go.sort_by_key(|(generation, _)| generation.ulid);
    plan.kept.sort_by_key(|kept| std::cmp::Reverse(kept.generation.ulid));
    Ok(plan)
}

/// Checks that the flip records lead to the live generation.
///
/// If they don't, a flip is about to be recorded, its record was lost, or somebody outside Turntable changed the table.
/// In each of these cases, the records also don't show until when each generation was live.
fn leads_to_live(paths: &TablePaths, state: &SweepState) -> Result<(), String> {
    let last = state.flips.last().map(|(_, flip)| flip.to);
    let shown = |last: Option<Generation>| last.map_or("nothing".into(), |last| last.to_string());
    match (&state.live, last) {
        (Live::NoTable, _) => Err("there is no table, so it is unknown which files readers use".into()),
        (Live::Unmanaged(_), None) => Ok(()),
        (Live::Managed(live), Some(last)) if *live == last => Ok(()),
        (live, last) => Err(format!(
            "drift: the table is at {}, but the last flip on record made {} live. A flip under way looks the \
             same for a moment, and so does a lost record until the next flip",
            live.location(paths).map_or_else(String::new, |location| location.to_string()),
            shown(last),
        )),
    }
}

/// Returns whether queries on any table may read a generation. Athena reads sub-folders, so any overlap counts.
fn is_read(paths: &TablePaths, state: &SweepState, generation: &Generation) -> bool {
    is_read_by_table(paths, state, generation) || reader(paths, state, generation).is_some()
}

fn is_read_by_table(paths: &TablePaths, state: &SweepState, generation: &Generation) -> bool {
    let location = paths.generation(generation);
    state.live == Live::Managed(*generation) || state.reads.iter().any(|read| read.overlaps(&location))
}

/// Returns a table that reads a generation and isn't the dataset's own, if there is one.
fn reader<'a>(paths: &TablePaths, state: &'a SweepState, generation: &Generation) -> Option<&'a TableName> {
    let location = paths.generation(generation);
    state.readers.iter().find(|(_, read)| read.overlaps(&location)).map(|(table, _)| table)
}

/// Returns, for each generation that was live and is no longer read, the time by which it had been replaced for the
/// last time; `None` if that time is unknown. Includes only generations that still exist.
///
/// A record is written after its flip, so the generation had been replaced by the time of the last record of a flip
/// away from it. A later gap in the records, or a group's record that named the generation for longer, makes the time
/// later.
///
/// The records have a gap before a flip if its `from` is not what the flip before it made live, or if its record was
/// recovered, because then its `from` is a guess. Any generation may have been live until the end of the gap, which is
/// the time of that flip.
fn replacements(paths: &TablePaths, state: &SweepState) -> BTreeMap<Generation, Option<Timestamp>> {
    let mut replaced: BTreeMap<Generation, Option<Timestamp>> = BTreeMap::new();
    let mut gap: Option<Timestamp> = None;
    let mut before: Option<Generation> = None;
    for (_, flip) in &state.flips {
        let from = flip.from.as_ref().and_then(|from| paths.parse_generation(from));
        if flip.by == FlipOrigin::Recovered || before.is_some() && before != from {
            gap = gap.max(Some(flip.at));
        }
        if let Some(from) = from.filter(|from| *from != flip.to) {
            let at = replaced.entry(from).or_default();
            *at = (*at).max(Some(flip.at));
        }
        replaced.entry(flip.to).or_default();
        before = Some(flip.to);
    }
    // Readers may have found the generation in the group's record, and started to read it, until the record stopped
    // naming it.
    for (generation, until) in &state.named {
        let last = |at: Timestamp| until.map_or(at, |until| at.max(until));
        replaced.entry(*generation).and_modify(|at| *at = at.map(last));
    }
    replaced.retain(|generation, _| state.generations.contains_key(generation) && !is_read(paths, state, generation));
    replaced.values_mut().for_each(|at| *at = (*at).max(gap));
    replaced
}

/// Returns up to `generations` complete generations that were live, the most recently replaced first.
fn kept_for_rollback(
    state: &SweepState,
    replaced: &BTreeMap<Generation, Option<Timestamp>>,
    generations: u64,
) -> Vec<Generation> {
    let complete = |generation: &&Generation| state.generations[*generation].manifest.is_some();
    let mut kept: Vec<Generation> = replaced.keys().filter(complete).copied().collect();
    kept.sort_by_key(|generation| std::cmp::Reverse((replaced[generation], generation.ulid)));
    kept.truncate(usize::try_from(generations).unwrap_or(usize::MAX));
    kept
}

/// What to do with a generation. `Ok` says why it is deleted; `Err` says why it is kept, and until when.
type Verdict = Result<Reason, (Reason, Option<Timestamp>)>;

/// Decides about a generation that was live and was replaced at a known time. `rollback` says whether it would be kept
/// for a rollback.
fn once_live(replaced: Timestamp, rollback: bool, retain: &Retain, query: &OldestQuery, now: Timestamp) -> Verdict {
    let (drained, max_age) = (saturating_add(replaced, retain.drain), saturating_add(replaced, retain.max_age));
    if rollback && now < max_age {
        return Err((Reason::Rollback, Some(max_age)));
    }
    if now < drained {
        return Err((Reason::Draining(replaced), Some(drained)));
    }
    match query {
        OldestQuery::Known(Some(query)) if *query <= replaced => Err((Reason::Query(*query, replaced), None)),
        _ if rollback => Ok(Reason::MaxAge(replaced)),
        _ => Ok(Reason::Replaced(replaced)),
    }
}

/// Decides about a generation without a flip on record. Such a generation was never live: before a flip replaces a
/// generation, it makes sure that the flip to that generation is on record.
fn never_live(generation: &Generation, found: &Found, retain: &Retain, now: Timestamp) -> Verdict {
    let (since, kept, gone) = match found.manifest {
        Some(made) => (made, Reason::Candidate, Reason::AbandonedCandidate),
        None => (time_of(generation.ulid), Reason::Unfinished, Reason::Orphan),
    };
    let until = saturating_add(since, retain.abandoned);
    // An engine may write until its run has ended.
    let until = found.run.filter(|_| found.manifest.is_none()).map_or(until, |run| until.max(run.until));
    if now < until { Err((kept, Some(until))) } else { Ok(gone) }
}

/// Returns the flip records and the intents in `_returns/` to delete: those that are older than every generation that
/// still exists, and old enough for [`MIN_RECORD_RETENTION`] and `retain.max_age`.
///
/// A flip's ULID is later than the ULIDs of the generations that it names, so a record that is older than every
/// existing generation names none of them. The last flip record always stays, because it shows that the dataset has
/// flipped before.
fn expired_records(state: &SweepState, retain: &Retain, now: Timestamp) -> (Vec<Ulid>, Vec<Ulid>) {
    let oldest = state.generations.keys().map(|generation| generation.ulid).chain(live_ulid(state)).min();
    let kept = retain.max_age.max(MIN_RECORD_RETENTION);
    let records = state.records.split_last().map_or(&[][..], |(_, records)| records);
    let old = |record: &&Ulid| {
        oldest.is_none_or(|oldest| **record < oldest) && now >= saturating_add(time_of(**record), kept)
    };
    let gone = |all: &[Ulid]| all.iter().take_while(old).copied().collect();
    (gone(records), gone(&state.revert_intents))
}

fn live_ulid(state: &SweepState) -> Option<Ulid> {
    state.live.generation().map(|live| live.ulid)
}

/// Returns `time + length`, or `Timestamp::MAX` if the sum is out of range.
fn saturating_add(time: Timestamp, length: SignedDuration) -> Timestamp {
    time.checked_add(length).unwrap_or(Timestamp::MAX)
}
