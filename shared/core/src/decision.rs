//! Decides what goes live: state in, decision out. Uses no clock, no randomness and no AWS.

use jiff::Timestamp;

use crate::{
    error::{Error, Result},
    layout::{Colour, Generation, Location, TablePaths},
    manifest::Manifest,
    record::{self, Canary, Flip, FlipOrigin, Hold, RevertIntent},
};
use ulid::Ulid;

/// The live data of a table, by its Location in Glue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Live {
    NoTable,
    /// An unmanaged location: no run of Turntable wrote it.
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

    /// Returns the location that readers read now.
    pub fn location(&self, paths: &TablePaths) -> Option<Location> {
        match self {
            Live::NoTable => None,
            Live::Unmanaged(location) => Some(location.clone()),
            Live::Managed(generation) => Some(paths.generation(generation)),
        }
    }
}

/// Returns the next generation, with the colour that live does not have. An unmanaged flat folder `…/blue` counts as
/// blue.
pub fn next(paths: &TablePaths, live: &Live, ulid: Ulid) -> Generation {
    let colour = match live {
        Live::NoTable => Colour::Blue,
        Live::Managed(generation) => generation.colour.other(),
        Live::Unmanaged(location) if *location == paths.location().folder("blue") => Colour::Green,
        Live::Unmanaged(_) => Colour::Blue,
    };
    Generation { colour, ulid }
}

/// Returns the generation of a merge. Its ULID is later than live's, whatever the clocks say. So the ULIDs of
/// generations that were merged from one another are in the order of the merges.
pub fn next_merge(paths: &TablePaths, live: &Live, fresh: Ulid) -> Generation {
    next(paths, live, record::later(fresh, live.generation().map(|live| live.ulid)))
}

/// Checks that an unmanaged live location and the next one don't contain each other, because Athena reads sub-folders.
pub fn beside(live: &Live, next: &Location) -> Result<()> {
    match live {
        Live::Unmanaged(location) if location.overlaps(next) => Err(Error::config(format!(
            "the live location {location} overlaps the new one {next}, and Athena reads sub-folders: move the table's \
             files to a folder of their own, or give the dataset another location"
        ))),
        _ => Ok(()),
    }
}

/// The state that a flip is decided on. All of it is read after the table's `VersionId`.
#[derive(Debug, Clone)]
pub struct FlipState {
    pub live: Live,
    /// When live's snapshot was taken; `None` if live is unmanaged.
    pub live_as_of: Option<Timestamp>,
    /// The flips since the start of the older of live and the candidate, in order. If live is unmanaged: at least one
    /// flip, if the dataset has ever flipped.
    pub flips: Vec<Flip>,
    pub hold: Option<Hold>,
    /// Whether live is a merge of opt-outs.
    pub live_is_merge: bool,
    /// Whether the dataset's settings allow creating a missing table.
    pub may_create: bool,
}

impl FlipState {
    pub fn was_live(&self, generation: &Generation) -> bool {
        self.flips.iter().any(|flip| flip.to == *generation)
    }
}

/// The trigger of a flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Event,
    Operator,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    AlreadyLive,
    Held(Hold),
    /// The candidate must not replace live. The text says why.
    Stale(String),
    /// If the audit passes, send `UpdateTable`, or `CreateTable` if there is no table.
    Flip,
}

/// Decides whether a candidate goes live.
pub fn flip(paths: &TablePaths, candidate: &Manifest, state: &FlipState, who: Trigger) -> Result<Decision> {
    let generation = candidate.generation;
    if state.live == Live::Managed(generation) {
        return Ok(Decision::AlreadyLive);
    }
    if let Some(hold) = &state.hold {
        return Ok(Decision::Held(hold.clone()));
    }
    if who == Trigger::Event && state.was_live(&generation) {
        return Ok(Decision::Stale(format!(
            "{generation} was live before, so only an operator's request makes it live again"
        )));
    }
    if let Some(stale) = displaced(paths, candidate, state) {
        return Ok(Decision::Stale(stale));
    }
    match &state.live {
        Live::NoTable if !state.may_create => {
            return Err(Error::config("the table does not exist and the dataset has create = false: create the table"));
        }
        Live::NoTable => {}
        Live::Unmanaged(location) if who == Trigger::Event && !state.flips.is_empty() => {
            return Err(Error::conflict(format!(
                "the table's location is {location}, which is unmanaged, although the dataset has flipped before: \
                 somebody else changed it. To take the table back, invoke flip with this generation"
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
                rolled_back(state).filter(|flip| who == Trigger::Event && candidate.as_of <= flip.at)
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

/// Returns why a flip would unpublish opt-outs: live has opt-outs that the candidate lacks (invariant 9). `None` if it
/// would not.
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

/// Returns the generation that should be live if the table has drifted: somebody outside Turntable moved it after our
/// last flip. `None` if there is no drift.
///
/// `flips` holds the flips since the start of live, and always the last flip of all. `returned` holds the intents in
/// `_returns/` to flip back to live. The caller must read the table first, then `returned`, then `flips`.
///
/// A flip whose record is missing, because it is not written yet or was lost, is not drift:
///
/// - Only Turntable makes a generation live that was never live before.
/// - A flip back to a generation that was live before writes its intent to `returned` before it touches the table.
///
/// A recovered record may be written late, after the records of later flips. It proves that a generation was live, but
/// not when.
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
                // Without a record of both, a flip's record may be missing.
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

/// Returns the rollback to the live generation, if no other generation was live since. Later records of flips to the
/// same generation change nothing: a canary may have been flipping back to it, or a repair may have restored it.
fn rolled_back(state: &FlipState) -> Option<&Flip> {
    let live = state.live.generation()?;
    state.flips.iter().rev().take_while(|flip| flip.to == live).find(|flip| flip.by == FlipOrigin::Rollback)
}

/// Returns whether live comes from a rollback.
pub fn is_rolled_back(state: &FlipState) -> bool {
    rolled_back(state).is_some()
}

/// Returns the generation that a rollback makes live: the named one, which must have been live, or the one before live.
///
/// If live comes from a rollback, a rollback without a named generation returns live itself. The generation before live
/// is the one that the first rollback went away from, and a repeated request must not undo itself.
pub fn rollback(paths: &TablePaths, state: &FlipState, wanted: Option<Generation>) -> Result<Generation> {
    if state.live_is_merge {
        return Err(Error::input(
            "live is a merge of opt-outs, and a rollback would forget opt-outs: to change a state, put a drop with a \
             later record into the inbox",
        ));
    }
    let live = state
        .live
        .generation()
        .ok_or_else(|| Error::input("the table's location is unmanaged: there is nothing to roll back from"))?;
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
    let before = state.flips.iter().rev().find(|flip| flip.to == live && flip.from.is_some());
    let from = before
        .and_then(|flip| flip.from.as_ref())
        .ok_or_else(|| Error::input(format!("no flip to {live} is on record: name the generation to go back to")))?;
    paths.parse_generation(from).ok_or_else(|| {
        Error::input(format!(
            "before {live} the table was at {from}, which is unmanaged and can't be audited: name the generation to go \
             back to"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{TypedBy, VERSION};

    fn paths() -> TablePaths {
        TablePaths::new(&"s3://lake/schemas".parse().unwrap(), "users")
    }

    fn generation(colour: Colour, ms: u64) -> Generation {
        Generation { colour, ulid: Ulid::from_parts(ms, 0) }
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn candidate(generation: Generation, as_of: i64) -> Manifest {
        Manifest {
            version: VERSION,
            dataset: "users".into(),
            generation,
            location: paths().generation(&generation),
            base: None,
            as_of: second(as_of),
            created_at: second(as_of),
            spec: String::new(),
            typed_by: TypedBy::Source,
            columns: vec![],
            partitions: Vec::new(),
            rows: 0,
            bytes: 0,
            files: vec![],
            nulled: Default::default(),
            merge: None,
            group: None,
        }
    }

    fn state(live: Live, live_as_of: Option<i64>, flips: Vec<Flip>) -> FlipState {
        FlipState {
            live,
            live_as_of: live_as_of.map(second),
            flips,
            hold: None,
            live_is_merge: false,
            may_create: true,
        }
    }

    fn flipped(to: Generation, by: FlipOrigin, at: i64) -> Flip {
        Flip { dataset: "users".into(), at: second(at), from: None, to, by, why: None, canary: None }
    }

    const BLUE: fn() -> Generation = || generation(Colour::Blue, 1);
    const GREEN: fn() -> Generation = || generation(Colour::Green, 2);

    fn decide(candidate: &Manifest, state: &FlipState, who: Trigger) -> Decision {
        flip(&paths(), candidate, state, who).unwrap()
    }

    #[test]
    fn fresher_wins_and_equal_is_not_fresher() {
        let state = state(Live::Managed(BLUE()), Some(10), vec![flipped(BLUE(), FlipOrigin::Event, 11)]);
        for who in [Trigger::Event, Trigger::Operator] {
            assert_eq!(decide(&candidate(GREEN(), 11), &state, who), Decision::Flip);
            for old in [9, 10] {
                assert!(matches!(decide(&candidate(GREEN(), old), &state, who), Decision::Stale(_)));
            }
        }
    }

    #[test]
    fn late_event_does_not_undo_rollback_but_operator_may() {
        let flips = vec![flipped(GREEN(), FlipOrigin::Event, 20), flipped(BLUE(), FlipOrigin::Rollback, 30)];
        let state = state(Live::Managed(BLUE()), Some(10), flips);
        assert!(matches!(decide(&candidate(GREEN(), 15), &state, Trigger::Event), Decision::Stale(_)));
        assert_eq!(decide(&candidate(GREEN(), 15), &state, Trigger::Operator), Decision::Flip);
    }

    #[test]
    fn later_flip_to_the_same_generation_keeps_rollback_in_force() {
        for by in [FlipOrigin::Canary, FlipOrigin::Repair, FlipOrigin::Recovered] {
            let flips = vec![
                flipped(GREEN(), FlipOrigin::Event, 20),
                flipped(BLUE(), FlipOrigin::Rollback, 30),
                flipped(BLUE(), by, 31),
            ];
            let state = state(Live::Managed(BLUE()), Some(10), flips);
            let export = generation(Colour::Green, 3);
            assert!(matches!(decide(&candidate(export, 25), &state, Trigger::Event), Decision::Stale(_)));
            assert_eq!(decide(&candidate(export, 35), &state, Trigger::Event), Decision::Flip);
            assert!(is_rolled_back(&state));
        }
    }

    #[test]
    fn export_with_snapshot_before_rollback_does_not_undo_it() {
        let newest = generation(Colour::Blue, 3);
        let flips = vec![flipped(GREEN(), FlipOrigin::Event, 20), flipped(BLUE(), FlipOrigin::Rollback, 30)];
        let state = state(Live::Managed(BLUE()), Some(10), flips);
        assert!(matches!(decide(&candidate(newest, 29), &state, Trigger::Event), Decision::Stale(_)));
        assert!(
            matches!(decide(&candidate(newest, 30), &state, Trigger::Event), Decision::Stale(_)),
            "equal is before"
        );
        assert_eq!(decide(&candidate(newest, 31), &state, Trigger::Event), Decision::Flip);
    }

    #[test]
    fn rollback_to_another_generation_is_over_once_something_else_is_live() {
        // An operator flipped to an export that began before the rollback, which events may not do.
        let newest = generation(Colour::Blue, 3);
        let mut forward = flipped(newest, FlipOrigin::Operator, 40);
        forward.from = Some(paths().generation(&BLUE()));
        let flips = vec![flipped(GREEN(), FlipOrigin::Event, 20), flipped(BLUE(), FlipOrigin::Rollback, 30), forward];
        let state = state(Live::Managed(newest), Some(25), flips);
        assert!(!is_rolled_back(&state));
        assert_eq!(decide(&candidate(generation(Colour::Green, 4), 28), &state, Trigger::Event), Decision::Flip);
        assert_eq!(rollback(&paths(), &state, None).unwrap(), BLUE(), "to the generation before live");
    }

    #[test]
    fn event_adopts_unmanaged_location_only_before_first_flip() {
        let flat = Live::Unmanaged(paths().location().folder("blue"));
        assert_eq!(next(&paths(), &flat, Ulid::from_parts(2, 0)).colour, Colour::Green);
        assert_eq!(decide(&candidate(GREEN(), 1), &state(flat.clone(), None, vec![]), Trigger::Event), Decision::Flip);
        let drifted = state(flat, None, vec![flipped(BLUE(), FlipOrigin::Event, 1)]);
        let error = flip(&paths(), &candidate(GREEN(), 2), &drifted, Trigger::Event).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Conflict);
        assert_eq!(decide(&candidate(GREEN(), 2), &drifted, Trigger::Operator), Decision::Flip);
    }

    #[test]
    fn live_location_that_contains_the_new_one_is_refused() {
        let parent = state(Live::Unmanaged("s3://lake/schemas/users".parse().unwrap()), None, vec![]);
        let error = flip(&paths(), &candidate(GREEN(), 1), &parent, Trigger::Event).unwrap_err();
        assert_eq!(
            error.message(),
            "the live location s3://lake/schemas/users/ overlaps the new one \
             s3://lake/schemas/users/green-00000000020000000000000000/, and Athena reads sub-folders: \
             move the table's files to a folder of their own, or give the dataset another location"
        );
    }

    #[test]
    fn hold_stops_events_and_operators_but_not_what_is_already_live() {
        let hold = Hold { at: second(1), reason: "bad source".into(), released: false };
        let held = FlipState { hold: Some(hold.clone()), ..state(Live::Managed(BLUE()), Some(10), vec![]) };
        for who in [Trigger::Event, Trigger::Operator] {
            assert_eq!(decide(&candidate(GREEN(), 99), &held, who), Decision::Held(hold.clone()));
            assert_eq!(decide(&candidate(BLUE(), 10), &held, who), Decision::AlreadyLive);
        }
    }

    fn merge(generation: Generation, base: Option<Location>) -> Manifest {
        Manifest { base, merge: Some(crate::manifest::Merge::default()), ..candidate(generation, 1) }
    }

    #[test]
    fn merge_flips_only_while_its_base_is_live() {
        let on_blue = merge(GREEN(), Some(paths().generation(&BLUE())));
        let live = |live| FlipState { live_is_merge: true, ..state(live, Some(99), vec![]) };
        for who in [Trigger::Event, Trigger::Operator] {
            assert_eq!(decide(&on_blue, &live(Live::Managed(BLUE())), who), Decision::Flip);
            for other in [Live::Managed(generation(Colour::Green, 3)), Live::NoTable] {
                assert!(matches!(decide(&on_blue, &live(other), who), Decision::Stale(_)));
            }
            assert_eq!(decide(&merge(GREEN(), None), &state(Live::NoTable, None, vec![]), who), Decision::Flip);
            assert!(matches!(decide(&merge(GREEN(), None), &live(Live::Managed(BLUE())), who), Decision::Stale(_)));
        }
    }

    #[test]
    fn no_flip_or_rollback_unpublishes_opt_outs() {
        let live = FlipState { live_is_merge: true, ..state(Live::Managed(BLUE()), Some(1), vec![]) };
        for who in [Trigger::Event, Trigger::Operator] {
            assert!(matches!(decide(&candidate(GREEN(), 99), &live, who), Decision::Stale(_)));
        }
        assert!(rollback(&paths(), &live, Some(GREEN())).unwrap_err().message().contains("would forget opt-outs"));
    }

    #[test]
    fn table_moved_by_somebody_else_is_drift() {
        let ulid = |at| Ulid::from_parts(at, 0);
        let (blue, green) = (Live::Managed(BLUE()), Live::Managed(GREEN()));
        let foreign = Live::Unmanaged("s3://lake/elsewhere".parse().unwrap());
        let from = |from: Generation, flip: Flip| Flip { from: Some(paths().generation(&from)), ..flip };
        let flips = [
            (ulid(30), flipped(BLUE(), FlipOrigin::Event, 3)),
            (ulid(40), from(BLUE(), flipped(GREEN(), FlipOrigin::Event, 4))),
        ];
        let seen = |live: &Live, returned: &[RevertIntent]| drift(&paths(), live, &flips, returned);

        assert_eq!(seen(&green, &[]), None);
        for moved in [&blue, &foreign, &Live::NoTable] {
            assert_eq!(seen(moved, &[]), Some(GREEN()), "{moved:?}");
        }
        let unrecorded = Live::Managed(generation(Colour::Blue, 5));
        assert_eq!(seen(&unrecorded, &[]), None, "its record is not written yet");
        assert_eq!(drift(&paths(), &foreign, &[], &[]), None, "the dataset has never flipped: the table is adopted");

        let returned = |flip, to| RevertIntent { flip: ulid(flip), to, by: FlipOrigin::Rollback, why: None };
        assert_eq!(seen(&blue, &[returned(50, BLUE())]), None, "a rollback whose record is not written yet");
        assert_eq!(seen(&blue, &[returned(35, BLUE())]), Some(GREEN()), "a rollback from before the last flip");
        assert_eq!(seen(&blue, &[returned(50, GREEN())]), Some(GREEN()), "a rollback to another generation");

        // A request saw blue live without a record, and recovered the record after green's was written.
        let late = [flips[0].clone(), flips[1].clone(), (ulid(60), flipped(BLUE(), FlipOrigin::Recovered, 6))];
        assert_eq!(drift(&paths(), &green, &late, &[]), None, "a late record of an earlier flip");
        assert_eq!(drift(&paths(), &foreign, &late, &[]), Some(GREEN()));

        let mut canary = flipped(GREEN(), FlipOrigin::Event, 4);
        (canary.from, canary.canary) = (foreign.location(&paths()), Some(Canary::Pending));
        assert_eq!(drift(&paths(), &foreign, &[(ulid(40), canary)], &[]), None, "the canary's flip back");
    }

    #[test]
    fn rollback_goes_only_to_generations_that_were_live() {
        let mut flip_ = flipped(GREEN(), FlipOrigin::Event, 20);
        flip_.from = Some(paths().generation(&BLUE()));
        let flipped_ = state(Live::Managed(GREEN()), Some(15), vec![flip_]);
        assert_eq!(rollback(&paths(), &flipped_, None).unwrap(), BLUE());
        assert!(rollback(&paths(), &state(Live::Managed(GREEN()), Some(15), vec![]), None).is_err());
        assert!(rollback(&paths(), &state(Live::NoTable, None, vec![]), None).is_err());
        let mut back = flipped(BLUE(), FlipOrigin::Rollback, 30);
        back.from = Some(paths().generation(&GREEN()));
        let rolled = state(Live::Managed(BLUE()), Some(5), vec![flipped(BLUE(), FlipOrigin::Event, 5), back]);
        assert_eq!(rollback(&paths(), &rolled, None).unwrap(), BLUE(), "repeating the request changes nothing");
        assert_eq!(rollback(&paths(), &rolled, Some(BLUE())).unwrap(), BLUE());
        // A named generation must have been live, because a rollback audits no rows.
        let turned = state(
            Live::Managed(GREEN()),
            Some(15),
            vec![flipped(BLUE(), FlipOrigin::Event, 5), flipped(GREEN(), FlipOrigin::Event, 20)],
        );
        assert_eq!(rollback(&paths(), &turned, Some(BLUE())).unwrap(), BLUE());
        let never = generation(Colour::Blue, 3);
        assert_eq!(
            rollback(&paths(), &turned, Some(never)).unwrap_err().message(),
            format!(
                "no flip to {never} is on record, and a rollback goes only to a generation that was live: request a \
                 flip to it, which audits it"
            )
        );
    }
}
