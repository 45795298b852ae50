//! A stack of a test's own, and what the tests ask of it.

use std::{
    fs,
    ops::Deref,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use cli::athena;
use local::{Deployment, Emulator, FunctionError, Stack, Tools, reader::Tally};
use serde_json::Value;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use turntable::name::{Generation, Home, Location, TableName};

/// How many stacks there are at a time.
const AT_ONCE: usize = 3;
/// An order of magnitude above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(90);

/// A deployed stack with the Glue database `dmp`, gone with the emulator when this process ends.
pub struct Chain {
    pub stack: Stack,
    pub account: String,
    _turn: SemaphorePermit<'static>,
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
        tools.calls = Some(calls);
        Emulator::start(&tools).await.unwrap_or_else(|error| panic!("{error:#}"))
    };
    EMULATOR.get_or_init(start).await
}

/// An account that no other test has.
pub fn account() -> String {
    static ACCOUNTS: AtomicU64 = AtomicU64::new(100_000_000_001);
    ACCOUNTS.fetch_add(1, Ordering::Relaxed).to_string()
}

impl Chain {
    /// `datasets` are the entries of datasets.toml; `${BUCKET}` in it is the stack's bucket.
    pub async fn start(datasets: &str) -> Chain {
        Chain::deploy(datasets, |_| {}).await
    }

    /// `change` is made to the deployment before it begins.
    pub async fn deploy(datasets: &str, change: impl FnOnce(&mut Deployment)) -> Chain {
        Chain::on(emulator().await, datasets, change).await
    }

    /// On an emulator of the test's own.
    pub async fn on(emulator: &Emulator, datasets: &str, change: impl FnOnce(&mut Deployment)) -> Chain {
        static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);
        let turn = TURNS.acquire().await.expect("it is never closed");
        let account = account();
        // A new function ends those of its name in all accounts, as MiniStack 1.5.33 has it: so each has a name of its own.
        let mut deployment = Deployment { stack: format!("turntable-{account}"), ..Deployment::in_account(&account) };
        change(&mut deployment);
        let deployed = emulator.deploy(&deployment).await;
        let stack = deployed.unwrap_or_else(|error| panic!("{error:#}"));
        stack.create_database("dmp").await.expect("a Glue database");
        let chain = Chain { stack, account, _turn: turn };
        chain.datasets(datasets).await;
        chain
    }

    /// Replaces datasets.toml.
    pub async fn datasets(&self, entries: &str) {
        self.put("datasets.toml", self.datasets_file(entries)).await.expect("datasets.toml");
    }

    /// The text of a datasets.toml with these entries.
    pub fn datasets_file(&self, entries: &str) -> String {
        let defaults = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://${BUCKET}/schemas\"\n";
        self.named(&format!("{defaults}{entries}"))
    }

    /// The text with `${BUCKET}` replaced.
    pub fn named(&self, text: &str) -> String {
        text.replace("${BUCKET}", &self.bucket)
    }

    pub fn home(&self, table: &str) -> Home {
        Home::new(&self.named("s3://${BUCKET}/schemas").parse().expect("a location"), table)
    }

    /// A function's answer; an error is a failure of the test.
    pub async fn ask(&self, function: &str, event: &Value) -> Value {
        self.answer(function, event).await.unwrap_or_else(|error| panic!("{function} {event}: {error}"))
    }

    pub async fn answer(&self, function: &str, event: &Value) -> Result<Value, FunctionError> {
        self.invoke(function, event).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// What the Glue table's location names; `None` where there is no table.
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

    /// Waits until another location than `before` is live.
    pub async fn next(&self, table: &str, before: Option<&Location>) -> Generation {
        let what = format!("another generation of {table} than {before:?}");
        let now = self.until(&what, async || self.live(table).await.filter(|now| Some(now) != before)).await;
        self.home(table).parse_generation(&now).unwrap_or_else(|| panic!("{now} is no generation"))
    }

    /// Waits for what `find` finds.
    pub async fn until<T>(&self, what: &str, find: impl AsyncFn() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = find().await {
                return found;
            }
            if start.elapsed() > PATIENCE {
                panic!("waited in vain for {what}; the functions have logged {:#?}", self.all_logs().await);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The structured lines of a function whose message is this, by their fields.
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

    /// The keys under a prefix of the bucket.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let mut pages = self.s3.list_objects_v2().bucket(&self.bucket).prefix(prefix).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let objects = page.expect("a list").contents.unwrap_or_default();
            keys.extend(objects.into_iter().filter_map(|object| object.key));
        }
        keys
    }

    pub async fn unfinished_uploads(&self) -> usize {
        self.s3.list_multipart_uploads().bucket(&self.bucket).send().await.expect("a list").uploads().len()
    }

    /// The first row that Athena answers with.
    pub async fn query(&self, sql: &str) -> Vec<Option<String>> {
        let output = format!("s3://{}/athena/", self.scratch);
        athena::first_row(&self.athena, &output, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:#}"))
    }
}

/// Of database `dmp`.
pub fn table(name: &str) -> TableName {
    TableName { database: "dmp".into(), table: name.into() }
}

/// No query has failed, and each has seen all rows of one of these folders. The last of them, which is live when the
/// reader finishes, was certainly seen.
pub fn saw_whole_generations(tally: &Tally, folders: &[(String, u64)]) {
    assert_eq!((tally.failed, tally.mixed), (0, 0), "{:?}", tally.complaints);
    for ((_, folder), counts) in &tally.seen {
        let (_, rows) = folders.iter().find(|(known, _)| known == folder).unwrap_or_else(|| panic!("{:?}", tally.seen));
        assert_eq!(counts.keys().collect::<Vec<_>>(), [rows], "{folder}");
    }
    let (last, _) = folders.last().expect("a folder");
    assert!(tally.seen.keys().any(|(_, folder)| folder == last), "{:?}", tally.seen);
}

/// What EventBridge delivers for a manifest: events/flip-s3.json, of another object.
pub fn manifest_event(home: &Home, generation: &Generation) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../../events/flip-s3.json")).expect("JSON");
    let key = home.manifest(generation);
    event["detail"]["bucket"]["name"] = key.bucket.into();
    event["detail"]["object"]["key"] = key.key.into();
    event
}

/// What an export has answered with.
pub fn generation(answer: &Value) -> Generation {
    let text = answer["generation"].as_str().unwrap_or_else(|| panic!("{answer}"));
    text.parse().expect("a generation")
}

/// A CSV of so many users; `day` changes their names.
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
