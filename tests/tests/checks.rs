//! What keeps a candidate from going live, what takes it back, and what may change of a table, with every port in
//! memory.

use serde_json::json;
use tests::{
    cases::{CASES, COLUMNS, at},
    catalog::{Fault, Op},
    lake::Lake,
    query::one,
};
use turntable::{
    error::{Error, Kind},
    publish::Outcome,
    record::{By, Canary},
};

const CSV: &str = "id,name\n1,alice\n2,bob\n";
const ID_NAME: &str = "id = \"bigint\", name = \"string\"";

/// A lake whose dataset has these checks.
fn lake(checks: &str) -> Lake {
    let lake = Lake::default();
    lake.configure(ID_NAME, &format!("checks = {{ {checks} }}"));
    lake
}

/// Exports and flips.
async fn publish(lake: &Lake, csv: &str) -> String {
    let generation = lake.export(csv).await;
    assert_eq!(lake.flip(&generation).await.unwrap().outcome, Outcome::Swapped);
    generation
}

fn audit_tables(lake: &Lake) -> Vec<String> {
    lake.glue.names().into_iter().map(|name| name.table).filter(|name| name.starts_with("turntable_audit_")).collect()
}

fn rejected(error: &Error) -> &str {
    assert_eq!(error.kind(), Kind::Rejected);
    error.message()
}

#[tokio::test]
async fn each_check_passes_what_is_good_and_rejects_what_is_not() {
    for case in CASES {
        let lake = Lake::default();
        lake.configure(COLUMNS, &format!("checks = {{ {} }}", case.checks));
        lake.athena.answers(|sql| Ok(one(if sql.contains("GROUP BY") { "0" } else { "true" })));
        let good = publish(&lake, &at(case.good, lake.now())).await;
        let bad = lake.export(&at(case.bad, lake.now())).await;
        lake.athena.answers(|sql| {
            let canned = case.athena.filter(|(part, _)| sql.contains(part));
            Ok(one(canned.map_or("?", |(_, answer)| answer)))
        });
        let error = lake.event(&bad).await.unwrap_err();
        let expected = format!("users: the candidate was rejected, {good} stays live: {}", case.reasons.join("; "));
        assert_eq!(rejected(&error), expected, "{}", case.checks);
        assert!(lake.is_live(&good));
        assert_eq!(audit_tables(&lake), [""; 0]);
    }
}

#[tokio::test]
async fn all_failures_are_reported_together() {
    let lake = lake(
        "min_rows = 3, not_null = [\"id\", \"key\"], unique = [[\"id\"], [\"key\"]], \
         sql = [\"SELECT false FROM {table}\", \"SELECT nme FROM {table}\"]",
    );
    let generation = lake.export(CSV).await;
    lake.athena.answers(|sql| match sql {
        sql if sql.contains("nme") => Err(Error::input("COLUMN_NOT_FOUND: line 1:8 (query q1)")),
        sql if sql.contains("GROUP BY") => Ok(one("2")),
        _ => Ok(one("false")),
    });
    let error = lake.flip(&generation).await.unwrap_err();
    assert_eq!(
        rejected(&error),
        "users: the candidate was rejected, nothing stays live: min_rows: expected at least 3, found 2; \
         not_null: expected a column \"key\", found only id, name; unique: expected a column \"key\", found only id, name; \
         unique: id: expected every value once, found 2 of them more than once; \
         sql: SELECT false FROM {table}: expected true, found false; \
         sql: SELECT nme FROM {table}: expected an answer, the query failed: COLUMN_NOT_FOUND: line 1:8 (query q1)"
    );
    assert_eq!(lake.glue.get(&Lake::table()), None);
}

#[tokio::test]
async fn athena_is_asked_about_a_table_with_what_the_flip_publishes_and_it_is_gone_afterwards() {
    let lake = lake("unique = [\"id\"], sql = [\"SELECT true FROM {table}\"]");
    lake.athena.answers(|sql| Ok(one(if sql.contains("GROUP BY") { "0" } else { "true" })));
    let generation = lake.export(CSV).await;
    let answer = serde_json::to_value(lake.flip(&generation).await.unwrap()).unwrap();
    assert_eq!(
        answer["checks"],
        json!([
            { "check": "unique: id", "scanned": 7 },
            { "check": "sql: SELECT true FROM {table}", "scanned": 7 },
        ])
    );
    let writes = lake.glue.writes();
    let (audit, table) = writes.first().unwrap();
    assert!(audit.table.starts_with("turntable_audit_users_"));
    assert_eq!(table.parameters().unwrap()["turntable.audit"], generation);
    assert_eq!(table.storage_descriptor(), lake.glue.get(&Lake::table()).unwrap().storage_descriptor());
    assert!(lake.athena.asked().iter().all(|sql| sql.contains(&format!("\"dmp\".\"{}\"", audit.table))));
    assert_eq!((lake.glue.calls(Op::Create), lake.glue.calls(Op::Delete)), (2, 1));
    assert_eq!(audit_tables(&lake), [""; 0]);
}

#[tokio::test]
async fn nothing_is_registered_where_athena_has_nothing_to_answer() {
    let lake = lake("min_rows = 1");
    let answer = serde_json::to_value({
        let generation = lake.export(CSV).await;
        lake.flip(&generation).await.unwrap()
    });
    assert_eq!(answer.unwrap().get("checks"), None);
    assert_eq!((lake.glue.calls(Op::Create), lake.glue.calls(Op::Delete)), (1, 0));
    assert!(lake.athena.asked().is_empty());
}

#[tokio::test]
async fn the_audit_table_is_dropped_whatever_happens() {
    for fault in [Fault::Fail, Fault::LoseReply] {
        for (op, call) in [(Op::Create, 1), (Op::Delete, 1), (Op::Delete, 2)] {
            let lake = lake("sql = [\"SELECT true FROM {table}\"]");
            let generation = lake.export(CSV).await;
            lake.glue.on(op, call, fault);
            let answer = lake.flip(&generation).await;
            // A table that cannot be made is somebody else's failure, and one that is slow to go is nobody's.
            match op {
                Op::Create => assert_eq!(answer.unwrap_err().kind(), Kind::Unavailable),
                _ => assert_eq!(answer.unwrap().outcome, Outcome::Swapped),
            }
            assert_eq!(audit_tables(&lake), [""; 0], "{op:?} {call} {fault:?}");
        }
    }
    for failure in [Error::input("SYNTAX_ERROR"), Error::unavailable("no answer")] {
        let lake = lake("sql = [\"SELECT true FROM {table}\", \"SELECT 1 = 1 FROM {table}\"]");
        let generation = lake.export(CSV).await;
        let (kind, text) = (failure.kind(), failure.message().to_owned());
        lake.athena.answers(
            move |sql| {
                if sql.contains('1') { Err(Error::new(kind, text.clone())) } else { Ok(one("true")) }
            },
        );
        let error = lake.flip(&generation).await.unwrap_err();
        assert_eq!(error.kind(), if kind == Kind::Input { Kind::Rejected } else { kind });
        assert_eq!(audit_tables(&lake), [""; 0]);
        assert_eq!(lake.glue.get(&Lake::table()), None);
    }
}

#[tokio::test]
async fn a_table_that_will_not_go_is_left_for_sweep() {
    let lake = lake("sql = [\"SELECT true FROM {table}\"]");
    let generation = lake.export(CSV).await;
    for call in 1..=3 {
        lake.glue.on(Op::Delete, call, Fault::Fail);
    }
    assert_eq!(lake.flip(&generation).await.unwrap().outcome, Outcome::Swapped);
    assert_eq!(audit_tables(&lake).len(), 1);
}

#[tokio::test]
async fn a_flip_that_is_overtaken_asks_athena_once() {
    let lake = lake("sql = [\"SELECT true FROM {table}\"]");
    publish(&lake, CSV).await;
    let next = lake.export(CSV).await;
    let asked = lake.athena.asked().len();
    lake.glue.on(Op::Update, 1, Fault::Overtake);
    assert_eq!(lake.flip(&next).await.unwrap().outcome, Outcome::Swapped);
    assert_eq!(lake.athena.asked().len(), asked + 1);
}

const CANARY: &str = "canary = \"SELECT count(*) > 0 FROM {table}\"";

/// A lake with one generation live and the next one waiting, whose canary will answer this.
async fn before_the_canary(answer: &'static str) -> (Lake, String, String) {
    let lake = lake(CANARY);
    let first = publish(&lake, CSV).await;
    let next = lake.export(CSV).await;
    lake.athena.answers(move |_| Ok(one(answer)));
    (lake, first, next)
}

#[tokio::test]
async fn a_canary_that_sings_is_recorded_and_asked_once() {
    let (lake, _, next) = before_the_canary("true").await;
    let answer = lake.event(&next).await.unwrap();
    assert_eq!(answer.outcome, Outcome::Swapped);
    assert_eq!(answer.checks[0].check, "canary: SELECT count(*) > 0 FROM {table}");
    assert_eq!(lake.athena.asked().last().unwrap(), "SELECT count(*) > 0 FROM \"dmp\".\"users\"");
    let asked = lake.athena.asked().len();
    assert_eq!(lake.event(&next).await.unwrap().outcome, Outcome::AlreadyLive);
    assert_eq!(lake.athena.asked().len(), asked);
    assert_eq!(lake.flips().await.last().unwrap().canary, Some(Canary::Passed));
}

#[tokio::test]
async fn a_canary_that_does_not_sing_takes_the_table_back() {
    // As it should be, with each reply lost, with the conflict of our own echo, and overtaken by somebody harmless.
    for fault in [None, Some(Fault::LoseReply), Some(Fault::Echo), Some(Fault::Overtake)] {
        let (lake, first, next) = before_the_canary("false").await;
        if let Some(fault) = fault {
            lake.glue.on(Op::Update, 2, fault);
        }
        let error = lake.event(&next).await.unwrap_err();
        assert_eq!(
            rejected(&error),
            format!(
                "users: the candidate was rejected, {first} stays live: \
                 canary: SELECT count(*) > 0 FROM {{table}}: expected true, found false; \
                 canary: the table went back to {first}"
            )
        );
        assert!(lake.is_live(&first));
        let flips = lake.flips().await;
        let told: Vec<_> = flips.iter().map(|flip| (flip.to.to_string(), flip.by, flip.canary)).collect();
        assert_eq!(
            told,
            [
                (first.clone(), By::Operator, Some(Canary::Passed)),
                (next.clone(), By::Event, Some(Canary::Pending)),
                (first.clone(), By::Canary, None),
            ]
        );
        // Whether the event comes again or not.
        assert_eq!(lake.event(&next).await.unwrap().outcome, Outcome::Stale);
        assert!(lake.is_live(&first));
        // What is fresher flips again.
        lake.athena.answers(|_| Ok(one("true")));
        publish(&lake, CSV).await;
    }
}

#[tokio::test]
async fn a_canary_leaves_alone_what_somebody_else_has_made_live_meanwhile() {
    let (lake, first, next) = before_the_canary("false").await;
    let glue = lake.glue.clone();
    let other = format!("s3://lake/schemas/users/{first}").parse().unwrap();
    lake.athena.answers(move |_| {
        let table = glue.get(&Lake::table()).unwrap();
        glue.put("dmp", turntable::aws::glue::moved(&table, &other));
        Ok(one("false"))
    });
    let error = lake.event(&next).await.unwrap_err();
    assert!(rejected(&error).ends_with(&format!("canary: {next} was replaced meanwhile")));
    assert!(lake.is_live(&first));
    // The flip's, and no second one.
    assert_eq!(lake.glue.calls(Op::Update), 1);
}

#[tokio::test]
async fn a_way_back_that_fails_is_gone_the_next_time() {
    let (lake, first, next) = before_the_canary("false").await;
    lake.glue.on(Op::Update, 2, Fault::Fail);
    assert_eq!(lake.event(&next).await.unwrap_err().kind(), Kind::Unavailable);
    assert!(lake.is_live(&next));
    rejected(&lake.event(&next).await.unwrap_err());
    assert!(lake.is_live(&first));
}

#[tokio::test]
async fn a_flip_stands_while_athena_does_not_answer_and_is_asked_about_later() {
    let (lake, first, next) = before_the_canary("false").await;
    lake.athena.answers(|_| Err(Error::unavailable("athena:StartQueryExecution failed: run again")));
    let answer = lake.event(&next).await.unwrap();
    assert_eq!(answer.outcome, Outcome::Swapped);
    assert_eq!(
        answer.reasons,
        [
            "canary: SELECT count(*) > 0 FROM {table}: not asked, the flip stands: athena:StartQueryExecution failed: run again"
        ]
    );
    lake.athena.answers(|_| Err(Error::input("TYPE_MISMATCH (query q1)")));
    let error = lake.event(&next).await.unwrap_err();
    assert!(rejected(&error).contains("expected an answer, the query failed: TYPE_MISMATCH (query q1)"));
    assert!(lake.is_live(&first));
}

#[tokio::test]
async fn without_a_table_before_there_is_no_way_back() {
    let lake = lake(CANARY);
    lake.athena.answers(|_| Ok(one("false")));
    let only = lake.export(CSV).await;
    let error = lake.event(&only).await.unwrap_err();
    assert!(rejected(&error).ends_with(&format!("canary: {only} stays live: there was no table before to go back to")));
    assert!(lake.is_live(&only));
}

#[tokio::test]
async fn a_canary_goes_back_to_a_table_that_was_not_ours() {
    let (lake, first, _) = before_the_canary("true").await;
    let table = lake.glue.get(&Lake::table()).unwrap();
    // The table of another lake, as it was before Turntable: its location is nobody's generation.
    let other = Lake::default();
    other.configure(ID_NAME, &format!("checks = {{ {CANARY} }}"));
    let flat = "s3://lake/schemas/users/blue".parse().unwrap();
    other.glue.put("dmp", turntable::aws::glue::moved(&table, &flat));
    other.athena.answers(|_| Ok(one("false")));
    let next = other.export(CSV).await;
    let error = other.event(&next).await.unwrap_err();
    assert!(rejected(&error).ends_with(
        "canary: the table went back to s3://lake/schemas/users/blue/, which is none of ours: \
         the next flip takes an operator's request"
    ));
    assert_eq!(other.live().0, "s3://lake/schemas/users/blue/");
    assert!(lake.is_live(&first));
}

#[tokio::test]
async fn a_hold_that_came_meanwhile_keeps_what_is_live_and_a_rollback_asks_no_canary() {
    let (lake, first, next) = before_the_canary("true").await;
    lake.flip(&next).await.unwrap();
    let asked = lake.athena.asked().len();
    let back = lake.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap();
    assert_eq!((back.outcome, lake.is_live(&first)), (Outcome::Swapped, true));
    assert_eq!(lake.athena.asked().len(), asked);

    let newest = lake.export(CSV).await;
    lake.athena.answers(|_| Err(Error::unavailable("down")));
    lake.flip(&newest).await.unwrap();
    lake.ask(json!({ "dataset": "users", "action": "hold", "reason": "look first" })).await.unwrap();
    lake.athena.answers(|_| Ok(one("false")));
    let error = lake.event(&newest).await.unwrap_err();
    assert!(rejected(&error).ends_with(&format!("canary: {newest} stays live: a hold is on: look first")));
    assert!(lake.is_live(&newest));
}

/// A table whose people have written a comment on `id`, and a new export with these columns.
async fn evolving(policy: &str, columns: &str, csv: &str) -> (Lake, String, String) {
    let lake = Lake::default();
    let schema = format!("schema = \"{policy}\"");
    lake.configure("id = \"int\", name = \"string\"", &schema);
    let first = publish(&lake, CSV).await;
    let mut table = turntable::aws::glue::unchanged(&lake.glue.get(&Lake::table()).unwrap());
    table.storage_descriptor.as_mut().unwrap().columns.as_mut().unwrap()[0].comment = Some("the key".into());
    lake.glue.put("dmp", table);
    lake.configure(columns, &schema);
    let next = lake.export(csv).await;
    (lake, first, next)
}

const WIDER: &str = "extra = \"date\", id = \"bigint\", name = \"string\"";
const WIDER_CSV: &str = "id,name,extra\n1,alice,2026-01-01\n";

#[tokio::test]
async fn strict_rejects_what_additive_publishes_in_the_same_update() {
    let (lake, first, next) = evolving("strict", WIDER, WIDER_CSV).await;
    let error = lake.flip(&next).await.unwrap_err();
    assert_eq!(
        rejected(&error),
        format!(
            "users: the candidate was rejected, {first} stays live: \
             schema: column \"id\" is int in the table and the wider bigint in the new data; \
             schema: column \"extra\" date is not in the table"
        )
    );

    let (lake, first, next) = evolving("additive", WIDER, WIDER_CSV).await;
    let updates = lake.glue.calls(Op::Update);
    lake.flip(&next).await.unwrap();
    assert_eq!(lake.glue.calls(Op::Update), updates + 1);
    assert_eq!(lake.live().1, ["id bigint", "name string", "extra date"]);
    let table = lake.glue.get(&Lake::table()).unwrap();
    assert_eq!(table.storage_descriptor().unwrap().columns()[0].comment(), Some("the key"));

    // The way back takes the columns back too.
    lake.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap();
    assert!(lake.is_live(&first));
    assert_eq!(lake.live().1, ["id int", "name string"]);
}

#[tokio::test]
async fn any_publishes_what_the_files_have_and_keeps_comments() {
    let columns = "full_name = \"string\", id = \"string\"";
    let csv = "id,full_name\n1,alice\n";
    let (lake, first, next) = evolving("additive", columns, csv).await;
    let error = lake.flip(&next).await.unwrap_err();
    assert_eq!(
        rejected(&error),
        format!(
            "users: the candidate was rejected, {first} stays live: \
             schema: column \"id\" is int in the table and string in the new data; \
             schema: column \"name\" string is missing from the new data"
        )
    );

    let (lake, _, next) = evolving("any", columns, csv).await;
    lake.flip(&next).await.unwrap();
    assert_eq!(lake.live().1, ["full_name string", "id string"]);
    let table = lake.glue.get(&Lake::table()).unwrap();
    assert_eq!(table.storage_descriptor().unwrap().columns()[1].comment(), Some("the key"));
}

#[tokio::test]
async fn a_canary_takes_evolved_columns_back_too() {
    let (lake, first, next) = evolving("additive", WIDER, WIDER_CSV).await;
    lake.configure(WIDER, &format!("schema = \"additive\"\nchecks = {{ {CANARY} }}"));
    lake.athena.answers(|_| Ok(one("false")));
    rejected(&lake.flip(&next).await.unwrap_err());
    assert!(lake.is_live(&first));
    assert_eq!(lake.live().1, ["id int", "name string"]);
}

#[tokio::test]
async fn athena_is_not_asked_about_what_is_not_sound() {
    let (lake, _, next) = evolving("strict", WIDER, WIDER_CSV).await;
    lake.configure(WIDER, "checks = { unique = [\"id\"], min_rows = 2 }");
    let error = lake.flip(&next).await.unwrap_err();
    assert!(
        rejected(&error)
            .ends_with("min_rows: expected at least 2, found 1; unique, sql: not asked, because of the above")
    );
    assert!(lake.athena.asked().is_empty());
}
