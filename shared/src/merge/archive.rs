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
