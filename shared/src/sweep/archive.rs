//! Moves old consumed drops out of the inbox. Otherwise, the inbox and live's list of consumed drops would grow
//! forever.
//!
//! A move is a copy that is conditional on the drop's ETag, and then a deletion with the same condition:
//!
//! - A drop that is overwritten before the copy stays in the inbox.
//! - A drop that is overwritten after the copy stays too, and its new content is a new drop.
//! - A sweep that dies between the copy and the deletion leaves both objects, and the next sweep repeats the move.
//!
//! The next merge removes a moved drop from live's list of consumed drops. If that merge listed the inbox before the
//! move, the merge after it does.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt, future, stream};
use jiff::Timestamp;
use tracing::warn;

use super::{act::Budget, contents::TableContents};
use crate::environment::Environment;
use turntable_core::{
    config::{Dataset, Inbox},
    error::{Kind, Result},
    manifest::InboxObject,
    optout::archive,
    port::Entry,
    sweep::{Plan, Reason},
};
use turntable_sources::inbox::{self, MAX_DROP_BYTES, control};

/// The number and the size of the drops that were moved out of an inbox or, in a dry run, would be moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Archived {
    pub drops: u64,
    pub bytes: u64,
    /// Whether drops remain that could be moved.
    pub more: bool,
}

/// The maximum number of drops that are moved at the same time.
const MAX_CONCURRENT_MOVES: usize = 16;

/// Returns the drops that are still in the inbox and may leave it once the plan is carried out.
pub async fn archivable(
    env: &Environment,
    dataset: &Dataset,
    inbox: &Inbox,
    loaded: &TableContents,
    plan: &Plan,
    now: Timestamp,
) -> Result<Vec<(InboxObject, Entry)>> {
    let once_live = |reason: &Reason| !matches!(reason, Reason::Candidate | Reason::Unfinished);
    let kept = plan.kept.iter().filter(|kept| once_live(&kept.reason)).map(|kept| kept.generation.ulid);
    let Some(oldest) = kept.min() else { return Ok(Vec::new()) };
    let Some(merge) = loaded.live_manifest.as_ref().and_then(|live| live.merge.as_ref()) else { return Ok(Vec::new()) };
    let of = archive::archivable(&merge.consumed, &loaded.state.flips, oldest, dataset.retain.drain, now);
    let mut may: Vec<&InboxObject> = of.collect();
    if may.is_empty() {
        return Ok(Vec::new());
    }
    let mut there: HashMap<InboxObject, Entry> =
        inbox::list(&*env.objects, &inbox.location).await?.into_iter().collect();
    may.sort_unstable();
    Ok(may.into_iter().filter_map(|drop| there.remove_entry(drop)).collect())
}

/// Moves drops to the archive, as many as the budget allows. Each drop counts as one object.
pub async fn archive(
    env: &Environment,
    inbox: &Inbox,
    drops: Vec<(InboxObject, Entry)>,
    budget: &Budget,
) -> Result<Archived> {
    let (all, until) = (drops.len(), budget.until);
    let mut share = budget.take(all);
    let moved: Vec<Option<u64>> = stream::iter(drops.into_iter().take(share.objects))
        .take_while(|_| future::ready(env.clock.now() < until))
        .map(|(drop, entry)| move_drop(env, inbox, drop, entry))
        .buffer_unordered(MAX_CONCURRENT_MOVES)
        .try_collect()
        .await?;
    share.used(moved.len());
    let sizes = moved.iter().flatten();
    Ok(Archived { drops: sizes.clone().count() as u64, bytes: sizes.sum(), more: moved.len() < all })
}

/// Moves one drop and returns its size in bytes. Returns `None` if it stays in the inbox, because S3 can't copy it, or
/// because it has been overwritten since the listing and is a new drop.
async fn move_drop(env: &Environment, inbox: &Inbox, drop: InboxObject, entry: Entry) -> Result<Option<u64>> {
    let to = archive::archived(&inbox.location, &drop);
    if entry.size > MAX_DROP_BYTES {
        warn!(drop = %entry.key, bytes = entry.size, "drop stays in the inbox, because S3 can't copy more than 5 GiB at once");
        return Ok(None);
    }
    match env.objects.copy(&entry.key, &drop.etag, &to).await {
        Ok(_) => Ok(env.objects.delete_if(&entry.key, &drop.etag).await?.then_some(entry.size)),
        Err(error) if error.kind() == Kind::Conflict => Ok(None),
        Err(error) if error.kind() == Kind::Config && can_archive(env, inbox).await? => {
            warn!(drop = %entry.key, error = error.report(), "drop stays in the inbox, because S3 doesn't serve it");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Returns whether sweep can copy objects from the inbox to the archive. Tries it with the control object that `optout`
/// wrote when S3 refused to serve a drop. If there is no control object, no drop has been refused.
async fn can_archive(env: &Environment, inbox: &Inbox) -> Result<bool> {
    let from = control::key(&inbox.location);
    let control = async {
        let Some(entry) = env.objects.head(&from).await? else { return Ok(false) };
        let drop = InboxObject { key: control::NAME.into(), etag: entry.etag.clone() };
        env.objects.copy(&from, &entry.etag, &archive::archived(&inbox.location, &drop)).await.map(|_| true)
    };
    match control.await {
        Err(error) if matches!(error.kind(), Kind::Config | Kind::Conflict) => Ok(false),
        works => works,
    }
}
