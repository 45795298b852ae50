//! State in, decision out. Knows no clock, no randomness, no AWS.

use jiff::Timestamp;

use crate::{
    error::{Error, Result},
    layout::{Colour, Generation, Home, Location},
    manifest::Manifest,
    record::{self, By, Canary, Flip, Hold, Return},
};
use ulid::Ulid;

/// What the Glue table's Location names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Live {
    NoTable,
    /// A location that no run of ours has written.
    Foreign(Location),
    Ours(Generation),
}

impl Live {
    pub fn of(home: &Home, location: Option<&Location>) -> Live {
        match location {
            None => Live::NoTable,
            Some(location) => {
                home.parse_generation(location).map_or_else(|| Live::Foreign(location.clone()), Live::Ours)
            }
        }
    }

    pub fn generation(&self) -> Option<Generation> {
        match self {
            Live::Ours(generation) => Some(*generation),
            _ => None,
        }
    }

    /// Where readers read now.
    pub fn location(&self, home: &Home) -> Option<Location> {
        match self {
            Live::NoTable => None,
            Live::Foreign(location) => Some(location.clone()),
            Live::Ours(generation) => Some(home.generation(generation)),
        }
    }
}

/// The next generation's name: the other colour than live's. An older flat `…/blue` has a colour too.
pub fn next(home: &Home, live: &Live, ulid: Ulid) -> Generation {
    let colour = match live {
        Live::NoTable => Colour::Blue,
        Live::Ours(generation) => generation.colour.other(),
        Live::Foreign(location) if *location == home.location().folder("blue") => Colour::Green,
        Live::Foreign(_) => Colour::Blue,
    };
    Generation { colour, ulid }
}

/// The name of a merge: its ULID is later than live's, whatever the clocks say, so that what was merged from one another
/// is in the order of its ULIDs.
pub fn next_merge(home: &Home, live: &Live, fresh: Ulid) -> Generation {
    next(home, live, record::later(fresh, live.generation().map(|live| live.ulid)))
}

/// Whether a generation may ever lie beside what is live. Athena reads sub-folders: neither may contain the other.
pub fn beside(live: &Live, next: &Location) -> Result<()> {
    match live {
        Live::Foreign(location) if location.overlaps(next) => Err(Error::config(format!(
            "the live location {location} contains the new one {next} or lies under it, and Athena reads sub-folders: \
             move the table's files to a folder of their own, or give the dataset another location"
        ))),
        _ => Ok(()),
    }
}

/// What a flip is decided on, all read after the table's `VersionId`.
#[derive(Debug, Clone)]
pub struct State {
    pub live: Live,
    /// When live's snapshot was taken; `None` where live is not ours.
    pub live_as_of: Option<Timestamp>,
    /// The flips since the older of live and candidate was begun, in order; where live is not ours, at least one of
    /// all there ever were, if there was one.
    pub flips: Vec<Flip>,
    pub hold: Option<Hold>,
    /// Whether live is a merge of opt-outs.
    pub live_is_merge: bool,
    /// Whether the dataset lets us create a missing table.
    pub may_create: bool,
}

impl State {
    pub fn was_live(&self, generation: &Generation) -> bool {
        self.flips.iter().any(|flip| flip.to == *generation)
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Event,
    Operator,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    AlreadyLive,
    Held(Hold),
    /// Why live is better.
    Stale(String),
    /// `UpdateTable`, or `CreateTable` where there is no table, if the audit passes.
    Flip,
}

/// Whether a candidate goes live.
pub fn flip(home: &Home, candidate: &Manifest, state: &State, who: Who) -> Result<Decision> {
    let generation = candidate.generation;
    if state.live == Live::Ours(generation) {
        return Ok(Decision::AlreadyLive);
    }
    if let Some(hold) = &state.hold {
        return Ok(Decision::Held(hold.clone()));
    }
    if who == Who::Event && state.was_live(&generation) {
        return Ok(Decision::Stale(format!(
            "{generation} has been live before; only an operator's request brings it back"
        )));
    }
    if let Some(stale) = displaced(home, candidate, state) {
        return Ok(Decision::Stale(stale));
    }
    match &state.live {
        Live::NoTable if !state.may_create => {
            return Err(Error::config("the table does not exist and the dataset says create = false: create it first"));
        }
        Live::NoTable => {}
        Live::Foreign(location) if who == Who::Event && !state.flips.is_empty() => {
            return Err(Error::conflict(format!(
                "the table's location is {location}, which is none of ours, although the dataset has flipped before: \
                 somebody else has changed it; to take it back invoke flip by hand with this generation"
            )));
        }
        Live::Foreign(_) => beside(&state.live, &home.generation(&generation))?,
        // That its base is live is all that a merge needs.
        Live::Ours(_) if candidate.merge.is_some() => {}
        Live::Ours(live) => {
            if let Some(as_of) = state.live_as_of.filter(|as_of| candidate.as_of <= *as_of) {
                return Ok(Decision::Stale(format!(
                    "{generation} is as of {}, live {live} as of {as_of}: not fresher",
                    candidate.as_of
                )));
            }
            if let Some(rollback) = rolled_back(state).filter(|flip| who == Who::Event && candidate.as_of <= flip.at) {
                return Ok(Decision::Stale(format!(
                    "{generation} is as of {}, before the rollback to {live} at {}",
                    candidate.as_of, rollback.at
                )));
            }
        }
    }
    Ok(Decision::Flip)
}

/// Why a flip would un-publish opt-outs: live has some that the candidate does not know (invariants 4 and 6).
fn displaced(home: &Home, candidate: &Manifest, state: &State) -> Option<String> {
    let generation = candidate.generation;
    let at = |location: Option<&Location>| location.map_or_else(|| "no table".into(), Location::to_string);
    if candidate.merge.is_some() {
        let live = state.live.location(home);
        let (base, live) = (candidate.base.as_ref(), live.as_ref());
        return (base != live).then(|| {
            format!("{generation} was merged from {}, and live is {}: it is merged again", at(base), at(live))
        });
    }
    state.live_is_merge.then(|| {
        format!("{generation} does not know the opt-outs that are live: ask optout for a reconcile, not for a flip")
    })
}

/// Which generation should be live, where somebody else has moved the table since our last flip: an un-flip.
///
/// `flips` are those since live was begun, and at least the last of all; `returned`, of live, was read after the table, and
/// `flips` after `returned`. Where a flip's record is still to come, or was lost, nothing is said: nobody but we makes live
/// what has not been live before, and who brings back what has been says so in `returned` first. A recovered record may
/// come late, after those of later flips: it tells that a generation was live, and not when.
pub fn unflip(home: &Home, live: &Live, flips: &[(Ulid, Flip)], returned: &[Return]) -> Option<Generation> {
    let own = |flip: &Flip| flip.by != By::Recovered;
    let (_, last) = flips.last()?;
    let ours = match live {
        Live::Ours(generation) => {
            let here = Some(home.generation(generation));
            let left = flips.iter().filter(|(_, flip)| own(flip) && flip.from == here && flip.to != *generation);
            let came = flips.iter().filter(|(_, flip)| flip.to == *generation).map(|(ulid, _)| *ulid);
            let back = returned.iter().filter(|returned| returned.to == *generation).map(|returned| returned.flip);
            match (left.map(|(ulid, _)| *ulid).max(), came.max()) {
                (Some(left), Some(came)) => left < back.max().map_or(came, |back| back.max(came)),
                _ => true,
            }
        }
        // A canary's way back to what was there before us leaves no record.
        Live::Foreign(_) | Live::NoTable => {
            last.canary == Some(Canary::Pending) && last.from.is_some() && live.location(home) == last.from
        }
    };
    let late = |flip: &Flip| !own(flip) && flips.iter().any(|(_, other)| own(other) && other.to == flip.to);
    let expected = flips.iter().rev().find(|(_, flip)| !late(flip)).map(|(_, flip)| flip.to);
    expected.filter(|expected| !ours && *live != Live::Ours(*expected))
}

/// The rollback that live comes from. A canary that was on its way to the same generation, and a repair that has brought it
/// back, come on record after it and change nothing.
fn rolled_back(state: &State) -> Option<&Flip> {
    let live = state.live.generation()?;
    state.flips.iter().rev().take_while(|flip| flip.to == live).find(|flip| flip.by == By::Rollback)
}

/// Whether live is where a rollback went.
pub fn is_rolled_back(state: &State) -> bool {
    rolled_back(state).is_some()
}

/// Which generation a rollback goes back to: the named one, which must have been live, or what was live before live. Where
/// live comes from a rollback, it is live itself: what was before it is what the rollback went away from, and a request
/// that comes twice must not undo itself.
pub fn rollback(home: &Home, state: &State, wanted: Option<Generation>) -> Result<Generation> {
    if state.live_is_merge {
        return Err(Error::input(
            "live is a merge of opt-outs, and a rollback would bring back people who are out: put a drop that says \
             otherwise into the inbox instead",
        ));
    }
    let live = state.live.generation().ok_or_else(|| {
        Error::input("the table's location is no generation of ours: there is nothing to roll back from")
    })?;
    if let Some(wanted) = wanted {
        // What its audit said when it went live is all that a rollback knows of its rows.
        if wanted != live && !state.was_live(&wanted) {
            return Err(Error::input(format!(
                "no flip to {wanted} is on record, and a rollback goes back to what has been live: ask for a flip to \
                 it, which audits it"
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
    home.parse_generation(from).ok_or_else(|| {
        Error::input(format!(
            "before {live} the table was at {from}, which is no generation of ours and cannot be audited"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{TypedBy, VERSION};

    fn home() -> Home {
        Home::new(&"s3://lake/schemas".parse().unwrap(), "users")
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
            location: home().generation(&generation),
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

    fn state(live: Live, live_as_of: Option<i64>, flips: Vec<Flip>) -> State {
        State { live, live_as_of: live_as_of.map(second), flips, hold: None, live_is_merge: false, may_create: true }
    }

    fn flipped(to: Generation, by: By, at: i64) -> Flip {
        Flip { dataset: "users".into(), at: second(at), from: None, to, by, why: None, canary: None }
    }

    const BLUE: fn() -> Generation = || generation(Colour::Blue, 1);
    const GREEN: fn() -> Generation = || generation(Colour::Green, 2);

    fn decide(candidate: &Manifest, state: &State, who: Who) -> Decision {
        flip(&home(), candidate, state, who).unwrap()
    }

    #[test]
    fn fresher_wins_and_equal_is_not_fresher() {
        let state = state(Live::Ours(BLUE()), Some(10), vec![flipped(BLUE(), By::Event, 11)]);
        for who in [Who::Event, Who::Operator] {
            assert_eq!(decide(&candidate(GREEN(), 11), &state, who), Decision::Flip);
            for old in [9, 10] {
                assert!(matches!(decide(&candidate(GREEN(), old), &state, who), Decision::Stale(_)));
            }
        }
    }

    #[test]
    fn a_late_event_does_not_undo_a_rollback_and_an_operator_may() {
        let flips = vec![flipped(GREEN(), By::Event, 20), flipped(BLUE(), By::Rollback, 30)];
        let state = state(Live::Ours(BLUE()), Some(10), flips);
        assert!(matches!(decide(&candidate(GREEN(), 15), &state, Who::Event), Decision::Stale(_)));
        assert_eq!(decide(&candidate(GREEN(), 15), &state, Who::Operator), Decision::Flip);
    }

    #[test]
    fn who_goes_the_same_way_as_a_rollback_does_not_open_it_again() {
        for by in [By::Canary, By::Repair, By::Recovered] {
            let flips =
                vec![flipped(GREEN(), By::Event, 20), flipped(BLUE(), By::Rollback, 30), flipped(BLUE(), by, 31)];
            let state = state(Live::Ours(BLUE()), Some(10), flips);
            let export = generation(Colour::Green, 3);
            assert!(matches!(decide(&candidate(export, 25), &state, Who::Event), Decision::Stale(_)));
            assert_eq!(decide(&candidate(export, 35), &state, Who::Event), Decision::Flip);
            assert!(is_rolled_back(&state));
        }
    }

    #[test]
    fn an_export_that_was_running_during_a_rollback_does_not_undo_it() {
        let newest = generation(Colour::Blue, 3);
        let flips = vec![flipped(GREEN(), By::Event, 20), flipped(BLUE(), By::Rollback, 30)];
        let state = state(Live::Ours(BLUE()), Some(10), flips);
        assert!(matches!(decide(&candidate(newest, 29), &state, Who::Event), Decision::Stale(_)));
        assert_eq!(decide(&candidate(newest, 31), &state, Who::Event), Decision::Flip);
    }

    #[test]
    fn a_foreign_location_is_adopted_only_while_nothing_has_flipped() {
        let flat = Live::Foreign(home().location().folder("blue"));
        assert_eq!(next(&home(), &flat, Ulid::from_parts(2, 0)).colour, Colour::Green);
        assert_eq!(decide(&candidate(GREEN(), 1), &state(flat.clone(), None, vec![]), Who::Event), Decision::Flip);
        let unflipped = state(flat, None, vec![flipped(BLUE(), By::Event, 1)]);
        let error = flip(&home(), &candidate(GREEN(), 2), &unflipped, Who::Event).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Conflict);
        assert_eq!(decide(&candidate(GREEN(), 2), &unflipped, Who::Operator), Decision::Flip);
    }

    #[test]
    fn a_parent_of_the_new_location_is_refused() {
        let parent = state(Live::Foreign("s3://lake/schemas/users".parse().unwrap()), None, vec![]);
        let error = flip(&home(), &candidate(GREEN(), 1), &parent, Who::Event).unwrap_err();
        assert_eq!(
            error.message(),
            "the live location s3://lake/schemas/users/ contains the new one \
             s3://lake/schemas/users/green-00000000020000000000000000/ or lies under it, and Athena reads sub-folders: \
             move the table's files to a folder of their own, or give the dataset another location"
        );
    }

    #[test]
    fn a_hold_stops_everybody_and_what_is_live_stays_so() {
        let hold = Hold { at: second(1), reason: "bad source".into(), released: false };
        let held = State { hold: Some(hold.clone()), ..state(Live::Ours(BLUE()), Some(10), vec![]) };
        for who in [Who::Event, Who::Operator] {
            assert_eq!(decide(&candidate(GREEN(), 99), &held, who), Decision::Held(hold.clone()));
            assert_eq!(decide(&candidate(BLUE(), 10), &held, who), Decision::AlreadyLive);
        }
    }

    fn merge(generation: Generation, base: Option<Location>) -> Manifest {
        Manifest { base, merge: Some(crate::manifest::Merge::default()), ..candidate(generation, 1) }
    }

    #[test]
    fn a_merge_flips_only_while_its_base_is_live() {
        let on_blue = merge(GREEN(), Some(home().generation(&BLUE())));
        let live = |live| State { live_is_merge: true, ..state(live, Some(99), vec![]) };
        for who in [Who::Event, Who::Operator] {
            assert_eq!(decide(&on_blue, &live(Live::Ours(BLUE())), who), Decision::Flip);
            for other in [Live::Ours(generation(Colour::Green, 3)), Live::NoTable] {
                assert!(matches!(decide(&on_blue, &live(other), who), Decision::Stale(_)));
            }
            assert_eq!(decide(&merge(GREEN(), None), &state(Live::NoTable, None, vec![]), who), Decision::Flip);
            assert!(matches!(decide(&merge(GREEN(), None), &live(Live::Ours(BLUE())), who), Decision::Stale(_)));
        }
    }

    #[test]
    fn nothing_un_publishes_an_opt_out() {
        let live = State { live_is_merge: true, ..state(Live::Ours(BLUE()), Some(1), vec![]) };
        for who in [Who::Event, Who::Operator] {
            assert!(matches!(decide(&candidate(GREEN(), 99), &live, who), Decision::Stale(_)));
        }
        assert!(rollback(&home(), &live, Some(GREEN())).unwrap_err().message().contains("people who are out"));
    }

    #[test]
    fn what_nobody_of_us_did_is_an_unflip() {
        let ulid = |at| Ulid::from_parts(at, 0);
        let (blue, green) = (Live::Ours(BLUE()), Live::Ours(GREEN()));
        let foreign = Live::Foreign("s3://lake/elsewhere".parse().unwrap());
        let left = |from: Generation, flip: Flip| Flip { from: Some(home().generation(&from)), ..flip };
        let there =
            [(ulid(30), flipped(BLUE(), By::Event, 3)), (ulid(40), left(BLUE(), flipped(GREEN(), By::Event, 4)))];
        let seen = |live: &Live, returned: &[Return]| unflip(&home(), live, &there, returned);

        assert_eq!(seen(&green, &[]), None);
        for moved in [&blue, &foreign, &Live::NoTable] {
            assert_eq!(seen(moved, &[]), Some(GREEN()), "{moved:?}");
        }
        let unrecorded = Live::Ours(generation(Colour::Blue, 5));
        assert_eq!(seen(&unrecorded, &[]), None, "its record is still to come");
        assert_eq!(unflip(&home(), &foreign, &[], &[]), None, "it has never flipped: it is to be adopted");

        let returned = |flip, to| Return { flip: ulid(flip), to, by: By::Rollback, why: None };
        assert_eq!(seen(&blue, &[returned(50, BLUE())]), None, "a rollback whose record is still to come");
        assert_eq!(seen(&blue, &[returned(35, BLUE())]), Some(GREEN()), "a rollback of before the last flip");
        assert_eq!(seen(&blue, &[returned(50, GREEN())]), Some(GREEN()), "a rollback to another one");

        // Somebody saw blue live without a record, and wrote it when green had its record already.
        let late = [there[0].clone(), there[1].clone(), (ulid(60), flipped(BLUE(), By::Recovered, 6))];
        assert_eq!(unflip(&home(), &green, &late, &[]), None, "a late record of an earlier flip");
        assert_eq!(unflip(&home(), &foreign, &late, &[]), Some(GREEN()));

        let mut canary = flipped(GREEN(), By::Event, 4);
        (canary.from, canary.canary) = (foreign.location(&home()), Some(Canary::Pending));
        assert_eq!(unflip(&home(), &foreign, &[(ulid(40), canary)], &[]), None, "the canary's way back");
    }

    #[test]
    fn a_rollback_goes_to_what_was_live_before() {
        let mut flip_ = flipped(GREEN(), By::Event, 20);
        flip_.from = Some(home().generation(&BLUE()));
        let flipped_ = state(Live::Ours(GREEN()), Some(15), vec![flip_]);
        assert_eq!(rollback(&home(), &flipped_, None).unwrap(), BLUE());
        assert!(rollback(&home(), &state(Live::Ours(GREEN()), Some(15), vec![]), None).is_err());
        assert!(rollback(&home(), &state(Live::NoTable, None, vec![]), None).is_err());
        let mut back = flipped(BLUE(), By::Rollback, 30);
        back.from = Some(home().generation(&GREEN()));
        let rolled = state(Live::Ours(BLUE()), Some(5), vec![flipped(BLUE(), By::Event, 5), back]);
        assert_eq!(rollback(&home(), &rolled, None).unwrap(), BLUE(), "asked again it stays");
        assert_eq!(rollback(&home(), &rolled, Some(BLUE())).unwrap(), BLUE());
        // A name must be one that has been live: a rollback audits no rows.
        let turned =
            state(Live::Ours(GREEN()), Some(15), vec![flipped(BLUE(), By::Event, 5), flipped(GREEN(), By::Event, 20)]);
        assert_eq!(rollback(&home(), &turned, Some(BLUE())).unwrap(), BLUE());
        let never = generation(Colour::Blue, 3);
        assert_eq!(
            rollback(&home(), &turned, Some(never)).unwrap_err().message(),
            format!(
                "no flip to {never} is on record, and a rollback goes back to what has been live: ask for a flip to \
                 it, which audits it"
            )
        );
    }
}
