//! A model of the protocol in a small world. The search covers every order in which exports, flips, merges, operators,
//! sweeps, readers and outside writers can take their steps, with crashes and lost replies.
//!
//! The model owns the world (S3, Glue, the clock) and the order of the steps. The real functions of `turntable-core`
//! make the decisions. Each step in `flip.rs`, `merge.rs` or `sweep.rs` is one read or write that other runs can
//! notice. The steps repeat those of `publish`, `optout::refresh` and `sweep`, and must change with them.

pub mod drops;
mod export;
mod flip;
mod merge;
pub mod properties;
mod real;
pub mod state;
mod sweep;

use jiff::SignedDuration;
use stateright::{Model, Property};
use turntable_core::{config::Retain, layout::TablePaths};

use state::{Cause, Fenced, Flip, Gen, Live, Mark, Minute, Reader, Record, Run, Set, Slot, State, Sweep, Truth, has};

/// One world to search.
#[derive(Debug, Clone)]
pub struct Turntable {
    pub paths: TablePaths,
    pub retain: Retain,
    /// How many data files each generation has.
    pub files: u8,
    /// The maximum number of concurrent invocations.
    pub at_once: usize,
    /// Whether sweep may ask Athena for running queries. If so, a query may take any time; otherwise, at most an hour.
    pub athena_asked: bool,
    /// Whether a rollback fences the table after it has written its record, as it should.
    pub fenced_rollback: bool,
    /// How many generations have been live before the search starts; the last of them still is.
    pub turned: u8,
    /// Whether merges built the generations that are live when the search starts or were live before.
    pub merged: bool,
    pub budget: Budget,
    pub mutant: Option<Mutant>,
}

/// How often each action may still happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    pub exports: u8,
    /// How many of the exports may produce bad rows.
    pub bad: u8,
    /// How many S3 events about manifests may still arrive.
    pub events: u8,
    /// How many flips an operator may still request.
    pub by_hand: u8,
    pub rollbacks: u8,
    /// How many holds and releases may still be requested, both together.
    pub holds: u8,
    pub drops: u8,
    pub merges: u8,
    pub sweeps: u8,
    pub readers: u8,
    /// How many hours may still pass.
    pub ticks: u8,
    /// How many updates may still have a lost or misleading reply: see [`Fault`].
    pub faults: u8,
    pub crashes: u8,
    /// How often somebody outside Turntable may still move the table.
    pub foreign: u8,
}

/// A deliberate bug in the protocol. The search must find a promise that it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    VersionUnchecked,
    ManifestFirst,
    ConsumedBeforeFlip,
    DeleteOnConflict,
    RetentionFromCreation,
    MergeWithoutBase,
    HoldNotRead,
    HoldUnfenced,
    NothingRecovered,
    SweepUnfenced,
    SweepUnmarked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// An hour passes.
    Tick,
    /// An application puts the next drop into the inbox.
    Drop,
    Export {
        bad: bool,
    },
    Event(Gen),
    ByHand(Gen),
    Rollback(Option<Gen>),
    Hold,
    Release,
    Merge,
    Sweep,
    /// Somebody outside Turntable sets the table's location.
    Foreign(Live),
    /// A query starts. It ends with [`Action::Done`].
    Read,
    Done,
    /// The next step of the run with this number.
    Step(usize, Fault),
    /// The first step of this merge, if it lists the inbox before it reads the table.
    Second(usize),
    Crash(usize),
}

/// What happens to the reply to a committed `UpdateTable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    LostReply,
    /// The SDK sends the call again, and the caller sees the conflict with its own first attempt.
    Echo,
}

/// The minutes that pass with each tick.
pub const HOUR: Minute = 60;

impl Default for Turntable {
    /// Returns a world in which two generations have been live, the drain is an hour, and the budget is empty.
    fn default() -> Turntable {
        let hour = SignedDuration::from_hours(1);
        Turntable {
            paths: real::paths(),
            retain: Retain { generations: 0, drain: hour, abandoned: hour, max_age: hour * 999 },
            files: 1,
            at_once: 2,
            athena_asked: false,
            fenced_rollback: true,
            turned: 2,
            merged: false,
            budget: Budget::default(),
            mutant: None,
        }
    }
}

impl Turntable {
    fn whole(&self) -> Set {
        (1 << self.files) - 1
    }

    fn start(&self) -> State {
        let mut state = State {
            now: 0,
            version: 0,
            live: Live::NoTable,
            generations: Vec::new(),
            flips: Vec::new(),
            hold: false,
            inbox: 0,
            running: Vec::new(),
            reader: None,
            left: self.budget,
            truth: Truth::default(),
            just: None,
            broken: None,
        };
        for number in 0..self.turned {
            state.now += 1;
            let live = self.live(&state, state.live);
            let name = turntable_core::decision::next(&self.paths, &live, real::ulid(&state, u128::from(number)));
            let merge = self.merged.then(state::Merge::default);
            let slot = Slot::head(name, state.live);
            let (as_of, files) = (state.now, self.whole());
            state.generations.push(Slot { as_of, created: as_of, files, manifest: true, merge, ..slot });
            let ulid = real::ulid(&state, 99);
            state.flips.push(Record { ulid, at: state.now, from: state.live, to: number, by: Mark::Event });
            state.moved(Live::Managed(number));
        }
        state
    }

    fn step(&self, state: &mut State, number: usize, fault: Fault, second: bool) {
        let next = match state.running.remove(number) {
            Run::Export { generation, at } => self.export_step(state, generation, at),
            Run::Flip(flip) => self.flip_step(state, flip, fault),
            Run::Fence { seen, then } => self.fence_step(state, seen, then),
            Run::Merge { listed, seen, at } => self.merge_step(state, listed, seen, at, second),
            Run::Sweep(sweep) => self.sweep_step(state, sweep),
        };
        if fault != Fault::None {
            state.left.faults -= 1;
        }
        state.running.extend(next);
    }

    fn tick(&self, state: &mut State) {
        state.now += HOUR;
        let drain = u16::try_from(self.longest_query().as_mins()).unwrap_or(u16::MAX);
        // Unless sweep asks Athena, every query ends within `longest_query`.
        if state.reader.is_some_and(|reader| !self.athena_asked && state.now - reader.since >= drain) {
            state.reader = None;
        }
        // An export or a merge that writes a generation doesn't outlive `abandoned`. A sweep doesn't outlive an hour,
        // because Lambda ends it after 15 minutes.
        let age = |since: Minute| state.now - since;
        let run = |of: Gen| state.generations[usize::from(of)].name.ulid.timestamp_ms() / 60_000;
        let abandoned = u16::try_from(self.retain.abandoned.as_mins()).unwrap_or(u16::MAX);
        let lives = |run_: &Run| match run_ {
            Run::Export { generation: of, .. }
            | Run::Merge { at: state::MergeAt::Data(of) | state::MergeAt::Manifest(of, _), .. } => {
                age(run(*of) as Minute) < abandoned
            }
            Run::Sweep(sweep) => age(sweep.now) < HOUR,
            _ => true,
        };
        let running = state.running.iter().filter(|run| lives(run)).cloned().collect();
        state.running = running;
    }

    /// Returns the longest time that a query may take if sweep doesn't ask Athena. `drain` must be at least as long.
    fn longest_query(&self) -> SignedDuration {
        SignedDuration::from_hours(1)
    }
}

impl Model for Turntable {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        let left = &state.left;
        for (number, run) in state.running.iter().enumerate() {
            if number > 0 && state.running[number - 1] == *run {
                continue;
            }
            actions.push(Action::Step(number, Fault::None));
            let update = matches!(run, Run::Flip(Flip { at: state::FlipAt::Update, .. }));
            if update && left.faults > 0 {
                actions.extend([Fault::LostReply, Fault::Echo].map(|fault| Action::Step(number, fault)));
            }
            if matches!(run, Run::Merge { listed: None, seen: None, .. }) {
                actions.push(Action::Second(number));
            }
            if left.crashes > 0 {
                actions.push(Action::Crash(number));
            }
        }
        let complete = state.generations.iter().enumerate().filter(|(_, slot)| slot.manifest);
        let complete: Vec<Gen> = complete.map(|(number, _)| number as Gen).collect();
        if state.running.len() < self.at_once {
            actions.extend((left.exports > 0).then_some(Action::Export { bad: false }));
            actions.extend((left.exports > 0 && left.bad > 0).then_some(Action::Export { bad: true }));
            if left.events > 0 {
                actions.extend(complete.iter().map(|of| Action::Event(*of)));
            }
            if left.by_hand > 0 {
                actions.extend(complete.iter().map(|of| Action::ByHand(*of)));
            }
            if left.rollbacks > 0 {
                actions.push(Action::Rollback(None));
                actions.extend(complete.iter().map(|of| Action::Rollback(Some(*of))));
            }
            actions.extend((left.holds > 0 && !state.hold).then_some(Action::Hold));
            actions.extend((left.merges > 0).then_some(Action::Merge));
            actions.extend((left.sweeps > 0).then_some(Action::Sweep));
        }
        actions.extend((left.holds > 0 && state.truth.held).then_some(Action::Release));
        actions.extend((left.drops > 0).then_some(Action::Drop));
        actions.extend((left.ticks > 0).then_some(Action::Tick));
        // Drift away from a flip whose record is still missing leaves no trace, and the protocol promises nothing about
        // it. So the model has drift only if the last record leads to live.
        let last = state.flips.iter().max_by_key(|record| record.ulid).map(|record| Live::Managed(record.to));
        if left.foreign > 0 && last == Some(state.live) {
            actions.push(Action::Foreign(Live::Unmanaged));
            let older = state.truth.replaced.iter().filter(|(of, _)| self.is_whole(state, *of));
            actions.extend(older.map(|(of, _)| Action::Foreign(Live::Managed(*of))));
        }
        match (state.reader, state.live) {
            (Some(_), _) => actions.push(Action::Done),
            (None, Live::Managed(_)) if left.readers > 0 => actions.push(Action::Read),
            _ => {}
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        state.just = None;
        let begins = match action {
            Action::Tick => {
                state.left.ticks -= 1;
                self.tick(&mut state);
                None
            }
            Action::Drop => {
                state.inbox |= 1 << (self.budget.drops - state.left.drops);
                state.left.drops -= 1;
                None
            }
            Action::Export { bad } => {
                state.left.exports -= 1;
                state.left.bad -= u8::from(bad);
                Some(self.export(&mut state, bad))
            }
            Action::Event(of) => {
                state.left.events -= 1;
                Some(Run::Flip(Flip::ask(Cause::Event, Some(of))))
            }
            Action::ByHand(of) => {
                state.left.by_hand -= 1;
                Some(Run::Flip(Flip::ask(Cause::Operator, Some(of))))
            }
            Action::Rollback(to) => {
                state.left.rollbacks -= 1;
                Some(Run::Flip(Flip::ask(Cause::Rollback(to), None)))
            }
            Action::Hold => {
                state.left.holds -= 1;
                state.hold = true;
                if self.mutant == Some(Mutant::HoldUnfenced) {
                    flip::returned(&mut state, Fenced::Hold);
                    None
                } else {
                    Some(Run::Fence { seen: None, then: Fenced::Hold })
                }
            }
            Action::Release => {
                state.left.holds -= 1;
                state.hold = false;
                state.truth.held = false;
                None
            }
            Action::Merge => {
                state.left.merges -= 1;
                Some(Run::merge())
            }
            Action::Sweep => {
                state.left.sweeps -= 1;
                Some(Run::Sweep(Sweep::head(&state)))
            }
            Action::Foreign(to) => {
                state.left.foreign -= 1;
                state.truth.foreign = true;
                state.moved(to);
                None
            }
            Action::Read => {
                let Live::Managed(generation) = state.live else { return None };
                state.left.readers -= 1;
                state.reader = Some(Reader { generation, since: state.now });
                None
            }
            Action::Done => {
                state.reader = None;
                None
            }
            Action::Step(number, fault) => {
                self.step(&mut state, number, fault, false);
                None
            }
            Action::Second(number) => {
                self.step(&mut state, number, Fault::None, true);
                None
            }
            Action::Crash(number) => {
                state.left.crashes -= 1;
                state.running.remove(number);
                state.just = Some(state::Just::Crashed);
                None
            }
        };
        state.running.extend(begins);
        state.running.sort_unstable();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.promises().into_iter().chain(self.sights()).collect()
    }
}

impl Turntable {
    /// Returns whether a generation is complete and no sweep has marked it.
    fn is_whole(&self, state: &State, of: Gen) -> bool {
        let slot = &state.generations[usize::from(of)];
        slot.manifest && slot.files == self.whole() && slot.mark.is_none()
    }

    /// Returns whether readers may read a generation: all its files exist, and its rows pass the audit.
    fn is_sound(&self, state: &State, of: Gen) -> bool {
        let slot = &state.generations[usize::from(of)];
        slot.files == self.whole() && !slot.bad
    }

    /// Returns whether a generation has been live.
    pub fn was_live(state: &State, of: Gen) -> bool {
        has(state.truth.was_live, usize::from(of))
    }
}
