//! A simulated week of many datasets: ticks and events come twice, late, in any order or never, messages wait, requests
//! are throttled, and invocations die. There is exactly one export for each due time, each put is read exactly once,
//! and a dataset that is built from inputs is never older than its inputs were.
//!
//! `TURNTABLE_REFRESH_WEEKS` is the number of weeks, each with another seed from `FIRST` on. `TURNTABLE_REFRESH_DATASETS`
//! is the number of datasets, a multiple of 20, and `TURNTABLE_REFRESH_TICK` the number of minutes between ticks. CI runs
//! one week of 20 with a tick every 15 minutes. docs/scale.md has the figures for 200 with a tick each minute.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tests::{
    random::{Random, count, named},
    rig::Rig,
    wire::Fate,
};
use turntable::{
    config::{Config, Dataset},
    inputs,
    layout::{Generation, TablePaths},
    manifest::Manifest,
    read::Read,
    refresh,
};

use super::support::Disturbing;

const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Returns a datasets.toml with mixed refreshes.
fn file(datasets: usize) -> String {
    let mut text = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n".to_owned();
    for at in 0..datasets {
        let mut location = "s3://lake/in/".to_owned();
        let refresh = match at % 20 {
            7 | 8 => {
                location = format!("s3://lake/puts/d{at:03}/");
                ["{ on_put = true }", "[{ on_put = true, settle = \"5m\" }, \"rate(2 days)\"]"][at % 20 - 7].into()
            }
            0 => "\"rate(1 hour)\"".to_owned(),
            1 => format!("{{ after = [\"d{:03}\", \"d{:03}\"] }}", at - 1, (at + 4) % datasets / 20 * 20 + 5),
            2 => format!("{{ after = [\"d{:03}\"] }}", at - 1),
            3 => format!("{{ after = [\"d{:03}\", \"d{:03}\"], any = true }}", at - 3, at + 3),
            4 => "\"manual\"".into(),
            5 => format!("\"cron({} {} ? * MON-FRI *)\"", at % 60, at % 24),
            6 => "[\"cron(0 9 * * ? *)\", \"cron(30 17 * * ? *)\"]".into(),
            _ => format!("\"cron({} {} * * ? *)\"", at % 60, at % 24),
        };
        let zone = ["UTC", "Asia/Tokyo", "America/New_York"][at % 3];
        text += &format!(
            "[datasets.d{at:03}]\nsource.files = {{ location = \"{location}\", columns = {{ id = \"bigint\" }}, extra = \"ignore\" }}\nrefresh = {refresh}\ntimezone = \"{zone}\"\n"
        );
    }
    text
}

#[derive(Clone)]
enum Event {
    Tick,
    Message {
        body: String,
        received: u32,
    },
    Manifest(String, Generation),
    Flip(String),
    /// An application puts this object.
    Write(String),
    Put(String),
    /// What sweep does for lost events.
    MakeUp,
}

#[derive(Default, Debug)]
struct Tally {
    /// Due times of all datasets.
    due: usize,
    /// Due times that one run each has served. It also makes up for those before it.
    served: usize,
    /// Ticks, messages and events that were sent, and what became of them.
    sent: usize,
    lost: usize,
    twice: usize,
    late: usize,
    /// Those that arrived after one that was sent later.
    reordered: usize,
    /// Invocations of `export`, those that died at a call, and those with a call that was refused once.
    invocations: usize,
    died: usize,
    throttled: usize,
    exports: usize,
    /// Exports that failed, and were tried again.
    failed: usize,
    puts: usize,
    nothing: usize,
    again: usize,
    dependants: usize,
    /// Undisturbed ticks with nothing due, and their requests.
    idle_ticks: usize,
    idle_requests: i64,
}

struct World {
    rig: Rig,
    config: Config,
    random: Random,
    /// By time in milliseconds, and a number that keeps events of the same time apart, with the time of sending.
    events: BTreeMap<(i64, u64), (i64, Event)>,
    /// When the latest event that has arrived was sent.
    latest: i64,
    manifests: BTreeSet<String>,
    flips: BTreeSet<String>,
    /// By dataset: what the last export that puts triggered has read.
    read: BTreeMap<String, Read>,
    tally: Tally,
}

impl World {
    fn new(seed: u64, datasets: usize) -> World {
        let rig = Rig::with("");
        let text = file(datasets);
        rig.objects.put("s3://lake/datasets.toml", text.clone());
        World {
            config: Config::parse("f", &text).unwrap(),
            rig,
            random: Random::new(seed),
            events: BTreeMap::new(),
            latest: 0,
            manifests: BTreeSet::new(),
            flips: BTreeSet::new(),
            read: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    fn happens(&mut self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    fn at(&mut self, at: i64, event: Event) {
        self.insert(at, at, event);
    }

    fn insert(&mut self, at: i64, sent: i64, event: Event) {
        let number = self.random.below(1 << 60);
        self.events.insert((at, number), (sent, event));
    }

    /// Delivers an event within `delay`, now and then much later, twice, or never if it `may_be_lost`.
    fn send(&mut self, from: Timestamp, delay: SignedDuration, may_be_lost: bool, event: Event) {
        self.tally.sent += 1;
        if may_be_lost && self.happens(5) {
            self.tally.lost += 1;
            return;
        }
        let copies = if self.happens(10) { 2 } else { 1 };
        self.tally.twice += copies - 1;
        for _ in 0..copies {
            let is_late = self.happens(10);
            self.tally.late += usize::from(is_late);
            let delay = self.random.below(delay.as_millis() as u64 * if is_late { 30 } else { 1 } + 1);
            let from = from.as_millisecond();
            self.insert(from + delay as i64, from, event.clone());
        }
    }

    /// Sends what `export` has queued.
    fn drain(&mut self) {
        let bodies = std::mem::take(&mut *self.rig.queue.0.lock().unwrap());
        for body in bodies {
            let request: Value = serde_json::from_str(&body).unwrap();
            let settle =
                self.dataset(&request).refresh.filter(|_| request["put"] == true).map(|refresh| refresh.settle());
            let now = self.rig.now() + settle.unwrap_or_default();
            self.send(now, SignedDuration::from_secs(30), false, Event::Message { body, received: 1 });
        }
        self.rig.queue.1.lock().unwrap().clear();
    }

    /// Invokes `export`. Returns `None` if the invocation dies.
    async fn invoke(&mut self, event: Value) -> Option<turntable::error::Result<export::Answer>> {
        let fate = match self.random.below(100) {
            0..2 => Fate::NeverLeaves,
            2..4 => Fate::LastOfAll,
            4..8 => Fate::Fails,
            _ => Fate::Arrives,
        };
        let left = if fate == Fate::Arrives { i64::MAX } else { self.random.below(40) as i64 };
        let is_tick = event["action"] == "tick";
        let disturbing = Disturbing::new(left, fate);
        let answer = disturbing.invoke(&self.rig, event).await;
        self.tally.invocations += 1;
        self.tally.died += usize::from(answer.is_none());
        self.tally.throttled += usize::from(fate == Fate::Fails && disturbing.has_come());
        if let (true, Fate::Arrives, Some(Ok(export::Answer::Queued { queued }))) = (is_tick, fate, &answer)
            && queued.is_empty()
        {
            self.tally.idle_ticks += 1;
            self.tally.idle_requests += i64::MAX - disturbing.left();
        }
        self.drain();
        answer
    }

    fn dataset(&self, body: &Value) -> Dataset {
        self.config.dataset(body["dataset"].as_str().unwrap()).unwrap().clone()
    }

    async fn record(&self, of: &Dataset) -> refresh::Record {
        self.rig.env().record(&of.paths.refresh()).await.unwrap().unwrap_or_default()
    }

    async fn message(&mut self, body: String, received: u32) {
        let request: Value = serde_json::from_str(&body).unwrap();
        let dataset = self.dataset(&request);
        let before = self.record(&dataset).await.done;
        let live = inputs::live(&self.rig.env(), &dataset).await.unwrap();
        let again = |world: &mut World, after: i64| {
            assert!(received < 20, "{body} is never handled");
            world.tally.again += 1;
            let at = world.rig.now() + SignedDuration::from_mins(after);
            world.at(at.as_millisecond(), Event::Message { body: body.clone(), received: received + 1 });
        };
        match self.invoke(request.clone()).await {
            None => {
                again(self, 90);
                self.find_manifests(&dataset).await;
            }
            Some(Err(error)) => {
                use turntable::error::Kind;
                assert!(matches!(error.kind(), Kind::Conflict | Kind::Unavailable), "{}", error.report());
                self.tally.failed += usize::from(error.kind() == Kind::Unavailable);
                again(self, 16);
                self.find_manifests(&dataset).await;
            }
            Some(Ok(export::Answer::Exported(exported))) => {
                self.tally.exports += 1;
                if request["due"].is_string() {
                    let refresh::Record { done, running, .. } = self.record(&dataset).await;
                    self.tally.served += usize::from(done > before);
                    // A run whose end could not be recorded counts as dead later.
                    assert!(done > before || running.is_some(), "{body} was exported twice: {before:?}, {done:?}");
                }
                let key = dataset.paths.manifest(&exported.generation);
                let manifest: Manifest =
                    serde_json::from_slice(&self.rig.objects.body(&key.to_string()).unwrap()).unwrap();
                self.assert_read_once(&dataset, &manifest).await;
                self.tally.dependants += usize::from(!manifest.inputs.is_empty());
                for (input, live) in &live {
                    assert!(manifest.inputs[input].ulid >= live.ulid, "{key}: {input} is older than live was");
                }
                self.find_manifests(&dataset).await;
            }
            Some(Ok(_)) => self.tally.nothing += 1,
        }
    }

    /// Asserts that an export that puts triggered has read something that the previous one had not.
    async fn assert_read_once(&mut self, dataset: &Dataset, manifest: &Manifest) {
        let is_only_by_puts = dataset.refresh.as_ref().unwrap().schedules.is_empty();
        let Some(read) = manifest.read.clone().filter(|_| is_only_by_puts) else { return };
        self.tally.puts += 1;
        let before = self.read.insert(dataset.name.clone(), read.clone());
        assert_ne!(before, Some(read), "{} read the same objects twice", dataset.name);
    }

    /// Sends events that may be lost, and what the application puts.
    async fn write(&mut self, key: String) {
        let text = format!("id\n{}\n", self.random.below(1 << 40));
        self.rig.objects.put(&format!("s3://lake/{key}"), text);
        self.send(self.rig.now(), SignedDuration::from_secs(60), true, Event::Put(key));
    }

    async fn put(&mut self, key: String) {
        let message = json!({ "messageId": "m", "body": created(&key).to_string() });
        let answer = self.invoke(json!({ "Records": [message] })).await;
        let is_done = |answer: turntable::error::Result<export::Answer>| {
            serde_json::to_value(answer.unwrap()).unwrap()["batchItemFailures"].as_array().unwrap().is_empty()
        };
        if !answer.is_some_and(is_done) {
            let at = self.rig.now() + SignedDuration::from_mins(90);
            self.at(at.as_millisecond(), Event::Put(key));
        }
    }

    /// Sends the events of new manifests.
    async fn find_manifests(&mut self, dataset: &Dataset) {
        let listed = self.rig.env().objects.list(&dataset.paths.manifests(), None).await.unwrap();
        for entry in listed {
            let (_, generation) = TablePaths::parse_manifest(&entry.key).unwrap();
            if self.manifests.insert(entry.key.to_string()) {
                let event = Event::Manifest(dataset.name.clone(), generation);
                self.send(self.rig.now(), SignedDuration::from_secs(60), false, event);
            }
        }
    }

    async fn manifest(&mut self, name: &str, generation: &Generation) {
        let paths = self.config.dataset(name).unwrap().paths.clone();
        flip::handle(self.rig.env(), created(&paths.manifest(generation).key)).await.unwrap();
        for entry in self.rig.env().objects.list(&paths.flips(), None).await.unwrap() {
            if self.flips.insert(entry.key.to_string()) {
                self.send(self.rig.now(), SignedDuration::from_secs(60), true, Event::Flip(entry.key.key));
            }
        }
    }

    async fn make_up(&mut self) {
        let names: Vec<String> = self.config.datasets().map(|dataset| dataset.name.clone()).collect();
        for name in names {
            let dataset = self.config.dataset(&name).unwrap();
            if dataset.files_on_put().is_some() {
                let body = json!({ "dataset": name, "put": true }).to_string();
                self.at(self.rig.now().as_millisecond(), Event::Message { body, received: 1 });
            } else if inputs::is_due(&self.rig.env(), dataset).await.unwrap() {
                let body = json!({ "dataset": name, "inputs": true }).to_string();
                self.at(self.rig.now().as_millisecond(), Event::Message { body, received: 1 });
            }
        }
    }

    async fn run(&mut self) {
        while let Some(((at, _), (sent, event))) = self.events.pop_first() {
            self.tally.reordered += usize::from(sent < self.latest);
            self.latest = self.latest.max(sent);
            let behind = at - self.rig.now().as_millisecond();
            self.rig.advance(SignedDuration::from_millis(behind.max(0)));
            match event {
                Event::Tick => drop(self.invoke(json!({ "action": "tick" })).await),
                Event::Message { body, received } => self.message(body, received).await,
                Event::Manifest(name, generation) => self.manifest(&name, &generation).await,
                Event::Flip(key) => drop(self.invoke(created(&key)).await),
                Event::Write(key) => self.write(key).await,
                Event::Put(key) => self.put(key).await,
                Event::MakeUp => self.make_up().await,
            }
        }
    }
}

fn created(key: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../../../events/flip-s3.json")).unwrap();
    event["detail"]["bucket"]["name"] = json!("lake");
    event["detail"]["object"]["key"] = json!(key);
    event
}

async fn week(seed: u64, datasets: usize, tick: usize) -> Tally {
    let mut world = World::new(seed, datasets);
    let start = world.rig.now();
    world.rig.export_with(world.rig.env(), json!({ "action": "tick" })).await.unwrap();
    for minute in (1..WEEK.as_mins()).filter(|minute| minute % tick as i64 == 0) {
        let at = start + SignedDuration::from_mins(minute);
        world.send(at, SignedDuration::from_secs(60), true, Event::Tick);
        if minute % 60 == 0 {
            world.at(at.as_millisecond(), Event::MakeUp);
        }
    }
    let names: Vec<String> = world.config.refreshed_on_put().map(|(dataset, _)| dataset.name.clone()).collect();
    for name in names {
        for _ in 0..12 {
            let at =
                (start + SignedDuration::from_mins(world.random.below(WEEK.as_mins() as u64) as i64)).as_millisecond();
            for number in 0..=world.random.below(3) {
                let at = at + world.random.below(120_000) as i64;
                world.at(at, Event::Write(format!("puts/{name}/{}.csv", (number + at as u64) % 5)));
            }
        }
    }
    let end = start + WEEK + SignedDuration::from_hours(12);
    // A day without due times would let nothing be missed, so the last ticks come when all is quiet.
    for hour in 0..24 {
        let at = (end + SignedDuration::from_hours(hour)).as_millisecond();
        world.at(at, Event::MakeUp);
    }
    world.run().await;
    let last = world.rig.now();
    // What becomes due in these rounds, in which time passes too, may be exported or not.
    for _ in 0..3 {
        world.rig.export_with(world.rig.env(), json!({ "action": "tick" })).await.unwrap();
        world.drain();
        world.run().await;
        world.make_up().await;
        world.run().await;
    }
    for dataset in world.config.datasets() {
        let refresh = dataset.refresh.as_ref().unwrap();
        let due = refresh.latest(start, last);
        let record = world.record(dataset).await;
        if !refresh.schedules.is_empty() {
            let times = std::iter::successors(refresh.next(start), |at| refresh.next(*at));
            let times = times.take_while(|at| *at <= world.rig.now()).count();
            world.tally.due += times;
            let exports = world.manifests.iter().filter(|key| key.starts_with(&dataset.paths.location().to_string()));
            let (exports, is_on_put) = (exports.count(), dataset.files_on_put().is_some());
            assert!(
                is_on_put || exports <= times && exports > 0,
                "{}: {exports} exports for {times} due times",
                dataset.name
            );
        }
        // The end of a run may not be on record, if the request for that failed.
        let newest = inputs::newest(&world.rig.env(), dataset).await.unwrap().map(|manifest| manifest.as_of);
        let is_there = |running: &refresh::Running| running.due >= due && newest >= Some(running.since);
        let is_exported = record.done >= due || record.running.as_ref().is_some_and(is_there);
        assert!(is_exported, "{}: {due:?} was not exported: {record:?}", dataset.name);
        if let Some(files) = dataset.files_on_put() {
            let manifest = inputs::newest(&world.rig.env(), dataset).await.unwrap().unwrap();
            let listed = world.rig.env().objects.list(&files.location().parse().unwrap(), None).await.unwrap();
            assert_eq!(manifest.read, Some(Read::of(&listed)), "{} lacks puts", dataset.name);
        }
        assert!(!inputs::is_due(&world.rig.env(), dataset).await.unwrap(), "{} lacks its inputs", dataset.name);
    }
    world.tally
}

#[tokio::test]
async fn a_week_exports_each_due_time_once_and_reads_each_put_once() {
    let (datasets, first) = (count("TURNTABLE_REFRESH_DATASETS", 20), count("FIRST", 0));
    let tick = count("TURNTABLE_REFRESH_TICK", 15) as usize;
    for seed in first..first + count("TURNTABLE_REFRESH_WEEKS", 1) {
        let tally = named(seed, week(seed, datasets as usize, tick)).await;
        println!("seed {seed}: {tally:?}");
        let Tally { exports, died, failed, puts, dependants, .. } = tally;
        for (met, least) in [(exports, 10), (4 * died, 1), (4 * failed, 1), (4 * puts, 1), (dependants, 1)] {
            assert!(met as u64 >= least * datasets, "{tally:?}");
        }
    }
}
