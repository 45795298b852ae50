//! Checks ARCHITECTURE.md's invariants after every effect, against the true history, which only the test knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_sdk_glue::types::Table;
use jiff::{SignedDuration, Timestamp};
use tests::{
    rig::Rig,
    wire::{Call, Op},
};
use turntable::{
    aws::glue,
    consent::ConsentState,
    layout::{Generation, Key, Location, ObjectKind, TablePaths},
    manifest::Manifest,
    publish::Outcome,
    record::{EngineRun, Flip, FlipOrigin},
};

use super::{
    drops,
    event::{Done, Event},
    scenario::{ABANDONED, DRAIN, KEPT, MAX_AGE, has_canary, is_inbox, stranger},
};

type Words = BTreeMap<i64, (i64, ConsentState)>;

pub struct Watch {
    rig: Arc<Rig>,
    table: Option<Table>,
    /// The target of every location change by Turntable.
    flips: Vec<Generation>,
    /// How many flip records there were at the start.
    recorded: usize,
    was_live: BTreeSet<Generation>,
    /// When each generation was last replaced.
    replaced: BTreeMap<Generation, Timestamp>,
    /// By generation: the files that readers may have found, with their ETags.
    files: BTreeMap<Generation, Vec<(Key, String)>>,
    /// Whether a hold has returned and no release has started since.
    held: bool,
    /// The time in the record of the rollback that made the live generation live, once that rollback has returned.
    rolled_back: Option<Timestamp>,
    /// Whether an operator, a canary or a hold has intervened, so that the freshest candidate need not be live.
    spoken: bool,
    /// Whether the table has drifted and hasn't been repaired.
    drifted: bool,
    /// The records that have been published for the people in the table.
    words: Words,
    /// The records in every drop.
    dropped: Words,
    /// The ETag of every drop.
    drops: BTreeSet<String>,
    pub met: Met,
}

/// How often each event occurred that a good set of schedules must have met.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Met {
    pub flips: u64,
    pub conflicts: u64,
    pub deletions: u64,
    pub archived: u64,
    pub died: u64,
    pub rollbacks: u64,
    pub refused: u64,
}

impl Met {
    pub fn add(&mut self, other: Met) {
        self.flips += other.flips;
        self.conflicts += other.conflicts;
        self.deletions += other.deletions;
        self.archived += other.archived;
        self.died += other.died;
        self.rollbacks += other.rollbacks;
        self.refused += other.refused;
    }
}

impl Watch {
    /// Starts to watch the prepared lake, on which exactly the generations on record have been live.
    pub fn new(rig: &Arc<Rig>) -> Watch {
        let mut watch = Watch {
            rig: rig.clone(),
            table: rig.catalog.get(&rig.table),
            flips: Vec::new(),
            recorded: 0,
            was_live: BTreeSet::new(),
            replaced: BTreeMap::new(),
            files: BTreeMap::new(),
            held: rig.is_held(),
            rolled_back: None,
            spoken: rig.is_held(),
            drifted: false,
            words: Words::new(),
            dropped: drops::all(&rig.objects),
            drops: drops::etags(&rig.objects),
            met: Met::default(),
        };
        let flips = watch.records();
        watch.recorded = flips.len();
        for flip in &flips {
            watch.was_live.insert(flip.to);
            if let Some(from) = flip.from.as_ref().and_then(|from| rig.paths.parse_generation(from)) {
                watch.replaced.insert(from, flip.at);
            }
        }
        watch.drifted = flips.last().is_some_and(|last| Some(last.to) != rig.live());
        for generation in watch.was_live.clone() {
            watch.remember(&generation);
        }
        if let Some(live) = rig.live().filter(|_| is_inbox(rig)) {
            watch.words = watch.rows(&live);
        }
        watch
    }

    pub fn has_drifted(&self) -> bool {
        self.drifted
    }

    pub fn begins(&mut self, event: &Event) {
        if event.is("release") {
            self.held = false;
        }
        if matches!(event, Event::RefreshOptions(_)) {
            self.spoken = true;
        }
    }

    pub fn ends(&mut self, event: &Event, done: &Done) {
        match done {
            // A release may have come in between, so the hold itself decides.
            Ok(_) if event.is("hold") => self.held = self.rig.is_held(),
            Ok(Some(Outcome::Committed | Outcome::AlreadyLive)) if event.is("rollback") => {
                self.met.rollbacks += 1;
                let live = self.live();
                let records = self.records();
                self.rolled_back = records
                    .last()
                    .filter(|flip| flip.by == FlipOrigin::Rollback && Some(flip.to) == live)
                    .map(|flip| flip.at);
            }
            Ok(Some(Outcome::Stale | Outcome::Held)) => self.met.refused += 1,
            Err(_) => self.met.conflicts += 1,
            _ => {}
        }
    }

    pub fn dies(&mut self, _: &Event) {
        self.met.died += 1;
    }

    /// Checks that a call by the event `by` has broken no invariant of the lake. The kind of call decides which invariants
    /// are checked.
    pub fn arrived(&mut self, by: &Event, call: &Call) -> Result<(), String> {
        match call.op {
            Op::Update | Op::Create => self.table_written(by),
            Op::Put if by.is("release") => {
                self.held = false;
                Ok(())
            }
            Op::PutNew | Op::Put if call.on.contains("/_manifests/") => self.manifest_written(call),
            Op::Delete | Op::DeleteIf => {
                self.met.deletions += 1;
                self.met.archived += u64::from(call.op == Op::DeleteIf);
                ensure(*by == Event::Sweep, || format!("{by} deletes"))?;
                if call.op == Op::DeleteIf {
                    self.no_drop_is_lost()?;
                }
                self.nothing_needed_is_gone()
            }
            _ => Ok(()),
        }
    }

    fn table_written(&mut self, by: &Event) -> Result<(), String> {
        let now = self.rig.catalog.get(&self.rig.table);
        let before = std::mem::replace(&mut self.table, now.clone());
        let (from, to) = (location(before.as_ref()), location(now.as_ref()));
        if from == to {
            return Ok(());
        }
        let Some((now, to)) = now.as_ref().zip(to) else { return Err("the table is gone".into()) };
        if let Some(before) = &before {
            let only_moved = glue::unchanged(now) == tests::catalog::moved(before, &to);
            ensure(only_moved, || "a flip has changed more than the location".into())?;
        }
        let paths = self.rig.paths.clone();
        let left = from.as_ref().and_then(|from| paths.parse_generation(from));
        if let Some(left) = left {
            self.replaced.insert(left, self.rig.now());
        }
        let Some(live) = paths.parse_generation(&to) else {
            // Only a canary moves the table back to an unmanaged location.
            return ensure(has_canary(&self.rig), || format!("the table went to {to}"));
        };
        self.met.flips += 1;
        self.flips.push(live);
        self.may_flip(by, before.as_ref().map(|_| left), live)?;
        self.was_live.insert(live);
        self.rolled_back = None;
        self.is_complete(&live)?;
        self.remember(&live);
        if is_inbox(&self.rig) {
            self.nobody_came_back(&live)?;
        }
        Ok(())
    }

    /// Checks that this run may make a generation live now. `left` is `None` if there was no table, and so no version
    /// that a hold could bump: see "What is not promised" in docs/reliability.md.
    fn may_flip(&mut self, by: &Event, left: Option<Option<Generation>>, live: Generation) -> Result<(), String> {
        let is_there = left.is_some();
        let left = left.flatten();
        let again = self.was_live.contains(&live);
        let way_back = again && has_canary(&self.rig);
        if self.held && is_there && !by.is("rollback") {
            return Err(format!("{by} made {live} live after a hold had returned"));
        }
        let repairs =
            matches!(by, Event::Changed | Event::ChangedTable(_) | Event::Sweep | Event::Drop | Event::Schedule);
        if repairs && again && std::mem::take(&mut self.drifted) {
            return Ok(());
        }
        match by {
            Event::Manifest(_) | Event::Created(_) | Event::Drop | Event::Schedule => {
                ensure(!again || way_back, || format!("{by} made {live} live again"))?;
                let (new, old) = (self.manifest(&live)?, left.map(|left| self.manifest(&left)).transpose()?);
                match &new.merge {
                    // After drift, nothing is merged with the drifted table.
                    Some(_) => ensure(new.base == left.map(|left| self.rig.paths.generation(&left)), || {
                        format!("{live} was merged from {:?}, and {left:?} was live", new.base)
                    }),
                    None if way_back => Ok(()),
                    None => {
                        let fresher = old.is_none_or(|old| new.as_of > old.as_of);
                        ensure(fresher, || format!("{live} is not fresher than {left:?}"))?;
                        let undone = self.rolled_back.is_some_and(|at| new.as_of <= at);
                        ensure(!undone, || format!("{live} undid a rollback that had returned"))
                    }
                }
            }
            Event::Changed | Event::ChangedTable(_) | Event::Sweep => {
                Err(format!("{by} took something of ours for drift"))
            }
            Event::RefreshOptions(request) if request["action"].is_null() || by.is("rollback") => Ok(()),
            Event::RefreshOptions(_)
            | Event::Export
            | Event::Tick
            | Event::Message(_)
            | Event::Ended(_)
            | Event::Nudged(_) => Err(format!("{by} made {live} live")),
        }
    }

    fn manifest_written(&self, call: &Call) -> Result<(), String> {
        let key: Key = call.on.parse().map_err(|_| format!("{call} is of no key"))?;
        match TablePaths::parse_manifest(&key) {
            // A failed call wrote nothing.
            Some((paths, generation)) if paths == self.rig.paths && self.rig.objects.etag(&key).is_some() => {
                self.is_complete(&generation)
            }
            _ => Ok(()),
        }
    }

    /// Checks that a generation has exactly its manifest's files.
    fn is_complete(&self, generation: &Generation) -> Result<(), String> {
        let manifest = self.manifest(generation)?;
        for file in &manifest.files {
            let found = self.rig.objects.etag(&manifest.location.key(&file.key));
            ensure(found.as_ref() == Some(&file.etag), || format!("{generation} lacks {}", file.key))?;
        }
        Ok(())
    }

    fn remember(&mut self, generation: &Generation) {
        let Ok(manifest) = self.manifest(generation) else { return };
        let file = |file: &turntable::manifest::File| (manifest.location.key(&file.key), file.etag.clone());
        self.files.insert(*generation, manifest.files.iter().map(file).collect());
    }

    /// Returns the live generation, the generations kept for a rollback, and those replaced within the drain.
    fn needed(&self) -> BTreeSet<Generation> {
        let (now, live) = (self.rig.now(), self.live());
        let gone = self.replaced.iter().filter(|(generation, _)| Some(**generation) != live);
        let draining = gone.clone().filter(|(_, at)| now.duration_since(**at) < DRAIN - SignedDuration::from_secs(60));
        let mut newest: Vec<_> = gone.clone().map(|(generation, at)| (*at, *generation)).collect();
        newest.sort_unstable_by(|one, other| other.cmp(one));
        newest.truncate(KEPT);
        newest.retain(|(at, _)| now.duration_since(*at) < MAX_AGE - SignedDuration::from_secs(60));
        let kept = newest.into_iter().map(|(_, generation)| generation);
        live.into_iter().chain(draining.map(|(generation, _)| *generation)).chain(kept).collect()
    }

    fn nothing_needed_is_gone(&self) -> Result<(), String> {
        for generation in self.needed() {
            for (key, etag) in self.files.get(&generation).into_iter().flatten() {
                let there = self.rig.objects.etag(key).as_ref() == Some(etag);
                ensure(there, || format!("{key} is gone, and {generation} is live, kept or draining"))?;
            }
        }
        ensure(self.rig.objects.body(&stranger(&self.rig)).is_some(), || "what is none of ours is gone".into())
    }

    /// Checks that each drop is in the inbox or in the archive.
    fn no_drop_is_lost(&self) -> Result<(), String> {
        ensure(drops::etags(&self.rig.objects) == self.drops, || "a drop is lost".into())
    }

    /// Puts a drop, as an application does.
    pub fn put(&mut self, name: &str, words: &[(i64, ConsentState, i64)]) {
        drops::put(&self.rig, name, words);
        self.dropped = drops::all(&self.rig.objects);
        self.drops = drops::etags(&self.rig.objects);
    }

    fn nobody_came_back(&mut self, live: &Generation) -> Result<(), String> {
        let now = self.rows(live);
        for (id, word) in &self.words {
            let stays = now.get(id).is_some_and(|now| now >= word);
            ensure(stays, || format!("{id} was {word:?} and is {:?}", now.get(id)))?;
        }
        self.words = now;
        Ok(())
    }

    /// Checks that nothing is left to do in the end, once everything has been redelivered or requested again.
    pub fn rests(&self) -> Result<(), String> {
        let records = self.records();
        for live in &self.flips {
            let recorded = records.iter().any(|flip| flip.to == *live);
            ensure(recorded, || format!("the flip to {live} is on no record"))?;
        }
        // Two concurrent flips to the same generation may both write a record.
        let untrue = records.iter().find(|flip| !self.was_live.contains(&flip.to));
        ensure(untrue.is_none(), || format!("a record of a flip that was not: {untrue:?}"))?;
        self.nothing_needed_is_gone()?;
        self.runs_are_settled()?;
        if is_inbox(&self.rig) {
            self.no_drop_is_lost()?;
            let live = self.live().map(|live| self.rows(&live)).unwrap_or_default();
            return ensure(self.held || live == self.dropped, || {
                format!("the table says {live:?}, and the drops {:?}", self.dropped)
            });
        }
        if self.spoken || has_canary(&self.rig) {
            return Ok(());
        }
        let as_of = |generation: &Generation| self.manifest(generation).map(|manifest| manifest.as_of).ok();
        let sound =
            self.complete().into_iter().filter(|generation| self.manifest(generation).is_ok_and(|it| it.rows > 0));
        let freshest = sound.filter_map(|generation| as_of(&generation)).max();
        let live = self.live().and_then(|live| as_of(&live));
        let late = |at: Timestamp| self.rig.now().duration_since(at) > ABANDONED;
        ensure(live >= freshest || freshest.is_some_and(late), || {
            format!("live is of {live:?}, and {freshest:?} is there")
        })
    }

    /// Returns the engine runs that haven't been swept.
    pub fn pending(&self) -> Vec<Generation> {
        let keys = self.rig.objects.keys().into_iter().filter_map(|key| key.parse().ok());
        let pending = |key: Key| match self.rig.paths.parse(&key) {
            Some(ObjectKind::Pending(generation)) => Some(generation),
            _ => None,
        };
        keys.filter_map(pending).collect()
    }

    /// Checks that each run was started once, and ended with a manifest or a reported failure.
    fn runs_are_settled(&self) -> Result<(), String> {
        let paths = &self.rig.paths;
        let is_there = |key: Key| self.rig.objects.etag(&key).is_some();
        let ends = |generation: &Generation| (is_there(paths.manifest(generation)), is_there(paths.failed(generation)));
        let (mut locations, mut failures) = (BTreeSet::new(), 0);
        for run in self.rig.engine.runs() {
            // A Glue job may be started twice for one location; then its end is a failure.
            let is_new = locations.insert(run.location.to_string());
            ensure(is_new || matches!(run.run, EngineRun::GlueJob { .. }), || {
                format!("two queries write to {}", run.location)
            })?;
            let generation = paths.parse_generation(&run.location).ok_or("a run writes elsewhere")?;
            let (complete, failed) = ends(&generation);
            ensure(complete != failed, || {
                format!("the run of {generation} is not settled once: {complete} and {failed}")
            })?;
            failures += usize::from(is_new && failed);
        }
        let told = self.rig.queue.dead();
        ensure(told >= failures, || format!("{failures} runs have failed, and somebody was told of {told}"))?;
        let left = self.pending().into_iter().find(|generation| ends(generation) == (false, false));
        ensure(left.is_none(), || format!("{left:?} is pending for ever"))
    }

    /// Checks that every flip has one record, after a run that had the lake to itself.
    pub fn one_record_a_flip(&self) -> Result<(), String> {
        let (records, flips) = (self.records().len(), self.recorded + self.flips.len());
        ensure(records == flips, || format!("{records} records of {flips} flips"))
    }

    fn rows(&self, generation: &Generation) -> Words {
        let rows = tests::optouts::rows::of(&self.rig.objects, &self.rig.paths, generation);
        rows.into_iter().map(|(id, state, second)| (id, (second, state))).collect()
    }

    /// Returns all generations with a manifest, in order.
    pub fn complete(&self) -> Vec<Generation> {
        let keys = self.rig.objects.keys().into_iter().filter_map(|key| key.parse().ok());
        let own = keys.filter_map(|key| TablePaths::parse_manifest(&key)).filter(|(paths, _)| *paths == self.rig.paths);
        let mut complete: Vec<Generation> = own.map(|(_, generation)| generation).collect();
        complete.sort_unstable_by_key(|generation| generation.ulid);
        complete
    }

    /// Returns the table's flip records, in order.
    fn records(&self) -> Vec<Flip> {
        self.rig.flips().into_iter().filter(|flip| flip.dataset == self.rig.table.table).collect()
    }

    fn live(&self) -> Option<Generation> {
        self.rig.live()
    }

    fn manifest(&self, generation: &Generation) -> Result<Manifest, String> {
        let at = self.rig.paths.manifest(generation);
        let json = self.rig.objects.body(&at.to_string()).ok_or_else(|| format!("{generation} has no manifest"))?;
        Manifest::from_json(&at, generation, &json).map_err(|error| error.report())
    }

    /// Returns the live table's files with their ETags, and whether a hold is in force.
    pub fn table(&self) -> (BTreeMap<String, String>, bool) {
        let manifest = self.live().and_then(|live| self.manifest(&live).ok());
        let files = manifest.into_iter().flat_map(|manifest| manifest.files);
        (files.map(|file| (file.key, file.etag)).collect(), self.rig.is_held())
    }
}

fn location(table: Option<&Table>) -> Option<Location> {
    table?.storage_descriptor()?.location()?.parse().ok()
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
