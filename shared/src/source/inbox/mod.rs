//! Drops: what applications put into an inbox → records, and what could not be understood.
//!
//! A drop is CSV with a header, NDJSON or Parquet (the first two also as .gz and .zst): the key's columns, `state` and
//! `occurred_at`; other columns are ignored. A bad record never stops the good ones.

mod parquet;
mod record;
pub mod reject;
mod table;
mod text;

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tracing::warn;

pub use super::files::listing::is_hidden;
use crate::{
    error::{Error, Kind, Result},
    manifest::Drop,
    merge::{key::Key, run::Run},
    name::Location,
    port::{Entry, Objects},
};
pub use reject::Rejects;
pub use table::records;

/// What reading needs to know.
#[derive(Clone)]
pub struct Reader {
    pub key: Key,
    pub now: Timestamp,
}

/// What a drop, or several, have said.
pub struct Said {
    pub records: Run,
    pub rejects: Rejects,
}

impl Said {
    pub fn new(key: &Key) -> Said {
        Said { records: Run::new(key.width()), rejects: Rejects::default() }
    }
}

/// A drop that was read, whatever was in it.
pub struct Read {
    pub drop: Drop,
    pub said: Said,
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

/// Drops that are read at the same time, and bytes of them: what bounds the memory.
const AT_ONCE: usize = 64;
const BYTES_AT_ONCE: u64 = 64 << 20;

/// Records of one refresh, about. What is left is for the next one, which follows at once.
pub const ENOUGH: usize = 6_000_000;

/// Reads drops, one after the other where they are large, until there are enough records. A drop that was overwritten
/// or taken away since it was listed is left out: the next listing has it as it is now.
pub async fn read(
    objects: &Arc<dyn Objects>,
    reader: &Reader,
    drops: Vec<(Drop, Entry)>,
    enough: usize,
) -> Result<Vec<Read>> {
    let room = Arc::new(Semaphore::new(BYTES_AT_ONCE as usize));
    let read_one = |(drop, entry): (Drop, Entry)| {
        let room = room.clone();
        async move {
            let bytes = u32::try_from(entry.size.clamp(1, BYTES_AT_ONCE)).unwrap_or(u32::MAX);
            let _room = room.acquire_many_owned(bytes).await;
            one(objects, reader, drop, entry).await
        }
    };
    let mut reads = stream::iter(drops).map(read_one).buffered(AT_ONCE);
    let (mut all, mut records) = (Vec::new(), 0);
    while let Some(read) = reads.try_next().await? {
        if let Some(read) = read {
            records += read.said.records.len();
            all.push(read);
        }
        if records >= enough {
            break;
        }
    }
    Ok(all)
}

async fn one(objects: &Arc<dyn Objects>, reader: &Reader, drop: Drop, entry: Entry) -> Result<Option<Read>> {
    let name = entry.key.to_string();
    let said = match table::read(objects, reader, entry).await {
        Ok(said) => said,
        Err(error) if error.kind() == Kind::Conflict => {
            warn!(drop = name, error = error.report(), "a drop has changed while it was read");
            return Ok(None);
        }
        // What nobody can read is set aside whole; what only did not answer is not.
        Err(error) if error.kind() == Kind::Input => set_aside(&reader.key, &error),
        Err(error) => return Err(error),
    };
    Ok(Some(Read { drop, said }))
}

fn set_aside(key: &Key, error: &Error) -> Said {
    let mut said = Said::new(key);
    said.rejects.whole(error.report());
    said
}
