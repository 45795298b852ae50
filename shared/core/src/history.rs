//! Works out a table's history from its flip records, and whether the record of the last flip is missing.

use std::cmp::Reverse;

use ulid::Ulid;

use crate::{
    decision::{FlipState, Live},
    layout::{Generation, Location, TablePaths},
    record::Flip,
};

/// Returns the ULID since which all flips must be known to decide on a candidate: live's or the candidate's, whichever
/// is older. Returns `None` if live is not managed, because then the last flip is enough.
pub fn since(live: &Live, candidate: &Generation) -> Option<Ulid> {
    live.generation().map(|live| live.ulid.min(candidate.ulid))
}

/// Returns an exclusive lower bound for listing records: a ULID that sorts before the record of every flip to a
/// generation whose ULID is `since` or later. A flip's ULID is always later than its generation's, even if clocks
/// disagree ([`crate::record::later`]).
pub fn bound(since: Ulid) -> Ulid {
    Ulid::from_parts(since.timestamp_ms(), 0)
}

/// Returns every generation that these flips made live, newest first, each once.
pub fn once_live(flips: &[(Ulid, Flip)]) -> Vec<Generation> {
    let mut generations: Vec<Generation> = flips.iter().map(|(_, flip)| flip.to).collect();
    generations.sort_unstable_by_key(|generation| Reverse(generation.ulid));
    generations.dedup();
    generations
}

/// Returns the location that live replaced, and the live generation, if no flip to live is on record. In that case, the
/// process that flipped died before it wrote the record, or has not written it yet.
///
/// The location is the target of the last flip on record, or else `base`, which is live's
/// [`crate::manifest::Manifest::base`].
pub fn unrecorded(
    paths: &TablePaths,
    state: &FlipState,
    base: Option<&Location>,
) -> Option<(Option<Location>, Generation)> {
    let live = state.live.generation().filter(|live| !state.was_live(live))?;
    // If no flip is on record since live's run started, live replaced its own base.
    let last = state.flips.last().map(|flip| paths.generation(&flip.to));
    Some((last.or_else(|| base.cloned()), live))
}

/// The result of an `UpdateTable` whose reply was a conflict or an error, or was lost. Only the table's Location
/// decides it (invariant 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The candidate is not live: reload the table and retry, or report the error.
    NotLive,
    /// The candidate is live and on record: another process flipped to the same candidate first.
    OnRecord,
    /// The candidate is live, but its flip is not on record: either this update succeeded, or another process's update
    /// did and its record is missing. The value is what the candidate replaced.
    Replaced(Live),
}

/// Decides the result of an update that should have made `candidate` live. `before` is what was live when the update
/// was sent, `now` is the state loaded afterwards, and `recorded` says whether the last flip on record changed in
/// between.
pub fn settled(candidate: &Generation, before: Live, now: &FlipState, recorded: bool) -> Settled {
    if now.live != Live::Managed(*candidate) {
        return Settled::NotLive;
    }
    match now.flips.last() {
        Some(last) if last.to == *candidate && recorded => Settled::OnRecord,
        // The record is from an earlier flip to the candidate. Since then, somebody outside Turntable moved the table.
        Some(last) if last.to == *candidate => Settled::Replaced(before),
        // Another process may have flipped since `before` was loaded.
        Some(last) => Settled::Replaced(Live::Managed(last.to)),
        None => Settled::Replaced(before),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        layout::Colour,
        record::{Flip, FlipOrigin},
    };

    fn paths() -> TablePaths {
        TablePaths::new(&"s3://lake/schemas".parse().unwrap(), "users")
    }

    fn generation(ms: u64) -> Generation {
        Generation { colour: Colour::Blue, ulid: Ulid::from_parts(ms, 7) }
    }

    fn state(live: u64, flips: &[u64]) -> FlipState {
        let flip = |to: &u64| Flip {
            dataset: "users".into(),
            at: Timestamp::UNIX_EPOCH,
            from: None,
            to: generation(*to),
            by: FlipOrigin::Event,
            why: None,
            canary: None,
            adopted: None,
            request_id: None,
        };
        FlipState {
            may_adopt: true,
            live: Live::Managed(generation(live)),
            live_as_of: None,
            flips: flips.iter().map(flip).collect(),
            hold: None,
            moved_away: None,
            live_is_merge: false,
            may_create: true,
            only_forward: false,
        }
    }

    #[test]
    fn flips_must_be_known_since_the_older_of_live_and_candidate() {
        let live = Live::Managed(generation(5));
        assert_eq!(since(&live, &generation(9)), Some(generation(5).ulid));
        assert_eq!(since(&live, &generation(2)), Some(generation(2).ulid));
        assert_eq!(since(&Live::NoTable, &generation(2)), None);
        assert!(bound(generation(5).ulid) < generation(5).ulid && bound(generation(5).ulid) > generation(4).ulid);
    }

    #[test]
    fn unrecorded_live_generation_replaced_the_last_on_record_or_its_base() {
        let (paths, base) = (paths(), paths().location().folder("blue"));
        assert_eq!(unrecorded(&paths, &state(2, &[1, 2]), Some(&base)), None);
        let replaced = |flips| unrecorded(&paths, &state(2, flips), Some(&base)).map(|(from, _)| from);
        assert_eq!(replaced(&[1]), Some(Some(paths.generation(&generation(1)))));
        assert_eq!(replaced(&[]), Some(Some(base.clone())));
        assert_eq!(unrecorded(&paths, &FlipState { live: Live::NoTable, ..state(2, &[]) }, Some(&base)), None);
    }

    #[test]
    fn location_decides_the_result_of_an_update() {
        let replaced = Live::Managed(generation(1));
        let settled = |live, flips| super::settled(&generation(2), replaced.clone(), &state(live, flips), true);
        assert_eq!(settled(3, &[1, 2, 3]), Settled::NotLive);
        assert_eq!(settled(2, &[1, 2]), Settled::OnRecord);
        assert_eq!(settled(2, &[1, 9]), Settled::Replaced(Live::Managed(generation(9))));
        assert_eq!(settled(2, &[]), Settled::Replaced(Live::Managed(generation(1))));
        // A repair: the candidate was the last on record before and after the update.
        let repaired = super::settled(&generation(2), replaced.clone(), &state(2, &[1, 2]), false);
        assert_eq!(repaired, Settled::Replaced(replaced));
    }
}
