//! The real chain: template.yaml, the compiled functions, EventBridge, queues and S3 events on the emulator, and the
//! Athena endpoint. All tests share one emulator, and each test has its own account.

mod adopted;
mod adoption;
mod assault;
mod bad_input;
mod bad_source;
mod bad_table;
mod checks;
mod command_line;
mod command_line_ends;
mod compare;
mod copied;
mod days;
mod doctor;
mod drain;
mod edits;
mod emulator;
mod engines;
mod filtered;
mod groups;
mod hostile;
mod leaving;
mod leftovers;
mod many;
mod metrics;
mod mysql;
mod never_back;
mod operator;
mod optout;
mod optout_burst;
mod optout_sources;
mod optout_views;
mod pages;
mod pagila;
mod partitions;
mod permissions;
mod poison;
mod postgres;
mod quiet;
mod races;
mod refresh;
mod rejected;
mod retire;
mod runbook;
mod sql;
mod sqs;
mod swallowed;
mod time;
mod wait;
mod week;

use std::{
    fs,
    ops::Deref,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cli::athena;
use local::{Deployment, Emulator, FunctionError, Stack, Tools, reader::Tally};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use turntable::layout::{Generation, Location, TableName, TablePaths};

/// The maximum number of stacks that tests use at the same time.
const MAX_STACKS: usize = 3;
/// How long a test waits before it fails: about ten times the longest successful wait.
const PATIENCE: Duration = Duration::from_secs(90);

/// A deployed stack with the Glue database `dmp`. The stack ends with the emulator, when this process ends.
pub struct Chain {
    pub stack: Stack,
    pub account: String,
    _turn: SemaphorePermit<'static>,
    /// How many of this test's invocations haven't been answered.
    unanswered: AtomicUsize,
    /// When this test last fired the schedule.
    fired: Mutex<Option<Instant>>,
}

/// Counts an invocation as unanswered until this value is dropped: when the answer has come, or when nobody waits for
/// it any more.
struct Unanswered<'a>(&'a AtomicUsize);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Deref for Chain {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.stack
    }
}

pub async fn emulator() -> &'static Emulator {
    static EMULATOR: OnceCell<Emulator> = OnceCell::const_new();
    let start = async || {
        let mut tools = Tools::prepare().await.unwrap_or_else(|error| panic!("{error:#}"));
        let calls = Path::new(env!("CARGO_TARGET_TMPDIR")).join("calls");
        fs::create_dir_all(&calls).expect("a folder for the functions' calls");
        // Removes the violations from earlier runs: infra/local/athena/turntable_athena/models.py only adds to this
        // file.
        let _ = fs::remove_file(calls.with_file_name("violations"));
        tools.calls = Some(calls);
        Emulator::start(&tools).await.unwrap_or_else(|error| panic!("{error:#}"))
    };
    EMULATOR.get_or_init(start).await
}

/// Returns the ID of an account that no other test uses.
pub fn account() -> String {
    static ACCOUNTS: AtomicU64 = AtomicU64::new(100_000_000_001);
    ACCOUNTS.fetch_add(1, Ordering::Relaxed).to_string()
}

impl Chain {
    /// Deploys a stack. `datasets` are the entries of datasets.toml, in which `${BUCKET}` is the stack's bucket.
    pub async fn start(datasets: &str) -> Chain {
        Chain::deploy(datasets, |_| {}).await
    }

    /// Deploys a stack as [`Chain::start`] does. `change` changes the deployment's settings first.
    pub async fn deploy(datasets: &str, change: impl FnOnce(&mut Deployment)) -> Chain {
        Chain::on(emulator().await, datasets, change).await
    }

    /// Deploys a stack as [`Chain::deploy`] does, on this emulator instead of the shared one.
    pub async fn on(emulator: &Emulator, datasets: &str, change: impl FnOnce(&mut Deployment)) -> Chain {
        static TURNS: Semaphore = Semaphore::const_new(MAX_STACKS);
        let turn = TURNS.acquire().await.expect("it is never closed");
        let account = account();
        // In MiniStack 1.5.33, a new function replaces functions with the same name in all accounts, so each stack has
        // its own names.
        let mut deployment = Deployment { stack: format!("turntable-{account}"), ..Deployment::in_account(&account) };
        change(&mut deployment);
        let deployed = emulator.deploy(&deployment).await;
        let stack = deployed.unwrap_or_else(|error| panic!("{error:#}"));
        stack.create_database("dmp").await.expect("a Glue database");
        let (unanswered, fired) = (AtomicUsize::new(0), Mutex::default());
        let chain = Chain { stack, account, _turn: turn, unanswered, fired };
        chain.datasets(datasets).await;
        chain
    }

    /// Makes the emulator deny, from now on, what the functions' roles don't allow (`infra/local/enforce.py`).
    pub async fn enforced(self) -> Chain {
        for function in self.functions.keys() {
            let role = self.role(function).await;
            let tags = json!([{ "Key": "enforce", "Value": "true" }]);
            let tagged = self.stack.account.call("iam", "TagRole", json!({ "RoleName": role, "Tags": tags })).await;
            tagged.unwrap_or_else(|error| panic!("{error:#}"));
        }
        self
    }

    /// Returns the name of a function's role.
    pub async fn role(&self, function: &str) -> String {
        let request = json!({ "FunctionName": self.functions[function] });
        let found = self.stack.account.call("lambda", "GetFunctionConfiguration", request).await;
        let found = found.unwrap_or_else(|error| panic!("{error:#}"));
        found["Role"].as_str().and_then(|arn| arn.rsplit('/').next()).expect("a role's ARN").to_owned()
    }

    /// Replaces datasets.toml.
    pub async fn datasets(&self, entries: &str) {
        self.put("datasets.toml", self.datasets_file(entries)).await.expect("datasets.toml");
    }

    /// Returns the text of a datasets.toml with these entries.
    pub fn datasets_file(&self, entries: &str) -> String {
        let defaults = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://${BUCKET}/schemas\"\n";
        self.named(&format!("{defaults}{entries}"))
    }

    /// Replaces `${BUCKET}` in `text` with the bucket's name.
    pub fn named(&self, text: &str) -> String {
        text.replace("${BUCKET}", &self.bucket)
    }

    pub fn paths(&self, table: &str) -> TablePaths {
        TablePaths::new(&self.named("s3://${BUCKET}/schemas").parse().expect("a location"), table)
    }

    /// Invokes a function, and panics if it fails.
    pub async fn ask(&self, function: &str, event: &Value) -> Value {
        self.answer(function, event).await.unwrap_or_else(|error| panic!("{function} {event}: {error}"))
    }

    pub async fn answer(&self, function: &str, event: &Value) -> Result<Value, FunctionError> {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        let _unanswered = Unanswered(&self.unanswered);
        self.invoke(function, event).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Fires the schedule as [`Stack::fire_schedule`] does.
    pub async fn fire_schedule(&self) -> anyhow::Result<()> {
        *self.fired.lock().expect("no test panics with it") = Some(Instant::now());
        self.stack.fire_schedule().await
    }

    fn fired_within(&self, time: Duration) -> bool {
        self.fired.lock().expect("no test panics with it").is_some_and(|fired| fired.elapsed() < time)
    }

    /// Returns the Glue table's location, or `None` if there is no table.
    pub async fn live(&self, table: &str) -> Option<Location> {
        let location = self.table(table).await?.storage_descriptor?.location?;
        Some(location.parse().expect("a location in S3"))
    }

    pub async fn table(&self, table: &str) -> Option<aws_sdk_glue::types::Table> {
        match self.glue.get_table().database_name("dmp").name(table).send().await {
            Ok(answer) => answer.table,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_entity_not_found_exception()) => None,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Waits until a location other than `before` is live, and returns its generation. Panics if that takes longer than
    /// `PATIENCE` or can no longer happen.
    pub async fn next(&self, table: &str, before: Option<&Location>) -> Generation {
        let what = format!("another generation of {table} than {before:?}");
        let find = async || self.live(table).await.filter(|now| Some(now) != before);
        let now = self.until_or(&what, find, async || self.refusal(table, before).await).await;
        self.paths(table).parse_generation(&now).unwrap_or_else(|| panic!("{now} is no generation"))
    }

    /// Waits until `find` returns a value, and returns that value. Panics if that takes too long; the message names
    /// `what`.
    pub async fn until<T>(&self, what: &str, find: impl AsyncFn() -> Option<T>) -> T {
        self.until_or(what, find, async || None).await
    }

    /// Waits as [`Chain::until`] does, but also gives up once `refusal` keeps returning a reason why `find` will never
    /// return a value.
    async fn until_or<T>(
        &self,
        what: &str,
        find: impl AsyncFn() -> Option<T>,
        refusal: impl AsyncFn() -> Option<String>,
    ) -> T {
        let (start, mut looks) = (Instant::now(), wait::Looks::new());
        loop {
            if let Some(found) = find().await {
                return found;
            }
            let patience = (start.elapsed() > PATIENCE).then(|| format!("{} s have passed", PATIENCE.as_secs()));
            let why = match patience {
                Some(why) => Some(why),
                None => looks.hopeless(self, &refusal).await,
            };
            if let Some(why) = why {
                let logs = self.all_logs().await;
                panic!("waited in vain for {what}: {why}; the functions have logged {logs:#?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Returns the fields of a function's structured log lines with this message.
    pub async fn lines(&self, function: &str, message: &str) -> Vec<Value> {
        let lines = self.logs(function, 0).await.unwrap_or_else(|error| panic!("{error:#}"));
        lines.into_iter().map(|mut line| line["fields"].take()).filter(|fields| fields["message"] == message).collect()
    }

    pub async fn all_logs(&self) -> Vec<Value> {
        let mut lines = Vec::new();
        for function in ["export", "flip", "optout"] {
            lines.extend(self.logs(function, 0).await.unwrap_or_else(|error| panic!("{error:#}")));
        }
        lines
    }

    /// Returns the keys under a prefix in the bucket.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let mut pages = self.s3.list_objects_v2().bucket(&self.bucket).prefix(prefix).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let objects = page.expect("a list").contents.unwrap_or_default();
            keys.extend(objects.into_iter().filter_map(|object| object.key));
        }
        keys
    }

    /// Returns the keys under a prefix, except for the records of failed exports.
    pub async fn left(&self, prefix: &str) -> Vec<String> {
        self.keys(prefix).await.into_iter().filter(|key| !key.ends_with("/_export_failed.json")).collect()
    }

    pub async fn unfinished_uploads(&self) -> usize {
        self.s3.list_multipart_uploads().bucket(&self.bucket).send().await.expect("a list").uploads().len()
    }

    /// Runs a query on Athena, and returns its first row.
    pub async fn query(&self, sql: &str) -> Vec<Option<String>> {
        self.try_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:#}"))
    }

    /// Like [`Chain::query`], but returns the error if the query fails.
    pub async fn try_query(&self, sql: &str) -> anyhow::Result<Vec<Option<String>>> {
        athena::first_row(&self.athena, &format!("s3://{}/athena/", self.scratch), sql).await
    }
}

/// Returns the full name of a table in the database `dmp`.
pub fn table(name: &str) -> TableName {
    TableName { database: "dmp".into(), table: name.into() }
}

/// Checks that no query failed, and that each saw all rows of one of these folders. The last folder, which is live when
/// the reader finishes, must have been seen.
pub fn saw_whole_generations(tally: &Tally, folders: &[(String, u64)]) {
    assert_eq!((tally.failed, tally.mixed), (0, 0), "{:?}", tally.complaints);
    for ((_, folder), counts) in &tally.seen {
        let (_, rows) = folders.iter().find(|(known, _)| known == folder).unwrap_or_else(|| panic!("{:?}", tally.seen));
        assert_eq!(counts.keys().collect::<Vec<_>>(), [rows], "{folder}");
    }
    let (last, _) = folders.last().expect("a folder");
    assert!(tally.seen.keys().any(|(_, folder)| folder == last), "{:?}", tally.seen);
}

/// Returns the EventBridge event for a manifest: the event in events/flip-s3.json, but about this object.
pub fn manifest_event(paths: &TablePaths, generation: &Generation) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../../../events/flip-s3.json")).expect("JSON");
    let key = paths.manifest(generation);
    event["detail"]["bucket"]["name"] = key.bucket.into();
    event["detail"]["object"]["key"] = key.key.into();
    event
}

/// Returns the generation in an export's answer.
pub fn generation(answer: &Value) -> Generation {
    let text = answer["generation"].as_str().unwrap_or_else(|| panic!("{answer}"));
    text.parse().expect("a generation")
}

/// Returns CSV with `rows` users. `day` is a part of their names.
pub fn users(rows: u64, day: u32) -> String {
    let mut csv = String::from("id,name,points,joined\n");
    for id in 1..=rows {
        let points = if id % 7 == 0 { String::new() } else { (id * 3).to_string() };
        csv += &format!("{id},利用者{id:05} {day},{points},2024-{:02}-{:02}\n", 1 + id % 12, 1 + id % 28);
    }
    csv
}

pub const USERS: &str = r#"
[datasets.users]
source = { files = { location = "s3://${BUCKET}/source/users/", columns = { id = "bigint", name = "string", points = "int", joined = "date" } } }
"#;
