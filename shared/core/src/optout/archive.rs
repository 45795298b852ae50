//! Decides which drops may leave the inbox, and where they go. Only `sweep` moves them.

use jiff::{SignedDuration, Timestamp};
use ulid::Ulid;

use crate::{
    layout::{Key, Location, MAX_KEY_BYTES},
    manifest::{Consumed, InboxObject},
    record::Flip,
};

/// The folder for archived drops, in the inbox's S3 bucket. No event rule matches the folder, no inbox lists it, and
/// one lifecycle rule can expire its objects.
const ARCHIVE: &str = "_archive/";

/// Returns the drops that may leave the inbox. `consumed` is the list in live's manifest, and `flips` contains the
/// flips on record, in order. A drop may leave if all of these are true:
///
/// - Live has consumed it.
/// - The generation that was live `drain` ago had consumed it.
/// - Every generation that was live and still exists has consumed it. `oldest` is the oldest of these generations.
///
/// So if the table is set back to one of these generations, every drop that it lacks is still in the inbox.
///
/// Comparing ULIDs is enough: each merge is made from the one before, and its ULID is later. So a generation that was
/// live has consumed everything that earlier ones had consumed.
pub fn archivable<'a>(
    consumed: &'a [Consumed],
    flips: &[(Ulid, Flip)],
    oldest: Ulid,
    drain: SignedDuration,
    now: Timestamp,
) -> impl Iterator<Item = &'a InboxObject> {
    let drained = now.checked_sub(drain).ok();
    let flipped = flips.iter().rfind(|(_, flip)| drained.is_some_and(|drained| flip.at <= drained));
    let settled = flipped.map(|(_, flip)| flip.to.ulid.min(oldest));
    consumed
        .iter()
        .filter(move |consumed| settled.is_some_and(|settled| consumed.by.ulid <= settled))
        .flat_map(|by| &by.drops)
}

/// Returns the folder for an inbox's archived drops.
pub fn archive_of(inbox: &Location) -> Location {
    Location { bucket: inbox.bucket.clone(), prefix: format!("{ARCHIVE}{}", inbox.prefix) }
}

/// Returns the key of an archived drop: `_archive/INBOX/ETAG/KEY`.
///
/// The ETag keeps apart drops that had the same key but different content. The drop's own key comes last, because its
/// file extension shows the format if somebody puts the drop back. If the result would be longer than S3 allows, a hash
/// replaces the drop's key.
pub fn archived(inbox: &Location, drop: &InboxObject) -> Key {
    let folder = archive_of(inbox).folder(&drop.etag);
    let whole = Some(folder.key(&drop.key)).filter(|key| key.key.len() <= MAX_KEY_BYTES);
    whole.unwrap_or_else(|| folder.key(&drop.hashed()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layout::{Colour, Generation},
        record::FlipOrigin,
    };

    fn generation(number: u64) -> Generation {
        Generation { colour: Colour::Blue, ulid: Ulid::from_parts(number, 0) }
    }

    #[test]
    fn drop_may_leave_after_the_drain_once_no_generation_lacks_it() {
        let drop = |number: u64| InboxObject { key: format!("{number}.csv"), etag: "e".into() };
        let consumed: Vec<Consumed> =
            (1..=3).map(|by| Consumed { by: generation(by), drops: vec![drop(by)] }).collect();
        let minute = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        let flip = |to: u64, at: i64| {
            let flip = Flip {
                dataset: "o".into(),
                at: minute(at),
                from: None,
                to: generation(to),
                by: FlipOrigin::Event,
                why: None,
                canary: None,
                adopted: None,
                request_id: None,
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
    fn archived_drop_keeps_its_name_unless_too_long() {
        let drop = InboxObject { key: "2026/a.csv.gz".into(), etag: "e-2".into() };
        let at = archived(&"s3://lake/inbox/optouts".parse().unwrap(), &drop);
        assert_eq!(at.to_string(), "s3://lake/_archive/inbox/optouts/e-2/2026/a.csv.gz");
        let longest = InboxObject { key: "a".repeat(1010), etag: "e".into() };
        assert!(archived(&"s3://lake/inbox/optouts".parse().unwrap(), &longest).key.len() < 120);
    }
}
