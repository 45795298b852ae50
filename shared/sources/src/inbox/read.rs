//! Lists and reads the drops in an inbox.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use tokio::sync::{OnceCell, Semaphore};
use tracing::warn;

use super::{
    control,
    limits::Limits,
    reader::{ParsedDrop, Reader},
    reject::Rejects,
    spill_buffer::SpillBuffer,
    table,
};
use crate::files::object::{Compression, format_by_name};
use turntable_core::{
    config::Format,
    error::{Error, Kind, Result},
    layout::{Entry, Key, Location, is_hidden},
    manifest::InboxObject,
    port::Objects,
};

/// A drop that was read, whether its records were valid or not.
pub struct Read {
    pub drop: InboxObject,
    /// When the object was last modified.
    pub put: Timestamp,
    /// The size of the object, in bytes.
    pub size: u64,
    pub rejects: Rejects,
    /// Whether a valid record has the state that opts a person in again.
    pub opts_in: bool,
}

/// Lists all drops in the inbox, without hidden objects such as those under `_archive/` and `_rejected/`.
pub async fn list(objects: &dyn Objects, inbox: &Location) -> Result<Vec<(InboxObject, Entry)>> {
    Ok(drops(inbox, objects.list(inbox, None).await?))
}

/// A part of an inbox's listing: the drops up to some key.
#[derive(Debug, Default)]
pub struct Listing {
    pub drops: Vec<(InboxObject, Entry)>,
    /// The last object that was listed. `None` if there are no more.
    pub last: Option<Key>,
}

impl Listing {
    /// Returns whether the listing would have this drop if it were in the inbox.
    pub fn reaches(&self, inbox: &Location, drop: &InboxObject) -> bool {
        self.last.as_ref().is_none_or(|last| inbox.key(&drop.key).key <= last.key)
    }
}

/// Lists drops like [`list`], from the object after `after` on. Stops when `most` objects have been listed, hidden ones
/// included.
pub async fn list_from(objects: &dyn Objects, inbox: &Location, after: Option<&Key>, most: usize) -> Result<Listing> {
    let (entries, more) = objects.list_some(inbox, after, most).await?;
    let last = entries.last().filter(|_| more).map(|entry| entry.key.clone());
    Ok(Listing { drops: drops(inbox, entries), last })
}

fn drops(inbox: &Location, entries: Vec<Entry>) -> Vec<(InboxObject, Entry)> {
    let drop = |entry: Entry| {
        let key = entry.key.key.strip_prefix(&inbox.prefix).filter(|key| !is_hidden(key))?.to_owned();
        Some((InboxObject { key, etag: entry.etag.clone() }, entry))
    };
    entries.into_iter().filter_map(drop).collect()
}

/// The maximum number of drops that are read at the same time.
const MAX_CONCURRENT_DROPS: usize = 64;
/// The maximum total cost, in bytes, of the drops that are read at the same time. It limits memory. The cost of a drop
/// is its size, but at least [`min_cost`] and at most this limit.
const MAX_CONCURRENT_BYTES: u64 = 32 << 20;
/// The maximum size of a drop, in bytes. Sweep copies drops to the archive, and S3 copies at most this much with one
/// request.
pub const MAX_DROP_BYTES: u64 = 5 << 30;
/// The maximum size of a small drop, in bytes.
const SMALL_DROP_BYTES: u64 = 256 << 10;
/// The minimum cost, in bytes, of a drop larger than [`SMALL_DROP_BYTES`].
const LARGE_DROP_COST: u64 = 8 << 20;
/// The minimum cost, in bytes, of a small drop that is compressed or Parquet, because reading it can take far more
/// memory than its size.
const PACKED_DROP_COST: u64 = 4 << 20;

/// Reads drops concurrently until one of the limits is reached. Returns the records of all these drops in one spill
/// buffer, and the drops.
///
/// A drop that has been overwritten or deleted since it was listed is skipped; the next listing shows its current
/// state.
pub async fn read(
    objects: &Arc<dyn Objects>,
    reader: &Reader,
    mut drops: Vec<(InboxObject, Entry)>,
    limits: &Limits,
) -> Result<(SpillBuffer, Vec<Read>)> {
    drops.truncate(limits.drops);
    let room = Arc::new(Semaphore::new(MAX_CONCURRENT_BYTES as usize));
    let readable = OnceCell::new();
    let read_one = |(drop, entry): (InboxObject, Entry)| {
        let (room, readable) = (room.clone(), &readable);
        async move {
            let cost = entry.size.clamp(min_cost(&entry), MAX_CONCURRENT_BYTES);
            let _room = room.acquire_many_owned(u32::try_from(cost).unwrap_or(u32::MAX)).await;
            let (put, size) = (entry.modified, entry.size);
            let mut reader = reader.clone();
            if let Some(rules) = &limits.rules {
                reader.states = rules.accepts.of(&drop.key);
            }
            let parsed = match read_drop(objects, &reader, entry).await {
                Err(error) if error.kind() == Kind::Config => {
                    unserved(objects, &reader, limits, readable, error).await?
                }
                parsed => parsed?,
            };
            Ok::<_, Error>((drop, put, size, parsed))
        }
    };
    let mut reads = stream::iter(drops).map(read_one).buffered(MAX_CONCURRENT_DROPS);
    let (mut spill_buffer, mut all, mut records, mut bytes) = (reader.spill_buffer(), Vec::new(), 0, 0_u64);
    while let Some((drop, put, size, parsed)) = reads.try_next().await? {
        bytes = bytes.saturating_add(size);
        if let Some(ParsedDrop { records: said, rejects, opts_in }) = parsed {
            records += said.len() as u64 + rejects.count;
            spill_buffer.extend(said);
            all.push(Read { drop, put, size, rejects, opts_in });
        }
        if records >= limits.records || bytes >= limits.bytes || (limits.is_late)() {
            break;
        }
    }
    Ok((spill_buffer, all))
}

/// Rejects a whole drop that S3 refused to serve, if the function can read the inbox. Otherwise returns S3's error,
/// because then the function's role or the bucket is at fault, not the drop.
async fn unserved(
    objects: &Arc<dyn Objects>,
    reader: &Reader,
    limits: &Limits,
    readable: &OnceCell<bool>,
    refused: Error,
) -> Result<Option<ParsedDrop>> {
    let Some(rules) = &limits.rules else { return Err(refused) };
    if !*readable.get_or_try_init(|| control::is_readable(&**objects, &rules.inbox)).await? {
        return Err(refused);
    }
    let mut said = ParsedDrop::new(reader);
    said.rejects.add_whole_drop(control::reason(&refused));
    Ok(Some(said))
}

/// Returns the minimum cost of a drop, in bytes, by its size, format and compression.
fn min_cost(entry: &Entry) -> u64 {
    match format_by_name(&entry.key.key) {
        _ if entry.size > SMALL_DROP_BYTES => LARGE_DROP_COST,
        (Some(Format::Csv | Format::Ndjson), Compression::None) => SMALL_DROP_BYTES,
        _ => PACKED_DROP_COST,
    }
}

/// Reads one drop. Returns `None` if the drop has changed since it was listed. An unreadable drop is rejected whole.
async fn read_drop(objects: &Arc<dyn Objects>, reader: &Reader, entry: Entry) -> Result<Option<ParsedDrop>> {
    let name = entry.key.to_string();
    if entry.size > MAX_DROP_BYTES {
        return Ok(Some(reject_whole(reader, &Error::input(format!("{name} is larger than 5 GiB: split the drop")))));
    }
    let said = match table::read(objects, reader, entry).await {
        Ok(said) => said,
        Err(error) if error.kind() == Kind::Conflict => {
            warn!(drop = name, error = error.report(), "drop changed while it was read; left for the next refresh");
            return Ok(None);
        }
        Err(error) if error.kind() == Kind::Input => reject_whole(reader, &error),
        // Other errors, for example if S3 is unavailable, may not recur, so the refresh fails and is retried.
        Err(error) => return Err(error),
    };
    Ok(Some(said))
}

fn reject_whole(reader: &Reader, error: &Error) -> ParsedDrop {
    let mut said = ParsedDrop::new(reader);
    said.rejects.add_whole_drop(error.report());
    said
}
