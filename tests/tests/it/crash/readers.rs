//! Watches every table whose location is a published generation, whatever the table's name. The generation's files must
//! exist for as long as a query may read them, unless a foreign writer has destroyed them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use tests::{
    rig::Rig,
    wire::{Call, Fate, Op},
};
use turntable::{
    layout::{Generation, Key, Location, TableName, TablePaths},
    manifest::Manifest,
};

use super::{
    concurrent::{Observer, said},
    event::{Done, Event},
    scenario::DRAIN,
};

/// How often each event occurred that a good set of schedules must have met.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Met {
    pub flips: u64,
    pub deletions: u64,
    pub tables_made: u64,
    pub tables_dropped: u64,
    pub died: u64,
    pub failed: u64,
    pub foreign: u64,
    pub edits: u64,
}

impl Met {
    pub fn add(&mut self, other: Met) {
        self.flips += other.flips;
        self.deletions += other.deletions;
        self.tables_made += other.tables_made;
        self.tables_dropped += other.tables_dropped;
        self.died += other.died;
        self.failed += other.failed;
        self.foreign += other.foreign;
        self.edits += other.edits;
    }
}

/// The name of a table that a foreign writer makes.
pub const COPY: &str = "copied";

pub struct Readers {
    rig: Arc<Rig>,
    /// The location of each table, if it is a generation.
    reads: BTreeMap<TableName, Location>,
    /// The files of each generation that is or was a table's location, with their ETags.
    files: BTreeMap<Location, Vec<(Key, String)>>,
    /// When each generation stopped being the location of any table.
    left: BTreeMap<Location, Timestamp>,
    /// Generations from which a foreign writer has deleted an object.
    pub damaged: BTreeSet<Location>,
    /// Objects in the tables' folders that Turntable doesn't know.
    pub strangers: Vec<String>,
    /// Whether a faulty program leaves out this call.
    pub leaves_out: fn(&Rig, &Call) -> bool,
    /// A description of every step so far, or `None` if nobody wants one.
    pub told: Option<Vec<String>>,
    pub met: Met,
}

impl Readers {
    pub fn new(rig: &Arc<Rig>, leaves_out: fn(&Rig, &Call) -> bool) -> Readers {
        Readers {
            rig: rig.clone(),
            reads: BTreeMap::new(),
            files: BTreeMap::new(),
            left: BTreeMap::new(),
            damaged: BTreeSet::new(),
            strangers: Vec::new(),
            leaves_out,
            told: None,
            met: Met::default(),
        }
    }

    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(told) = &mut self.told {
            told.push(what());
        }
    }

    /// Returns the tables whose location is a generation, with their locations.
    pub fn tables(&self) -> BTreeMap<TableName, Location> {
        let names = self.rig.catalog.names().into_iter();
        let reads = names.filter_map(|name| {
            let table = self.rig.catalog.get(&name)?;
            let at: Location = table.storage_descriptor()?.location()?.parse().ok()?;
            TablePaths::of_generation(&at).map(|_| (name, at))
        });
        reads.collect()
    }

    /// Returns the files in a generation's manifest, with their ETags. `None` if there is no manifest.
    pub fn files_of(&self, at: &Location) -> Option<Vec<(Key, String)>> {
        let (paths, generation) = TablePaths::of_generation(at)?;
        let key = paths.manifest(&generation);
        let json = self.rig.objects.body(&key.to_string())?;
        let manifest = Manifest::from_json(&key, &generation, &json).ok()?;
        Some(manifest.files.iter().map(|file| (at.key(&file.key), file.etag.clone())).collect())
    }

    /// Records the tables' current locations. `is_own` says whether Turntable has changed them: there is no promise
    /// about a generation from which a foreign writer has moved a table.
    pub fn look(&mut self, is_own: bool) -> Result<(), String> {
        let now = self.tables();
        let before = std::mem::replace(&mut self.reads, now.clone());
        for (name, at) in before.iter().filter(|(name, at)| now.get(*name) != Some(*at)) {
            if is_own && name.table != COPY {
                self.left.insert(at.clone(), self.rig.now());
            }
            self.met.flips += u64::from(now.contains_key(name));
            self.met.tables_dropped += u64::from(!now.contains_key(name));
        }
        for (name, at) in now {
            self.met.tables_made += u64::from(!before.contains_key(&name));
            if self.files.contains_key(&at) {
                continue;
            }
            let files = self.files_of(&at).ok_or_else(|| format!("{name} reads {at}, which has no manifest"))?;
            self.files.insert(at, files);
        }
        Ok(())
    }

    /// Checks that everything is there that a query may read, and everything that isn't Turntable's.
    pub fn nothing_is_missing(&self) -> Result<(), String> {
        let now = self.rig.now();
        let drains = |at: &Timestamp| now.duration_since(*at) < DRAIN - SignedDuration::from_secs(60);
        let draining = self.left.iter().filter(|(_, at)| drains(at)).map(|(at, _)| (at, "is draining".to_owned()));
        let read = self.reads.iter().map(|(name, at)| (at, format!("is read by {name}")));
        for (at, why) in read.chain(draining).filter(|(at, _)| !self.damaged.contains(*at)) {
            for (key, etag) in self.files.get(at).into_iter().flatten() {
                if self.rig.objects.etag(key).as_ref() != Some(etag) {
                    return Err(format!("{key} is gone, and {at} {why}"));
                }
            }
        }
        match self.strangers.iter().find(|key| self.rig.objects.body(key).is_none()) {
            Some(stranger) => Err(format!("{stranger} is gone, which is none of ours")),
            None => Ok(()),
        }
    }

    /// Returns the complete generations in a folder, in order.
    pub fn complete(&self, folder: &TablePaths) -> Vec<Generation> {
        let keys = self.rig.objects.keys().into_iter().filter_map(|key| key.parse().ok());
        let found = keys.filter_map(|key: Key| TablePaths::parse_manifest(&key));
        let mut complete: Vec<_> = found.filter(|(paths, _)| paths == folder).map(|(_, found)| found).collect();
        complete.sort_unstable_by_key(|generation| generation.ulid);
        complete
    }
}

impl Observer for Readers {
    fn begins(&mut self, _: &Event) {}

    fn fate(&mut self, (number, event): (usize, &Event), call: &Call, planned: Fate) -> Fate {
        let fate = if (self.leaves_out)(&self.rig, call) { Fate::LeftOut } else { planned };
        self.tell(|| format!("{number} {event}: {call}: {fate:?}"));
        fate
    }

    fn arrived(&mut self, by: &Event, call: &Call) -> Result<(), String> {
        match call.op {
            Op::Update | Op::Create | Op::DeleteTable => {
                self.look(true)?;
                self.nothing_is_missing()
            }
            Op::Delete | Op::DeleteIf => {
                self.met.deletions += 1;
                if *by != Event::Sweep {
                    return Err(format!("{by} deletes"));
                }
                self.nothing_is_missing()
            }
            _ => Ok(()),
        }
    }

    fn ends(&mut self, (number, event): (usize, &Event), done: &Done) {
        self.met.failed += u64::from(done.is_err());
        self.tell(|| format!("{number} {event} ends: {}", said(done)));
    }

    fn dies(&mut self, _: &Event) {
        self.met.died += 1;
    }
}
