//! Athena and Glue as engines, in process: each run is started once and settled once, despite crashes and lost, late,
//! duplicate or reordered events. `TURNTABLE_ENGINE_SCHEDULES` says how many random schedules run (400).

use std::sync::Arc;

use export::Answer;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tests::{engine::Start, random::count, rig::Rig};
use turntable::{
    error::Kind,
    layout::{Key, TablePaths},
    manifest::Manifest,
    publish::Outcome,
    record::Work,
};

use self::support::{ATHENA, GLUE, Numbers, athena_event, event_of};
use crate::wire::Wire;

pub mod support;

async fn export(rig: &Rig) -> turntable::error::Result<Value> {
    let answer = rig.export_with(rig.env(), json!({ "dataset": "users" })).await?;
    Ok(serde_json::to_value(answer).unwrap())
}

/// Delivers the event about the end of the `at`-th run, and returns the answer.
async fn hear(rig: &Rig, at: usize) -> Value {
    let answer = rig.export_with(rig.env(), event_of(rig, at)).await.unwrap();
    serde_json::to_value(answer).unwrap()
}

fn manifests(rig: &Rig) -> Vec<Manifest> {
    let read = |key: String| {
        let key: Key = key.parse().unwrap();
        let (_, generation) = TablePaths::parse_manifest(&key)?;
        Some(Manifest::from_json(&key, &generation, &rig.objects.body(&key.to_string()).unwrap()).unwrap())
    };
    rig.objects.keys().into_iter().filter_map(read).collect()
}

fn dead_letters(rig: &Rig) -> Vec<String> {
    rig.queue.1.lock().unwrap().clone()
}

#[tokio::test]
async fn an_engine_builds_without_a_waiting_function_and_its_event_continues_the_chain() {
    for source in [ATHENA, GLUE] {
        let rig = support::rig(source, "checks = { min_rows = 4, not_null = [\"id\"] }");
        let before = rig.now();
        let started = export(&rig).await.unwrap();
        assert_eq!((&started["outcome"], &started["run"]), (&json!("started"), &json!("run-0")));
        assert_eq!(hear(&rig, 0).await["outcome"], "running", "an event that came too early");
        rig.engine.succeed(0, 4, &[""]).await;

        let exported = hear(&rig, 0).await;
        assert_eq!((&exported["rows"], &exported["files"]), (&json!(4), &json!(1)));
        let manifest = manifests(&rig).pop().unwrap();
        assert!(manifest.as_of > before && manifest.as_of < manifest.created_at);
        // The time is from before the start, because a job gets it as an argument.
        if let Work::GlueJob { arguments, .. } = &rig.engine.runs()[0].work {
            assert_eq!(arguments["--turntable_as_of"], manifest.as_of.to_string());
        }
        assert_eq!((manifest.base, manifest.columns.len()), (None, 1));
        assert_eq!(rig.deliver(&manifest.generation).await.unwrap().outcome, Outcome::Committed);
        assert_eq!(rig.live(), Some(manifest.generation));
        // Late and duplicate events do nothing.
        assert_eq!(hear(&rig, 0).await["outcome"], "nothing");
        assert_eq!((manifests(&rig).len(), dead_letters(&rig)), (1, vec![]));
    }
}

#[tokio::test]
async fn an_engine_gets_all_options_of_the_dataset() {
    let rig = support::rig(ATHENA, "");
    export(&rig).await.unwrap();
    let Work::Athena { workgroup, database, sql } = rig.engine.runs()[0].work.clone() else { panic!("no Athena") };
    assert_eq!((workgroup.as_str(), database.as_str()), ("etl", "dmp"));
    assert!(sql.starts_with("UNLOAD (\nSELECT id FROM t\n) TO 's3://lake/schemas/users/blue-"), "{sql}");

    let rig = support::rig(GLUE, "");
    export(&rig).await.unwrap();
    let Work::GlueJob { name, arguments, timeout } = rig.engine.runs()[0].work.clone() else { panic!("no job") };
    assert_eq!((name.as_str(), timeout), ("build-users", 120));
    let names: Vec<_> = arguments.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["--day", "--turntable_as_of", "--turntable_dataset", "--turntable_generation", "--turntable_location"]
    );
    assert_eq!(arguments["--turntable_location"], rig.engine.runs()[0].location.to_string());
}

#[tokio::test]
async fn a_retry_whose_first_reply_was_lost_starts_nothing_twice() {
    for (source, fate) in
        [(ATHENA, Start::Lost), (GLUE, Start::Lost), (ATHENA, Start::Unanswered), (GLUE, Start::Unanswered)]
    {
        let rig = support::rig(source, "");
        rig.engine.next_start(fate);
        assert_eq!(export(&rig).await.unwrap_err().kind(), Kind::Unavailable);
        // The queue redelivers the message.
        assert_eq!(export(&rig).await.unwrap()["run"], "run-0");
        // A message arrives while the run is still running.
        assert_eq!(export(&rig).await.unwrap()["outcome"], "running");
        assert_eq!(rig.engine.runs().len(), 1, "{source} {fate:?}");
        rig.engine.succeed(0, 1, &[""]).await;
        assert_eq!(hear(&rig, 0).await["rows"], 1);
    }
}

#[tokio::test]
async fn a_run_whose_start_was_never_confirmed_is_found_by_its_location() {
    for source in [ATHENA, GLUE] {
        let rig = support::rig(source, "");
        rig.engine.next_start(Start::Lost);
        export(&rig).await.unwrap_err();
        rig.engine.succeed(0, 3, &[""]).await;
        assert_eq!(hear(&rig, 0).await["rows"], 3);
        // A later retry counts as a new request.
        assert_eq!(export(&rig).await.unwrap()["run"], "run-1");
    }
}

#[tokio::test]
async fn a_start_that_was_never_confirmed_is_given_up_in_the_end() {
    let rig = support::rig(ATHENA, "");
    rig.engine.next_start(Start::Lost);
    export(&rig).await.unwrap_err();
    rig.advance(SignedDuration::from_mins(16));
    assert_eq!(export(&rig).await.unwrap()["outcome"], "failed");
    assert_eq!(export(&rig).await.unwrap()["run"], "run-1");
    // The first run ends after all, but too late.
    rig.engine.succeed(0, 3, &[""]).await;
    assert_eq!(hear(&rig, 0).await["outcome"], "nothing");
    assert_eq!((manifests(&rig).len(), dead_letters(&rig).len()), (0, 1));
}

#[tokio::test]
async fn a_failed_run_is_reported_once_with_the_engines_reason() {
    for (source, kind) in [(ATHENA, Kind::Input), (GLUE, Kind::Unavailable)] {
        let rig = support::rig(source, "");
        export(&rig).await.unwrap();
        rig.engine.fail(0, kind, "EXCEEDED_MEMORY_LIMIT (query run-0)");
        let failed = hear(&rig, 0).await;
        assert_eq!(
            (&failed["outcome"], &failed["reason"]),
            (&json!("failed"), &json!("EXCEEDED_MEMORY_LIMIT (query run-0)"))
        );
        for _ in 0..2 {
            assert_eq!(hear(&rig, 0).await["outcome"], "nothing");
        }
        assert_eq!(dead_letters(&rig), [format!("{{\"dataset\":\"users\"}} is dead: {}", kind.as_str())]);
        assert_eq!(export(&rig).await.unwrap()["run"], "run-1");
    }
}

#[tokio::test]
async fn a_refused_start_fails_at_once_and_leaves_nothing_pending() {
    let rig = support::rig(ATHENA, "");
    rig.engine.next_start(Start::Refused);
    assert_eq!(export(&rig).await.unwrap_err().message(), "SYNTAX_ERROR: line 1:8");
    assert_eq!(export(&rig).await.unwrap()["run"], "run-0");
}

#[tokio::test]
async fn files_that_no_table_can_have_fail_with_advice() {
    for (files, expected) in [
        (vec![], "has no files: the query returned no rows, and UNLOAD writes no file for an empty result"),
        (vec![("a.csv", "id\n1\n".into())], "write Parquet files whose columns have Glue types"),
        (
            vec![("a", tests::engine::file(1).await), ("b/c", bytes::Bytes::from_static(b"PAR1"))],
            "write Parquet files whose columns have Glue types",
        ),
    ] {
        let rig = support::rig(ATHENA, "");
        export(&rig).await.unwrap();
        let location = rig.engine.runs()[0].location.clone();
        for (name, body) in files {
            rig.objects.put(&location.key(name).to_string(), body);
        }
        rig.engine.succeed_without_files(0);
        let failed = hear(&rig, 0).await;
        assert!(failed["reason"].as_str().unwrap().contains(expected), "{failed}");
        assert_eq!(dead_letters(&rig), ["{\"dataset\":\"users\"} is dead: Input"]);
    }
}

#[tokio::test]
async fn partitions_are_counted_before_and_typed_by_athena() {
    let source = ATHENA.replace("workgroup", "partition_by = [\"dt\", \"shop\"], workgroup");
    let rig = support::rig(&source, "");
    rig.engine.partitions(101, &["date", "varchar(9)"]);
    let refused = export(&rig).await.unwrap_err();
    assert!(refused.message().starts_with("the result has more than 100 partitions by dt, shop"), "{refused}");
    assert_eq!((refused.kind(), rig.engine.runs().len()), (Kind::Config, 0));
    assert!(rig.objects.keys().iter().all(|key| !key.contains("_pending")));

    rig.engine.partitions(2, &["date", "varchar(9)"]);
    export(&rig).await.unwrap();
    rig.engine.succeed(0, 2, &["dt=2024-01-30/shop=1/", "dt=2024-01-31/shop=2/"]).await;
    assert_eq!(hear(&rig, 0).await["rows"], 4);
    let manifest = manifests(&rig).pop().unwrap();
    let found: Vec<_> = manifest.partitions.iter().map(|p| (p.column.glue_type.as_str(), p.count())).collect();
    assert_eq!(found, [("date", 2), ("string", 2)]);
    assert_eq!(rig.deliver(&manifest.generation).await.unwrap().outcome, Outcome::Committed);

    // The partition columns have the table's types, and the values in a job's folder names must fit them.
    rig.configure_source(GLUE, "partition_by = [\"dt\", \"shop\"]");
    for (at, folder, fits) in
        [(1, "dt=2024-02-01/shop=3/", true), (2, "dt=yesterday/shop=3/", false), (3, "dt=2024-02-01/", false)]
    {
        export(&rig).await.unwrap();
        rig.engine.succeed(at, 2, &[folder]).await;
        let answer = hear(&rig, at).await;
        assert_eq!(answer["rows"] == 2, fits, "{folder}: {answer}");
    }
    assert_eq!(manifests(&rig).len(), 2);
}

/// Delivers the messages that sweep has sent to the queue, and returns the answers.
async fn delivered(rig: &Rig) -> Vec<Value> {
    let mut answers = Vec::new();
    let sent = std::mem::take(&mut *rig.queue.0.lock().unwrap());
    for body in sent {
        let message = json!({ "messageId": "m", "receiptHandle": "r", "body": body, "attributes": {} });
        let answer = rig.export_with(rig.env(), json!({ "Records": [message] })).await.unwrap();
        answers.push(serde_json::to_value(answer).unwrap());
    }
    answers
}

#[tokio::test]
async fn sweep_makes_up_for_a_lost_event() {
    let rig = support::rig(ATHENA, "");
    export(&rig).await.unwrap();
    support::sweep(&rig, rig.env()).await.unwrap();
    assert_eq!(
        delivered(&rig).await,
        [json!({ "batchItemFailures": [] })],
        "sweep asks about a run that still goes on"
    );
    rig.engine.succeed(0, 5, &[""]).await;
    support::sweep(&rig, rig.env()).await.unwrap();
    assert_eq!((delivered(&rig).await.len(), manifests(&rig)[0].rows), (1, 5));
    // Sweep doesn't ask about settled runs.
    support::sweep(&rig, rig.env()).await.unwrap();
    assert!(rig.queue.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_runs_leftovers_are_deleted_only_after_its_certain_end() {
    // A job with a timeout of two hours may run for three; `abandoned` alone would allow only one.
    let rig = support::rig(GLUE, "retain = { abandoned = \"1h\", drain = \"1h\" }");
    export(&rig).await.unwrap();
    rig.engine.succeed(0, 1, &[""]).await;
    hear(&rig, 0).await;
    rig.deliver(&manifests(&rig)[0].generation).await.unwrap();
    export(&rig).await.unwrap();
    rig.engine.fail(1, Kind::Input, "no");
    hear(&rig, 1).await;
    let orphan = rig.engine.runs()[1].location.key("orphan").to_string();
    let of_runs = || rig.objects.keys().iter().filter(|key| key.contains("/_pending/")).count();

    rig.advance(SignedDuration::from_hours(2));
    support::sweep(&rig, rig.env()).await.unwrap();
    assert!(rig.objects.body(&orphan).is_some() && of_runs() == 3, "a run may take three hours");
    rig.advance(SignedDuration::from_hours(2));
    support::sweep(&rig, rig.env()).await.unwrap();
    assert!(rig.objects.body(&orphan).is_none());
    assert_eq!(of_runs(), 0);
    assert_eq!(hear(&rig, 1).await["outcome"], "nothing");
    assert_eq!(manifests(&rig).len(), 1);
}

/// Returns how many schedules to run.
fn schedules() -> u64 {
    count("TURNTABLE_ENGINE_SCHEDULES", 400)
}

/// Requests, events (early, late and duplicate), sweeps and the messages that sweeps send are processed concurrently.
/// Starts are lost, and processes die at any point. In the end, every run is settled correctly.
#[tokio::test]
async fn random_schedules_start_and_settle_each_run_once() {
    let (mut died, mut lost, mut complete, mut failed) = (0, 0, 0, 0);
    for seed in 0..schedules() {
        let numbers = &mut Numbers(seed);
        let rig = support::rig(if seed % 2 == 0 { ATHENA } else { GLUE }, "");
        for _ in 0..4 {
            for _ in 0..numbers.below(2) {
                let fate = [Start::Lost, Start::Unanswered, Start::Refused][numbers.below(3) as usize];
                lost += usize::from(fate == Start::Lost);
                rig.engine.next_start(fate);
            }
            let mut events: Vec<Value> = (0..1 + numbers.below(2)).map(|_| json!({ "dataset": "users" })).collect();
            for at in 0..rig.engine.runs().len() {
                if rig.engine.runs()[at].ended().is_none() {
                    match numbers.below(3) {
                        0 => rig.engine.succeed(at, 1 + at as i64, &[""]).await,
                        1 => rig.engine.fail(at, Kind::Input, "no"),
                        _ => {}
                    }
                }
                events.extend((0..numbers.below(3)).map(|_| event_of(&rig, at)));
            }
            let nudges = std::mem::take(&mut *rig.queue.0.lock().unwrap());
            events.extend(nudges.iter().map(|body| serde_json::from_str::<Value>(body).unwrap()));
            let mut env = || {
                let dies = (numbers.below(4) == 0).then(|| numbers.below(12) as usize);
                died += usize::from(dies.is_some());
                Wire::turning(&rig.env(), numbers.below(1 << 31) << 32, dies)
            };
            let swept = support::sweep(&rig, env());
            let run = events.into_iter().map(|event| rig.export_with(env(), event)).collect::<Vec<_>>();
            drop(futures::future::join(swept, futures::future::join_all(run)).await);
        }
        settle_all(&rig).await;

        let (runs, manifests) = (rig.engine.runs(), manifests(&rig));
        let mut came_to_nothing = 0;
        for (at, run) in runs.iter().enumerate() {
            let same = runs.iter().filter(|other| other.location == run.location).count();
            assert_eq!(same, 1, "seed {seed}: two runs write to {}", run.location);
            let (_, generation) = TablePaths::of_generation(&run.location).unwrap();
            let manifest = manifests.iter().find(|manifest| manifest.location == run.location);
            let record = rig.objects.body(&rig.paths.failed(&generation).to_string());
            let is_failed = record.is_some();
            match run.ended() {
                // A run whose start was lost may have been given up.
                Some(true) => assert!(manifest.is_some() || is_failed, "seed {seed}: {generation} is not settled"),
                Some(false) => assert!(manifest.is_none() && is_failed, "seed {seed}: {generation} failed"),
                None => panic!("seed {seed}: all have ended"),
            }
            // A rejected start is reported by the failure of the request itself.
            let tells = |record: bytes::Bytes| !String::from_utf8_lossy(&record).contains("SYNTAX_ERROR");
            came_to_nothing += usize::from(record.is_some_and(tells));
            if let Some(manifest) = manifest {
                assert_eq!((manifest.rows, manifest.files.len()), (1 + at as u64, 1), "seed {seed}");
            }
        }
        // Concurrent events may both report a failure.
        assert!(dead_letters(&rig).len() >= came_to_nothing, "seed {seed}: a failed run was not reported");
        complete += manifests.len();
        failed += came_to_nothing;
        // The freshest generation is live, in whatever order the events arrive.
        let mut generations: Vec<_> = manifests.iter().map(|manifest| (manifest.as_of, manifest.generation)).collect();
        for _ in 0..generations.len() {
            let at = numbers.below(generations.len() as u64) as usize;
            rig.deliver(&generations[at].1).await.unwrap();
        }
        for (_, generation) in &generations {
            rig.deliver(generation).await.unwrap();
        }
        generations.sort();
        assert_eq!(rig.live(), generations.last().map(|(_, generation)| *generation), "seed {seed}");
    }
    println!("{died} processes died, {lost} replies were lost, {complete} runs complete, {failed} failed");
    assert!(died > 0 && lost > 0 && complete > 0 && failed > 0);
}

/// Ends all runs without further faults. Their events are lost, so three sweeps must settle them.
async fn settle_all(rig: &Rig) {
    for at in 0..rig.engine.runs().len() {
        if rig.engine.runs()[at].ended().is_none() {
            rig.engine.succeed(at, 1 + at as i64, &[""]).await;
        }
    }
    rig.engine.forget_fates();
    for _ in 0..3 {
        support::sweep(rig, rig.env()).await.unwrap();
        delivered(rig).await;
        // Ends the runs that have been started only now.
        for at in 0..rig.engine.runs().len() {
            if rig.engine.runs()[at].ended().is_none() {
                rig.engine.succeed(at, 1 + at as i64, &[""]).await;
            }
        }
    }
}

#[tokio::test]
async fn an_event_of_an_unmanaged_run_is_ignored() {
    let rig = support::rig(ATHENA, "");
    let unknown = rig.export_with(rig.env(), athena_event("0000")).await.unwrap();
    assert!(
        matches!(unknown, Answer::EngineResponse(ref engaged) if engaged.outcome.as_str() == "nothing"),
        "{unknown:?}"
    );
    export(&rig).await.unwrap();
    let other = Arc::new(support::rig(ATHENA, ""));
    other.objects.put("s3://lake/datasets.toml", "[datasets.a]\ndatabase = \"dmp\"\nlocation = \"s3://else\"\nsource = { files = { location = \"s3://lake/in/\" } }\n");
    let theirs = export::handle(
        export::Export {
            env: other.env(),
            queue: other.queue.clone(),
            engine: rig.engine.clone(),
            secrets: None,
            iam: None,
            deadline: None,
        },
        event_of(&rig, 0),
    );
    let theirs = serde_json::to_value(theirs.await.unwrap()).unwrap();
    assert!(theirs["reason"].as_str().unwrap().contains("no dataset in datasets.toml publishes to"), "{theirs}");
}

/// Replaces fields of the only pending record.
fn forge(rig: &Rig, change: impl Fn(&mut Value)) {
    let key = rig.objects.keys().into_iter().find(|key| key.contains("/_pending/")).unwrap();
    let mut record: Value = serde_json::from_slice(&rig.objects.body(&key).unwrap()).unwrap();
    change(&mut record);
    rig.objects.put(&key, record.to_string());
}

/// Without this protection, anybody who can write into the bucket could have their own query or job run with the
/// function's role.
#[tokio::test]
async fn forged_record_starts_nothing() {
    let sql =
        |record: &mut Value| record["work"]["athena"]["sql"] = json!("UNLOAD (SELECT * FROM salaries) TO 's3://x/'");
    let job = |record: &mut Value| record["work"]["glue_job"]["arguments"]["--script"] = json!("s3://x/");
    for (source, forgery) in [(ATHENA, &sql as &dyn Fn(&mut Value)), (GLUE, &job)] {
        let rig = support::rig(source, "");
        rig.engine.next_start(Start::Unanswered);
        export(&rig).await.unwrap_err();
        forge(&rig, forgery);
        let before = rig.engine.runs().len();
        let refused = export(&rig).await.unwrap();
        assert_eq!((&refused["outcome"], rig.engine.runs().len()), (&json!("failed"), before), "{refused}");
        assert!(refused["reason"].as_str().unwrap().contains("doesn't match datasets.toml"), "{refused}");
        // The next export is a new run, of the configured work.
        assert_eq!(export(&rig).await.unwrap()["outcome"], "started");
    }
}

#[tokio::test]
async fn record_that_names_another_run_is_not_settled_with_it() {
    let rig = support::rig(ATHENA, "");
    export(&rig).await.unwrap();
    rig.engine.succeed(0, 3, &[""]).await;
    hear(&rig, 0).await;
    export(&rig).await.unwrap();
    let key = rig.objects.keys().into_iter().filter(|key| key.contains("/_pending/")).max().unwrap();
    let mut record: Value = serde_json::from_slice(&rig.objects.body(&key).unwrap()).unwrap();
    record["run"] = json!("run-0");
    rig.objects.put(&key, record.to_string());
    let refused = export(&rig).await.unwrap();
    assert_eq!(refused["outcome"], "failed");
    assert!(refused["reason"].as_str().unwrap().contains("is not the run for"), "{refused}");
    assert_eq!(manifests(&rig).len(), 1);
}
