//! The group `core` with the datasets `a`, `b` and `c`, and everything that can happen to it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sweep::{Limits, Sweep};
use tests::rig::Rig;
use turntable::{
    answer::Flipped,
    aws::glue,
    environment::Environment,
    error::Result,
    group::Record,
    layout::{Generation, TableName, TablePaths},
    manifest::GroupRun,
    publish::Outcome,
};

use crate::wire::Wire;

pub const MEMBERS: [&str; 3] = ["a", "b", "c"];

/// Generations by dataset.
pub type Set = BTreeMap<String, Generation>;

pub struct Lake {
    pub rig: Rig,
    /// Options that are added to every entry.
    pub more: String,
}

impl Lake {
    pub fn new() -> Lake {
        Lake::with("")
    }

    pub fn with(more: &str) -> Lake {
        let lake = Lake { rig: Rig::default(), more: more.into() };
        lake.configure(&MEMBERS);
        lake
    }

    /// Configures these datasets as the group; the other datasets have no group.
    pub fn configure(&self, members: &[&str]) {
        let entry = |name: &str| {
            let group = if members.contains(&name) { "group = \"core\"\n" } else { "" };
            let source = "{ postgres = { url = \"postgres://u@127.0.0.1:1/d\", query = \"SELECT 1\" } }";
            format!("[datasets.{name}]\n{group}source = {source}\n{}", self.more)
        };
        self.write(entry);
    }

    fn write(&self, entry: impl Fn(&str) -> String) {
        let entries: String = MEMBERS.iter().map(|name| entry(name)).collect();
        let defaults = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n";
        self.rig.objects.put("s3://lake/datasets.toml", format!("{defaults}{entries}"));
    }

    /// Creates a group run as an export would, but the members read from files instead of from a database. `rows` says
    /// how many rows each member has.
    pub async fn run_of(&self, rows: [usize; 3]) -> GroupRun {
        let source = "{ files = { location = \"s3://lake/in/\", columns = { id = \"bigint\", name = \"string\" } } }";
        self.write(|name| format!("[datasets.{name}]\nsource = {source}\n"));
        let as_of = self.rig.now();
        let mut members = Set::new();
        for (name, rows) in MEMBERS.into_iter().zip(rows) {
            self.rig.source(rows);
            match self.rig.export_with(self.rig.env(), json!({ "dataset": name })).await.unwrap() {
                export::Answer::Exported(exported) => members.insert(name.into(), exported.generation),
                other => panic!("{other:?}"),
            };
        }
        let run = GroupRun { group: "core".into(), run: self.env().clock.ulid(), members };
        for (name, generation) in &run.members {
            let key = paths(name).manifest(generation).to_string();
            let mut manifest: Value = serde_json::from_slice(&self.rig.objects.body(&key).unwrap()).unwrap();
            manifest["as_of"] = json!(as_of);
            manifest["group"] = json!(run);
            self.rig.objects.put(&key, manifest.to_string());
        }
        self.configure(&MEMBERS);
        run
    }

    pub async fn run(&self) -> GroupRun {
        self.run_of([3, 4, 5]).await
    }

    /// Makes a new run live, and returns it.
    pub async fn flipped(&self) -> GroupRun {
        let run = self.run().await;
        let answer = self.ask(event(&run, "c")).await.unwrap();
        assert_eq!(self.live(), some(&run), "{answer:?}");
        run
    }

    pub async fn ask(&self, request: Value) -> Result<Flipped> {
        flip::handle(self.rig.env(), request).await
    }

    /// Delivers the event for a run's last manifest, and returns why the run is rejected.
    pub async fn rejected(&self, run: &GroupRun) -> String {
        let answer = self.ask(event(run, "c")).await.unwrap();
        assert_eq!(answer.outcome, Outcome::Rejected);
        answer.reasons.join("; ")
    }

    /// Sends an operator's request that names one member and applies to the whole group.
    pub async fn action(&self, action: &str) -> Result<Flipped> {
        self.ask(json!({ "dataset": "b", "action": action, "reason": "the operator's word" })).await
    }

    /// Flips to a run, and dies as soon as the first table has been moved.
    pub async fn dies_midway(&self, run: &GroupRun) {
        let before = self.live();
        for at in 0.. {
            let (wire, env) = Wire::dying(&self.env(), at);
            drop(flip::handle(env, event(run, "c")).await);
            if self.live() != before {
                assert!(self.record().flipping.is_some() && self.live() != some(run));
                return;
            }
            assert!(wire.calls() > at, "it has never moved a table");
        }
    }

    /// Returns how many of a run's manifests still exist.
    pub fn there(&self, run: &GroupRun) -> usize {
        let keys = self.rig.objects.keys();
        run.members.iter().filter(|(name, it)| keys.contains(&paths(name).manifest(it).to_string())).count()
    }

    pub async fn sweep(&self) {
        let sweep = Sweep { env: self.env(), queue: self.rig.queue.clone(), limits: Limits::default() };
        drop(sweep::handle(sweep, json!({})).await);
    }

    /// Returns the live generation by dataset, or `None` for a dataset without a table or with an unmanaged location.
    pub fn live(&self) -> BTreeMap<String, Option<Generation>> {
        MEMBERS.iter().map(|name| ((*name).into(), self.live_of(name))).collect()
    }

    pub fn live_of(&self, name: &str) -> Option<Generation> {
        at(name, &self.rig.catalog.get(&table(name))?)
    }

    pub fn record(&self) -> Record {
        let json = self.rig.objects.body("s3://lake/schemas/_groups/core.json").expect("a record");
        serde_json::from_slice(&json).unwrap()
    }

    /// Returns the generations that the group's record names as live.
    pub fn named(&self) -> Option<Set> {
        let live = self.record().live?;
        Some(live.tables.into_iter().map(|(name, member)| (name, member.generation)).collect())
    }

    /// Returns every set of generations that was live at some moment, derived from the catalog's writes.
    pub fn once_live_together(&self) -> BTreeSet<Set> {
        let (mut now, mut sets) = (Set::new(), BTreeSet::new());
        for (written, after) in self.rig.catalog.writes() {
            match at(&written.table, &after) {
                Some(generation) => drop(now.insert(written.table, generation)),
                None => drop(now.remove(&written.table)),
            }
            sets.insert(now.clone());
        }
        sets
    }

    /// Moves a table as Terraform and the console do: sends no `VersionId` and writes no record.
    pub fn moved(&self, name: &str, to: &str) {
        let mut moved = self.rig.catalog.get(&table(name)).unwrap();
        moved.storage_descriptor.as_mut().unwrap().location = Some(to.into());
        self.rig.catalog.put("dmp", glue::unchanged(&moved));
    }

    /// Checks that one of these runs is live with all members, that the record says so, and that nothing is under way.
    /// Returns that run.
    pub fn is_settled_at(&self, runs: &[&GroupRun], when: &str) -> GroupRun {
        let record = self.record();
        assert_eq!(record.flipping, None, "{when}");
        let live = self.live();
        let run = runs.iter().find(|run| some(run) == live);
        let run = run.unwrap_or_else(|| panic!("{when}: a mixture: {live:?} of {runs:#?}"));
        assert_eq!(self.named().as_ref(), Some(&run.members), "{when}");
        assert!(self.once_live_together().contains(&run.members), "{when}");
        (*run).clone()
    }

    pub fn env(&self) -> Environment {
        self.rig.env()
    }
}

pub fn some(run: &GroupRun) -> BTreeMap<String, Option<Generation>> {
    run.members.iter().map(|(name, generation)| (name.clone(), Some(*generation))).collect()
}

pub fn paths(name: &str) -> TablePaths {
    TablePaths::new(&"s3://lake/schemas".parse().unwrap(), name)
}

pub fn table(name: &str) -> TableName {
    TableName { database: "dmp".into(), table: name.into() }
}

fn at(name: &str, table: &aws_sdk_glue::types::Table) -> Option<Generation> {
    paths(name).parse_generation(&table.storage_descriptor()?.location()?.parse().ok()?)
}

/// Returns the EventBridge event for a member's manifest: the event in events/flip-s3.json, but about this object.
pub fn event(run: &GroupRun, name: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../../../events/flip-s3.json")).unwrap();
    let key = paths(name).manifest(&run.members[name]);
    event["detail"]["bucket"]["name"] = key.bucket.into();
    event["detail"]["object"]["key"] = key.key.into();
    event
}

/// Returns Glue's event about a changed table: the event in events/flip-glue.json, but about this table.
pub fn changed(name: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../../../events/flip-glue.json")).unwrap();
    event["detail"]["tableName"] = name.into();
    event
}
