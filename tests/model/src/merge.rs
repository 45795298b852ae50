//! A refresh of opt-outs, step by step, as `optout::refresh` does it.

use turntable_core::{
    decision::{self, Decision, Trigger},
    manifest::Consumed,
    optout::consumed::{consumed, unread},
};

use crate::{
    Mutant, Turntable, drops, flip, real,
    state::{Broken, Cause, Flip, FlipAt, Gen, Just, Live, Merge, MergeAt, Run, Set, Slot, State},
};

impl Run {
    pub fn merge() -> Run {
        Run::Merge { listed: None, seen: None, at: MergeAt::Look }
    }
}

/// What a refresh has read of the table: its `VersionId`, and what was live. `None` until it has read the table.
type Seen = Option<(Option<u8>, Live)>;

impl Turntable {
    /// Performs the next step of a refresh. If `second` is set, the inbox is listed before the table is read. Returns
    /// what is left to run, or `None` when the refresh has ended.
    pub fn merge_step(
        &self,
        state: &mut State,
        listed: Option<Set>,
        seen: Seen,
        at: MergeAt,
        second: bool,
    ) -> Option<Run> {
        match (at, listed, seen) {
            (MergeAt::Look, None, _) if second || seen.is_some() => looked(Some(state.inbox), seen),
            (MergeAt::Look, _, None) => looked(listed, Some((flip::table(state), state.live))),
            (MergeAt::Read, Some(listed), Some((version, base))) => self.read(state, listed, version, base),
            (MergeAt::Data(to), Some(listed), Some((version, base))) => {
                let base_slot = ours(state, base).map(|base| &state.generations[usize::from(base)]);
                let whole = base_slot.is_none_or(|base| base.files == self.whole());
                if !whole {
                    // A sweep has deleted an object that the merge would copy.
                    return None;
                }
                let since = ours(state, base).map(|base| state.generations[usize::from(base)].name.ulid);
                let flips = self.list_flips(state, since);
                state.generations[usize::from(to)].files = self.whole();
                let at = MergeAt::Manifest(to, flips);
                Some(Run::Merge { listed: Some(listed), seen: Some((version, base)), at })
            }
            (MergeAt::Manifest(to, flips), Some(listed), Some((version, live))) => {
                let slot = &mut state.generations[usize::from(to)];
                slot.manifest = true;
                slot.created = state.now;
                let found = decision::FlipState { hold: None, ..self.seen(state, live, flips) };
                let decided = decision::flip(&self.paths, &self.manifest(state, to), &found, Trigger::Event);
                if !matches!(decided, Ok(Decision::Flip)) {
                    return None;
                }
                let flip =
                    Flip { version, live, flips, at: FlipAt::Audit, ..Flip::ask(Cause::Merge(listed), Some(to)) };
                Some(Run::Flip(flip))
            }
            _ => None,
        }
    }

    /// Reads the unread drops, and starts a generation with their records. Ends the refresh if there is nothing to
    /// merge, or under a hold.
    fn read(&self, state: &mut State, listed: Set, version: Option<u8>, base: Live) -> Option<Run> {
        let base_gen = ours(state, base);
        let manifest = base_gen.map(|base| self.manifest(state, base));
        let merged = base_gen.and_then(|base| state.generations[usize::from(base)].merge.clone());
        let inbox = drops::listed(listed);
        let mut new = unread(&inbox, manifest.as_ref());
        if self.mutant == Some(Mutant::ConsumedBeforeFlip) {
            for slot in state.generations.iter().filter(|slot| slot.manifest) {
                let known: Set = slot.merge.iter().flat_map(|merge| &merge.consumed).fold(0, |set, (_, of)| set | of);
                new.retain(|(_, number)| known >> number & 1 == 0);
            }
        }
        if merged.is_some() && new.is_empty() {
            return self.refreshed(state, listed);
        }
        if state.hold {
            state.just = Some(Just::Held);
            return None;
        }
        let live = self.live(state, base);
        let random = state.generations.len() as u128;
        let name = decision::next_merge(&self.paths, &live, real::ulid(state, random));
        decision::beside(&live, &self.paths.generation(&name)).ok()?;
        let to = state.generations.len() as Gen;
        let read: Set = new.iter().fold(0, |set, (_, number)| set | 1 << number);
        let known = consumed(manifest.as_ref(), name, (&inbox, |_| true), new.into_iter().map(|(drop, _)| drop));
        let numbers = |by: &Consumed| {
            let set =
                inbox.iter().filter(|(drop, _)| by.drops.contains(drop)).fold(0, |set, (_, number)| set | 1 << number);
            let by = if by.by == name { to } else { real::number(state, &by.by) };
            (by, set)
        };
        let merge =
            Merge { consumed: known.iter().map(numbers).collect(), words: drops::merged(merged.as_ref(), read) };
        let slot = Slot { merge: Some(merge), as_of: state.now, created: state.now, ..Slot::head(name, base) };
        state.generations.push(slot);
        Some(Run::Merge { listed: Some(listed), seen: Some((version, base)), at: MergeAt::Data(to) })
    }

    /// Ends a refresh by acknowledging all listed drops. Records a broken promise if their records are not live.
    pub fn refreshed(&self, state: &mut State, listed: Set) -> Option<Run> {
        state.just = Some(Just::MergeDone);
        let table = ours(state, state.live).and_then(|live| state.generations[usize::from(live)].merge.as_ref());
        let listed = drops::listed(listed).into_iter().map(|(_, number)| number as u8);
        if !state.truth.foreign && !drops::knows(table, listed) {
            state.broken = state.broken.or(Some(Broken::OptOutLost));
        }
        None
    }
}

fn looked(listed: Option<Set>, seen: Seen) -> Option<Run> {
    let at = if listed.is_some() && seen.is_some() { MergeAt::Read } else { MergeAt::Look };
    Some(Run::Merge { listed, seen, at })
}

fn ours(_: &State, live: Live) -> Option<Gen> {
    if let Live::Managed(generation) = live { Some(generation) } else { None }
}
