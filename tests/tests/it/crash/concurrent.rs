//! Plays concurrent runs, whose calls arrive one at a time.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use tests::{
    rig::Rig,
    wire::{Call, Fate},
};
use tokio::task::{JoinHandle, spawn_local};

use super::{
    event::{self, Done, Event},
    gate::Gate,
    rest::Rest,
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

/// Watches the runs, and checks the lake after every call.
pub trait Observer {
    fn begins(&mut self, event: &Event);

    /// Acts before the next call, which is the `calls`-th of all runs, counted from 0.
    fn before_call(&mut self, _calls: usize) {}

    /// Decides the fate of a call that is about to arrive. `planned` is the fate that the run's fault plans for it.
    fn fate(&mut self, run: (usize, &Event), call: &Call, planned: Fate) -> Fate;

    /// Checks the lake after a call by the event `by` has arrived.
    fn arrived(&mut self, by: &Event, call: &Call) -> Result<(), String>;

    fn ends(&mut self, run: (usize, &Event), done: &Done);

    fn dies(&mut self, event: &Event);
}

struct Running {
    event: Event,
    task: JoinHandle<Done>,
    fault: Fault,
    calls: usize,
    ended: Option<Ended>,
}

/// Plays runs concurrently. `next` chooses which waiting call arrives. Returns how each run ended, or an error that
/// describes a broken promise.
pub async fn together(
    rig: &Arc<Rig>,
    rest: &Rest,
    observer: &mut impl Observer,
    events: Vec<(Event, Fault)>,
    mut next: impl FnMut(&[(usize, Call)]) -> usize,
) -> Result<Vec<Ended>, String> {
    let gate = Arc::new(Gate::default());
    let mut runs: Vec<Running> = Vec::new();
    for (number, (event, fault)) in events.into_iter().enumerate() {
        observer.begins(&event);
        let task = spawn_local(event::run(rig.clone(), gate.line(number), event.clone()));
        runs.push(Running { event, task, fault, calls: 0, ended: None });
    }
    let (mut slept, mut calls) = (Duration::ZERO, 0);
    loop {
        rest.reached().await;
        for (number, run) in runs.iter_mut().enumerate().filter(|(_, run)| run.ended.is_none()) {
            if let Some(done) = (&mut run.task).now_or_never() {
                let done = done.map_err(|panic| format!("{} panicked: {panic}", run.event))?;
                observer.ends((number, &run.event), &done);
                run.ended = Some(Ended::ParsedDrop(run.event.clone(), said(&done), done.is_ok()));
            }
        }
        if runs.iter().all(|run| run.ended.is_some()) {
            return Ok(runs.into_iter().filter_map(|run| run.ended).collect());
        }
        let waiting = gate.waiting();
        let stands = |number: &usize| waiting.iter().any(|(run, _)| run == number);
        let mut alive = runs.iter().enumerate().filter(|(_, run)| run.ended.is_none()).map(|(number, _)| number);
        if !alive.all(|number| stands(&number)) {
            // A refresh that lost a race pauses, and real time must pass.
            tokio::time::sleep(Duration::from_micros(200)).await;
            slept += Duration::from_micros(200);
            assert!(slept < Duration::from_secs(30), "a run waits for what never comes: {waiting:?}");
            continue;
        }
        observer.before_call(calls);
        let place = next(&waiting);
        let (number, call) = waiting[place].clone();
        let run = &mut runs[number];
        let planned = run.fault.filter(|(at, _)| *at == run.calls).map_or(Fate::Arrives, |(_, fate)| fate);
        let fate = observer.fate((number, &run.event), &call, planned);
        run.calls += 1;
        calls += 1;
        gate.let_through(place, fate);
        rest.reached().await;
        observer.arrived(&run.event, &call).map_err(|broken| format!("{broken}; at {}: {call}", run.event))?;
        if let Fate::NeverLeaves | Fate::LastOfAll = fate {
            run.task.abort();
            gate.forget(number);
            run.ended = Some(Ended::Died(run.event.clone()));
            observer.dies(&run.event);
        }
    }
}

pub fn said(done: &Done) -> String {
    match done {
        Ok(outcome) => format!("{outcome:?}"),
        Err(error) => error.report(),
    }
}
