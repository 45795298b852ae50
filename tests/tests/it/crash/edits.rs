//! Random schedules over the names of a dataset: somebody edits its table, database and location in datasets.toml, removes
//! it and adds it again, and sends the requests rename, move and retire, while exports, flips and sweeps run and crash.
//! Foreign writers move and edit the table, copy it, and delete and add objects. In the end, an operator sends the requests
//! that `attention` names until it is empty.
//!
//! `TURNTABLE_EDIT_SCHEDULES` is the number of schedules (2,000), and `FIRST` is the first seed (0). `SEED=7 cargo test
//! --workspace --test it crash::edits::one_seed -- --nocapture` shows every step of seed 7.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use jiff::SignedDuration;
use serde_json::{Value, json};
use tests::{
    random::{Random, count, variable},
    rig::Rig,
    wire::{Call, Fate, Op},
};
use turntable::{
    layout::{Generation, Location, TableName, TablePaths},
    retired::Retired,
};

use super::{
    concurrent::{self, Ended, Fault},
    event::Event,
    readers::{COPY, Met, Readers},
    rest::{self, Rest},
};

const FILE: &str = "s3://lake/datasets.toml";
const DATABASES: [&str; 2] = ["dmp", "lake"];
const TABLES: [&str; 2] = ["users", "clients"];
const LOCATIONS: [&str; 2] = ["s3://lake/schemas", "s3://lake/team"];

/// What datasets.toml says about the dataset `users`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Names {
    database: &'static str,
    table: &'static str,
    location: &'static str,
}

const FIRST: Names = Names { database: DATABASES[0], table: TABLES[0], location: LOCATIONS[0] };

impl Names {
    fn any(random: &mut Random) -> Names {
        let mut of = |all: [&'static str; 2]| all[random.below(2) as usize];
        Names { database: of(DATABASES), table: of(TABLES), location: of(LOCATIONS) }
    }

    fn table(self) -> TableName {
        TableName { database: self.database.into(), table: self.table.into() }
    }

    fn paths(self) -> TablePaths {
        TablePaths::new(&self.location.parse().unwrap(), self.table)
    }
}

/// Another dataset, so that datasets.toml is never empty and names both databases.
const OTHERS: &str = "[datasets.a]\ndatabase = \"dmp\"\nlocation = \"s3://lake/others\"\nsource = { files = { location = \"s3://lake/in/\" } }\n\
                      [datasets.b]\ndatabase = \"lake\"\nlocation = \"s3://lake/others\"\nsource = { files = { location = \"s3://lake/in/\" } }\n";
const RETAIN: &str = "retain = { generations = 1, drain = \"1h\", abandoned = \"24h\", max_age = \"48h\" }\n";

struct Play {
    rig: Arc<Rig>,
    rest: Arc<Rest>,
    readers: Readers,
    on_drift: &'static str,
    /// `None` while the dataset is not in datasets.toml.
    names: Option<Names>,
}

/// One bug in the program: it leaves out the calls for which this returns `true`.
type LeavesOut = fn(&Rig, &Call) -> bool;

struct Played {
    met: Met,
    told: Vec<String>,
    broken: Option<String>,
}

fn play(seed: u64, leaves_out: LeavesOut, tell: bool) -> Played {
    let mut random = Random::new(seed);
    rest::run(async |rest| {
        let rig = Arc::new(Rig::with(""));
        let mut readers = Readers::new(&rig, leaves_out);
        readers.told = tell.then(|| vec![format!("seed {seed}")]);
        let on_drift = ["report", "repair"][random.below(2) as usize];
        let mut play = Play { rig, rest, readers, on_drift, names: Some(FIRST) };
        let broken = play.schedule(&mut random).await.err();
        Played { met: play.readers.met, told: play.readers.told.take().unwrap_or_default(), broken }
    })
}

impl Play {
    async fn schedule(&mut self, random: &mut Random) -> Result<(), String> {
        for location in LOCATIONS {
            for table in TABLES {
                let stranger = format!("{location}/{table}/notes.txt");
                self.rig.objects.put(&stranger, "x");
                self.readers.strangers.push(stranger);
            }
        }
        self.configure(FIRST);
        for rows in [3, 4] {
            self.publish(rows).await?;
        }
        for _ in 0..3 {
            self.meanwhile(random)?;
            let mut events: Vec<(Event, Fault)> = Vec::new();
            for _ in 0..1 + random.below(3) {
                events.push((self.any(random), fault(random)));
            }
            self.together(events, random).await?;
        }
        self.follow(random).await
    }

    fn configure(&mut self, names: Names) {
        let Names { database, table, location } = names;
        let text = format!(
            "[datasets.users]\ndatabase = \"{database}\"\ntable = \"{table}\"\nlocation = \"{location}\"\non_drift = \
             \"{}\"\nsource = {{ files = {{ location = \"s3://lake/in/\", columns = {{ id = \"bigint\", name = \"string\" }} \
             }} }}\n{RETAIN}{OTHERS}",
            self.on_drift
        );
        self.rig.objects.put(FILE, text);
        self.names = Some(names);
        self.readers.tell(|| format!("datasets.toml: {database}.{table} in {location}"));
    }

    fn remove(&mut self) {
        self.rig.objects.put(FILE, OTHERS);
        self.names = None;
        self.readers.tell(|| "datasets.toml: no users".into());
    }

    /// Returns the rig as it looks under the names in datasets.toml.
    fn rig(&self) -> Arc<Rig> {
        let names = self.names.unwrap_or(FIRST);
        Arc::new(self.rig.named(names.table(), names.paths()))
    }

    async fn alone(&mut self, event: Event) -> Result<Ended, String> {
        let (rig, rest) = (self.rig(), self.rest.clone());
        let mut ended = concurrent::together(&rig, &rest, &mut self.readers, vec![(event, None)], |_| 0).await?;
        Ok(ended.remove(0))
    }

    async fn together(&mut self, events: Vec<(Event, Fault)>, random: &mut Random) -> Result<(), String> {
        let (rig, rest) = (self.rig(), self.rest.clone());
        let next = |waiting: &[(usize, Call)]| random.below(waiting.len() as u64) as usize;
        concurrent::together(&rig, &rest, &mut self.readers, events, next).await.map(drop)
    }

    /// Exports, and delivers the event of the newest manifest.
    async fn publish(&mut self, rows: usize) -> Result<(), String> {
        self.rig.source(rows);
        self.alone(Event::Export).await?;
        match self.newest() {
            Some(newest) => self.alone(Event::Manifest(newest)).await.map(drop),
            None => Ok(()),
        }
    }

    /// Returns the newest complete generation in the dataset's folder.
    fn newest(&self) -> Option<Generation> {
        self.readers.complete(&self.names?.paths()).pop()
    }

    fn any(&self, random: &mut Random) -> Event {
        let ask = |request: Value| Event::RefreshOptions(request);
        let old_table = ["keep", "drop"][random.below(2) as usize];
        let tables: Vec<TableName> = self.readers.tables().into_keys().collect();
        let some = |random: &mut Random| {
            tables[random.below(tables.len().max(1) as u64) as usize % tables.len().max(1)].to_string()
        };
        let retire = |random: &mut Random| {
            ask(json!({ "dataset": some(random), "action": "retire", "table": old_table, "reason": "sold" }))
        };
        let of_users = |action: &str| ask(json!({ "dataset": "users", "action": action, "reason": "we look at it" }));
        if tables.is_empty() {
            return Event::Export;
        }
        if self.names.is_none() {
            return if random.below(2) == 0 { Event::Sweep } else { retire(random) };
        }
        match (random.below(14), self.newest()) {
            (0 | 1, Some(newest)) => Event::Manifest(newest),
            (2 | 3, _) => Event::Sweep,
            (4, _) => Event::Changed,
            (5, _) => of_users("rollback"),
            (6, _) => of_users(["hold", "release"][random.below(2) as usize]),
            (7..=9, _) => ask(
                json!({ "dataset": "users", "action": "rename", "from": some(random), "table": old_table, "reason": "names" }),
            ),
            (10 | 11, _) => {
                let from = LOCATIONS[random.below(2) as usize];
                ask(json!({ "dataset": "users", "action": "move", "from": from, "reason": "one folder for each team" }))
            }
            (12, _) => retire(random),
            _ => Event::Export,
        }
    }

    /// Lets time pass, and lets an operator edit datasets.toml and a foreign writer act.
    fn meanwhile(&mut self, random: &mut Random) -> Result<(), String> {
        self.rig.source(4 + random.below(3) as usize);
        let hours = [0, 0, 2, 30][random.below(4) as usize];
        self.rig.advance(SignedDuration::from_hours(hours));
        match random.below(8) {
            0..=3 => {
                self.readers.met.edits += 1;
                self.configure(Names::any(random));
            }
            4 => self.remove(),
            _ => {}
        }
        if random.below(3) == 0 {
            self.foreign(random);
        }
        self.readers.look(false)
    }

    /// Acts as a writer outside Turntable.
    fn foreign(&mut self, random: &mut Random) {
        let tables: Vec<(TableName, Location)> = self.readers.tables().into_iter().collect();
        if tables.is_empty() {
            return;
        }
        self.readers.met.foreign += 1;
        let (name, at) = tables[random.below(tables.len() as u64) as usize].clone();
        let rig = self.rig.named(name.clone(), self.names.unwrap_or(FIRST).paths());
        let act = match random.below(6) {
            0 => {
                let complete = TablePaths::of_generation(&at).map(|(paths, _)| (self.readers.complete(&paths), paths));
                let Some((complete, paths)) = complete else { return };
                let Some(to) = random.pick(&complete) else { return };
                let to = paths.generation(&to);
                if !self.is_whole(&to) {
                    return;
                }
                rig.edit_table(|table| table.storage_descriptor.as_mut().unwrap().location = Some(to.to_string()));
                format!("moves {name} to {to}")
            }
            1 => {
                rig.edit_table(|table| {
                    drop(table.storage_descriptor.as_mut().unwrap().columns.as_mut().unwrap().pop())
                });
                format!("drops a column of {name}")
            }
            2 => {
                rig.edit_table(|table| {
                    drop(table.parameters.get_or_insert_default().insert("crawled".into(), "1".into()))
                });
                format!("sets a parameter of {name}")
            }
            3 => {
                let mut copy = tests::catalog::moved(&self.rig.catalog.get(&name).unwrap(), &at);
                copy.name = COPY.into();
                self.rig.catalog.put("dmp", copy);
                format!("copies {name}")
            }
            4 => {
                rig.objects.put(&at.key("extra.parquet").to_string(), "x");
                format!("adds an object to {at}")
            }
            _ => {
                let Some((key, _)) = self.readers.files_of(&at).and_then(|mut files| files.pop()) else { return };
                rig.objects.delete(&key.to_string());
                self.readers.damaged.insert(at);
                format!("deletes {key}")
            }
        };
        self.readers.tell(|| format!("somebody else {act}"));
    }

    fn is_whole(&self, at: &Location) -> bool {
        let there = |(key, etag): &(turntable::layout::Key, String)| self.rig.objects.etag(key).as_ref() == Some(etag);
        self.readers.files_of(at).is_some_and(|files| files.iter().all(there))
    }

    /// Does what `attention` says until it is empty, and checks that the dataset is published and that nothing is left
    /// that should have been deleted.
    async fn follow(&mut self, random: &mut Random) -> Result<(), String> {
        const ROUNDS: usize = 8;
        if self.names.is_none() {
            self.configure(Names::any(random));
        }
        self.alone(Event::ask(&self.rig.named(users(), FIRST.paths()), "release")).await?;
        let mut left = Vec::new();
        for round in 0..ROUNDS {
            self.publish(4 + round).await?;
            if let Some(newest) = self.newest() {
                self.alone(Event::RefreshOptions(json!({ "dataset": "users", "generation": newest }))).await?;
            }
            self.rig.advance(SignedDuration::from_hours(2));
            self.alone(Event::Sweep).await?;
            left = self.attention().await;
            if left.is_empty() {
                break;
            }
            for request in left.iter().filter_map(|message| request(message)) {
                self.alone(Event::RefreshOptions(request)).await?;
            }
        }
        if !left.is_empty() {
            return Err(format!("attention after {ROUNDS} rounds: {left:?}"));
        }
        for _ in 0..4 {
            self.rig.advance(SignedDuration::from_hours(24 * 10));
            self.alone(Event::Sweep).await?;
        }
        self.rests().await
    }

    /// Returns the conditions that need an operator, but not that the other datasets have no tables.
    async fn attention(&mut self) -> Vec<String> {
        let mut left = self.rig.attention().await;
        let is_other = |message: &String| ["a: ", "b: "].iter().any(|name| message.starts_with(name));
        // Copies and added objects are the foreign writer's.
        let is_foreign = |message: &String| message.starts_with("dmp.copied") || message.contains("extra.parquet");
        left.retain(|message| !is_other(message) && !is_foreign(message));
        self.readers.tell(|| format!("attention: {left:?}"));
        left
    }

    async fn rests(&mut self) -> Result<(), String> {
        let names = self.names.ok_or("the dataset is configured")?;
        let at = self.readers.tables().remove(&names.table()).ok_or_else(|| format!("{names:?} has no table"))?;
        let newest = self.newest().map(|newest| names.paths().generation(&newest));
        if Some(&at) != newest.as_ref() {
            return Err(format!("{names:?} reads {at}, and the newest is {newest:?}"));
        }
        if !self.is_whole(&at) {
            return Err(format!("{at} is live and not whole"));
        }
        let left = self.attention().await;
        if !left.is_empty() {
            return Err(format!("attention in the end: {left:?}"));
        }
        self.readers.nothing_is_missing()?;
        for key in self.rig.objects.keys().into_iter().filter(|key| key.contains("/_retired/")) {
            let record: Retired = serde_json::from_slice(&self.rig.objects.body(&key).unwrap()).unwrap();
            let is_read = self.readers.tables().values().any(|at| at.overlaps(&record.location));
            let is_over = record.released || is_read || record.old_table == turntable::record::OldTable::Keep;
            if !is_over && record.deleted.is_none() {
                return Err(format!("{key} is not carried out: {record:?}"));
            }
        }
        Ok(())
    }
}

fn users() -> TableName {
    TableName { database: "dmp".into(), table: "users".into() }
}

/// Returns the request to flip that a message in `attention` names, if any.
fn request(message: &str) -> Option<Value> {
    let (_, rest) = message.split_once("invoke flip with ")?;
    let mut request: Value = serde_json::Deserializer::from_str(rest).into_iter().next()?.ok()?;
    if request["reason"].is_string() {
        request["reason"] = "attention says so".into();
    }
    Some(request)
}

fn fault(random: &mut Random) -> Fault {
    const FATES: [Fate; 6] =
        [Fate::NeverLeaves, Fate::LastOfAll, Fate::Fails, Fate::LosesReply, Fate::Twice, Fate::Half];
    (random.below(2) == 0).then(|| (random.below(30) as usize, FATES[random.below(6) as usize]))
}

const NOTHING: LeavesOut = |_, _| false;

#[test]
fn edits_requests_and_foreign_writers_break_no_promise() {
    let first = count("FIRST", 0);
    let schedules = count("TURNTABLE_EDIT_SCHEDULES", 2_000);
    let (began, threads) = (Instant::now(), std::thread::available_parallelism().map_or(2, |cores| cores.get()));
    let next = AtomicU64::new(first);
    let work = || {
        let mut met = Met::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + schedules {
                return (met, None);
            }
            let played = play(seed, NOTHING, false);
            met.add(played.met);
            if let Some(broken) = played.broken {
                next.store(first + schedules, Ordering::Relaxed);
                return (met, Some((seed, broken)));
            }
        }
    };
    let (mut met, mut broken) = (Met::default(), None::<(u64, String)>);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let (its, found) = thread.join().unwrap();
            met.add(its);
            broken = [broken.take(), found].into_iter().flatten().min();
        }
    });
    eprintln!("{schedules} schedules in {:.0} s: {met:?}", began.elapsed().as_secs_f64());
    if let Some((seed, broken)) = broken {
        panic!("SEED={seed}: {broken}");
    }
    let Met { flips, deletions, tables_made, tables_dropped, died, failed, foreign, edits } = met;
    for times in [flips, deletions, tables_made, tables_dropped, died, failed, foreign, edits] {
        assert!(times > schedules / 50, "these schedules meet too little: {met:?}");
    }
}

#[test]
fn one_seed() {
    let Some(seed) = variable("SEED") else { return };
    let played = play(seed, NOTHING, true);
    played.told.iter().for_each(|step| eprintln!("{step}"));
    assert_eq!(played.broken, None, "SEED={seed}");
}

/// Plays seeds until a program that leaves out these calls breaks `promise`. Panics if none of the first 2,000 does that.
fn breaks(leaves_out: LeavesOut, promise: &str) {
    const SEEDS: u64 = 2000;
    for seed in 0..SEEDS {
        let Some(broken) = play(seed, leaves_out, false).broken else { continue };
        if broken.contains(promise) {
            eprintln!("{seed} schedules until: {broken}");
            return;
        }
    }
    panic!("{SEEDS} schedules, and {promise:?} is not broken");
}

#[test]
fn a_sweep_that_lists_no_tables() {
    breaks(|_, call| call.op == Op::Tables, "is read by");
}

#[test]
fn a_decision_that_is_not_recorded() {
    breaks(|_, call| call.op == Op::PutNew && call.on.contains("/_retired/"), "attention after");
}

#[test]
fn a_decision_that_is_not_released() {
    breaks(|_, call| call.op == Op::Replace && call.on.contains("/_retired/"), "is not carried out");
}
