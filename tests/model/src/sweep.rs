//! A sweep, step by step, as `sweep::contents`, `sweep::plan` and `sweep::act` do it.

use turntable_core::sweep::{OldestQuery, plan};

use crate::{
    Mutant, Turntable, flip, real,
    state::{Broken, Just, Live, Mark, Run, Set, State, Sweep, SweepAt, has},
};

impl Sweep {
    pub fn head(state: &State) -> Sweep {
        Sweep { now: state.now, version: 0, live: Live::NoTable, at: SweepAt::Table }
    }

    fn at(self, at: SweepAt) -> Option<Run> {
        Some(Run::Sweep(Sweep { at, ..self }))
    }
}

impl Turntable {
    /// Performs the next step of a sweep. Returns what is left to run, or `None` when the sweep has ended.
    pub fn sweep_step(&self, state: &mut State, mut sweep: Sweep) -> Option<Run> {
        match sweep.at.clone() {
            SweepAt::Table => {
                // Without a table, there is nothing to plan.
                (sweep.version, sweep.live) = (flip::table(state)?, state.live);
                sweep.at(SweepAt::List)
            }
            SweepAt::List => {
                let files = state.generations.iter().map(|slot| slot.files).collect();
                let manifests = state.generations.iter().enumerate().filter(|(_, slot)| slot.manifest);
                let manifests = manifests.fold(0, |set, (number, _)| set | 1 << number);
                sweep.at(SweepAt::Plan { files, manifests })
            }
            SweepAt::Plan { files, manifests } => self.plan(state, sweep, &files, manifests),
            SweepAt::Mark { go, spared } => {
                for (number, slot) in state.generations.iter_mut().enumerate() {
                    if has(spared, number) {
                        slot.mark = None;
                    }
                    if has(go, number) && self.mutant != Some(Mutant::SweepUnmarked) {
                        slot.mark = Some(state.now);
                    }
                }
                if go == 0 { None } else { sweep.at(SweepAt::Fence { go }) }
            }
            SweepAt::Fence { go } => {
                if self.mutant == Some(Mutant::SweepUnfenced) {
                    return sweep.at(SweepAt::Manifests { go });
                }
                if state.version != sweep.version {
                    state.just = Some(Just::SweepFenced);
                    return sweep.at(SweepAt::Table);
                }
                state.version += 1;
                sweep.at(SweepAt::Manifests { go })
            }
            SweepAt::Manifests { go } => {
                self.deletes(state, go);
                for slot in members(state, go) {
                    slot.manifest = false;
                }
                state.just = Some(Just::SweepDeleted);
                sweep.at(SweepAt::Data { go, file: 0 })
            }
            SweepAt::Data { go, file } => {
                for slot in members(state, go) {
                    slot.files &= !(1 << file);
                }
                let file = file + 1;
                if file < self.files { sweep.at(SweepAt::Data { go, file }) } else { sweep.at(SweepAt::Unmark { go }) }
            }
            SweepAt::Unmark { go } => {
                for slot in members(state, go) {
                    slot.mark = None;
                }
                None
            }
        }
    }

    fn plan(&self, state: &mut State, sweep: Sweep, files: &[Set], manifests: Set) -> Option<Run> {
        let found = self.lake(state, sweep.live, files, manifests);
        let oldest = match state.reader {
            _ if !self.athena_asked => OldestQuery::NotAsked("no workgroups".into()),
            reader => OldestQuery::Known(reader.map(|reader| real::time(reader.since))),
        };
        let Ok(plan) = plan(&self.paths, &found, &self.retain, &oldest, real::time(sweep.now)) else {
            state.just = Some(Just::SweepRefused);
            return None;
        };
        let set = |names: &mut dyn Iterator<Item = &turntable_core::layout::Generation>| {
            names.fold(0, |set, name| set | 1 << real::number(state, name))
        };
        let go = set(&mut plan.go.iter().map(|(name, _)| name));
        let spared = set(&mut plan.spared.iter());
        let drained =
            |kept: &turntable_core::sweep::Kept| matches!(kept.reason, turntable_core::sweep::Reason::Draining(_));
        if plan.kept.iter().any(drained) {
            state.just = Some(Just::Draining);
        }
        if go | spared == 0 { None } else { sweep.at(SweepAt::Mark { go, spared }) }
    }

    /// Records a broken promise if one of the generations in `go` must be kept for a rollback. Other properties cover
    /// what readers read.
    fn deletes(&self, state: &mut State, go: Set) {
        // After drift, or where a record was missing, sweep can't know which generation was replaced last.
        if state.truth.foreign || state.flips.iter().any(|record| record.by == Mark::Recovered) {
            return;
        }
        let complete = |of: u8| state.generations[usize::from(of)].manifest;
        let mut once: Vec<_> = state.truth.replaced.iter().filter(|(of, _)| complete(*of)).collect();
        once.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
        let kept = usize::try_from(self.retain.generations).unwrap_or(usize::MAX);
        let last_kept = once.get(kept.wrapping_sub(1)).map(|(_, at)| *at);
        let wrong = |(of, at): &(u8, u16)| has(go, usize::from(*of)) && last_kept.is_none_or(|last| *at > last);
        if kept > 0 && state.truth.replaced.iter().any(wrong) {
            state.broken = state.broken.or(Some(Broken::SweptKept));
        }
    }
}

fn members(state: &mut State, of: Set) -> impl Iterator<Item = &mut crate::state::Slot> {
    state.generations.iter_mut().enumerate().filter(move |(number, _)| has(of, *number)).map(|(_, slot)| slot)
}
