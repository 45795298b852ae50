//! State and time in, a list out.

use std::{collections::BTreeMap, fmt};

use jiff::{SignedDuration, Timestamp};
use ulid::Ulid;

use crate::{
    config::Retain,
    decision::Live,
    layout::{Generation, Home, Key, Location, time_of},
    record::{By, Flip},
};

/// All that lies under a table's home and all that is known of it, read after the table.
#[derive(Debug, Clone)]
pub struct State {
    pub live: Live,
    /// Every location that the table makes Athena read.
    pub reads: Vec<Location>,
    /// The flips since the oldest generation that is still there was begun, in order, and at least the last of all.
    pub flips: Vec<(Ulid, Flip)>,
    /// The ULIDs of all flip records, in order.
    pub records: Vec<Ulid>,
    /// The ULIDs of all words about flips back.
    pub returns: Vec<Ulid>,
    pub generations: BTreeMap<Generation, Found>,
    /// What readers may have by the record of the dataset's group, or get back, and until when it was named there; `None`:
    /// it is.
    pub named: BTreeMap<Generation, Option<Timestamp>>,
}

/// What there is of a generation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// When the manifest was made; `None` where there is none.
    pub manifest: Option<Timestamp>,
    /// When a sweep began to delete it.
    pub sweeping: Option<Timestamp>,
    /// The record of the engine's run that it is of.
    pub run: Option<Run>,
    pub objects: Vec<Key>,
    pub bytes: u64,
}

/// An engine's run, as its records tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// By then the engine has ended it.
    pub until: Timestamp,
    /// The word is there that it has failed.
    pub failed: bool,
}

/// When the oldest query that may still be running was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OldestQuery {
    /// `None`: none is running.
    Known(Option<Timestamp>),
    /// Why nobody knows. `drain` alone protects the readers then.
    NotAsked(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What goes, oldest first.
    pub go: Vec<(Generation, Reason)>,
    pub kept: Vec<Kept>,
    /// Generations that a sweep began to delete and that may not go any more.
    pub spared: Vec<Generation>,
    /// Flip records that speak of nothing that is still there.
    pub records: Vec<Ulid>,
    /// Records of engines' runs whose generation is complete.
    pub runs: Vec<Generation>,
    /// And words about flips back that do not either.
    pub returns: Vec<Ulid>,
    /// When the oldest once live generation that is still there was replaced.
    pub oldest_replaced: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub generation: Generation,
    pub reason: Reason,
    /// When it may go if nothing else happens; `None` where that is not known.
    pub until: Option<Timestamp>,
}

/// Why a generation stays or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Live,
    /// Named by the record of its group.
    Group,
    /// Kept for a rollback.
    Rollback,
    /// Was live until a moment ago.
    Draining(Timestamp),
    /// A query that was submitted at the first time, before the replacement at the second, is still running.
    Query(Timestamp, Timestamp),
    /// Was live, and until when is not on record.
    Unrecorded,
    /// Complete, and has never been live.
    Candidate,
    /// Has no manifest, and its run may still be under way.
    Unfinished,
    Replaced(Timestamp),
    /// Would be kept for a rollback, if it were not older than `max_age`.
    MaxAge(Timestamp),
    AbandonedCandidate,
    /// Data without a manifest: its run has died.
    Orphan,
}

impl State {
    /// The engines' runs that are not settled.
    pub fn pending(&self) -> impl Iterator<Item = Generation> {
        let open = |found: &Found| found.manifest.is_none() && found.run.is_some_and(|run| !run.failed);
        self.generations.iter().filter(move |(_, found)| open(found)).map(|(generation, _)| *generation)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Live => f.write_str("live"),
            Reason::Group => f.write_str("named by the record of its group"),
            Reason::Rollback => f.write_str("kept for a rollback"),
            Reason::Draining(at) => write!(f, "draining: replaced at {at}"),
            Reason::Query(query, at) => write!(f, "a query of {query} is still running: replaced at {at}"),
            Reason::Unrecorded => f.write_str("was live, and when it was replaced is not on record"),
            Reason::Candidate => f.write_str("a candidate"),
            Reason::Unfinished => f.write_str("no manifest: its run may be under way"),
            Reason::Replaced(at) => write!(f, "replaced at {at}"),
            Reason::MaxAge(at) => write!(f, "max_age: replaced at {at}"),
            Reason::AbandonedCandidate => f.write_str("an abandoned candidate: it has never been live"),
            Reason::Orphan => f.write_str("no manifest: its run has died"),
        }
    }
}

/// Since when the flips must be known; `None`: the last of all is enough, which tells whether there ever was one.
pub fn since<'a>(live: &Live, generations: impl Iterator<Item = &'a Generation>) -> Option<Ulid> {
    live.generation().map(|live| generations.map(|generation| generation.ulid).fold(live.ulid, Ulid::min))
}

/// Flip records are kept for at least this long.
const HISTORY: SignedDuration = SignedDuration::from_hours(30 * 24);

/// After this, whoever wrote a `_sweeping` is no more: a Lambda invocation lives for 15 minutes.
const SWEEP: SignedDuration = SignedDuration::from_hours(1);

/// What may go at `now`, which must be earlier than the state is. An error says why nothing of this table may.
pub fn plan(
    home: &Home,
    state: &State,
    retain: &Retain,
    oldest_query: &OldestQuery,
    now: Timestamp,
) -> Result<Plan, String> {
    if state.generations.is_empty() && state.flips.is_empty() {
        return Ok(Plan::default());
    }
    leads_to_live(home, state)?;
    let replaced = replacements(home, state);
    let rollback = kept_for_rollback(state, &replaced, retain.generations);
    let (records, returns) = forgotten(state, retain, now);
    let mut plan = Plan { records, returns, ..Plan::default() };
    plan.oldest_replaced = replaced.values().filter_map(|at| *at).min();
    for (generation, found) in &state.generations {
        let verdict = match replaced.get(generation) {
            _ if is_read(home, state, generation) => Err((Reason::Live, None)),
            _ if state.named.get(generation) == Some(&None) => Err((Reason::Group, None)),
            Some(None) => Err((Reason::Unrecorded, None)),
            Some(Some(at)) => once_live(*at, rollback.contains(generation), retain, oldest_query, now),
            None => never_live(generation, found, retain, now),
        };
        if found.manifest.is_some() && found.run.is_some_and(|run| now >= run.until) {
            plan.runs.push(*generation);
        }
        match verdict {
            Ok(reason) => plan.go.push((*generation, reason)),
            Err((reason, until)) => {
                plan.kept.push(Kept { generation: *generation, reason, until });
                if found.sweeping.is_some_and(|since| now >= after(since, SWEEP)) {
                    plan.spared.push(*generation);
                }
            }
        }
    }
    plan.go.sort_by_key(|(generation, _)| generation.ulid);
    plan.kept.sort_by_key(|kept| std::cmp::Reverse(kept.generation.ulid));
    Ok(plan)
}

/// Whether the flip records tell how the table came to be as it is. Where they do not, they cannot tell either what
/// was live until when: a flip is just being recorded, its record was lost, or somebody else has changed the table.
fn leads_to_live(home: &Home, state: &State) -> Result<(), String> {
    let last = state.flips.last().map(|(_, flip)| flip.to);
    let shown = |last: Option<Generation>| last.map_or("nothing".into(), |last| last.to_string());
    match (&state.live, last) {
        (Live::NoTable, _) => Err("there is no table: nobody can tell what is read".into()),
        (Live::Foreign(_), None) => Ok(()),
        (Live::Ours(live), Some(last)) if *live == last => Ok(()),
        (live, last) => Err(format!(
            "un-flip: the table is at {}, the last flip on record made {} live; a flip under way looks like this for a \
             moment, and a lost record until the next flip",
            live.location(home).map_or_else(String::new, |location| location.to_string()),
            shown(last),
        )),
    }
}

/// Athena reads sub-folders: what is above or below what the table names is read too.
fn is_read(home: &Home, state: &State, generation: &Generation) -> bool {
    let location = home.generation(generation);
    state.live == Live::Ours(*generation) || state.reads.iter().any(|read| read.overlaps(&location))
}

/// When each once live generation was replaced for the last time, at the latest; `None`: nobody knows.
///
/// That is when the last flip away from it was recorded, which is after it took place. Where a record is missing (its
/// `from` is not what the one before made live, or it was recovered, which makes its `from` a guess), anything may
/// have been live until the next one.
fn replacements(home: &Home, state: &State) -> BTreeMap<Generation, Option<Timestamp>> {
    let mut replaced: BTreeMap<Generation, Option<Timestamp>> = BTreeMap::new();
    let mut gap: Option<Timestamp> = None;
    let mut before: Option<Generation> = None;
    for (_, flip) in &state.flips {
        let from = flip.from.as_ref().and_then(|from| home.parse_generation(from));
        if flip.by == By::Recovered || before.is_some() && before != from {
            gap = gap.max(Some(flip.at));
        }
        if let Some(from) = from.filter(|from| *from != flip.to) {
            let at = replaced.entry(from).or_default();
            *at = (*at).max(Some(flip.at));
        }
        replaced.entry(flip.to).or_default();
        before = Some(flip.to);
    }
    // Whoever has it from the record of a group may have read that until then.
    for (generation, until) in &state.named {
        let last = |at: Timestamp| until.map_or(at, |until| at.max(until));
        replaced.entry(*generation).and_modify(|at| *at = at.map(last));
    }
    replaced.retain(|generation, _| state.generations.contains_key(generation) && !is_read(home, state, generation));
    replaced.values_mut().for_each(|at| *at = (*at).max(gap));
    replaced
}

/// The complete ones among the once live generations that were replaced last.
fn kept_for_rollback(
    state: &State,
    replaced: &BTreeMap<Generation, Option<Timestamp>>,
    generations: u64,
) -> Vec<Generation> {
    let complete = |generation: &&Generation| state.generations[*generation].manifest.is_some();
    let mut kept: Vec<Generation> = replaced.keys().filter(complete).copied().collect();
    kept.sort_by_key(|generation| std::cmp::Reverse((replaced[generation], generation.ulid)));
    kept.truncate(usize::try_from(generations).unwrap_or(usize::MAX));
    kept
}

type Verdict = Result<Reason, (Reason, Option<Timestamp>)>;

fn once_live(replaced: Timestamp, rollback: bool, retain: &Retain, query: &OldestQuery, now: Timestamp) -> Verdict {
    let (drained, max_age) = (after(replaced, retain.drain), after(replaced, retain.max_age));
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

/// Whoever replaces a generation first makes sure that its flip is on record: what is not has never been live.
fn never_live(generation: &Generation, found: &Found, retain: &Retain, now: Timestamp) -> Verdict {
    let (since, kept, gone) = match found.manifest {
        Some(made) => (made, Reason::Candidate, Reason::AbandonedCandidate),
        None => (time_of(generation.ulid), Reason::Unfinished, Reason::Orphan),
    };
    let until = after(since, retain.abandoned);
    // An engine may still write.
    let until = found.run.filter(|_| found.manifest.is_none()).map_or(until, |run| until.max(run.until));
    if now < until { Err((kept, Some(until))) } else { Ok(gone) }
}

/// The records from before the oldest generation that is still there was begun: a flip's ULID is later than those of
/// the generations that it speaks of. The last record stays: it tells that the table has flipped before.
fn forgotten(state: &State, retain: &Retain, now: Timestamp) -> (Vec<Ulid>, Vec<Ulid>) {
    let oldest = state.generations.keys().map(|generation| generation.ulid).chain(live_ulid(state)).min();
    let kept = retain.max_age.max(HISTORY);
    let records = state.records.split_last().map_or(&[][..], |(_, records)| records);
    let old = |record: &&Ulid| oldest.is_none_or(|oldest| **record < oldest) && now >= after(time_of(**record), kept);
    let gone = |all: &[Ulid]| all.iter().take_while(old).copied().collect();
    (gone(records), gone(&state.returns))
}

fn live_ulid(state: &State) -> Option<Ulid> {
    state.live.generation().map(|live| live.ulid)
}

/// Never, where the sum is beyond all time.
fn after(time: Timestamp, length: SignedDuration) -> Timestamp {
    time.checked_add(length).unwrap_or(Timestamp::MAX)
}
