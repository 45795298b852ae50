//! Audits that keep a candidate from going live, canaries that take it back, and column changes, with in-memory ports.

use serde_json::json;
use tests::{
    cases::{CASES, COLUMNS, at},
    catalog::{Fault, Op},
    query::one,
    rig::Rig,
};
use turntable::{
    error::{Error, Kind},
    layout::Generation,
    publish::Outcome,
    record::{Canary, FlipOrigin},
};

const CSV: &str = "id,name\n1,alice\n2,bob\n";

/// Creates a rig with these checks on its dataset.
fn checked(checks: &str) -> Rig {
    Rig::with(&format!("checks = {{ {checks} }}"))
}

/// Exports this CSV, and flips to the new generation.
async fn publish(rig: &Rig, csv: &str) -> Generation {
    let generation = rig.export_csv(csv).await;
    assert_eq!(rig.flip(&generation).await.unwrap().outcome, Outcome::Committed);
    generation
}

fn audit_tables(rig: &Rig) -> Vec<String> {
    rig.catalog.names().into_iter().map(|name| name.table).filter(|name| name.starts_with("turntable_audit_")).collect()
}

/// Returns the message of a rejection, as an operator gets it. Panics if the error is of another kind.
fn rejected(error: &Error) -> &str {
    assert_eq!(error.kind(), Kind::Rejected);
    error.message()
}

/// Delivers the event for a candidate that is rejected, and returns the reasons. A rejection isn't an error: it is
/// reported once, and not retried.
async fn turned_down(rig: &Rig, candidate: &Generation) -> String {
    let answer = rig.deliver(candidate).await.unwrap();
    assert_eq!(answer.outcome, Outcome::Rejected);
    answer.reasons.join("; ")
}

#[tokio::test]
async fn each_check_passes_good_data_and_rejects_bad_data() {
    for case in CASES {
        let rig = Rig::default();
        rig.configure(COLUMNS, &format!("checks = {{ {} }}", case.checks));
        rig.athena.answers(|sql| Ok(one(if sql.contains("GROUP BY") { "0" } else { "true" })));
        let good = publish(&rig, &at(case.good, rig.now())).await;
        let bad = rig.export_csv(&at(case.bad, rig.now())).await;
        rig.athena.answers(|sql| {
            let canned = case.athena.filter(|(part, _)| sql.contains(part));
            Ok(one(canned.map_or("?", |(_, answer)| answer)))
        });
        assert_eq!(turned_down(&rig, &bad).await, case.reasons.join("; "), "{}", case.checks);
        assert_eq!(rig.live(), Some(good));
        assert_eq!(audit_tables(&rig), [""; 0]);
    }
}

/// Parquet's own statistics don't distinguish a null from an empty array, or from a struct of nulls.
#[tokio::test]
async fn nulls_of_nested_columns_are_counted() {
    let columns = "id = \"bigint\", tags = \"array<int>\", s = \"struct<a:int>\", m = \"map<string,int>\"";
    for partitions in ["", "partition_by = [\"id\"]\n"] {
        let rig = Rig::default();
        rig.configure(columns, &format!("{partitions}checks = {{ not_null = [\"tags\", \"s\", \"m\"] }}"));
        let good = publish(&rig, "id,tags,s,m\n1,[],{},{}\n2,[null],{},{}\n").await;
        let bad = rig.export_csv("id,tags,s,m\n1,[],,{}\n2,,,{}\n").await;
        assert_eq!(
            turned_down(&rig, &bad).await,
            "not_null: tags: expected no nulls, found 1; not_null: s: expected no nulls, found 2"
        );
        assert_eq!(rig.live(), Some(good));
    }
}

#[tokio::test]
async fn all_failures_are_reported_together() {
    let rig = checked(
        "min_rows = 3, not_null = [\"id\", \"key\"], unique = [[\"id\"], [\"key\"]], \
         sql = [\"SELECT false FROM {table}\", \"SELECT nme FROM {table}\"]",
    );
    let generation = rig.export_csv(CSV).await;
    rig.athena.answers(|sql| match sql {
        sql if sql.contains("nme") => Err(Error::input("Athena query q1 failed with COLUMN_NOT_FOUND: line 1:8")),
        sql if sql.contains("GROUP BY") => Ok(one("2")),
        _ => Ok(one("false")),
    });
    let error = rig.flip(&generation).await.unwrap_err();
    assert_eq!(
        rejected(&error),
        "users: the candidate was rejected, and there is still no table: min_rows: expected at least 3, found 2; \
         not_null: expected a column \"key\", found only id, name; unique: expected a column \"key\", found only id, name; \
         unique: id: expected no duplicate keys, found 2; \
         sql: SELECT false FROM {table}: expected true, found false; \
         sql: SELECT nme FROM {table}: Athena query q1 failed with COLUMN_NOT_FOUND: line 1:8"
    );
    assert_eq!(rig.catalog.get(&rig.table), None);
}

#[tokio::test]
async fn athena_audits_a_temporary_table_that_equals_the_flips() {
    let rig = checked("unique = [\"id\"], sql = [\"SELECT true FROM {table}\"]");
    rig.athena.answers(|sql| Ok(one(if sql.contains("GROUP BY") { "0" } else { "true" })));
    let generation = rig.export_csv(CSV).await;
    let answer = serde_json::to_value(rig.flip(&generation).await.unwrap()).unwrap();
    assert_eq!(
        answer["checks"],
        json!([
            { "check": "unique: id", "scanned": 7 },
            { "check": "sql: SELECT true FROM {table}", "scanned": 7 },
        ])
    );
    let writes = rig.catalog.writes();
    let (audit, table) = writes.first().unwrap();
    assert!(audit.table.starts_with("turntable_audit_users_"));
    assert_eq!(table.parameters().unwrap()["turntable.audit"], generation.to_string());
    assert_eq!(table.storage_descriptor(), rig.catalog.get(&rig.table).unwrap().storage_descriptor());
    assert!(rig.athena.asked().iter().all(|sql| sql.contains(&format!("\"dmp\".\"{}\"", audit.table))));
    assert_eq!((rig.catalog.calls(Op::Create), rig.catalog.calls(Op::Delete)), (2, 1));
    assert_eq!(audit_tables(&rig), [""; 0]);
}

#[tokio::test]
async fn no_audit_table_is_created_without_athena_checks() {
    let rig = checked("min_rows = 1");
    let answer = serde_json::to_value({
        let generation = rig.export_csv(CSV).await;
        rig.flip(&generation).await.unwrap()
    });
    assert_eq!(answer.unwrap().get("checks"), None);
    assert_eq!((rig.catalog.calls(Op::Create), rig.catalog.calls(Op::Delete)), (1, 0));
    assert!(rig.athena.asked().is_empty());
}

#[tokio::test]
async fn the_audit_table_is_dropped_after_every_failure() {
    for fault in [Fault::Fail, Fault::LoseReply] {
        for (op, call) in [(Op::Create, 1), (Op::Delete, 1), (Op::Delete, 2)] {
            let rig = checked("sql = [\"SELECT true FROM {table}\"]");
            let generation = rig.export_csv(CSV).await;
            rig.catalog.on(op, call, fault);
            let answer = rig.flip(&generation).await;
            // If creating the audit table fails, the flip fails. If dropping the table fails, the flip succeeds all the
            // same.
            match op {
                Op::Create => assert_eq!(answer.unwrap_err().kind(), Kind::Unavailable),
                _ => assert_eq!(answer.unwrap().outcome, Outcome::Committed),
            }
            assert_eq!(audit_tables(&rig), [""; 0], "{op:?} {call} {fault:?}");
        }
    }
    for failure in [Error::input("SYNTAX_ERROR"), Error::unavailable("no answer")] {
        let rig = checked("sql = [\"SELECT true FROM {table}\", \"SELECT 1 = 1 FROM {table}\"]");
        let generation = rig.export_csv(CSV).await;
        let (kind, text) = (failure.kind(), failure.message().to_owned());
        rig.athena.answers(
            move |sql| {
                if sql.contains('1') { Err(Error::new(kind, text.clone())) } else { Ok(one("true")) }
            },
        );
        let error = rig.flip(&generation).await.unwrap_err();
        assert_eq!(error.kind(), if kind == Kind::Input { Kind::Rejected } else { kind });
        assert_eq!(audit_tables(&rig), [""; 0]);
        assert_eq!(rig.catalog.get(&rig.table), None);
    }
}

#[tokio::test]
async fn an_audit_table_that_cannot_be_dropped_is_left_for_sweep() {
    let rig = checked("sql = [\"SELECT true FROM {table}\"]");
    let generation = rig.export_csv(CSV).await;
    for call in 1..=3 {
        rig.catalog.on(Op::Delete, call, Fault::Fail);
    }
    assert_eq!(rig.flip(&generation).await.unwrap().outcome, Outcome::Committed);
    assert_eq!(audit_tables(&rig).len(), 1);
}

#[tokio::test]
async fn a_flip_that_loses_the_race_queries_athena_once() {
    let rig = checked("sql = [\"SELECT true FROM {table}\"]");
    publish(&rig, CSV).await;
    let next = rig.export_csv(CSV).await;
    let asked = rig.athena.asked().len();
    rig.catalog.on(Op::Update, 1, Fault::Overtake);
    assert_eq!(rig.flip(&next).await.unwrap().outcome, Outcome::Committed);
    assert_eq!(rig.athena.asked().len(), asked + 1);
}

const CANARY: &str = "canary = \"SELECT count(*) > 0 FROM {table}\"";

/// Makes one generation live, and exports the next. From then on, the canary's query returns `answer`.
async fn before_the_canary(answer: &'static str) -> (Rig, Generation, Generation) {
    let rig = checked(CANARY);
    let first = publish(&rig, CSV).await;
    let next = rig.export_csv(CSV).await;
    rig.athena.answers(move |_| Ok(one(answer)));
    (rig, first, next)
}

#[tokio::test]
async fn a_true_canary_is_recorded_and_queried_once() {
    let (rig, _, next) = before_the_canary("true").await;
    let answer = rig.deliver(&next).await.unwrap();
    assert_eq!(answer.outcome, Outcome::Committed);
    assert_eq!(answer.checks[0].check, "canary: SELECT count(*) > 0 FROM {table}");
    assert_eq!(rig.athena.asked().last().unwrap(), "SELECT count(*) > 0 FROM \"dmp\".\"users\"");
    let asked = rig.athena.asked().len();
    assert_eq!(rig.deliver(&next).await.unwrap().outcome, Outcome::AlreadyLive);
    assert_eq!(rig.athena.asked().len(), asked);
    assert_eq!(rig.flips().last().unwrap().canary, Some(Canary::Passed));
}

#[tokio::test]
async fn a_failed_canary_rolls_the_table_back() {
    // Without a fault, with each reply lost, after a conflict with our own echo, and after a harmless update by another
    // writer.
    for fault in [None, Some(Fault::LoseReply), Some(Fault::Echo), Some(Fault::Overtake)] {
        let (rig, first, next) = before_the_canary("false").await;
        if let Some(fault) = fault {
            rig.catalog.on(Op::Update, 2, fault);
        }
        assert_eq!(
            turned_down(&rig, &next).await,
            format!(
                "canary: SELECT count(*) > 0 FROM {{table}}: expected true, found false; \
                 canary: the table was flipped back to {first}"
            )
        );
        assert_eq!(rig.live(), Some(first));
        let flips = rig.flips();
        let told: Vec<_> = flips.iter().map(|flip| (flip.to, flip.by, flip.canary)).collect();
        assert_eq!(
            told,
            [
                (first, FlipOrigin::Operator, Some(Canary::Passed)),
                (next, FlipOrigin::Event, Some(Canary::Pending)),
                (first, FlipOrigin::Canary, None),
            ]
        );
        // A redelivered event changes nothing.
        assert_eq!(rig.deliver(&next).await.unwrap().outcome, Outcome::Stale);
        assert_eq!(rig.live(), Some(first));
        // A fresher candidate flips again.
        rig.athena.answers(|_| Ok(one("true")));
        publish(&rig, CSV).await;
    }
}

#[tokio::test]
async fn a_failed_canary_leaves_drift_alone() {
    let (rig, first, next) = before_the_canary("false").await;
    let (glue, name) = (rig.catalog.clone(), rig.table.clone());
    let other = format!("s3://lake/schemas/users/{first}").parse().unwrap();
    rig.athena.answers(move |_| {
        let table = glue.get(&name).unwrap();
        glue.put("dmp", tests::catalog::moved(&table, &other));
        Ok(one("false"))
    });
    assert!(turned_down(&rig, &next).await.ends_with(&format!("canary: {next} has been replaced since")));
    assert_eq!(rig.live(), Some(first));
    // The flip itself sent the only update: there was no flip back.
    assert_eq!(rig.catalog.calls(Op::Update), 1);
}

#[tokio::test]
async fn a_failed_way_back_is_completed_by_the_next_event() {
    let (rig, first, next) = before_the_canary("false").await;
    rig.catalog.on(Op::Update, 2, Fault::Fail);
    assert_eq!(rig.deliver(&next).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(rig.live(), Some(next));
    turned_down(&rig, &next).await;
    assert_eq!(rig.live(), Some(first));
}

#[tokio::test]
async fn a_flip_stands_without_a_canary_answer_and_the_canary_is_retried() {
    let (rig, first, next) = before_the_canary("false").await;
    rig.athena.answers(|_| Err(Error::unavailable("athena:StartQueryExecution failed: run again")));
    let answer = rig.deliver(&next).await.unwrap();
    assert_eq!(answer.outcome, Outcome::Committed);
    assert_eq!(
        answer.reasons,
        [
            "canary: SELECT count(*) > 0 FROM {table}: not run, the flip stands: athena:StartQueryExecution failed: run again"
        ]
    );
    rig.athena.answers(|_| Err(Error::input("Athena query q1 failed with TYPE_MISMATCH")));
    assert!(turned_down(&rig, &next).await.contains("Athena query q1 failed with TYPE_MISMATCH"));
    assert_eq!(rig.live(), Some(first));
}

#[tokio::test]
async fn a_created_table_has_no_way_back() {
    let rig = checked(CANARY);
    rig.athena.answers(|_| Ok(one("false")));
    let only = rig.export_csv(CSV).await;
    assert!(
        turned_down(&rig, &only)
            .await
            .ends_with(&format!("canary: {only} stays live: there was no table before this flip"))
    );
    assert_eq!(rig.live(), Some(only));
}

#[tokio::test]
async fn a_failed_canary_goes_back_to_an_unmanaged_table() {
    let (rig, first, _) = before_the_canary("true").await;
    let table = rig.catalog.get(&rig.table).unwrap();
    // The table is unmanaged: its location is from before Turntable.
    let other = checked(CANARY);
    let flat = "s3://lake/schemas/users/blue".parse().unwrap();
    other.catalog.put("dmp", tests::catalog::moved(&table, &flat));
    other.catalog.analyze(&other.table, "id", other.now());
    other.athena.answers(|_| Ok(one("false")));
    let next = other.export_csv(CSV).await;
    assert!(turned_down(&other, &next).await.ends_with(
        "canary: the table was flipped back to s3://lake/schemas/users/blue/, which is unmanaged: \
         to flip again, invoke flip with a generation"
    ));
    let table = other.catalog.get(&other.table).unwrap();
    assert_eq!(table.storage_descriptor().unwrap().location(), Some("s3://lake/schemas/users/blue/"));
    assert_eq!(other.catalog.analyzed(), ["id"], "these statistics describe the files that the table reads again");
    assert_eq!(rig.live(), Some(first));
}

#[tokio::test]
async fn a_concurrent_hold_keeps_live_and_a_rollback_runs_no_canary() {
    let (rig, first, next) = before_the_canary("true").await;
    rig.flip(&next).await.unwrap();
    let asked = rig.athena.asked().len();
    let back = rig.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap();
    assert_eq!((back.outcome, rig.live() == Some(first)), (Outcome::Committed, true));
    assert_eq!(rig.athena.asked().len(), asked);

    let newest = rig.export_csv(CSV).await;
    rig.athena.answers(|_| Err(Error::unavailable("down")));
    rig.flip(&newest).await.unwrap();
    rig.ask(json!({ "dataset": "users", "action": "hold", "reason": "look first" })).await.unwrap();
    rig.athena.answers(|_| Ok(one("false")));
    assert!(
        turned_down(&rig, &newest)
            .await
            .ends_with(&format!("canary: {newest} stays live because of a hold: look first"))
    );
    assert_eq!(rig.live(), Some(newest));
}

/// Makes a generation live under this `schema` policy, adds a comment to the table's `id` column, and exports a
/// candidate with these columns.
async fn evolving(policy: &str, columns: &str, csv: &str) -> (Rig, Generation, Generation) {
    let rig = Rig::default();
    let schema = format!("schema = \"{policy}\"");
    rig.configure("id = \"int\", name = \"string\"", &schema);
    let first = publish(&rig, CSV).await;
    let mut table = turntable::aws::glue::unchanged(&rig.catalog.get(&rig.table).unwrap());
    table.storage_descriptor.as_mut().unwrap().columns.as_mut().unwrap()[0].comment = Some("the key".into());
    rig.catalog.put("dmp", table);
    rig.configure(columns, &schema);
    let next = rig.export_csv(csv).await;
    (rig, first, next)
}

const WIDER: &str = "extra = \"date\", id = \"bigint\", name = \"string\"";
const WIDER_CSV: &str = "id,name,extra\n1,alice,2026-01-01\n";

#[tokio::test]
async fn schema_strict_rejects_what_additive_publishes_in_one_update() {
    let (rig, first, next) = evolving("strict", WIDER, WIDER_CSV).await;
    let error = rig.flip(&next).await.unwrap_err();
    assert_eq!(
        rejected(&error),
        format!(
            "users: the candidate was rejected, and {first} stays live: \
             schema: column \"id\" is int in the table and the wider bigint in the new data; \
             schema = \"additive\" in datasets.toml allows this; \
             schema: column \"extra\" date is not in the table; schema = \"additive\" in datasets.toml allows this"
        )
    );

    let (rig, first, next) = evolving("additive", WIDER, WIDER_CSV).await;
    let updates = rig.catalog.calls(Op::Update);
    rig.flip(&next).await.unwrap();
    assert_eq!(rig.catalog.calls(Op::Update), updates + 1);
    assert_eq!(rig.columns(), ["id bigint", "name string", "extra date"]);
    let table = rig.catalog.get(&rig.table).unwrap();
    assert_eq!(table.storage_descriptor().unwrap().columns()[0].comment(), Some("the key"));

    // A rollback reverts the columns too.
    rig.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap();
    assert_eq!(rig.live(), Some(first));
    assert_eq!(rig.columns(), ["id int", "name string"]);
}

#[tokio::test]
async fn schema_any_publishes_the_files_columns_and_keeps_comments() {
    let columns = "full_name = \"string\", id = \"string\"";
    let csv = "id,full_name\n1,alice\n";
    let (rig, first, next) = evolving("additive", columns, csv).await;
    let error = rig.flip(&next).await.unwrap_err();
    assert_eq!(
        rejected(&error),
        format!(
            "users: the candidate was rejected, and {first} stays live: \
             schema: column \"id\" is int in the table and string in the new data; \
             schema: column \"name\" string is missing from the new data"
        )
    );

    let (rig, _, next) = evolving("any", columns, csv).await;
    rig.flip(&next).await.unwrap();
    assert_eq!(rig.columns(), ["full_name string", "id string"]);
    let table = rig.catalog.get(&rig.table).unwrap();
    assert_eq!(table.storage_descriptor().unwrap().columns()[1].comment(), Some("the key"));
}

#[tokio::test]
async fn a_failed_canary_takes_evolved_columns_back_too() {
    let (rig, first, next) = evolving("additive", WIDER, WIDER_CSV).await;
    rig.configure(WIDER, &format!("schema = \"additive\"\nchecks = {{ {CANARY} }}"));
    rig.athena.answers(|_| Ok(one("false")));
    rejected(&rig.flip(&next).await.unwrap_err());
    assert_eq!(rig.live(), Some(first));
    assert_eq!(rig.columns(), ["id int", "name string"]);
}

#[tokio::test]
async fn athena_does_not_audit_an_unsound_candidate() {
    let (rig, _, next) = evolving("strict", WIDER, WIDER_CSV).await;
    rig.configure(WIDER, "checks = { unique = [\"id\"], min_rows = 2 }");
    let error = rig.flip(&next).await.unwrap_err();
    assert!(
        rejected(&error).ends_with(
            "min_rows: expected at least 2, found 1; checks in Athena: not run, because of the failures above"
        )
    );
    assert!(rig.athena.asked().is_empty());
}
