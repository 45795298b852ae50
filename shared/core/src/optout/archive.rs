//! Which drops may leave the inbox, and where they go. Only `sweep` moves them.

use jiff::{SignedDuration, Timestamp};
use ulid::Ulid;

use crate::{
    layout::{Key, LONGEST_KEY, Location},
    manifest::{Consumed, Drop},
    record::Flip,
};

/// Where archived drops lie in the inbox's bucket. No event rule looks there, no inbox lists it, and one lifecycle rule
/// can end it.
const ARCHIVE: &str = "_archive/";

/// The drops that may leave: live has consumed them (`consumed` is its manifest's), the generation that was the first to
/// do so went live longer ago than `drain`, and so has every generation that is still there and was live once, the
/// oldest of which is `oldest`. Whatever the table is set back to, the drops that it lacks are still in the inbox.
///
/// `flips` are those on record, in order. Generations of a merge are made from one another and their ULIDs grow: what
/// was live when the drain began has consumed whatever older generations had.
pub fn archivable<'a>(
    consumed: &'a [Consumed],
    flips: &[(Ulid, Flip)],
    oldest: Ulid,
    drain: SignedDuration,
    now: Timestamp,
) -> impl Iterator<Item = &'a Drop> {
    let drained = now.checked_sub(drain).ok();
    let flipped = flips.iter().rfind(|(_, flip)| drained.is_some_and(|drained| flip.at <= drained));
    let settled = flipped.map(|(_, flip)| flip.to.ulid.min(oldest));
    consumed
        .iter()
        .filter(move |consumed| settled.is_some_and(|settled| consumed.by.ulid <= settled))
        .flat_map(|by| &by.drops)
}

/// Where a drop goes: `_archive/INBOX/ETAG/KEY`. The ETag, because another content may come under the same key; before
/// the key, because the name tells the format, should somebody put it back.
pub fn archived(inbox: &Location, drop: &Drop) -> Key {
    let key = |name: &str| format!("{ARCHIVE}{}{}/{name}", inbox.prefix, drop.etag);
    let whole = Some(key(&drop.key)).filter(|key| key.len() <= LONGEST_KEY);
    Key { bucket: inbox.bucket.clone(), key: whole.unwrap_or_else(|| key(&drop.hashed())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layout::{Colour, Generation},
        record::By,
    };

    fn generation(number: u64) -> Generation {
        Generation { colour: Colour::Blue, ulid: Ulid::from_parts(number, 0) }
    }

    #[test]
    fn a_drop_leaves_when_what_has_consumed_it_was_live_for_the_drain_and_nothing_older_is_left() {
        let drop = |number: u64| Drop { key: format!("{number}.csv"), etag: "e".into() };
        let consumed: Vec<Consumed> =
            (1..=3).map(|by| Consumed { by: generation(by), drops: vec![drop(by)] }).collect();
        let minute = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        let flip = |to: u64, at: i64| {
            let flip = Flip {
                dataset: "o".into(),
                at: minute(at),
                from: None,
                to: generation(to),
                by: By::Event,
                why: None,
                canary: None,
            };
            (Ulid::from_parts(at as u64, 0), flip)
        };
        let flips = [flip(1, 10), flip(2, 20), flip(3, 90)];
        let hour = SignedDuration::from_hours(1);
        let at =
            |now: i64, oldest: u64| archivable(&consumed, &flips, generation(oldest).ulid, hour, minute(now)).count();
        assert_eq!([69, 70, 80, 100, 149, 150].map(|now| at(now, 3)), [0, 1, 2, 2, 2, 3]);
        assert_eq!([1, 2, 3].map(|oldest| at(150, oldest)), [1, 2, 3]);
        assert_eq!(archivable(&consumed, &[], generation(3).ulid, SignedDuration::ZERO, minute(999)).count(), 0);
    }

    #[test]
    fn an_archived_drop_keeps_its_name() {
        let drop = Drop { key: "2026/a.csv.gz".into(), etag: "e-2".into() };
        let at = archived(&"s3://lake/inbox/optouts".parse().unwrap(), &drop);
        assert_eq!(at.to_string(), "s3://lake/_archive/inbox/optouts/e-2/2026/a.csv.gz");
        let longest = Drop { key: "a".repeat(1010), etag: "e".into() };
        assert!(archived(&"s3://lake/inbox/optouts".parse().unwrap(), &longest).key.len() < 120);
    }
}
