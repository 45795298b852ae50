use jiff::{SignedDuration, Timestamp};
use ulid::Ulid;

use super::*;
use crate::{
    config::Retain,
    decision::Live,
    layout::{Colour, Generation, TableName, TablePaths},
    record::{Flip, FlipOrigin},
};

fn paths() -> TablePaths {
    TablePaths::new(&"s3://lake/schemas".parse().unwrap(), "users")
}

fn minute(minute: i64) -> Timestamp {
    Timestamp::from_second(minute * 60).unwrap()
}

/// Returns the generation whose run started at this minute.
fn at(minute: u64) -> Generation {
    Generation { colour: Colour::Blue, ulid: Ulid::from_parts(minute * 60_000, 0) }
}

const RETAIN: Retain = Retain {
    generations: 0,
    drain: SignedDuration::from_mins(60),
    abandoned: SignedDuration::from_mins(90),
    max_age: SignedDuration::from_mins(1000),
};

/// Returns the state with these complete generations. Each pair in `flips` is a generation and the minute when it went
/// live.
fn state(complete: &[u64], flips: &[(u64, i64)]) -> SweepState {
    let mut state = SweepState {
        live: Live::NoTable,
        reads: Vec::new(),
        readers: Vec::new(),
        flips: Vec::new(),
        records: Vec::new(),
        revert_intents: Vec::new(),
        generations: Default::default(),
        named: Default::default(),
    };
    for minute_ in complete {
        let manifest = Some(minute(*minute_ as i64));
        state.generations.insert(at(*minute_), Found { manifest, ..Found::default() });
    }
    for (to, minute_) in flips {
        let from = state.live.location(&paths());
        let flip = Flip {
            dataset: "users".into(),
            at: minute(*minute_),
            from,
            to: at(*to),
            by: FlipOrigin::Event,
            why: None,
            canary: None,
            adopted: None,
            request_id: None,
        };
        let ulid = Ulid::from_parts(*minute_ as u64 * 60_000, 1);
        state.flips.push((ulid, flip));
        state.records.push(ulid);
        state.live = Live::Managed(at(*to));
    }
    state
}

fn planned(state: &SweepState, retain: &Retain, now: i64) -> Plan {
    plan(&paths(), state, retain, &OldestQuery::Known(None), minute(now)).unwrap()
}

fn gone(state: &SweepState, retain: &Retain, now: i64) -> Vec<Generation> {
    planned(state, retain, now).go.into_iter().map(|(generation, _)| generation).collect()
}

#[test]
fn drain_counts_from_the_last_replacement() {
    let once = state(&[1, 2], &[(1, 3), (2, 10)]);
    assert_eq!(gone(&once, &RETAIN, 69), []);
    assert_eq!(gone(&once, &RETAIN, 70), [at(1)]);
    let back_and_forth = state(&[1, 2], &[(1, 3), (2, 10), (1, 500), (2, 510)]);
    assert_eq!(gone(&back_and_forth, &RETAIN, 569), []);
    assert_eq!(gone(&back_and_forth, &RETAIN, 570), [at(1)]);
}

#[test]
fn last_replaced_generations_are_kept_for_rollback_until_max_age() {
    let turned = state(&[1, 2, 3, 4], &[(1, 5), (2, 10), (3, 20), (4, 30)]);
    let two = Retain { generations: 2, ..RETAIN };
    assert_eq!(gone(&turned, &two, 200), [at(1)]);
    assert_eq!(gone(&turned, &two, 1020), [at(1), at(2)]);
    assert_eq!(planned(&turned, &two, 1020).go[1].1, Reason::MaxAge(minute(20)));
    assert_eq!(gone(&turned, &two, 9999), [at(1), at(2), at(3)]);
    // A rollback can't go to a generation without a manifest.
    let mut swept = turned.clone();
    swept.generations.get_mut(&at(3)).unwrap().manifest = None;
    assert_eq!(gone(&swept, &two, 200), [at(3)]);
}

#[test]
fn query_from_before_the_replacement_keeps_what_it_reads() {
    let turned = state(&[1, 2, 3], &[(1, 5), (2, 10), (3, 20)]);
    let gone = |query| {
        let plan = plan(&paths(), &turned, &RETAIN, &query, minute(9999)).unwrap();
        plan.go.into_iter().map(|(generation, _)| generation).collect::<Vec<_>>()
    };
    assert_eq!(gone(OldestQuery::Known(Some(minute(15)))), [at(1)]);
    assert_eq!(gone(OldestQuery::Known(Some(minute(10)))), []);
    assert_eq!(gone(OldestQuery::NotAsked("denied".into())), [at(1), at(2)]);
}

#[test]
fn never_live_generation_is_kept_until_abandoned() {
    let mut waiting = state(&[1, 2, 30], &[(2, 10)]);
    waiting.generations.insert(at(40), Found::default());
    assert_eq!(gone(&waiting, &RETAIN, 90), []);
    assert_eq!(gone(&waiting, &RETAIN, 91), [at(1)]);
    assert_eq!(gone(&waiting, &RETAIN, 129), [at(1), at(30)]);
    assert_eq!(gone(&waiting, &RETAIN, 130), [at(1), at(30), at(40)]);
}

#[test]
fn gap_in_the_records_counts_all_as_live_until_its_end() {
    let mut lost = state(&[1, 2, 3], &[(1, 5), (2, 10), (1, 300), (3, 310)]);
    lost.flips.remove(2);
    assert_eq!(gone(&lost, &RETAIN, 369), []);
    assert_eq!(gone(&lost, &RETAIN, 370), [at(1), at(2)]);
    let mut recovered = state(&[1, 2, 3], &[(1, 5), (2, 10), (3, 310)]);
    recovered.flips[2].1.by = FlipOrigin::Recovered;
    assert_eq!(gone(&recovered, &RETAIN, 369), []);
}

#[test]
fn flip_records_that_do_not_lead_to_live_stop_the_sweep() {
    let turned = state(&[1, 2], &[(1, 5), (2, 10)]);
    let refused =
        |live| plan(&paths(), &SweepState { live, ..turned.clone() }, &RETAIN, &OldestQuery::Known(None), minute(9999));
    for live in
        [Live::NoTable, Live::Unmanaged("s3://lake/x".parse().unwrap()), Live::Managed(at(1)), Live::Managed(at(7))]
    {
        assert!(refused(live).is_err());
    }
    let adopted = SweepState { live: Live::Unmanaged("s3://lake/x".parse().unwrap()), ..state(&[1], &[]) };
    assert_eq!(gone(&adopted, &RETAIN, 9999), [at(1)]);
}

#[test]
fn generation_that_overlaps_what_the_table_reads_is_live() {
    let under = format!("s3://lake/schemas/users/{}/dt=1", at(1));
    for read in ["s3://lake/schemas/users", "s3://lake", &under] {
        let reads = vec![read.parse().unwrap()];
        let turned = SweepState { reads, ..state(&[1, 2], &[(1, 5), (2, 10)]) };
        let plan = planned(&turned, &RETAIN, 9999);
        assert_eq!(plan.go, [], "{read}");
        assert!(plan.kept.iter().all(|kept| kept.reason == Reason::Live), "{read}");
    }
}

#[test]
fn generation_that_another_table_reads_is_kept_and_the_table_is_named() {
    let table = TableName { database: "dmp".into(), table: "everything".into() };
    let readers = vec![(table.clone(), "s3://lake/schemas".parse().unwrap())];
    let turned = SweepState { readers, ..state(&[1, 2], &[(1, 5), (2, 10)]) };
    let plan = planned(&turned, &RETAIN, 9999);
    assert_eq!(plan.go, []);
    let reasons: Vec<Reason> = plan.kept.into_iter().map(|kept| kept.reason).collect();
    assert_eq!(reasons, [Reason::Live, Reason::ReadBy(table)]);
}

#[test]
fn records_are_deleted_long_after_all_generations_that_they_name() {
    const MONTH: i64 = 30 * 24 * 60;
    let turned = state(&[8, 9], &[(1, 2), (3, 4), (5, 6), (8, 10), (9, 11)]);
    let records = |now| planned(&turned, &RETAIN, now).records.len();
    assert_eq!(records(MONTH + 1), 0);
    assert_eq!(records(MONTH + 4), 2);
    assert_eq!(records(9 * MONTH), 3);
}

#[test]
fn mark_of_a_kept_generation_is_deleted_after_an_hour() {
    let mut marked = state(&[1, 2], &[(1, 5), (2, 10)]);
    marked.generations.get_mut(&at(2)).unwrap().sweeping = Some(minute(100));
    assert_eq!(planned(&marked, &RETAIN, 159).spared, []);
    assert_eq!(planned(&marked, &RETAIN, 160).spared, [at(2)]);
}

#[test]
fn generation_named_by_the_group_record_is_kept_and_then_drains() {
    let flipped = state(&[1, 2, 3], &[(1, 3), (2, 10)]);
    let named = |until: Option<i64>| SweepState { named: [(at(1), until.map(minute))].into(), ..flipped.clone() };
    assert_eq!(gone(&named(None), &RETAIN, 90), []);
    let kept = planned(&named(None), &RETAIN, 90).kept;
    assert!(kept.iter().any(|kept| (kept.generation, &kept.reason) == (at(1), &Reason::Group)), "{kept:?}");
    assert_eq!(gone(&named(Some(30)), &RETAIN, 89), []);
    assert_eq!(gone(&named(Some(30)), &RETAIN, 90), [at(1)]);
    assert_eq!(gone(&named(Some(5)), &RETAIN, 70), [at(1)], "the table was replaced later");
    // A generation that is about to go live is not an abandoned candidate.
    let waiting = SweepState { named: [(at(3), None)].into(), ..flipped };
    assert_eq!(gone(&waiting, &RETAIN, 9000), [at(1)]);
}
