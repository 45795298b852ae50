//! The drops of an inbox: listed, and read.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tracing::warn;

use super::{Reader, Rejects, Said, table};
use crate::{
    files::object::{Compression, told_by_name},
    inbox::spill_buffer::Pile,
};
use turntable_core::{
    config::Format,
    error::{Error, Kind, Result},
    layout::{Entry, Location, is_hidden},
    manifest::Drop,
    port::Objects,
};

/// A drop that was read, whatever was in it.
pub struct Read {
    pub drop: Drop,
    /// When it was put.
    pub put: Timestamp,
    pub rejects: Rejects,
}

/// All drops of the inbox. Names that begin with `_` or `.` are not drops.
pub async fn list(objects: &dyn Objects, inbox: &Location) -> Result<Vec<(Drop, Entry)>> {
    let entries = objects.list(inbox, None).await?;
    let drop = |entry: Entry| {
        let key = entry.key.key.strip_prefix(&inbox.prefix).filter(|key| !is_hidden(key))?.to_owned();
        Some((Drop { key, etag: entry.etag.clone() }, entry))
    };
    Ok(entries.into_iter().filter_map(drop).collect())
}

/// Drops that are read at the same time, and bytes of them: what bounds the memory. A drop of more than [`SMALL`] bytes
/// counts as [`LARGE`] at least, and one that is compressed as [`PACKED`], whatever it may hold.
const AT_ONCE: usize = 64;
const BYTES_AT_ONCE: u64 = 32 << 20;
const SMALL: u64 = 256 << 10;
const LARGE: u64 = 8 << 20;
const PACKED: u64 = 4 << 20;

/// Records of one refresh, about. What is left is for the next one, which follows at once.
pub const ENOUGH: usize = 6_000_000;

/// Reads drops, few at a time where they are large, until there are enough records: all of them in one pile, and the
/// drops. One that was overwritten or taken away since it was listed is left out: the next listing has it as it is now.
pub async fn read(
    objects: &Arc<dyn Objects>,
    reader: &Reader,
    drops: Vec<(Drop, Entry)>,
    enough: usize,
) -> Result<(Pile, Vec<Read>)> {
    let room = Arc::new(Semaphore::new(BYTES_AT_ONCE as usize));
    let read_one = |(drop, entry): (Drop, Entry)| {
        let room = room.clone();
        async move {
            let least = least(&entry);
            let bytes = u32::try_from(entry.size.clamp(least, BYTES_AT_ONCE)).unwrap_or(u32::MAX);
            let _room = room.acquire_many_owned(bytes).await;
            let put = entry.modified;
            Ok(one(objects, reader, entry).await?.map(|said| (drop, put, said)))
        }
    };
    let mut reads = stream::iter(drops).map(read_one).buffered(AT_ONCE);
    let (mut pile, mut all, mut records) = (reader.pile(), Vec::new(), 0);
    while let Some(read) = reads.try_next().await? {
        if let Some((drop, put, Said { records: said, rejects })) = read {
            records += said.len() + rejects.listed();
            pile.extend(said);
            all.push(Read { drop, put, rejects });
        }
        if records >= enough {
            break;
        }
    }
    Ok((pile, all))
}

fn least(entry: &Entry) -> u64 {
    match told_by_name(&entry.key.key) {
        _ if entry.size > SMALL => LARGE,
        (Some(Format::Csv | Format::Ndjson), Compression::None) => SMALL,
        _ => PACKED,
    }
}

async fn one(objects: &Arc<dyn Objects>, reader: &Reader, entry: Entry) -> Result<Option<Said>> {
    let name = entry.key.to_string();
    let said = match table::read(objects, reader, entry).await {
        Ok(said) => said,
        Err(error) if error.kind() == Kind::Conflict => {
            warn!(drop = name, error = error.report(), "a drop has changed while it was read");
            return Ok(None);
        }
        // What nobody can read is set aside whole; what only did not answer is not.
        Err(error) if error.kind() == Kind::Input => set_aside(reader, &error),
        Err(error) => return Err(error),
    };
    Ok(Some(said))
}

fn set_aside(reader: &Reader, error: &Error) -> Said {
    let mut said = Said::new(reader);
    said.rejects.whole(error.report());
    said
}
