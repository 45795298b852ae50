//! The folder events/ has one event for each trigger, and each event parses as the expected request.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use turntable::{
    layout::{Generation, TableName, TablePaths},
    record::{EngineRun, OldTable},
    request::{self, Export, Flip, Message, Optout, Sweep},
};

fn event(name: &str) -> Value {
    let path = folder().join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../events"))
}

fn exports() -> Vec<(&'static str, Export)> {
    let queue = Export::Queue(vec![Message {
        id: "059f36b4-87a3-44ab-83d2-661975830a7d".into(),
        body: "{\"dataset\":\"users\"}".into(),
        receipt: "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a".into(),
        received: 1,
    }]);
    let query = EngineRun::Athena { id: "01234567-0123-0123-0123-012345678901".into() };
    let id = "jr_c4a93310af669b1fe899952ed184fe712ff5c471bab7a1c002f8784dc81be181".into();
    let job = EngineRun::GlueJob { job: "build-users".into(), id };
    let generation = "green-01JD675EJRSSKNZWWST95906C6".parse().unwrap();
    let users = TablePaths::new(&"s3://lake/schemas".parse().unwrap(), "users");
    let record = users.flip("01JD675EJRSSKNZWWST95906C6".parse().unwrap());
    vec![
        ("schedule.json", Export::Fan(None)),
        ("export.json", Export::One("users".into())),
        ("export-tick.json", Export::Tick),
        ("export-due.json", Export::Due("users".into(), "2024-11-21T02:00:00Z".parse().unwrap())),
        ("export-inputs.json", Export::Inputs("users".into())),
        ("export-changed.json", Export::Changed("users".into())),
        ("export-put.json", Export::Queue(vec![message("export-put.json")])),
        ("export-flipped.json", Export::Flipped(users, record)),
        ("export-sqs.json", queue),
        ("export-athena.json", Export::Ended(query)),
        ("export-glue.json", Export::Ended(job)),
        ("export-pending.json", Export::Pending("users".into(), generation)),
    ]
}

fn flips() -> Vec<(&'static str, Flip)> {
    let dataset = || "users".to_owned();
    let green = "green-01JD675EJRSSKNZWWST95906C6";
    let generation = |text: &str| text.parse::<Generation>().unwrap();
    let paths = TablePaths::new(&"s3://lake/schemas".parse().unwrap(), "users");
    let back = Flip::Rollback {
        dataset: dataset(),
        generation: Some(generation("blue-01JD3MRRSAJY67GQ07YWVZA2E3")),
        reason: Some("prices were exported in the wrong currency".into()),
    };
    vec![
        ("flip-s3.json", Flip::Manifest(paths, generation(green))),
        ("flip.json", Flip::Candidate { dataset: dataset(), generation: generation(green) }),
        ("flip-rollback.json", back),
        ("flip-hold.json", Flip::Hold { dataset: dataset(), reason: "source is being restored from a backup".into() }),
        ("flip-release.json", Flip::Release { dataset: dataset(), reason: Some("source is restored".into()) }),
        ("flip-glue.json", Flip::Changed(TableName { database: "dmp".into(), table: "users".into() })),
        (
            "flip-retire.json",
            Flip::Retire { dataset: "orders".into(), table: OldTable::Drop, reason: "the shop was sold".into() },
        ),
        (
            "flip-rename.json",
            Flip::Rename {
                dataset: dataset(),
                from: TableName { database: "dmp".into(), table: "users".into() },
                table: OldTable::Drop,
                reason: "the table moves to the new database".into(),
            },
        ),
        (
            "flip-move.json",
            Flip::Move {
                dataset: dataset(),
                from: "s3://lake/old".parse().unwrap(),
                reason: "one folder for each team".into(),
            },
        ),
        ("flip-status.json", Flip::Status { dataset: dataset() }),
    ]
}

/// The file with the request for the status of all datasets.
const ALL: &str = "flip-status-all.json";

/// Returns the files with requests to sweep, each with the dataset and whether it is a dry run.
fn sweeps() -> Vec<(&'static str, (Option<String>, bool))> {
    vec![("sweep.json", (None, false)), ("sweep-dry-run.json", (Some("users".into()), true))]
}

/// Returns the message in a queue's event.
fn message(name: &str) -> Message {
    let file = event(name);
    let text = |field: &str| file["Records"][0][field].as_str().unwrap().to_owned();
    Message { id: text("messageId"), body: text("body"), receipt: text("receiptHandle"), received: 1 }
}

fn optouts() -> Vec<(&'static str, Optout)> {
    vec![
        ("optout.json", Optout::One { dataset: "optouts".into(), reconcile: false, max_returning: None }),
        ("optout-sqs.json", Optout::Queue(vec![message("optout-sqs.json")])),
    ]
}

#[test]
fn every_event_is_the_request_that_it_says() {
    for (name, expected) in exports() {
        assert_eq!(Export::parse(&event(name)).unwrap(), expected, "{name}");
    }
    for (name, expected) in flips() {
        assert_eq!(Flip::parse(&event(name)).unwrap(), expected, "{name}");
        assert!(!request::is_about_all(&event(name)), "{name}");
    }
    assert!(request::is_about_all(&event(ALL)));
    for (name, expected) in optouts() {
        assert_eq!(Optout::parse(&event(name)).unwrap(), expected, "{name}");
    }
    // The queue delivers S3's event as EventBridge sent it.
    let body = event("optout-sqs.json")["Records"][0]["body"].as_str().unwrap().to_owned();
    let drop = "s3://lake/inbox/optouts/2024-11-21T0200.csv".parse().unwrap();
    assert_eq!(Optout::parse_message(&body).unwrap(), Optout::Put(drop));
    let put = "s3://lake/source/prices/2026-11-30.csv".parse().unwrap();
    assert_eq!(Export::put(&message("export-put.json")), Some(put));
    assert_eq!(Export::put(&message("export-sqs.json")), None);
    for (name, expected) in sweeps() {
        let sweep = Sweep::parse(&event(name)).unwrap();
        assert_eq!((sweep.dataset, sweep.dry_run), expected, "{name}");
    }
}

#[test]
fn no_event_is_left_out() {
    let names = exports().into_iter().map(|(name, _)| name);
    let names = names.chain(flips().into_iter().map(|(name, _)| name));
    let names = names.chain(optouts().into_iter().map(|(name, _)| name));
    let names = names.chain(sweeps().into_iter().map(|(name, _)| name));
    let known: BTreeSet<String> = names.chain([ALL]).map(str::to_owned).collect();
    let found = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(found.collect::<BTreeSet<String>>(), known);
}

/// A function rejects a queue or S3 event that is meant for another function.
#[test]
fn an_event_at_the_wrong_function_is_refused() {
    assert!(Flip::parse(&event("export-sqs.json")).is_err());
    assert!(Flip::parse(&event("schedule.json")).is_err());
    assert!(Export::parse(&event("flip-s3.json")).is_err());
    for name in ["export-athena.json", "export-glue.json"] {
        assert!(Flip::parse(&event(name)).is_err() && Optout::parse(&event(name)).is_err(), "{name}");
    }
}
