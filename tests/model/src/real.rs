//! Converts the model's small state to arguments for the real functions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use turntable_core::{
    audit::{self, Evidence, Object},
    config::Checks,
    decision::{self, Live as RealLive},
    history,
    layout::{Generation, Location, TablePaths, part},
    manifest::{self, Consumed, File, Manifest, TypedBy, VERSION},
    record,
    schema::Policy,
    sweep,
};
use ulid::Ulid;

use crate::{
    Turntable, drops,
    state::{Gen, Live, Minute, Record, Set, Slot, State, has},
};

const DATASET: &str = "users";

pub fn paths() -> TablePaths {
    TablePaths::new(&"s3://lake/schemas".parse().expect("a location"), DATASET)
}

/// Returns the only unmanaged location in the model, to which drift may move the table.
fn flat(paths: &TablePaths) -> Location {
    paths.location().folder("blue")
}

pub fn time(minute: Minute) -> Timestamp {
    Timestamp::from_second(i64::from(minute) * 60).expect("a time")
}

/// Returns a ULID for the current time. Every update of the table moves that time forward by 10 ms; `random` tells
/// apart generations that start at the same time.
pub fn ulid(state: &State, random: u128) -> Ulid {
    Ulid::from_parts(u64::from(state.now) * 60_000 + u64::from(state.version) * 10, random + 1)
}

impl Turntable {
    pub fn live(&self, state: &State, live: Live) -> RealLive {
        RealLive::of(&self.paths, self.location(state, live).as_ref())
    }

    pub fn location(&self, state: &State, live: Live) -> Option<Location> {
        match live {
            Live::NoTable => None,
            Live::Unmanaged => Some(flat(&self.paths)),
            Live::Managed(at) => Some(self.paths.generation(&state.generations[usize::from(at)].name)),
        }
    }

    pub fn known(&self, state: &State, live: &RealLive) -> Live {
        match live {
            RealLive::NoTable => Live::NoTable,
            RealLive::Unmanaged(_) => Live::Unmanaged,
            RealLive::Managed(name) => Live::Managed(number(state, name)),
        }
    }

    pub fn manifest(&self, state: &State, of: Gen) -> Manifest {
        let slot = &state.generations[usize::from(of)];
        let rows = u64::from(!slot.bad);
        let file = |number| File { key: part(number), bytes: 1, rows, etag: format!("{}-{number}", slot.name) };
        let files: Vec<File> = (0..usize::from(self.files)).map(file).collect();
        let consumed = |(by, set): &(Gen, Set)| Consumed {
            by: state.generations[usize::from(*by)].name,
            drops: drops::listed(*set).into_iter().map(|(drop, _)| drop).collect(),
        };
        let merge = slot.merge.as_ref().map(|merge| manifest::Merge {
            buckets: 1,
            consumed: merge.consumed.iter().map(consumed).collect(),
            includes: Vec::new(),
            normalize: Vec::new(),
        });
        Manifest {
            version: VERSION,
            dataset: DATASET.into(),
            generation: slot.name,
            location: self.paths.generation(&slot.name),
            base: self.location(state, slot.base),
            as_of: time(slot.as_of),
            created_at: time(slot.created),
            spec: String::new(),
            typed_by: TypedBy::Source,
            columns: Vec::new(),
            partitions: Vec::new(),
            rows: rows * files.len() as u64,
            bytes: files.len() as u64,
            files,
            nulled: Default::default(),
            missing: Default::default(),
            ignored: Default::default(),
            merge,
            group: None,
            read: None,
            inputs: Default::default(),
        }
    }

    pub fn flip(&self, state: &State, record: &Record) -> record::Flip {
        record::Flip {
            dataset: DATASET.into(),
            at: time(record.at),
            from: self.location(state, record.from),
            to: state.generations[usize::from(record.to)].name,
            by: record.by.by(),
            why: None,
            canary: None,
            adopted: None,
            request_id: None,
        }
    }

    /// Returns the flip records in a set, ordered by ULID.
    pub fn flips(&self, state: &State, of: Set) -> Vec<(Ulid, record::Flip)> {
        let of = state.flips.iter().enumerate().filter(|(number, _)| has(of, *number));
        let mut flips: Vec<_> = of.map(|(_, record)| (record.ulid, self.flip(state, record))).collect();
        flips.sort_by_key(|(ulid, _)| *ulid);
        flips
    }

    /// Returns the flip records that a listing from `since` on contains. Without `since`, that is only the last record.
    pub fn list_flips(&self, state: &State, since: Option<Ulid>) -> Set {
        let records = state.flips.iter().enumerate();
        match since {
            Some(since) => {
                let after = history::bound(since);
                records.filter(|(_, record)| record.ulid > after).fold(0, |set, (number, _)| set | 1 << number)
            }
            None => records.max_by_key(|(_, record)| record.ulid).map_or(0, |(number, _)| 1 << number),
        }
    }

    /// Returns the input for a flip's decision: `live`, the flip records in `flips`, and everything else as it is now.
    pub fn seen(&self, state: &State, live: Live, flips: Set) -> decision::FlipState {
        let slot = match live {
            Live::Managed(at) => Some(&state.generations[usize::from(at)]),
            _ => None,
        };
        let slot = slot.filter(|slot| slot.manifest);
        let hold = record::Hold { at: time(0), reason: String::new(), released: false, request_id: None };
        decision::FlipState {
            may_adopt: true,
            live: self.live(state, live),
            live_as_of: slot.map(|slot| time(slot.as_of)),
            flips: self.flips(state, flips).into_iter().map(|(_, flip)| flip).collect(),
            hold: state.hold.then_some(hold),
            moved_away: None,
            live_is_merge: slot.is_some_and(|slot| slot.merge.is_some()),
            may_create: true,
            only_forward: false,
        }
    }

    /// Returns whether a candidate passes the audit now. With `structure_only`, its rows are not checked, as for a
    /// rollback.
    pub fn passes(&self, state: &State, of: Gen, structure_only: bool) -> bool {
        let manifest = self.manifest(state, of);
        let there = state.generations[usize::from(of)].files;
        let files = manifest.files.iter().enumerate().filter(|(number, _)| has(there, *number));
        let object = |file: &File| Object { key: file.key.clone(), bytes: file.bytes, etag: file.etag.clone() };
        let objects: Vec<Object> = files.map(|(_, file)| object(file)).collect();
        let checks = Checks { min_rows: (!structure_only).then_some(1), ..Checks::default() };
        let evidence = Evidence {
            now: time(state.now),
            manifest: &manifest,
            objects: &objects,
            footers: &[],
            table: None,
            partition_keys: None,
            policy: Policy::Strict,
            live_rows: None,
            checks: &checks,
        };
        audit::verdict(&evidence).reasons().is_empty()
    }

    /// Returns the input for a sweep's plan: `live`, the files and manifests that the sweep has listed, and everything
    /// else as it is now.
    pub fn lake(&self, state: &State, live: Live, files: &[Set], manifests: Set) -> sweep::SweepState {
        let mut generations = BTreeMap::new();
        for (number, slot) in state.generations.iter().enumerate() {
            let listed = files.get(number).copied().unwrap_or(0);
            let manifest = (has(manifests, number) && slot.manifest).then(|| time(slot.created));
            if listed != 0 || manifest.is_some() || slot.mark.is_some() {
                let location = self.paths.generation(&slot.name);
                let objects = (0..16).filter(|file| has(listed, *file)).map(|file| location.key(&part(file)));
                let found = sweep::Found {
                    manifest,
                    sweeping: slot.mark.map(time),
                    run: None,
                    objects: objects.collect(),
                    bytes: 0,
                };
                generations.insert(slot.name, found);
            }
        }
        let real = self.live(state, live);
        let mut flips = self.flips(state, self.list_flips(state, sweep::since(&real, generations.keys())));
        if self.mutant == Some(crate::Mutant::RetentionFromCreation) {
            for (_, flip) in &mut flips {
                let from = flip.from.as_ref().and_then(|from| self.paths.parse_generation(from));
                flip.at = from.map_or(flip.at, |from| turntable_core::layout::time_of(from.ulid));
            }
        }
        let mut records: Vec<Ulid> = state.flips.iter().map(|record| record.ulid).collect();
        records.sort_unstable();
        let reads = self.location(state, live).into_iter().collect();
        let named = Default::default();
        sweep::SweepState {
            live: real,
            reads,
            readers: Vec::new(),
            flips,
            records,
            revert_intents: Vec::new(),
            generations,
            named,
        }
    }
}

/// Returns the number of the generation with this name.
pub fn number(state: &State, name: &Generation) -> Gen {
    state.generations.iter().position(|slot| slot.name == *name).expect("a generation that was begun") as Gen
}

impl Slot {
    /// Returns a generation whose build has just started.
    pub fn head(name: Generation, base: Live) -> Slot {
        Slot { name, base, as_of: 0, created: 0, files: 0, manifest: false, mark: None, bad: false, merge: None }
    }
}
