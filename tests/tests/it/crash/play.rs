//! Plays concurrent runs, whose calls arrive one at a time.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use tests::{
    rig::Rig,
    wire::{Call, Fate},
};
use turntable::consent::ConsentState;

use super::{
    concurrent::{self, Ended, Fault, Observer, said},
    event::{Done, Event},
    rest::Rest,
    scenario::is_inbox,
    watch::Watch,
};

pub struct Play {
    pub rig: Arc<Rig>,
    pub watch: Watch,
    rest: Arc<Rest>,
    /// The hash of everything that has arrived so far, in order.
    hash: DefaultHasher,
    /// How many effects and reads have arrived.
    pub calls: usize,
    /// A description of every step so far, or `None` if nobody wants one.
    pub told: Option<Vec<String>>,
    /// The calls by the runs of the last [`Play::together`], in order.
    pub seen: Vec<Call>,
    /// Whether a faulty program leaves out this call.
    pub leaves_out: fn(&Rig, &Call) -> bool,
    /// The drops that an application puts during the next runs, in order. Each arrives before the call with this
    /// number, counted from 0 over all runs, and contains these records.
    pub arriving: VecDeque<(usize, Vec<Record>)>,
    arrived: usize,
}

/// A record in a drop: id, state, second.
pub type Record = (i64, ConsentState, i64);

impl Play {
    pub fn new(rig: Rig, rest: Arc<Rest>) -> Play {
        let rig = Arc::new(rig);
        let watch = Watch::new(&rig);
        Play {
            rig,
            watch,
            rest,
            hash: DefaultHasher::new(),
            calls: 0,
            told: None,
            seen: Vec::new(),
            leaves_out: |_, _| false,
            arriving: VecDeque::new(),
            arrived: 0,
        }
    }

    /// Puts the drops that arrive before the next call, which is the `calls`-th of all runs, counted from 0.
    fn put_arriving(&mut self, calls: usize) {
        while let Some((_, records)) = self.arriving.pop_front_if(|(at, _)| *at <= calls) {
            let name = format!("during-{}", self.arrived);
            self.arrived += 1;
            self.tell(|| format!("a drop arrives: {name}"));
            self.watch.put(&name, &records);
        }
    }

    /// Returns the schedule's hash. Equal hashes mean equal schedules.
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// Plays one run by itself.
    pub async fn alone(&mut self, event: Event, fault: Fault) -> Result<Ended, String> {
        let mut ended = self.together(vec![(event, fault)], |_| 0).await?;
        Ok(ended.remove(0))
    }

    /// Plays runs concurrently: see [`concurrent::together`].
    pub async fn together(
        &mut self,
        events: Vec<(Event, Fault)>,
        next: impl FnMut(&[(usize, Call)]) -> usize,
    ) -> Result<Vec<Ended>, String> {
        self.seen.clear();
        let (rig, rest) = (self.rig.clone(), self.rest.clone());
        let ended = concurrent::together(&rig, &rest, self, events, next).await?;
        // The runs made fewer calls than expected, so the remaining drops arrive now.
        self.put_arriving(usize::MAX);
        Ok(ended)
    }

    /// Plays the end: what failed is redelivered; then each manifest's event, Glue's event and the schedules follow.
    pub async fn settle(&mut self, ended: Vec<Ended>) -> Result<(), String> {
        for event in ended.into_iter().filter_map(Ended::again) {
            let again = self.alone(event, None).await?;
            // Runs it once more, because the first time may have met a dead run's leftovers.
            if let Some(event) = again.again() {
                self.alone(event, None).await?;
            }
        }
        if is_inbox(&self.rig) {
            self.alone(Event::Drop, None).await?;
        }
        self.runs_end().await?;
        for generation in self.watch.complete() {
            self.alone(Event::Manifest(generation), None).await?;
        }
        for event in [Event::Changed, Event::Sweep] {
            if let Ended::ParsedDrop(_, said, false) = self.alone(event, None).await? {
                return Err(format!("a schedule fails for ever: {said}"));
            }
        }
        self.watch.rests()
    }

    /// Plays the checks that sweep requests for pending runs, and then the ends of these runs.
    async fn runs_end(&mut self) -> Result<(), String> {
        for generation in self.watch.pending() {
            self.alone(Event::Nudged(generation), None).await?;
        }
        for (at, run) in self.rig.engine.runs().into_iter().enumerate() {
            if run.ended().is_none() {
                self.rig.engine.succeed(at, 5, &[""]).await;
            }
            self.alone(Event::Ended(at), None).await?;
        }
        Ok(())
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(told) = &mut self.told {
            told.push(what());
        }
    }

    /// Returns the live table's files with their ETags, and whether a hold is in force.
    pub fn table(&self) -> (BTreeMap<String, String>, bool) {
        self.watch.table()
    }
}

impl Observer for Play {
    fn begins(&mut self, event: &Event) {
        self.watch.begins(event);
    }

    fn before_call(&mut self, calls: usize) {
        self.put_arriving(calls);
    }

    fn fate(&mut self, (number, event): (usize, &Event), call: &Call, planned: Fate) -> Fate {
        let fate = if (self.leaves_out)(&self.rig, call) { Fate::LeftOut } else { planned };
        (number, call, fate).hash(&mut self.hash);
        self.tell(|| format!("{number} {event}: {call}: {fate:?}"));
        self.calls += 1;
        self.seen.push(call.clone());
        fate
    }

    fn arrived(&mut self, by: &Event, call: &Call) -> Result<(), String> {
        self.watch.arrived(by, call)
    }

    fn ends(&mut self, (number, event): (usize, &Event), done: &Done) {
        self.tell(|| format!("{number} {event} ends: {}", said(done)));
        self.watch.ends(event, done);
    }

    fn dies(&mut self, event: &Event) {
        self.watch.dies(event);
    }
}
