//! What the flip records tell of a table, and what must come on record. State in, decision out.

use ulid::Ulid;

use crate::{
    decision::{Live, State},
    layout::{Generation, Home, Location},
};

/// Since when the flips must be known to decide on a candidate; `None`: the last of all is enough.
pub fn since(live: &Live, candidate: &Generation) -> Option<Ulid> {
    live.generation().map(|live| live.ulid.min(candidate.ulid))
}

/// What all records of flips to generations of `since` or younger sort after: a flip's ULID is later than its
/// generation's, whatever the clocks say ([`crate::record::later`]).
pub fn bound(since: Ulid) -> Ulid {
    Ulid::from_parts(since.timestamp_ms(), 0)
}

/// A generation that is live and not on record, because its flip died first: what was live before it, as far as one
/// can tell, and itself. `base` is live's ([`crate::manifest::Manifest::base`]).
pub fn unrecorded(home: &Home, state: &State, base: Option<&Location>) -> Option<(Option<Location>, Generation)> {
    let live = state.live.generation().filter(|live| !state.was_live(live))?;
    // The last flip on record since live began is what live replaced; if there was none, that is live's base.
    let last = state.flips.last().map(|flip| home.generation(&flip.to));
    Some((last.or_else(|| base.cloned()), live))
}

/// What became of an `UpdateTable` that got a conflict or no answer. Only Location tells (invariant 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The candidate is not live: look again, or report the error.
    NotLive,
    /// It is live and on record: another delivery of the same candidate was faster.
    OnRecord,
    /// It is live by our own hand, or by one that has died before its record. This is what it replaced.
    Replaced(Live),
}

/// `before` is what was live when the update was sent, and `now` a look after it; `recorded` says whether the last flip on
/// record is another one than then.
pub fn settled(candidate: &Generation, before: Live, now: &State, recorded: bool) -> Settled {
    if now.live != Live::Ours(*candidate) {
        return Settled::NotLive;
    }
    match now.flips.last() {
        Some(last) if last.to == *candidate && recorded => Settled::OnRecord,
        // That is an earlier flip, after which somebody else had moved the table away.
        Some(last) if last.to == *candidate => Settled::Replaced(before),
        // Others may have flipped since we looked.
        Some(last) => Settled::Replaced(Live::Ours(last.to)),
        None => Settled::Replaced(before),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        layout::Colour,
        record::{By, Flip},
    };

    fn home() -> Home {
        Home::new(&"s3://lake/schemas".parse().unwrap(), "users")
    }

    fn generation(ms: u64) -> Generation {
        Generation { colour: Colour::Blue, ulid: Ulid::from_parts(ms, 7) }
    }

    fn state(live: u64, flips: &[u64]) -> State {
        let flip = |to: &u64| Flip {
            dataset: "users".into(),
            at: Timestamp::UNIX_EPOCH,
            from: None,
            to: generation(*to),
            by: By::Event,
            why: None,
            canary: None,
        };
        State {
            live: Live::Ours(generation(live)),
            live_as_of: None,
            flips: flips.iter().map(flip).collect(),
            hold: None,
            live_is_merge: false,
            may_create: true,
        }
    }

    #[test]
    fn flips_are_known_since_the_older_of_live_and_candidate() {
        let live = Live::Ours(generation(5));
        assert_eq!(since(&live, &generation(9)), Some(generation(5).ulid));
        assert_eq!(since(&live, &generation(2)), Some(generation(2).ulid));
        assert_eq!(since(&Live::NoTable, &generation(2)), None);
        assert!(bound(generation(5).ulid) < generation(5).ulid && bound(generation(5).ulid) > generation(4).ulid);
    }

    #[test]
    fn what_is_live_without_a_record_replaced_the_last_on_record_or_else_its_base() {
        let (home, base) = (home(), home().location().folder("blue"));
        assert_eq!(unrecorded(&home, &state(2, &[1, 2]), Some(&base)), None);
        let replaced = |flips| unrecorded(&home, &state(2, flips), Some(&base)).map(|(from, _)| from);
        assert_eq!(replaced(&[1]), Some(Some(home.generation(&generation(1)))));
        assert_eq!(replaced(&[]), Some(Some(base.clone())));
        assert_eq!(unrecorded(&home, &State { live: Live::NoTable, ..state(2, &[]) }, Some(&base)), None);
    }

    #[test]
    fn only_location_tells_what_became_of_an_update() {
        let replaced = Live::Ours(generation(1));
        let settled = |live, flips| super::settled(&generation(2), replaced.clone(), &state(live, flips), true);
        assert_eq!(settled(3, &[1, 2, 3]), Settled::NotLive);
        assert_eq!(settled(2, &[1, 2]), Settled::OnRecord);
        assert_eq!(settled(2, &[1, 9]), Settled::Replaced(Live::Ours(generation(9))));
        assert_eq!(settled(2, &[]), Settled::Replaced(Live::Ours(generation(1))));
        // A repair: the candidate was the last on record all the time.
        let repaired = super::settled(&generation(2), replaced.clone(), &state(2, &[1, 2]), false);
        assert_eq!(repaired, Settled::Replaced(replaced));
    }
}
