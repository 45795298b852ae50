//! Moves drops that are long in the table out of the inbox, so that neither it nor live's list of them grows for ever.
//!
//! A move is a copy on the condition of the drop's ETag, then a deletion on the same condition. A drop that is
//! overwritten before the copy stays; one that is overwritten after it stays too, and its new content is a new drop.
//! A sweep that dies in between leaves both, and the next one does the same again. What has left the inbox leaves
//! live's list with the next merge; if that had listed the inbox before, then with the one after.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt, future, stream};
use jiff::Timestamp;

use super::{Budget, Look, Plan, Reason};
use crate::environment::World;
use turntable_core::{
    config::{Dataset, Inbox},
    error::{Kind, Result},
    manifest::Drop,
    optout::archive,
    port::Entry,
};
use turntable_sources::inbox;

/// What was moved of an inbox, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Archived {
    pub drops: u64,
    pub bytes: u64,
    /// Whether something is left that may go.
    pub more: bool,
}

/// Drops that are moved at the same time.
const AT_ONCE: usize = 16;

/// The drops that may leave the inbox and are still in it, after this plan was carried out.
pub async fn archivable(
    world: &World,
    dataset: &Dataset,
    inbox: &Inbox,
    look: &Look,
    plan: &Plan,
    now: Timestamp,
) -> Result<Vec<(Drop, Entry)>> {
    let once_live = |reason: &Reason| !matches!(reason, Reason::Candidate | Reason::Unfinished);
    let kept = plan.kept.iter().filter(|kept| once_live(&kept.reason)).map(|kept| kept.generation.ulid);
    let Some(oldest) = kept.min() else { return Ok(Vec::new()) };
    let of = archive::archivable(&look.consumed, &look.state.flips, oldest, dataset.retain.drain, now);
    let mut may: Vec<&Drop> = of.collect();
    if may.is_empty() {
        return Ok(Vec::new());
    }
    let mut there: HashMap<Drop, Entry> = inbox::list(&*world.objects, &inbox.location).await?.into_iter().collect();
    may.sort_unstable();
    Ok(may.into_iter().filter_map(|drop| there.remove_entry(drop)).collect())
}

/// Moves as many as the budget has room for. Each counts as one object.
pub async fn archive(world: &World, inbox: &Inbox, drops: Vec<(Drop, Entry)>, budget: &Budget) -> Result<Archived> {
    let (all, until) = (drops.len(), budget.until);
    let mut share = budget.take(all);
    let moved: Vec<Option<u64>> = stream::iter(drops.into_iter().take(share.objects))
        .take_while(|_| future::ready(world.clock.now() < until))
        .map(|(drop, entry)| one(world, inbox, drop, entry))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    share.used(moved.len());
    let sizes = moved.iter().flatten();
    Ok(Archived { drops: sizes.clone().count() as u64, bytes: sizes.sum(), more: moved.len() < all })
}

/// The drop's bytes; `None` where it has changed meanwhile: what is there now is a new drop, and stays.
async fn one(world: &World, inbox: &Inbox, drop: Drop, entry: Entry) -> Result<Option<u64>> {
    let to = archive::archived(&inbox.location, &drop);
    match world.objects.copy(&entry.key, &drop.etag, &to).await {
        Ok(_) => Ok(world.objects.delete_if(&entry.key, &drop.etag).await?.then_some(entry.size)),
        Err(error) if error.kind() == Kind::Conflict => Ok(None),
        Err(error) => Err(error),
    }
}
