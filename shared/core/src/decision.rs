//! Decides what goes live, from state that the caller has loaded.

use jiff::Timestamp;

use crate::{
    error::{Error, Result},
    layout::{Colour, Generation, Location, TablePaths, time_of},
    manifest::Manifest,
    record::{self, Canary, Flip, FlipOrigin, Hold, RevertIntent},
};
use ulid::Ulid;

/// What is live, according to the table's Location in Glue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Live {
    NoTable,
    /// An unmanaged location: Turntable did not write it.
    Unmanaged(Location),
    Managed(Generation),
}

impl Live {
    pub fn of(paths: &TablePaths, location: Option<&Location>) -> Live {
        match location {
            None => Live::NoTable,
            Some(location) => {
                paths.parse_generation(location).map_or_else(|| Live::Unmanaged(location.clone()), Live::Managed)
            }
        }
    }

    pub fn generation(&self) -> Option<Generation> {
        match self {
            Live::Managed(generation) => Some(*generation),
            _ => None,
        }
    }

    /// Returns the location that readers read now; `None` if there is no table.
    pub fn location(&self, paths: &TablePaths) -> Option<Location> {
        match self {
            Live::NoTable => None,
            Live::Unmanaged(location) => Some(location.clone()),
            Live::Managed(generation) => Some(paths.generation(generation)),
        }
    }
}

/// Returns the name of the next generation, which is blue unless live is blue. An unmanaged location counts as blue if
/// it is the folder `blue` in the dataset's folder.
pub fn next(paths: &TablePaths, live: &Live, ulid: Ulid) -> Generation {
    let colour = match live {
        Live::NoTable => Colour::Blue,
        Live::Managed(generation) => generation.colour.other(),
        Live::Unmanaged(location) if *location == paths.location().folder("blue") => Colour::Green,
        Live::Unmanaged(_) => Colour::Blue,
    };
    Generation { colour, ulid }
}

/// Like [`next`], but for a merge: the new ULID is later than live's even if clocks disagree, so successive merges have
/// ascending ULIDs.
pub fn next_merge(paths: &TablePaths, live: &Live, fresh: Ulid) -> Generation {
    next(paths, live, record::later(fresh, live.generation().map(|live| live.ulid)))
}

/// Checks that an unmanaged live location doesn't overlap the location `next`. If one contained the other, Athena would
/// read both, because it reads sub-folders.
pub fn beside(live: &Live, next: &Location) -> Result<()> {
    match live {
        Live::Unmanaged(location) if location.overlaps(next) => Err(Error::config(format!(
            "the live location {location} overlaps the new one {next}, and Athena reads sub-folders: move the table's \
             files to a folder of their own, or give the dataset another location"
        ))),
        _ => Ok(()),
    }
}

/// The state from which a flip is decided. All of it is read after the table's `VersionId`.
#[derive(Debug, Clone)]
pub struct FlipState {
    pub live: Live,
    /// When live's snapshot was taken, according to live's manifest. `None` if there is no manifest, as for an
    /// unmanaged location.
    pub live_as_of: Option<Timestamp>,
    /// The flips on record, in order, since the start of live's run or of the candidate's run, whichever is earlier. If
    /// live is not managed, this holds only the last flip, and is empty if the dataset has never flipped.
    pub flips: Vec<Flip>,
    pub hold: Option<Hold>,
    /// When an operator's request moved the table from the dataset's folder to its current location. `None` if no
    /// request did, or if a flip in the dataset's folder is on record since.
    pub moved_away: Option<Timestamp>,
    /// Whether live is a merge of opt-outs.
    pub live_is_merge: bool,
    /// Whether the dataset's settings allow creating a missing table.
    pub may_create: bool,
    /// Whether an event may take over the files at live's location, if it is unmanaged.
    pub may_adopt: bool,
    /// Whether no generation may follow a newer one: see [`backwards`].
    pub only_forward: bool,
}

impl FlipState {
    pub fn was_live(&self, generation: &Generation) -> bool {
        self.flips.iter().any(|flip| flip.to == *generation)
    }
}

/// What triggered a flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Event,
    Operator,
}

/// Whether a candidate goes live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    AlreadyLive,
    Held(Hold),
    /// The candidate must not replace live; the text says why.
    Stale(String),
    /// If the audit passes, send `UpdateTable`, or `CreateTable` if there is no table.
    Flip,
}

/// Decides whether a candidate goes live.
pub fn flip(paths: &TablePaths, candidate: &Manifest, state: &FlipState, trigger: Trigger) -> Result<Decision> {
    let generation = candidate.generation;
    if let Some(why) = backwards(state, &generation) {
        return Ok(Decision::Stale(why));
    }
    if state.live == Live::Managed(generation) {
        return Ok(Decision::AlreadyLive);
    }
    if let Some(hold) = &state.hold {
        return Ok(Decision::Held(hold.clone()));
    }
    if trigger == Trigger::Event && state.was_live(&generation) {
        return Ok(Decision::Stale(format!(
            "{generation} was live before, so only an operator's request makes it live again"
        )));
    }
    if let Some(stale) = displaced(paths, candidate, state) {
        return Ok(Decision::Stale(stale));
    }
    match &state.live {
        Live::NoTable if !state.may_create => {
            return Err(Error::config(format!(
                "the table of dataset {:?} does not exist, and the dataset has create = false: create the table, then \
                 invoke flip again",
                candidate.dataset
            )));
        }
        Live::NoTable => {}
        // The inbox has published this location itself, under another name, and the candidate has merged it.
        Live::Unmanaged(location)
            if candidate.merge.as_ref().is_some_and(|merge| merge.includes.contains(location)) => {}
        // The table comes back to a folder that it was moved away from, with a generation that was exported since.
        Live::Unmanaged(_) if state.moved_away.is_some_and(|at| time_of(generation.ulid) > at) => {
            beside(&state.live, &paths.generation(&generation))?;
        }
        Live::Unmanaged(location) if trigger == Trigger::Event && !state.flips.is_empty() => {
            return Err(Error::conflict(format!(
                "the table of dataset {:?} is at {location}, which is unmanaged, although Turntable has flipped the \
                 table before: something else moved it. To take the table back, invoke flip with {generation}",
                candidate.dataset
            )));
        }
        Live::Unmanaged(location) if trigger == Trigger::Event && !state.may_adopt => {
            return Err(Error::config(format!(
                "the table of dataset {:?} is at {location}, and Turntable has never published it. The first flip of such \
                 a table takes a confirmation: set adopt = \"{location}\" in the dataset, or invoke flip with {generation}",
                candidate.dataset
            )));
        }
        Live::Unmanaged(_) => beside(&state.live, &paths.generation(&generation))?,
        // A merge needs only a live base, and `displaced` has checked that.
        Live::Managed(_) if candidate.merge.is_some() => {}
        Live::Managed(live) => {
            if let Some(as_of) = state.live_as_of.filter(|as_of| candidate.as_of <= *as_of) {
                return Ok(Decision::Stale(format!(
                    "{generation} is as of {}, not fresher than live {live}, which is as of {as_of}",
                    candidate.as_of
                )));
            }
            if let Some(rollback) =
                rolled_back(state).filter(|flip| trigger == Trigger::Event && candidate.as_of <= flip.at)
            {
                return Ok(Decision::Stale(format!(
                    "{generation} is as of {}, before the rollback to {live} at {}",
                    candidate.as_of, rollback.at
                )));
            }
        }
    }
    Ok(Decision::Flip)
}

/// Returns why a filtered table must not go back to `generation`: a newer one has been live, and whoever has opted out in
/// between is in the older one. Returns `None` if there is no such reason, or if the table isn't filtered.
pub fn backwards(state: &FlipState, generation: &Generation) -> Option<String> {
    let newer = state.flips.iter().map(|flip| flip.to).filter(|to| to.ulid > generation.ulid);
    let newer = newer.filter(|_| state.only_forward).max_by_key(|to| to.ulid)?;
    Some(format!(
        "{generation} is older than {newer}, which has been live, so it may have people who opted out in between: invoke \
         export instead"
    ))
}

/// Returns why a flip to the candidate would unpublish opt-outs, because live has some that the candidate may lack
/// (invariant 9). Returns `None` if it would not.
fn displaced(paths: &TablePaths, candidate: &Manifest, state: &FlipState) -> Option<String> {
    let generation = candidate.generation;
    let at = |location: Option<&Location>| location.map_or_else(|| "no table".into(), Location::to_string);
    if candidate.merge.is_some() {
        let live = state.live.location(paths);
        let (base, live) = (candidate.base.as_ref(), live.as_ref());
        return (base != live).then(|| {
            format!(
                "{generation} was merged from {}, but live is {}: the next refresh merges again",
                at(base),
                at(live)
            )
        });
    }
    state.live_is_merge.then(|| {
        format!("{generation} lacks the opt-outs that are live: invoke optout with a reconcile instead of a flip")
    })
}

/// Returns the generation that should be live if the table has drifted: somebody outside Turntable moved it after
/// Turntable's last flip. Returns `None` if it has not drifted.
///
/// `flips` contains the flips on record, in order, since live's run started, and always the last flip. `returned`
/// contains those intents in `_returns/` that name live as their target. The caller must read the table first, then
/// `returned`, then `flips`.
///
/// Turntable's own flip is not drift, even if its record was lost or has not been written yet. Two rules separate it
/// from drift:
///
/// - If a generation was never live before, only Turntable can have made it live.
/// - Before Turntable flips back to a generation that was live before, it writes an intent to `_returns/`.
///
/// A recovered record may be written late, after the records of later flips. So it proves that a generation was live,
/// but not when.
pub fn drift(paths: &TablePaths, live: &Live, flips: &[(Ulid, Flip)], returned: &[RevertIntent]) -> Option<Generation> {
    let own = |flip: &Flip| flip.by != FlipOrigin::Recovered;
    let (_, last) = flips.last()?;
    let ours = match live {
        Live::Managed(generation) => {
            let here = Some(paths.generation(generation));
            let away = flips.iter().filter(|(_, flip)| own(flip) && flip.from == here && flip.to != *generation);
            let to = flips.iter().filter(|(_, flip)| flip.to == *generation).map(|(ulid, _)| *ulid);
            let intents = returned.iter().filter(|returned| returned.to == *generation).map(|returned| returned.flip);
            match (away.map(|(ulid, _)| *ulid).max(), to.max()) {
                // The last flip or intent to this generation must be later than the last flip away from it.
                (Some(away), Some(to)) => away < intents.max().map_or(to, |intent| intent.max(to)),
                // If either is not on record, a flip's record may be missing.
                _ => true,
            }
        }
        // A canary's flip back to an unmanaged location leaves no record.
        Live::Unmanaged(_) | Live::NoTable => {
            last.canary == Some(Canary::Pending) && last.from.is_some() && live.location(paths) == last.from
        }
    };
    let late = |flip: &Flip| !own(flip) && flips.iter().any(|(_, other)| own(other) && other.to == flip.to);
    let expected = flips.iter().rev().find(|(_, flip)| !late(flip)).map(|(_, flip)| flip.to);
    expected.filter(|expected| !ours && *live != Live::Managed(*expected))
}

/// Returns the flip that rolled back to the live generation, if no other generation has been live since. Later flips to
/// the same generation don't matter: a canary may have flipped back to it, or a repair may have restored it.
fn rolled_back(state: &FlipState) -> Option<&Flip> {
    let live = state.live.generation()?;
    state.flips.iter().rev().take_while(|flip| flip.to == live).find(|flip| flip.by == FlipOrigin::Rollback)
}

/// Returns whether the live generation comes from a rollback.
pub fn is_rolled_back(state: &FlipState) -> bool {
    rolled_back(state).is_some()
}

/// Returns the generation that a rollback makes live: `wanted`, which must have been live before, or, if `wanted` is
/// `None`, the generation before live.
///
/// If `wanted` is `None` and live already comes from a rollback, returns live itself: the generation before live is the
/// one that the rollback replaced, and a repeated request must not bring it back.
///
/// Fails with `Input` if live is a merge of opt-outs or is not managed, or if the flip records show no managed
/// generation to go back to.
pub fn rollback(paths: &TablePaths, state: &FlipState, wanted: Option<Generation>) -> Result<Generation> {
    if state.live_is_merge {
        return Err(Error::input(format!(
            "{}: the live generation is a merge of opt-outs, and a rollback would forget opt-outs: to change a \
             person's state, put a drop with a later record into the inbox",
            paths.location()
        )));
    }
    let live = state.live.generation().ok_or_else(|| {
        Error::input(format!(
            "{}: no managed generation is live, so there is nothing to roll back: invoke flip with a generation",
            paths.location()
        ))
    })?;
    if let Some(wanted) = wanted {
        // A rollback audits no rows: it relies on the audit that the generation passed when it went live.
        if wanted != live && !state.was_live(&wanted) {
            return Err(Error::input(format!(
                "no flip to {wanted} is on record, and a rollback goes only to a generation that was live: request a \
                 flip to it, which audits it"
            )));
        }
        return Ok(wanted);
    }
    if is_rolled_back(state) {
        return Ok(live);
    }
    let mut to_live = state.flips.iter().rev().filter(|flip| flip.to == live);
    let before = to_live.clone().find(|flip| flip.from.is_some());
    let from = before.and_then(|flip| flip.from.as_ref()).ok_or_else(|| {
        if to_live.any(|flip| flip.by != FlipOrigin::Recovered) {
            return Error::input(format!(
                "{live} is the first generation of the table, so there is none before it to roll back to: invoke \
                 export to replace it; if its rows are wrong, correct the source first"
            ));
        }
        Error::input(format!(
            "no flip to the live generation {live} is on record, so the generation before it is unknown: \
                 name the generation to roll back to"
        ))
    })?;
    paths.parse_generation(from).ok_or_else(|| {
        Error::input(format!(
            "before {live}, the table was at {from}, which is unmanaged and can't be audited: name the generation to \
             roll back to"
        ))
    })
}

#[cfg(test)]
mod tests;
