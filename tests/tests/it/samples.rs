//! This release reads what earlier releases have stored, and accepts the requests that they accepted.
//! `tests/samples/VERSION` has the samples of a version, and `tests/requests/VERSION.json` its requests;
//! `tests/samples/README.md` says how they are made.
//!
//! `TURNTABLE_WRITE_SAMPLES=1 cargo test --workspace --test it samples::` writes this version's samples, and fails if
//! there are any.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tests::{
    memory::Objects,
    optouts::{Lake, Out, many},
    random::variable,
    rig::Rig,
};
use turntable::{
    error::Kind,
    group,
    layout::{Generation, Key, Location, TablePaths},
    manifest::Manifest,
    port::Catalog,
    publish::Outcome,
    record::{
        Canary, ExportFailure, Failed, Flip, FlipOrigin, Folder, Hold, Pending, PublishedTable, RevertIntent, Sweeping,
        Verdict, Work, from_json, to_json,
    },
    refresh, request,
    table::NewTable,
};

use crate::{
    engines::support::{ATHENA, GLUE, event_of},
    group::lake::Lake as GroupLake,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")
}

/// Returns each version with the objects in its bucket.
fn samples() -> Vec<(String, Objects)> {
    let versions = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap());
    let versions = versions.filter(|entry| entry.file_type().unwrap().is_dir());
    let version = |entry: fs::DirEntry| {
        let objects = Objects::default();
        let bucket = entry.path().join("lake");
        for file in files(&bucket) {
            let key = file.strip_prefix(&bucket).unwrap().to_str().unwrap().replace('\\', "/");
            objects.put(&format!("s3://lake/{key}"), fs::read(&file).unwrap());
        }
        (entry.file_name().into_string().unwrap(), objects)
    };
    versions.map(version).collect()
}

/// Returns all files in a folder and its sub-folders.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let found = entries.map(|entry| entry.unwrap().path());
    found.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Returns whether this release would write every field and value of the sample. It may write more.
fn has_all(now: &Value, sample: &Value) -> bool {
    match (now, sample) {
        (Value::Object(now), Value::Object(sample)) => {
            sample.iter().all(|(key, value)| now.get(key).is_some_and(|now| has_all(now, value)))
        }
        (Value::Array(now), Value::Array(sample)) => {
            now.len() == sample.len() && now.iter().zip(sample).all(|(now, sample)| has_all(now, sample))
        }
        _ => now == sample,
    }
}

/// Reads a sample, and checks that nothing is lost: a field that this release didn't know would be dropped silently.
fn read<T: DeserializeOwned + Serialize>(at: &Key, json: &[u8]) -> T {
    let read: T = from_json(at, json).unwrap_or_else(|error| panic!("{}", error.report()));
    let (now, sample) = (serde_json::to_value(&read).unwrap(), serde_json::from_slice(json).unwrap());
    assert!(has_all(&now, &sample), "{at}: {sample} is read as {now}");
    read
}

/// Reads a sample as the kind of object that its key stands for, and returns that kind's name.
fn read_any(at: &Key, json: &[u8]) -> &'static str {
    let file = at.key.rsplit('/').next().unwrap();
    let folder = at.key.rsplit('/').nth(1).unwrap();
    if let Some((_, generation)) = TablePaths::parse_manifest(at) {
        let manifest = Manifest::from_json(at, &generation, json).unwrap_or_else(|error| panic!("{}", error.report()));
        assert_eq!(read::<Manifest>(at, json), manifest);
        return if manifest.merge.is_some() { "merge" } else { "manifest" };
    }
    match (folder, file) {
        ("_flips", _) => {
            let flip: Flip = read(at, json);
            match flip.canary {
                Some(_) => "flip with a canary",
                None => "flip",
            }
        }
        ("_returns", _) => {
            read::<RevertIntent>(at, json);
            "intent"
        }
        ("_sweeping", _) => {
            read::<Sweeping>(at, json);
            "sweeping"
        }
        ("_pending", _) if file.ends_with(".failed.json") => {
            read::<Failed>(at, json);
            "failed"
        }
        ("_pending", _) => match read::<Pending>(at, json).work {
            Work::Athena { .. } => "pending query",
            Work::GlueJob { .. } => "pending job",
        },
        ("_groups", _) => {
            read::<group::Record>(at, json);
            "group"
        }
        (_, "_hold.json") => {
            read::<Hold>(at, json);
            "hold"
        }
        ("_verdicts", _) => {
            read::<Verdict>(at, json);
            "verdict"
        }
        (_, "_table.json") => {
            read::<PublishedTable>(at, json);
            "table"
        }
        (_, "_export_failed.json") => {
            read::<ExportFailure>(at, json);
            "export failure"
        }
        (_, "_refresh.json") => {
            read::<refresh::Record>(at, json);
            "refresh"
        }
        (_, "_views.json") => {
            read::<BTreeMap<String, String>>(at, json);
            "views"
        }
        _ => panic!("{at} is no kind of object that Turntable stores"),
    }
}

#[test]
fn every_object_of_every_release_is_read_and_no_field_of_it_is_lost() {
    for (version, objects) in samples() {
        let mut kinds = BTreeSet::new();
        for key in objects.keys().into_iter().filter(|key| key.ends_with(".json") && key.contains("/schemas/")) {
            kinds.insert(read_any(&key.parse().unwrap(), &objects.body(&key).unwrap()));
        }
        let mut all = BTreeSet::from([
            "failed",
            "flip",
            "flip with a canary",
            "group",
            "hold",
            "intent",
            "manifest",
            "merge",
            "pending job",
            "pending query",
            "sweeping",
        ]);
        // Only 0.1.0 recorded the views, and nothing that came later.
        all.extend(match version.as_str() {
            "0.1.0" => ["views"].as_slice(),
            _ => ["export failure", "refresh", "table", "verdict"].as_slice(),
        });
        assert_eq!(kinds, all, "{version}");
    }
}

/// A request that a release accepted by hand or from a queue, and what kind of request it was.
#[derive(Deserialize)]
struct Accepted {
    function: String,
    request: Value,
    kind: String,
}

/// Parses a request as its function does, and returns it as text that begins with its kind.
fn parsed(Accepted { function, request, .. }: &Accepted) -> String {
    let parsed = match function.as_str() {
        "export" => request::Export::parse(request).map(|parsed| format!("{parsed:?}")),
        "flip" if request::is_about_all(request) => Ok("All".to_owned()),
        "flip" => request::Flip::parse(request).map(|parsed| format!("{parsed:?}")),
        "optout" => request::Optout::parse(request).map(|parsed| format!("{parsed:?}")),
        "sweep" => request::Sweep::parse(request).map(|parsed| format!("{parsed:?}")),
        other => panic!("no function is called {other}"),
    };
    parsed.unwrap_or_else(|error| panic!("{function}: {request}: {}", error.report()))
}

#[test]
fn every_request_of_every_release_is_still_accepted() {
    let requests = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("requests"));
    assert!(!requests.is_empty());
    for file in requests {
        let accepted: Vec<Accepted> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert!(accepted.len() > 10, "{}", file.display());
        for one in accepted {
            let (found, at) = (parsed(&one), file.display());
            assert!(found.starts_with(&one.kind), "{at}: {} is read as {found}, not as {}", one.request, one.kind);
            for field in ["dataset", "reason"] {
                let given = one.request.get(field).and_then(Value::as_str).unwrap_or_default();
                assert!(found.contains(given), "{at}: {} is read as {found}, without its {field}", one.request);
            }
        }
    }
}

const BEGIN: i64 = 1_767_225_600;

/// Returns the people in the samples' opt-outs, each with their last state and its time in Unix seconds.
fn people() -> BTreeMap<i64, (Out, i64)> {
    let mut people: BTreeMap<i64, (Out, i64)> = (0..60).map(|id| (id, (Out::OptedOut, BEGIN))).collect();
    people.extend((10..20).map(|id| (id, (Out::Withdrawn, BEGIN + 86_400))));
    people
}

/// Returns a CSV drop about these people.
fn drop_of(ids: std::ops::Range<i64>, state: &str, day: u32) -> String {
    let lines: String = ids.map(|id| format!("{id},{state},2026-01-{day:02}T00:00:00Z\n")).collect();
    format!("user_id,state,occurred_at\n{lines}")
}

/// Loads a release's opt-outs, with its newest merge live.
async fn optouts(objects: &Objects) -> Lake {
    let lake = Lake::with("buckets = 8");
    for key in objects.keys().iter().filter(|key| key.contains("/optouts/")) {
        lake.objects.put(key, objects.body(key).unwrap());
    }
    let live = lake.manifests().into_iter().max_by_key(|generation| generation.ulid).unwrap();
    let at = lake.paths().manifest(&live);
    let manifest = Manifest::from_json(&at, &live, &lake.get(&at.to_string()).unwrap()).unwrap();
    let (name, columns) = (lake.table_name(), manifest.columns);
    let table = NewTable { name, columns, location: manifest.location, partitions: Vec::new() };
    let catalog = lake.catalog.port();
    Catalog::create(&*catalog, &table).await.unwrap();
    lake
}

/// If a release put a key into another bucket than the release before, a person would have two rows.
#[tokio::test]
async fn a_merge_into_the_table_of_every_release_keeps_one_row_of_each_person() {
    for (version, objects) in samples() {
        let lake = optouts(&objects).await;
        let rows = |lake: &Lake| lake.table().into_iter().map(|(id, state, at)| (id, (state, at))).collect::<Vec<_>>();
        let mut expected = people();
        assert_eq!(rows(&lake), expected.clone().into_iter().collect::<Vec<_>>(), "{version}");
        assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::AlreadyLive, "{version}: its drops are consumed");

        lake.drop(
            "new.csv",
            drop_of(5..70, "opted_in", 1) + &drop_of(5..15, "opted_in", 5).replace("user_id,state,occurred_at\n", ""),
        );
        let done = lake.refresh().await.unwrap();
        assert_eq!((done.outcome, done.drops, done.rows), (Outcome::Committed, 1, 70), "{version}");
        expected.extend((5..15).map(|id| (id, (Out::OptedIn, BEGIN + 4 * 86_400))));
        expected.extend((60..70).map(|id| (id, (Out::OptedIn, BEGIN))));
        assert_eq!(rows(&lake), expected.into_iter().collect::<Vec<_>>(), "{version}");
        // The earlier release's untouched files are copied, or rewritten if the number of buckets changes.
        lake.configure("buckets = 2");
        lake.drop("last.csv", drop_of(0..1, "withdrawn", 9));
        assert_eq!(lake.refresh().await.unwrap().rows, 70, "{version}");
    }
}

#[tokio::test]
async fn a_rollback_and_a_hold_of_every_release_stay_in_force() {
    for (version, objects) in samples() {
        let rig = Rig::with("");
        for key in objects.keys().iter().filter(|key| key.contains("/users/")) {
            rig.objects.put(key, objects.body(key).unwrap());
        }
        let back = rig.flips().pop().unwrap();
        assert_eq!(back.by, FlipOrigin::Rollback, "{version}");
        let at = rig.paths.manifest(&back.to);
        let manifest = Manifest::from_json(&at, &back.to, &rig.objects.body(&at.to_string()).unwrap()).unwrap();
        let table = NewTable {
            name: rig.table.clone(),
            columns: manifest.columns,
            location: manifest.location,
            partitions: Vec::new(),
        };
        Catalog::create(&*rig.catalog.port(), &table).await.unwrap();
        let left: Generation = rig.paths.parse_generation(back.from.as_ref().unwrap()).unwrap();
        let status = rig.ask(json!({ "dataset": "users", "action": "status" })).await.unwrap();
        assert_eq!(status.live, Some(back.to.to_string()), "{version}");
        let held = rig.deliver(&left).await.unwrap();
        assert_eq!((held.outcome, held.reasons), (Outcome::Held, vec!["the source is being restored".to_owned()]));
        rig.ask(json!({ "dataset": "users", "action": "release" })).await.unwrap();
        assert_eq!(rig.deliver(&left).await.unwrap().outcome, Outcome::Stale, "{version}: the rollback is in force");
    }
}

/// Writes this version's samples.
#[tokio::test]
async fn write() {
    if variable("TURNTABLE_WRITE_SAMPLES").is_none() {
        return;
    }
    let to = folder().join(env!("CARGO_PKG_VERSION"));
    assert!(!to.exists(), "{} exists: samples are never rewritten", to.display());
    let all = Objects::default();
    let take = |from: &Objects, part: &str| {
        for key in from.keys().iter().filter(|key| key.contains(part)) {
            all.put(key, from.body(key).unwrap());
        }
    };
    take(&written_users().await, "/users/");
    take(&written_optouts().await, "/optouts/");
    take(&written_groups().await, "/_groups/");
    for (dataset, source) in [("query", ATHENA), ("job", GLUE)] {
        let objects = written_runs(source).await;
        for key in objects.keys().iter().filter(|key| key.contains("/_pending/")) {
            all.put(&key.replace("/users/", &format!("/{dataset}/")), objects.body(key).unwrap());
        }
    }
    written_values(&all);
    for key in all.keys() {
        let file = to.join(key.strip_prefix("s3://").unwrap());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, all.body(&key).unwrap()).unwrap();
    }
}

/// Writes two generations, a rollback with its reason, and a hold.
async fn written_users() -> Objects {
    let rig = Rig::with("");
    for rows in [3, 4] {
        rig.source(rows);
        let generation = rig.export().await;
        rig.deliver(&generation).await.unwrap();
    }
    rig.ask(json!({ "dataset": "users", "action": "rollback", "reason": "wrong names" })).await.unwrap();
    rig.ask(json!({ "dataset": "users", "action": "hold", "reason": "the source is being restored" })).await.unwrap();
    rig.objects
}

/// Writes a table from two merges in eight buckets, with its views. The drops are still in the inbox.
async fn written_optouts() -> Objects {
    let lake = Lake::with("buckets = 8");
    lake.drop("2026/a.csv", many(0..60));
    lake.schedule().await.unwrap();
    lake.drop("b.csv", drop_of(10..20, "withdrawn", 2));
    lake.refresh().await.unwrap();
    lake.objects
}

/// Writes a group run that was live, one that is midway, and a hold.
async fn written_groups() -> Objects {
    let lake = GroupLake::new();
    lake.flipped().await;
    lake.flipped().await;
    lake.action("hold").await.unwrap();
    let record = lake.record();
    let key = "s3://lake/schemas/_groups/held.json";
    lake.rig.objects.put(key, to_json(&group::Record { group: "held".into(), ..record }));
    lake.action("release").await.unwrap();
    let next = lake.run().await;
    lake.dies_midway(&next).await;
    lake.rig.objects
}

/// Writes an engine run that is under way, and one that has failed.
async fn written_runs(source: &str) -> Objects {
    let rig = Rig::with("");
    rig.configure_source(source, "");
    rig.export_with(rig.env(), json!({ "dataset": "users" })).await.unwrap();
    rig.engine.fail(0, Kind::Input, "SYNTAX_ERROR");
    drop(rig.export_with(rig.env(), event_of(&rig, 0)).await);
    rig.advance(SignedDuration::from_mins(1));
    rig.export_with(rig.env(), json!({ "dataset": "users" })).await.unwrap();
    rig.objects
}

/// Writes every value of every field that the functions above leave out.
fn written_values(all: &Objects) {
    let paths = TablePaths::new(&"s3://lake/schemas".parse::<Location>().unwrap(), "values");
    let generation: Generation = "green-01JD675EJRSSKNZWWST95906C6".parse().unwrap();
    let at = "2026-01-01T00:00:00.123456Z".parse().unwrap();
    let origins = [
        FlipOrigin::Event,
        FlipOrigin::Operator,
        FlipOrigin::Rollback,
        FlipOrigin::Canary,
        FlipOrigin::Repair,
        FlipOrigin::Group,
        FlipOrigin::Recovered,
    ];
    let canaries = [None, Some(Canary::Pending), Some(Canary::Passed)];
    for (number, by) in origins.into_iter().enumerate() {
        let ulid = generation_of(number).ulid;
        let flip = Flip {
            dataset: "values".into(),
            at,
            from: (number > 0).then(|| paths.location().folder("blue")),
            to: generation,
            by,
            why: (number % 2 == 1).then(|| "why \"not\"".into()),
            canary: canaries[number % 3],
            adopted: None,
            request_id: (number % 2 == 0).then(|| "7c1e".into()),
        };
        all.put(&paths.flip(ulid).to_string(), to_json(&flip));
        let intent = RevertIntent { flip: ulid, to: generation, by, why: flip.why, request_id: flip.request_id };
        all.put(&paths.revert_intent(ulid).to_string(), to_json(&intent));
    }
    all.put(&paths.hold().to_string(), to_json(&Hold { at, reason: String::new(), released: true, request_id: None }));
    all.put(&paths.sweeping(&generation).to_string(), to_json(&Sweeping { at }));
    let pending = Pending {
        dataset: "values".into(),
        generation,
        location: paths.generation(&generation),
        base: Some(paths.location().folder("blue")),
        as_of: at,
        spec: "9f2c".into(),
        work: Work::GlueJob {
            name: "build".into(),
            arguments: BTreeMap::from([("--day".into(), "1".into())]),
            timeout: 60,
        },
        folders: vec![
            Folder { name: "day".into(), glue_type: Some("date".into()) },
            Folder { name: "country".into(), glue_type: None },
        ],
        until: at,
        inputs: Default::default(),
        run: Some("jr_1".into()),
    };
    all.put(&paths.pending(&generation).to_string(), to_json(&pending));
    let went_back = group::Record {
        group: "values".into(),
        serial: 9,
        live: None,
        flipping: None,
        hold: Some(Hold { at, reason: "a reason".into(), released: false, request_id: None }),
        went_back: Some(group::WentBack { run: generation_of(3).ulid, at, why: "b: the table is gone".into() }),
        past: Vec::new(),
    };
    all.put("s3://lake/schemas/_groups/values.json", to_json(&went_back));
    let table = PublishedTable {
        database: "dmp".into(),
        table: "values".into(),
        dataset: "values".into(),
        group: Some("core".into()),
        stack: Some("turntable".into()),
        renamed: Vec::new(),
        moved_from: vec!["s3://lake/old/values/".parse().unwrap()],
    };
    all.put(&paths.table().to_string(), to_json(&table));
    let verdict = Verdict { at, reasons: vec!["min_rows: expected at least 2 rows, found 1".into()] };
    all.put(&paths.verdict(&generation).to_string(), to_json(&verdict));
    let failure = ExportFailure {
        at,
        since: Some(at),
        retry_at: Some(at),
        error: "Input".into(),
        reason: "the source has no column id".into(),
    };
    all.put(&paths.export_failure().to_string(), to_json(&failure));
    let running = refresh::Running { due: Some(at), since: at, until: at, put: Some(at) };
    let record = refresh::Record {
        done: Some(at),
        running: Some(running),
        waiting: Some(at),
        waiting_for_inputs: true,
        put: Some(at),
        retried_put: Some(at),
    };
    all.put(&paths.refresh().to_string(), to_json(&record));
}

fn generation_of(number: usize) -> Generation {
    format!("blue-01KDVDSM0{number}0000000000000007").parse().unwrap()
}
