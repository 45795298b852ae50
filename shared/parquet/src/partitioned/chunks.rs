//! Merges a source's streams, and divides them into chunks of rows.

use arrow_array::RecordBatch;
use futures::{
    StreamExt,
    stream::{BoxStream, select_all},
};
use turntable_core::error::Result;

use super::split::Placed;
use crate::{
    rows::{Batches, Rows, check_schema},
    target::Target,
};

/// The number of rows at which a chunk is complete. A chunk is split into partitions in one step.
const CHUNK_ROWS: usize = 1 << 18;
/// The in-memory size, in bytes, at which a chunk is complete.
pub(super) const CHUNK_BYTES: usize = 16 << 20;

pub(super) type PlacedRows = BoxStream<'static, Result<Placed>>;

/// Merges all streams into one, in the order in which their batches arrive.
pub(super) fn placed_rows(rows: Rows, target: &Target) -> PlacedRows {
    let Rows { schema, streams, .. } = rows;
    let count = streams.len();
    let place = |(at, batches): (usize, Batches)| {
        let (schema, location) = (schema.clone(), target.location.clone());
        // Rows are numbered from 1, for error messages. Most streams must not be polled after their end, hence `fuse`
        // below.
        let mut row = 1;
        let place = move |batch: Result<RecordBatch>| {
            let batch = batch?;
            check_schema(&batch, &schema, &location)?;
            let placed = Placed { stream: (at, count), row, batch };
            row += placed.batch.num_rows() as u64;
            Ok(placed)
        };
        batches.map(place).fuse().boxed()
    };
    select_all(streams.into_iter().enumerate().map(place)).fuse().boxed()
}

/// Returns the next rows, or an empty chunk at the end of the stream.
pub(super) async fn next_chunk(rows: &mut PlacedRows) -> Result<Vec<Placed>> {
    let (mut chunk, mut count, mut bytes) = (Vec::new(), 0, 0);
    while count < CHUNK_ROWS && bytes < CHUNK_BYTES {
        let Some(placed) = rows.next().await.transpose()? else { break };
        if placed.batch.num_rows() == 0 {
            continue;
        }
        count += placed.batch.num_rows();
        bytes += placed.batch.get_array_memory_size();
        chunk.push(placed);
    }
    Ok(chunk)
}
