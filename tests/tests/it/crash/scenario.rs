//! Scenarios: a prepared lake, and the event that starts the run. To add a scenario, write a function and name it in
//! [`ALL`].

use futures::future::LocalBoxFuture;
use jiff::SignedDuration;
use serde_json::json;
use tests::{query, rig::Rig};
use turntable::{aws::glue, consent::ConsentState, error::Kind, layout::Generation, record::Flip};

use super::{drops, event::Event};
use crate::engines::support::{ATHENA, GLUE, event_of};

pub const KEPT: usize = 1;
pub const DRAIN: SignedDuration = SignedDuration::from_hours(1);
pub const ABANDONED: SignedDuration = SignedDuration::from_hours(24);
pub const MAX_AGE: SignedDuration = SignedDuration::from_hours(48);
pub const RETAIN: &str = "retain = { generations = 1, drain = \"1h\", abandoned = \"24h\", max_age = \"48h\" }\n";

pub struct Scenario {
    pub name: &'static str,
    /// Prepares the lake without faults, and returns it with the event.
    pub prepare: fn() -> LocalBoxFuture<'static, (Rig, Event)>,
}

macro_rules! scenarios {
    ($($name:literal $prepare:ident)*) => {
        &[$(Scenario { name: $name, prepare: || Box::pin($prepare()) }),*]
    };
}

pub const ALL: &[Scenario] = scenarios! {
    "first export" first_export
    "first flip" first_flip
    "export" export
    "flip" flip
    "flip with checks and a canary" checked
    "canary fails" canary_fails
    "empty candidate" no_rows
    "adoption of a table" adoption
    "flip by hand" by_hand
    "rollback" rollback
    "rollback to the previous generation" rollback_before
    "hold" hold
    "release" release
    "sweep" sweep
    "repair of drift" repair
    "first merge" first_merge
    "merge" merge
    "merge that a crashed run has started" merge_begun
    "sweep and archive of drops" archive
    "merge after drift" merge_after_drift
    "start of a query" start_of_a_query
    "start of a job" start_of_a_job
    "end of a query" end_of_a_query
    "end of a job" end_of_a_job
    "end of a query that failed" end_of_a_failed_query
    "poll of a finished job" look_at_a_job
};

pub fn is_inbox(rig: &Rig) -> bool {
    rig.table.table == "optouts"
}

pub fn has_canary(rig: &Rig) -> bool {
    let text = rig.objects.body("s3://lake/datasets.toml").unwrap();
    String::from_utf8_lossy(&text).contains("canary")
}

pub fn has_engine(rig: &Rig) -> bool {
    let text = rig.objects.body("s3://lake/datasets.toml").unwrap();
    let text = String::from_utf8_lossy(&text);
    [ATHENA, GLUE].iter().any(|source| text.contains(source))
}

/// Returns the key of an object in the table's folder that Turntable doesn't know.
pub fn stranger(rig: &Rig) -> String {
    rig.paths.location().key("notes.txt").to_string()
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

fn users(more: &str) -> Rig {
    let rig = Rig::with(&format!("{RETAIN}{more}"));
    rig.objects.put(&stranger(&rig), "x");
    rig
}

const CHECKED: &str = "checks = { min_rows = 1, unique = [\"id\"], sql = [\"SELECT count(*) > 0 FROM {table}\"], \
                       canary = \"SELECT count(*) > 0 FROM {table}\" }\n";

/// Exports a candidate with `rows` rows.
async fn candidate(rig: &Rig, rows: usize) -> Generation {
    rig.source(rows);
    rig.export().await
}

/// Makes a generation with `rows` rows live.
async fn turn(rig: &Rig, rows: usize) -> Generation {
    let generation = candidate(rig, rows).await;
    rig.deliver(&generation).await.unwrap();
    generation
}

/// Moves the table as Terraform and the console do: sends no `VersionId` and writes no record.
fn moved(rig: &Rig, to: &str) {
    let mut table = rig.catalog.get(&rig.table).unwrap();
    table.storage_descriptor.as_mut().unwrap().location = Some(to.into());
    rig.catalog.put("dmp", glue::unchanged(&table));
}

async fn first_export() -> (Rig, Event) {
    (users(""), Event::Export)
}

async fn first_flip() -> (Rig, Event) {
    let rig = users("");
    let first = candidate(&rig, 3).await;
    (rig, Event::Manifest(first))
}

async fn export() -> (Rig, Event) {
    let rig = users("");
    turn(&rig, 3).await;
    rig.source(4);
    (rig, Event::Export)
}

async fn flip() -> (Rig, Event) {
    let rig = users("");
    turn(&rig, 3).await;
    let next = candidate(&rig, 4).await;
    (rig, Event::Manifest(next))
}

async fn checked() -> (Rig, Event) {
    let rig = users(CHECKED);
    rig.athena.answers(|sql| Ok(query::one(if sql.contains("GROUP BY") { "0" } else { "true" })));
    turn(&rig, 3).await;
    let next = candidate(&rig, 4).await;
    (rig, Event::Manifest(next))
}

async fn canary_fails() -> (Rig, Event) {
    let rig = users("checks = { canary = \"SELECT count(*) > 0 FROM {table}\" }\n");
    turn(&rig, 3).await;
    let next = candidate(&rig, 4).await;
    rig.athena.answers(|_| Ok(query::one("false")));
    (rig, Event::Manifest(next))
}

async fn no_rows() -> (Rig, Event) {
    let rig = users("checks = { min_rows = 1 }\n");
    turn(&rig, 3).await;
    let next = candidate(&rig, 0).await;
    (rig, Event::Manifest(next))
}

/// Prepares an unmanaged table at the flat location of an older job.
async fn adoption() -> (Rig, Event) {
    let rig = users("");
    turn(&rig, 3).await;
    moved(&rig, "s3://lake/schemas/users/blue");
    rig.objects.keys().iter().filter(|key| key.contains("/users/_")).for_each(|key| rig.objects.delete(key));
    rig.objects.put("s3://lake/schemas/users/blue/part-00000.parquet", "x");
    let next = candidate(&rig, 4).await;
    (rig, Event::Manifest(next))
}

async fn by_hand() -> (Rig, Event) {
    let rig = users("");
    turn(&rig, 3).await;
    let next = candidate(&rig, 4).await;
    let event = Event::by_hand(&rig, &next);
    (rig, event)
}

async fn rollback() -> (Rig, Event) {
    let rig = users("");
    let blue = turn(&rig, 3).await;
    turn(&rig, 4).await;
    let event = Event::back_to(&rig, &blue);
    (rig, event)
}

async fn rollback_before() -> (Rig, Event) {
    let rig = users("");
    turn(&rig, 3).await;
    turn(&rig, 4).await;
    let event = Event::ask(&rig, "rollback");
    (rig, event)
}

async fn hold() -> (Rig, Event) {
    let (rig, _) = flip().await;
    let event = Event::ask(&rig, "hold");
    (rig, event)
}

async fn release() -> (Rig, Event) {
    let (rig, event) = hold().await;
    let Event::RefreshOptions(request) = event else { unreachable!() };
    rig.ask(request).await.unwrap();
    let event = Event::ask(&rig, "release");
    (rig, event)
}

/// Prepares one generation of each kind: live, kept, drained, draining, an abandoned candidate and an abandoned run.
async fn sweep() -> (Rig, Event) {
    let rig = users("");
    turn(&rig, 2).await;
    turn(&rig, 3).await;
    candidate(&rig, 7).await;
    let dead = candidate(&rig, 8).await;
    rig.objects.delete(&rig.paths.manifest(&dead).to_string());
    rig.advance(hours(30));
    turn(&rig, 4).await;
    rig.advance(hours(2));
    turn(&rig, 5).await;
    turn(&rig, 6).await;
    rig.objects.begin_upload(&rig.paths.generation(&dead).key("part-00009.parquet").to_string(), rig.now() - hours(30));
    (rig, Event::Sweep)
}

async fn repair() -> (Rig, Event) {
    let rig = users("on_unflip = \"repair\"\n");
    let blue = turn(&rig, 3).await;
    turn(&rig, 4).await;
    moved(&rig, &rig.paths.generation(&blue).to_string());
    (rig, Event::Changed)
}

fn optouts() -> Rig {
    let rig = Rig::inbox(RETAIN);
    rig.objects.put(&stranger(&rig), "x");
    drops::put(
        &rig,
        "a",
        &[(1, ConsentState::OptedOut, 1), (2, ConsentState::Withdrawn, 1), (3, ConsentState::OptedOut, 1)],
    );
    rig
}

async fn refresh(rig: &Rig) {
    let optout = optout::Optout { env: rig.env(), secrets: None, iam: None, deadline: None };
    optout::handle(optout, json!({ "dataset": "optouts" })).await.unwrap();
}

fn more_drops(rig: &Rig) {
    drops::put(rig, "b", &[(1, ConsentState::OptedIn, 2), (4, ConsentState::OptedOut, 1)]);
    drops::put(rig, "c", &[(2, ConsentState::OptedIn, 0), (5, ConsentState::Withdrawn, 3)]);
}

async fn first_merge() -> (Rig, Event) {
    (optouts(), Event::Drop)
}

async fn merge() -> (Rig, Event) {
    let rig = optouts();
    refresh(&rig).await;
    more_drops(&rig);
    (rig, Event::Drop)
}

/// Prepares a merge that has written its manifest but hasn't moved the table.
async fn merge_begun() -> (Rig, Event) {
    let rig = optouts();
    refresh(&rig).await;
    let before = rig.catalog.get(&rig.table).unwrap();
    more_drops(&rig);
    refresh(&rig).await;
    let last = rig.flips().pop().unwrap();
    rig.catalog.put("dmp", glue::unchanged(&before));
    forget(&rig, &last);
    (rig, Event::Drop)
}

/// Deletes a flip's record.
fn forget(rig: &Rig, flip: &Flip) {
    let of = |key: &&String| {
        rig.objects.body(key).is_some_and(|json| String::from_utf8_lossy(&json).contains(&flip.to.to_string()))
    };
    rig.objects.keys().iter().filter(|key| key.contains("/_flips/")).filter(of).for_each(|key| rig.objects.delete(key));
}

async fn archive() -> (Rig, Event) {
    let rig = optouts();
    refresh(&rig).await;
    rig.advance(hours(2));
    more_drops(&rig);
    refresh(&rig).await;
    rig.advance(hours(2));
    drops::put(&rig, "d", &[(6, ConsentState::OptedOut, 1)]);
    refresh(&rig).await;
    rig.advance(hours(2));
    (rig, Event::Sweep)
}

async fn merge_after_drift() -> (Rig, Event) {
    let rig = optouts();
    refresh(&rig).await;
    let before = rig.live().unwrap();
    more_drops(&rig);
    refresh(&rig).await;
    moved(&rig, &rig.paths.generation(&before).to_string());
    drops::put(&rig, "d", &[(6, ConsentState::OptedOut, 1)]);
    (rig, Event::Drop)
}

/// Creates a rig with a table that an engine builds, and makes the generation of its first run live.
async fn built_by(source: &str) -> Rig {
    let rig = users("");
    rig.configure_source(source, RETAIN);
    start(&rig).await;
    rig.engine.succeed(0, 3, &[""]).await;
    rig.export_with(rig.env(), event_of(&rig, 0)).await.unwrap();
    let first = rig.paths.parse_generation(&rig.engine.runs()[0].location).unwrap();
    rig.deliver(&first).await.unwrap();
    rig
}

async fn start(rig: &Rig) {
    rig.export_with(rig.env(), json!({ "dataset": "users" })).await.unwrap();
}

async fn start_of_a_query() -> (Rig, Event) {
    (built_by(ATHENA).await, Event::Export)
}

async fn start_of_a_job() -> (Rig, Event) {
    (built_by(GLUE).await, Event::Export)
}

/// Creates a rig on which a second run has succeeded, but the event about its end hasn't arrived.
async fn ended(source: &str) -> Rig {
    let rig = built_by(source).await;
    start(&rig).await;
    rig.engine.succeed(1, 4, &[""]).await;
    rig
}

async fn end_of_a_query() -> (Rig, Event) {
    (ended(ATHENA).await, Event::Ended(1))
}

async fn end_of_a_job() -> (Rig, Event) {
    (ended(GLUE).await, Event::Ended(1))
}

async fn end_of_a_failed_query() -> (Rig, Event) {
    let rig = built_by(ATHENA).await;
    start(&rig).await;
    rig.engine.fail(1, Kind::Input, "SYNTAX_ERROR");
    (rig, Event::Ended(1))
}

async fn look_at_a_job() -> (Rig, Event) {
    let rig = ended(GLUE).await;
    let generation = rig.paths.parse_generation(&rig.engine.runs()[1].location).unwrap();
    (rig, Event::Nudged(generation))
}
