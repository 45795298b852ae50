//! Plays concurrent runs, whose calls arrive one at a time.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use tests::{
    rig::Rig,
    wire::{Call, Fate},
};
use tokio::task::{JoinHandle, spawn_local};
use turntable::consent::ConsentState;

use super::{
    event::{self, Done, Event},
    gate::Gate,
    rest::Rest,
    scenario::is_inbox,
    watch::Watch,
};

/// The fault to inject into a run: the index of a call, from 0, and what happens to that call. `None` injects nothing.
pub type Fault = Option<(usize, Fate)>;

/// How a run ended.
#[derive(Debug, Clone)]
pub enum Ended {
    ParsedDrop(Event, String, bool),
    Died(Event),
}

impl Ended {
    /// Returns the event that AWS redelivers or a person requests again, if any.
    pub fn again(self) -> Option<Event> {
        match self {
            Ended::ParsedDrop(_, _, true) => None,
            Ended::ParsedDrop(event, _, false) | Ended::Died(event) => Some(event),
        }
    }
}

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

struct Running {
    event: Event,
    task: JoinHandle<Done>,
    fault: Fault,
    calls: usize,
    ended: Option<Ended>,
}

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

    /// Plays runs concurrently. `next` chooses which waiting call arrives. Returns how each run ended, or an error that
    /// describes a broken promise.
    pub async fn together(
        &mut self,
        events: Vec<(Event, Fault)>,
        mut next: impl FnMut(&[(usize, Call)]) -> usize,
    ) -> Result<Vec<Ended>, String> {
        let gate = Arc::new(Gate::default());
        self.seen.clear();
        let mut runs: Vec<Running> = Vec::new();
        for (number, (event, fault)) in events.into_iter().enumerate() {
            self.watch.begins(&event);
            let task = spawn_local(event::run(self.rig.clone(), gate.line(number), event.clone()));
            runs.push(Running { event, task, fault, calls: 0, ended: None });
        }
        let mut slept = Duration::ZERO;
        loop {
            self.rest.reached().await;
            for (number, run) in runs.iter_mut().enumerate().filter(|(_, run)| run.ended.is_none()) {
                if let Some(done) = (&mut run.task).now_or_never() {
                    let done = done.map_err(|panic| format!("{} panicked: {panic}", run.event))?;
                    self.tell(|| format!("{number} {} ends: {}", run.event, said(&done)));
                    self.watch.ends(&run.event, &done);
                    run.ended = Some(Ended::ParsedDrop(run.event.clone(), said(&done), done.is_ok()));
                }
            }
            if runs.iter().all(|run| run.ended.is_some()) {
                break;
            }
            let waiting = gate.waiting();
            let stands = |number: &usize| waiting.iter().any(|(run, _)| run == number);
            let alive = runs.iter().enumerate().filter(|(_, run)| run.ended.is_none()).map(|(number, _)| number);
            if !alive.clone().all(|number| stands(&number)) {
                // A refresh that lost a race pauses, and real time must pass.
                tokio::time::sleep(Duration::from_micros(200)).await;
                slept += Duration::from_micros(200);
                assert!(slept < Duration::from_secs(30), "a run waits for what never comes: {waiting:?}");
                continue;
            }
            self.put_arriving(self.seen.len());
            let place = next(&waiting);
            let (number, call) = waiting[place].clone();
            let run = &mut runs[number];
            let fate = run.fault.filter(|(at, _)| *at == run.calls).map_or(Fate::Arrives, |(_, fate)| fate);
            let fate = if (self.leaves_out)(&self.rig, &call) { Fate::LeftOut } else { fate };
            (number, &call, fate).hash(&mut self.hash);
            self.tell(|| format!("{number} {}: {call}: {fate:?}", run.event));
            run.calls += 1;
            self.calls += 1;
            self.seen.push(call.clone());
            gate.let_through(place, fate);
            self.rest.reached().await;
            self.watch.arrived(&run.event, &call).map_err(|broken| format!("{broken}; at {}: {call}", run.event))?;
            if let Fate::NeverLeaves | Fate::LastOfAll = fate {
                run.task.abort();
                gate.forget(number);
                run.ended = Some(Ended::Died(run.event.clone()));
                self.watch.dies(&run.event);
            }
        }
        // The runs made fewer calls than expected, so the remaining drops arrive now.
        self.put_arriving(usize::MAX);
        Ok(runs.into_iter().filter_map(|run| run.ended).collect())
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

fn said(done: &Done) -> String {
    match done {
        Ok(outcome) => format!("{outcome:?}"),
        Err(error) => error.report(),
    }
}
