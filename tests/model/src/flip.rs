//! A flip, step by step, as `publish::flip`, `publish::rollback` and the end of `optout::refresh` do it.

use turntable_core::{
    decision::{self, Decision},
    history::{self, Settled},
    record,
};
use ulid::Ulid;

use crate::{
    Fault, Mutant, Turntable, real,
    state::{Broken, Cause, Fenced, Flip, FlipAt, Gen, Just, Live, Mark, Record, Run, Set, State, has},
};

impl Flip {
    pub fn ask(ask: Cause, to: Option<Gen>) -> Flip {
        let (version, live) = (None, Live::NoTable);
        Flip { ask, to, version, live, flips: 0, recovered: None, ulid: None, at: FlipAt::Table }
    }

    /// Returns the flip as it was before its first step, without anything that it has read.
    fn again(&self) -> Flip {
        let to = if matches!(self.ask, Cause::Rollback(_)) { None } else { self.to };
        Flip::ask(self.ask, to)
    }

    fn at(self, at: FlipAt) -> Option<Run> {
        Some(Run::Flip(Flip { at, ..self }))
    }
}

impl Turntable {
    /// Performs the next step of a flip. `fault` applies only to its update. Returns what is left to run, or `None`
    /// when the flip has ended.
    pub fn flip_step(&self, state: &mut State, mut flip: Flip, fault: Fault) -> Option<Run> {
        match flip.at {
            FlipAt::Table => {
                (flip.version, flip.live) = (table(state), state.live);
                flip.at(FlipAt::Rest)
            }
            FlipAt::Rest => self.decide(state, flip),
            FlipAt::Marked => {
                if self.slot(state, &flip).mark.is_some() {
                    state.just = Some(Just::Swept);
                    return None;
                }
                flip.at(FlipAt::Audit)
            }
            FlipAt::Audit => {
                let to = flip.to?;
                if matches!(flip.ask, Cause::Rollback(_)) && !self.slot(state, &flip).manifest {
                    return None;
                }
                if !self.passes(state, to, matches!(flip.ask, Cause::Rollback(_))) {
                    state.just = Some(Just::Rejected);
                    return None;
                }
                self.swap(state, flip)
            }
            FlipAt::Recover { flip: goes_on } => {
                let ulid = self.recover(state, &flip)?;
                flip.recovered = Some(ulid);
                if goes_on { flip.at(FlipAt::Update) } else { None }
            }
            FlipAt::Update => self.update(state, flip, fault),
            FlipAt::SettleTable { error } => {
                let before = flip.live;
                (flip.version, flip.live) = (table(state), state.live);
                if Some(flip.live) != flip.to.map(Live::Managed) {
                    return if error { None } else { self.lost(state, flip) };
                }
                flip.live = before;
                flip.at(FlipAt::SettleRest { error })
            }
            FlipAt::SettleRest { error } => {
                let to = flip.to?;
                let name = state.generations[usize::from(to)].name;
                let now = Live::Managed(to);
                let since = history::since(&self.live(state, now), &name);
                let flips = self.list_flips(state, since);
                let recorded = ulids(state, flips).max() != ulids(state, flip.flips).max();
                match history::settled(&name, self.live(state, flip.live), &self.seen(state, now, flips), recorded) {
                    Settled::NotLive if error => None,
                    Settled::NotLive => self.lost(state, flip),
                    Settled::OnRecord => {
                        state.just = Some(Just::Twin);
                        Some(Run::Flip(flip.again()))
                    }
                    Settled::Replaced(previous) => {
                        let previous = self.known(state, &previous);
                        let at = state.now;
                        flip.at(FlipAt::Record(previous, at))
                    }
                }
            }
            FlipAt::Record(from, took_place) => {
                let (to, ulid) = (flip.to?, flip.ulid?);
                state.flips.push(Record { ulid, at: state.now, from, to, by: flip.ask.mark() });
                self.swapped(state, &flip, to, took_place)
            }
        }
    }

    fn slot<'a>(&self, state: &'a State, flip: &Flip) -> &'a crate::state::Slot {
        &state.generations[usize::from(flip.to.expect("known by now"))]
    }

    /// Reads everything but the table, as `TableState::at` does, and decides with `decision::flip` or
    /// `decision::rollback`.
    fn decide(&self, state: &mut State, mut flip: Flip) -> Option<Run> {
        let live = self.live(state, flip.live);
        let named = if let Cause::Rollback(named) = flip.ask { named } else { flip.to };
        let name = |of: Gen| state.generations[usize::from(of)].name;
        let oldest = named.map(name).or(live.generation())?;
        flip.flips = self.list_flips(state, history::since(&live, &oldest));
        let mut seen = self.seen(state, flip.live, flip.flips);
        if self.mutant == Some(Mutant::HoldNotRead) {
            seen.hold = None;
        }
        if let Cause::Rollback(wanted) = flip.ask {
            let target = decision::rollback(&self.paths, &seen, wanted.map(name)).ok()?;
            if live.generation() == Some(target) {
                return None;
            }
            flip.to = Some(real::number(state, &target));
            return flip.at(FlipAt::Marked);
        }
        let to = flip.to?;
        let mut candidate = self.manifest(state, to);
        if self.mutant == Some(Mutant::MergeWithoutBase) && candidate.merge.is_some() {
            candidate.base = self.location(state, flip.live);
        }
        let merge = if let Cause::Merge(listed) = flip.ask { Some(listed) } else { None };
        match decision::flip(&self.paths, &candidate, &seen, flip.ask.who()) {
            Err(_) => {
                state.just = Some(Just::DriftNoticed);
                None
            }
            Ok(Decision::AlreadyLive) => match merge {
                Some(listed) => self.refreshed(state, listed),
                None if self.unrecorded(state, &flip).is_some() => flip.at(FlipAt::Recover { flip: false }),
                None => None,
            },
            Ok(Decision::Held(_)) => {
                state.just = Some(Just::Held);
                None
            }
            Ok(Decision::Stale(_)) => {
                let came_back = seen.was_live(&candidate.generation);
                state.just = Some(if came_back { Just::CameBackRefused } else { Just::Stale });
                match merge {
                    Some(listed) if came_back => self.refreshed(state, listed),
                    Some(_) => {
                        state.just = Some(Just::MergedAgain);
                        Some(Run::merge())
                    }
                    None => None,
                }
            }
            Ok(Decision::Flip) => flip.at(FlipAt::Marked),
        }
    }

    fn unrecorded(&self, state: &State, flip: &Flip) -> Option<(Live, Gen)> {
        let Live::Managed(live) = flip.live else { return None };
        let slot = &state.generations[usize::from(live)];
        let base = self.location(state, slot.base).filter(|_| slot.manifest);
        let seen = self.seen(state, flip.live, flip.flips);
        let (from, to) = history::unrecorded(&self.paths, &seen, base.as_ref())?;
        let from = turntable_core::decision::Live::of(&self.paths, from.as_ref());
        Some((self.known(state, &from), real::number(state, &to)))
    }

    fn swap(&self, state: &State, flip: Flip) -> Option<Run> {
        let recover = self.unrecorded(state, &flip).is_some() && self.mutant != Some(Mutant::NothingRecovered);
        flip.at(if recover { FlipAt::Recover { flip: true } } else { FlipAt::Update })
    }

    fn recover(&self, state: &mut State, flip: &Flip) -> Option<Ulid> {
        let (from, to) = self.unrecorded(state, flip)?;
        let live = state.generations[usize::from(to)].name.ulid;
        let ulid = record::later(real::ulid(state, 90), ulids(state, flip.flips).chain([live]));
        state.flips.push(Record { ulid, at: state.now, from, to, by: Mark::Recovered });
        state.just = Some(Just::Recovered);
        Some(ulid)
    }

    /// Calls `UpdateTable` or `CreateTable` once. `fault` says what happens to the reply.
    fn update(&self, state: &mut State, mut flip: Flip, fault: Fault) -> Option<Run> {
        let to = flip.to?;
        let candidate = state.generations[usize::from(to)].name.ulid;
        let last = ulids(state, flip.flips).max();
        let earlier = last.into_iter().chain(flip.recovered).chain([candidate]);
        flip.ulid = Some(record::later(real::ulid(state, 91), earlier));
        let unchecked = self.mutant == Some(Mutant::VersionUnchecked) && flip.version.is_some();
        let commits = table(state) == flip.version || unchecked;
        if commits {
            self.commit(state, to, flip.ask);
        }
        match (commits, fault) {
            (true, Fault::None) => {
                let (live, now) = (flip.live, state.now);
                flip.at(FlipAt::Record(live, now))
            }
            (false, _) if self.mutant == Some(Mutant::DeleteOnConflict) => cleaned_up(state, to),
            (true, _) if self.mutant == Some(Mutant::DeleteOnConflict) => cleaned_up(state, to),
            (false, _) => {
                state.just = Some(Just::Conflict);
                flip.at(FlipAt::SettleTable { error: false })
            }
            (true, Fault::LostReply) => {
                state.just = Some(Just::LostReplyCommitted);
                flip.at(FlipAt::SettleTable { error: true })
            }
            (true, Fault::Echo) => {
                state.just = Some(Just::EchoCommitted);
                flip.at(FlipAt::SettleTable { error: false })
            }
        }
    }

    /// Makes `to` live, and records the promise that this breaks, if any.
    fn commit(&self, state: &mut State, to: Gen, ask: Cause) {
        let (old, new) = (state.live, state.generations[usize::from(to)].clone());
        let old_slot = if let Live::Managed(old) = old { Some(&state.generations[usize::from(old)]) } else { None };
        let operator = matches!(ask, Cause::Rollback(_));
        let undone = state.truth.rolled_back.is_some_and(|at| new.as_of <= at);
        let fresher = old_slot.is_none_or(|old| old.merge.is_some() || new.merge.is_some() || new.as_of > old.as_of);
        let words = old_slot.and_then(|old| old.merge.as_ref()).map(|old| old.words);
        let broken = if !operator && state.truth.held {
            Some(Broken::HeldFlip)
        } else if !operator && !fresher {
            Some(Broken::FresherWins)
        } else if ask.who() == decision::Trigger::Event && !operator && has(state.truth.was_live, usize::from(to)) {
            Some(Broken::CameBack)
        } else if ask == Cause::Event && undone && new.merge.is_none() {
            Some(Broken::RollbackUndone)
        } else if words.is_some_and(|words| !crate::drops::knows(new.merge.as_ref(), words.into_iter().flatten())) {
            Some(Broken::OptOutLost)
        } else {
            None
        };
        state.broken = state.broken.or(broken);
        state.moved(Live::Managed(to));
    }

    /// Restarts, from its first step, a flip that has lost a race.
    fn lost(&self, _: &mut State, flip: Flip) -> Option<Run> {
        Some(Run::Flip(flip.again()))
    }

    fn swapped(&self, state: &mut State, flip: &Flip, to: Gen, took_place: crate::state::Minute) -> Option<Run> {
        state.just = Some(Just::Committed);
        match flip.ask {
            Cause::Rollback(_) => {
                if self.fenced_rollback {
                    return Some(Run::Fence { seen: None, then: Fenced::Rollback(to, took_place) });
                }
                returned(state, Fenced::Rollback(to, took_place));
                None
            }
            Cause::Merge(listed) => self.refreshed(state, listed),
            _ => None,
        }
    }

    /// Performs the next step of a fence for a hold or a rollback: reads the table's `VersionId`, then replaces it
    /// unless the table has changed since. `then` is the operator's request, which returns once the fence is complete.
    /// Returns what is left to run, or `None` when the fence has ended.
    pub fn fence_step(&self, state: &mut State, seen: Option<u8>, then: Fenced) -> Option<Run> {
        match seen {
            None => {
                let Some(version) = table(state) else {
                    returned(state, then);
                    return None;
                };
                Some(Run::Fence { seen: Some(version), then })
            }
            Some(seen) if seen == state.version => {
                state.version += 1;
                returned(state, then);
                None
            }
            Some(_) => Some(Run::Fence { seen: None, then }),
        }
    }
}

/// Records in [`State::truth`] that an operator's request has returned.
pub fn returned(state: &mut State, then: Fenced) {
    match then {
        Fenced::Hold => state.truth.held = state.hold,
        Fenced::Rollback(to, took_place) => {
            state.just = Some(Just::RolledBack);
            if state.live == Live::Managed(to) {
                state.truth.rolled_back = Some(took_place);
            }
        }
    }
}

/// Deletes the candidate after a conflict or a lost reply, as only [`Mutant::DeleteOnConflict`] does.
fn cleaned_up(state: &mut State, to: Gen) -> Option<Run> {
    let slot = &mut state.generations[usize::from(to)];
    (slot.manifest, slot.files) = (false, 0);
    None
}

/// Returns the table's `VersionId`, or `None` if there is no table.
pub fn table(state: &State) -> Option<u8> {
    (state.live != Live::NoTable).then_some(state.version)
}

fn ulids(state: &State, of: Set) -> impl Iterator<Item = Ulid> {
    state.flips.iter().enumerate().filter(move |(number, _)| has(of, *number)).map(|(_, record)| record.ulid)
}

impl State {
    /// Changes the table's location, and updates the true history.
    pub fn moved(&mut self, to: Live) {
        if let Live::Managed(old) = self.live {
            self.truth.replaced.retain(|(replaced, _)| *replaced != old);
            self.truth.replaced.push((old, self.now));
        }
        if let Live::Managed(new) = to {
            self.truth.replaced.retain(|(replaced, _)| *replaced != new);
            self.truth.was_live |= 1 << new;
        }
        self.truth.rolled_back = None;
        self.version += 1;
        self.live = to;
    }
}
