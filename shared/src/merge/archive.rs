//! Which drops may leave the inbox. Only `sweep` moves them.

use jiff::{SignedDuration, Timestamp};

use crate::{
    manifest::{Drop, Manifest},
    name::{Key, Location},
    record::Flip,
};

/// The drops that live has consumed for longer than the drain. `flips` are those on record, in order; without one
/// that is older than the drain nothing may go, and a drop that is needed again after an un-flip is still there.
///
/// Generations of a merge are made from one another and their ULIDs grow: what was live when the drain began has
/// consumed whatever older generations had.
pub fn archivable<'a>(
    live: &'a Manifest,
    flips: &[Flip],
    drain: SignedDuration,
    now: Timestamp,
) -> impl Iterator<Item = &'a Drop> {
    let drained = now.checked_sub(drain).ok();
    let settled = flips.iter().rfind(|flip| drained.is_some_and(|drained| flip.at <= drained)).map(|flip| flip.to.ulid);
    let consumed = live.merge.iter().flat_map(|merge| &merge.consumed);
    consumed.filter(move |consumed| settled.is_some_and(|settled| consumed.by.ulid <= settled)).flat_map(|by| &by.drops)
}

/// Where a drop goes: with its ETag, because another content may come under the same key.
pub fn archived(inbox: &Location, drop: &Drop) -> Key {
    inbox.key(&format!("_archive/{}-{}", drop.key, drop.etag))
}

#[cfg(test)]
mod tests {
    use ulid::Ulid;

    use super::*;
    use crate::{
        manifest::{Consumed, Merge, TypedBy, VERSION},
        name::{Colour, Generation},
        record::By,
    };

    fn generation(number: u64) -> Generation {
        Generation { colour: Colour::Blue, ulid: Ulid::from_parts(number, 0) }
    }

    #[test]
    fn a_drop_leaves_when_what_has_consumed_it_was_live_for_the_drain() {
        let drop = |number: u64| Drop { key: format!("{number}.csv"), etag: "e".into() };
        let consumed = (1..=3).map(|by| Consumed { by: generation(by), drops: vec![drop(by)] }).collect();
        let live = Manifest {
            version: VERSION,
            dataset: "o".into(),
            generation: generation(3),
            location: "s3://lake/o/blue-3".parse().unwrap(),
            base: None,
            as_of: Timestamp::UNIX_EPOCH,
            created_at: Timestamp::UNIX_EPOCH,
            spec: String::new(),
            typed_by: TypedBy::Declared,
            columns: vec![],
            rows: 0,
            bytes: 0,
            files: vec![],
            merge: Some(Merge { buckets: 1, consumed }),
        };
        let minute = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        let flip = |to: u64, at: i64| Flip {
            dataset: "o".into(),
            at: minute(at),
            from: None,
            to: generation(to),
            by: By::Event,
            why: None,
            canary: None,
        };
        let flips = [flip(1, 10), flip(2, 20), flip(3, 90)];
        let at = |now: i64| archivable(&live, &flips, SignedDuration::from_hours(1), minute(now)).count();
        assert_eq!([69, 70, 80, 100, 149, 150].map(at), [0, 1, 2, 2, 2, 3]);
        assert_eq!(archivable(&live, &[], SignedDuration::ZERO, minute(999)).count(), 0);
    }
}
