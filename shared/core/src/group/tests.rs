use super::*;
use crate::layout::Colour;

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn paths(dataset: &str) -> TablePaths {
    TablePaths::new(&"s3://lake/schemas".parse().unwrap(), dataset)
}

fn generation(run: u64) -> Generation {
    Generation { colour: Colour::Blue, ulid: Ulid::from_parts(run, 1) }
}

fn at(dataset: &str, run: u64) -> Location {
    paths(dataset).generation(&generation(run))
}

const BOTH: [&str; 2] = ["a", "b"];

fn set(run: u64) -> Set {
    let member = |dataset: &str| Member {
        table: format!("dmp.{dataset}"),
        generation: generation(run),
        location: at(dataset, run),
    };
    Set {
        run: Ulid::from_parts(run, 0),
        as_of: second(run as i64),
        since: second(run as i64),
        by: FlipOrigin::Event,
        why: None,
        request_id: None,
        tables: BOTH.map(|dataset| (dataset.to_owned(), member(dataset))).into(),
    }
}

fn run(number: u64) -> GroupRun {
    let members = BOTH.map(|dataset| (dataset.to_owned(), generation(number))).into();
    GroupRun { group: "core".into(), run: Ulid::from_parts(number, 0), members }
}

const MEMORY: Memory = Memory { sets: 1, drain: SignedDuration::from_secs(60) };

/// Returns a record whose runs have flipped one after another. Each run's number is also the time of its flip in
/// seconds.
fn flipped(runs: &[u64]) -> Record {
    runs.iter().fold(Record::new("core"), |record, run| {
        let from = BOTH.map(|dataset| (dataset.to_owned(), record.live.as_ref().map(|_| at(dataset, 0)))).into();
        record.begin_flip(set(*run), from).flipped(second(*run as i64), MEMORY)
    })
}

fn next(record: &Record, number: u64, decision: Decision, who: Trigger) -> Next {
    let members = [("a", Decision::Flip), ("b", decision)];
    flip(record, &run(number), second(number as i64), &members, who)
}

#[test]
fn fresher_run_wins_and_no_member_flips_alone() {
    let record = flipped(&[20]);
    assert_eq!(next(&record, 21, Decision::Flip, Trigger::Event), Next::Flip);
    for old in [19, 10] {
        assert!(matches!(next(&record, old, Decision::Flip, Trigger::Operator), Next::Stale(_)));
    }
    assert_eq!(
        next(&record, 21, Decision::Stale("old".into()), Trigger::Event),
        Next::Stale("b: old".into()),
        "one stale member stops all"
    );
    let both = |decision: Decision| [("a", decision.clone()), ("b", decision)];
    let live = flip(&record, &run(20), second(20), &both(Decision::AlreadyLive), Trigger::Event);
    assert_eq!(live, Next::AlreadyLive);
    // An operator's request repairs a table that somebody else moved away from the live run.
    assert_eq!(next(&record, 20, Decision::Flip, Trigger::Operator), Next::Flip);
}

#[test]
fn export_with_snapshot_before_rollback_does_not_undo_it() {
    let back = Set { by: FlipOrigin::Rollback, ..set(10) };
    let record = flipped(&[10, 20]).begin_flip(back, BTreeMap::new()).flipped(second(30), MEMORY);
    for before in [29, 30] {
        assert!(matches!(next(&record, before, Decision::Flip, Trigger::Event), Next::Stale(_)), "{before}");
    }
    assert_eq!(next(&record, 29, Decision::Flip, Trigger::Operator), Next::Flip);
    assert_eq!(next(&record, 31, Decision::Flip, Trigger::Event), Next::Flip);
}

#[test]
fn hold_on_the_group_or_a_member_stops_all() {
    let hold = Hold { at: second(1), reason: "restore".into(), released: false, request_id: None };
    let held = flipped(&[10]).with_hold(hold.clone());
    for who in [Trigger::Event, Trigger::Operator] {
        assert_eq!(next(&held, 20, Decision::Flip, who), Next::Held(hold.clone()));
        assert_eq!(next(&flipped(&[10]), 20, Decision::Held(hold.clone()), who), Next::Held(hold.clone()));
    }
    let released = held.with_hold(Hold { released: true, ..hold });
    assert_eq!(next(&released, 20, Decision::Flip, Trigger::Event), Next::Flip);
}

#[test]
fn event_does_not_retry_a_reverted_run() {
    let turned = flipped(&[10]).begin_flip(set(20), BTreeMap::new()).turned("b: denied".into());
    let record = turned.gone_back(second(22), &["a: left".into()]);
    assert_eq!(record.live, Some(set(10)));
    assert_eq!(next(&record, 20, Decision::Flip, Trigger::Event), Next::WentBack("b: denied; a: left".into()));
    assert_eq!(next(&record, 20, Decision::Flip, Trigger::Operator), Next::Flip);
    assert_eq!(next(&record, 21, Decision::Flip, Trigger::Event), Next::Flip);
}

#[test]
fn table_is_moved_only_from_where_the_flip_found_it() {
    let from = [("a".to_owned(), Some(at("a", 10))), ("b".to_owned(), None)].into();
    let record = Record::new("core").begin_flip(set(20), from);
    let forward = record.flipping.clone().unwrap();
    let back = record.turned("why".into()).flipping.unwrap();
    let (old, new) = (at("a", 10), at("a", 20));
    assert_eq!((forward.step("a", Some(&old)), back.step("a", Some(&old))), (Step::Move, Step::There));
    assert_eq!((forward.step("a", Some(&new)), back.step("a", Some(&new))), (Step::There, Step::Move));
    for other in [Some(&at("a", 15)), None] {
        assert_eq!((forward.step("a", other), back.step("a", other)), (Step::Elsewhere, Step::Elsewhere));
    }
    assert_eq!((forward.step("b", None), back.step("b", None)), (Step::Move, Step::There), "no table");
    assert!(forward.moves("a") && forward.moves("b"));
    let same = Record::new("core").begin_flip(set(20), [("a".to_owned(), Some(new))].into()).flipping.unwrap();
    assert!(!same.moves("a"));
}

#[test]
fn record_names_all_generations_that_readers_may_read() {
    let record = flipped(&[10, 20]).begin_flip(set(30), BTreeMap::new());
    let named = |record: &Record| record.named("a", &paths("a")).into_iter().collect::<Vec<_>>();
    let expected = [(generation(10), Some(second(20))), (generation(20), None), (generation(30), None)];
    assert_eq!(named(&record), expected);
    assert_eq!(record.named("c", &paths("c")), BTreeMap::new());
    // A revert may go to a generation that no set names, because it was live before the group existed.
    let first = Record::new("core").begin_flip(set(30), [("a".to_owned(), Some(at("a", 5)))].into());
    assert_eq!(named(&first), [(generation(5), None), (generation(30), None)]);
    // A generation that is live again has no end time, although an earlier set names it too.
    let back = flipped(&[10, 20]).begin_flip(set(10), BTreeMap::new()).flipped(second(30), MEMORY);
    assert_eq!(named(&back), [(generation(10), None), (generation(20), Some(second(30)))]);
}

#[test]
fn earlier_sets_are_kept_for_rollbacks_and_for_readers() {
    let runs = |record: &Record| record.past.iter().map(|past| past.set.run.timestamp_ms()).collect::<Vec<_>>();
    // One set is kept for a rollback, and so is every set that was live within the last 60 seconds.
    assert_eq!(runs(&flipped(&[10, 20, 30, 40])), [30, 20, 10]);
    assert_eq!(runs(&flipped(&[10, 20, 30, 40, 500])), [40]);
    assert_eq!(runs(&flipped(&[10, 20, 85])), [20], "10 was live until 20");
    let two = Memory { sets: 2, ..MEMORY };
    let record = flipped(&[10, 20, 30]).begin_flip(set(500), BTreeMap::new()).flipped(second(500), two);
    assert_eq!(runs(&record), [30, 20], "20 is kept for a rollback alone");
}

#[test]
fn rollback_goes_to_a_set_that_was_live() {
    let record = flipped(&[10, 20, 30]);
    let to = |wanted| rollback(&record, "a", wanted).map(|set| set.run.timestamp_ms());
    assert_eq!(to(None).unwrap(), 20);
    assert_eq!(to(Some(generation(10))).unwrap(), 10);
    assert_eq!(to(Some(generation(30))).unwrap(), 30);
    assert!(to(Some(generation(40))).unwrap_err().message().contains("no run on record that was live contains"));
    assert!(rollback(&flipped(&[10]), "a", None).is_err());
}

#[test]
fn run_with_other_members_is_reported_with_both_lists() {
    assert_eq!(other_members(&run(1), "core", &BOTH), None);
    assert_eq!(
        other_members(&run(1), "core", &["a", "b", "c"]).unwrap(),
        "group core was exported with the members a, b, but has a, b, c now: export it again"
    );
    assert!(other_members(&run(1), "rest", &BOTH).is_some());
}

#[test]
fn record_is_plain_json_for_readers() {
    let record = flipped(&[10, 20]).begin_flip(set(30), [("a".to_owned(), None)].into()).turned("b: denied".into());
    let json = serde_json::to_value(&record).unwrap();
    assert_eq!(json["live"]["tables"]["a"]["location"], at("a", 20).to_string());
    assert_eq!(json["past"][0]["tables"]["b"]["generation"], generation(10).to_string());
    assert_eq!(serde_json::from_value::<Record>(json).unwrap(), record);
}
