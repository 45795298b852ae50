//! What must hold in every state, and what must occur at least once: without the latter, a model that does nothing
//! would pass.

use stateright::Property;

use crate::{
    Turntable,
    state::{Broken, Just, Live, State},
};

pub const READERS: &str = "readers see one audited generation, all of which is there while they read";
pub const LIVE: &str = "live is complete and audited";
pub const MANIFEST: &str = "a manifest stands for a complete generation";
pub const FRESHER: &str = "fresher wins";
pub const CAME_BACK: &str = "no event makes live again what has been live";
pub const UNDONE: &str = "no event undoes a rollback that has returned";
pub const HELD: &str = "nothing flips after a hold has returned";
pub const LOST: &str = "no acknowledged opt-out disappears";
pub const KEPT: &str = "sweep leaves what is kept for a rollback";

fn kept(state: &State, broken: Broken) -> bool {
    state.broken != Some(broken)
}

fn is(state: &State, just: Just) -> bool {
    state.just == Some(just)
}

impl Turntable {
    /// Returns the promises, which must hold in every state. For what they don't cover after drift, see
    /// docs/reliability.md.
    pub fn promises(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(READERS, |model: &Turntable, state: &State| {
                state.reader.is_none_or(|reader| model.is_sound(state, reader.generation))
            }),
            Property::always(LIVE, |model: &Turntable, state: &State| match state.live {
                Live::Managed(live) => model.is_sound(state, live) && state.generations[usize::from(live)].manifest,
                _ => true,
            }),
            Property::always(MANIFEST, |model: &Turntable, state: &State| {
                state.generations.iter().all(|slot| !slot.manifest || slot.files == model.whole())
            }),
            Property::always(FRESHER, |_, state: &State| kept(state, Broken::FresherWins)),
            Property::always(CAME_BACK, |_, state: &State| kept(state, Broken::CameBack)),
            Property::always(UNDONE, |_, state: &State| kept(state, Broken::RollbackUndone)),
            Property::always(HELD, |_, state: &State| kept(state, Broken::HeldFlip)),
            Property::always(LOST, |_, state: &State| kept(state, Broken::OptOutLost)),
            Property::always(KEPT, |_, state: &State| kept(state, Broken::SweptKept)),
        ]
    }

    /// Returns what must occur at least once in this world, given its budget.
    pub fn sights(&self) -> Vec<Property<Self>> {
        let budget = &self.budget;
        let flips = budget.events + budget.by_hand + budget.merges > 0;
        let rivals = self.at_once > 1 && budget.events + budget.merges > 1;
        let mut sights = Vec::new();
        let mut sight = |when: bool, name, condition| {
            if when {
                sights.push(Property::sometimes(name, condition));
            }
        };
        sight(flips, "a flip", |_, state: &State| is(state, Just::Committed));
        sight(rivals, "a conflict", |_, state: &State| is(state, Just::Conflict));
        sight(budget.faults > 0, "a lost reply that was committed", |_, state: &State| {
            is(state, Just::LostReplyCommitted)
        });
        sight(budget.faults > 0, "a conflict with oneself", |_, state: &State| is(state, Just::EchoCommitted));
        sight(budget.exports > 1 && budget.events > 1, "a stale flip refused", |_, state: &State| {
            is(state, Just::Stale)
        });
        sight(budget.events > 0 && budget.rollbacks > 0, "a late event refused", |_, state: &State| {
            is(state, Just::CameBackRefused)
        });
        sight(budget.bad > 0 && budget.events > 0, "a candidate rejected", |_, state: &State| {
            is(state, Just::Rejected)
        });
        sight(budget.rollbacks > 0, "a rollback", |_, state: &State| is(state, Just::RolledBack));
        sight(budget.rollbacks > 0 && budget.exports > 0, "a rollback under a running export", |_, state: &State| {
            let exports = |run: &crate::state::Run| matches!(run, crate::state::Run::Export { .. });
            is(state, Just::RolledBack) && state.running.iter().any(exports)
        });
        sight(budget.holds > 0 && flips, "a hold that stops a flip", |_, state: &State| is(state, Just::Held));
        sight(budget.crashes > 0 && budget.events > 1, "a flip that died put on record", |_, state: &State| {
            is(state, Just::Recovered)
        });
        sight(budget.merges > 1 && self.at_once > 1, "a merge done again on a new base", |_, state: &State| {
            is(state, Just::MergedAgain)
        });
        sight(budget.merges > 0, "a refresh that is done", |_, state: &State| is(state, Just::MergeDone));
        sight(budget.sweeps > 0 && budget.ticks > 0, "a sweep that deletes", |_, state: &State| {
            is(state, Just::SweepDeleted)
        });
        sight(budget.sweeps > 0 && flips, "a sweep that waits for the drain", |_, state: &State| {
            is(state, Just::Draining)
        });
        sight(budget.sweeps > 0 && flips && budget.ticks > 0, "a sweep that is fenced off", |_, state: &State| {
            is(state, Just::SweepFenced)
        });
        sight(budget.readers > 0 && flips, "a reader that outlives a flip", |_, state: &State| {
            state.reader.is_some_and(|reader| state.live != Live::Managed(reader.generation))
        });
        sight(budget.foreign > 0 && budget.events > 0, "drift noticed by a flip", |_, state: &State| {
            is(state, Just::DriftNoticed)
        });
        sight(budget.foreign > 0 && budget.sweeps > 0, "drift noticed by a sweep", |_, state: &State| {
            is(state, Just::SweepRefused) && state.truth.foreign
        });
        sights
    }
}
