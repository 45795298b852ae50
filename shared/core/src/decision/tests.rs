//! Tests of the decisions.

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
        missing: Default::default(),
        ignored: Default::default(),
        merge: None,
        group: None,
        inputs: Default::default(),
        read: None,
    }
}

fn state(live: Live, live_as_of: Option<i64>, flips: Vec<Flip>) -> FlipState {
    FlipState {
        live,
        live_as_of: live_as_of.map(second),
        flips,
        hold: None,
        moved_away: None,
        live_is_merge: false,
        may_create: true,
        only_forward: false,
        may_adopt: true,
    }
}

fn flipped(to: Generation, by: FlipOrigin, at: i64) -> Flip {
    Flip {
        dataset: "users".into(),
        at: second(at),
        from: None,
        to,
        by,
        why: None,
        canary: None,
        adopted: None,
        request_id: None,
    }
}

const BLUE: fn() -> Generation = || generation(Colour::Blue, 1);
const GREEN: fn() -> Generation = || generation(Colour::Green, 2);

fn decide(candidate: &Manifest, state: &FlipState, trigger: Trigger) -> Decision {
    flip(&paths(), candidate, state, trigger).unwrap()
}

#[test]
fn fresher_wins_and_equal_is_not_fresher() {
    let state = state(Live::Managed(BLUE()), Some(10), vec![flipped(BLUE(), FlipOrigin::Event, 11)]);
    for trigger in [Trigger::Event, Trigger::Operator] {
        assert_eq!(decide(&candidate(GREEN(), 11), &state, trigger), Decision::Flip);
        for old in [9, 10] {
            assert!(matches!(decide(&candidate(GREEN(), old), &state, trigger), Decision::Stale(_)));
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
    assert!(matches!(decide(&candidate(newest, 30), &state, Trigger::Event), Decision::Stale(_)), "equal is before");
    assert_eq!(decide(&candidate(newest, 31), &state, Trigger::Event), Decision::Flip);
}

#[test]
fn rollback_to_another_generation_is_over_once_something_else_is_live() {
    // An operator flipped to an export that had started before the rollback, which events may not do.
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
    let hold = Hold { at: second(1), reason: "bad source".into(), released: false, request_id: None };
    let held = FlipState { hold: Some(hold.clone()), ..state(Live::Managed(BLUE()), Some(10), vec![]) };
    for trigger in [Trigger::Event, Trigger::Operator] {
        assert_eq!(decide(&candidate(GREEN(), 99), &held, trigger), Decision::Held(hold.clone()));
        assert_eq!(decide(&candidate(BLUE(), 10), &held, trigger), Decision::AlreadyLive);
    }
}

fn merge(generation: Generation, base: Option<Location>) -> Manifest {
    Manifest { base, merge: Some(crate::manifest::Merge::default()), ..candidate(generation, 1) }
}

#[test]
fn merge_flips_only_while_its_base_is_live() {
    let on_blue = merge(GREEN(), Some(paths().generation(&BLUE())));
    let live = |live| FlipState { live_is_merge: true, ..state(live, Some(99), vec![]) };
    for trigger in [Trigger::Event, Trigger::Operator] {
        assert_eq!(decide(&on_blue, &live(Live::Managed(BLUE())), trigger), Decision::Flip);
        for other in [Live::Managed(generation(Colour::Green, 3)), Live::NoTable] {
            assert!(matches!(decide(&on_blue, &live(other), trigger), Decision::Stale(_)));
        }
        assert_eq!(decide(&merge(GREEN(), None), &state(Live::NoTable, None, vec![]), trigger), Decision::Flip);
        assert!(matches!(decide(&merge(GREEN(), None), &live(Live::Managed(BLUE())), trigger), Decision::Stale(_)));
    }
}

#[test]
fn no_flip_or_rollback_unpublishes_opt_outs() {
    let live = FlipState { live_is_merge: true, ..state(Live::Managed(BLUE()), Some(1), vec![]) };
    for trigger in [Trigger::Event, Trigger::Operator] {
        assert!(matches!(decide(&candidate(GREEN(), 99), &live, trigger), Decision::Stale(_)));
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

    let returned =
        |flip, to| RevertIntent { flip: ulid(flip), to, by: FlipOrigin::Rollback, why: None, request_id: None };
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

#[test]
fn filtered_table_never_goes_back_behind_a_generation_that_was_live() {
    let (old, new) = (BLUE(), Generation { colour: Colour::Green, ulid: Ulid::from_parts(u64::MAX >> 16, 0) });
    let flips = || vec![flipped(old, FlipOrigin::Event, 1), flipped(new, FlipOrigin::Event, 2)];
    for live in [Live::Managed(new), Live::Managed(old), Live::NoTable] {
        for trigger in [Trigger::Event, Trigger::Operator] {
            let state = FlipState { only_forward: true, ..state(live.clone(), Some(0), flips()) };
            let candidate = candidate(old, 9);
            let decided = flip(&paths(), &candidate, &state, trigger).unwrap();
            let Decision::Stale(why) = decided else { panic!("{live:?} {trigger:?}: {decided:?}") };
            assert!(why.contains("may have people who opted out in between: invoke export"), "{why}");
        }
    }
    let state = state(Live::Managed(old), Some(0), flips());
    assert_eq!(backwards(&state, &old), None, "only filtered tables");
    let state = FlipState { only_forward: true, ..state };
    assert_eq!(backwards(&state, &new), None);
}
