//! Rows on their way to a generation.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::stream::BoxStream;
use turntable_core::{error::Result, layout::Entry};

/// A stream of record batches. Memory does not grow with the number of rows.
pub type Batches = BoxStream<'static, Result<RecordBatch>>;

/// All rows of a table. Copies and streams together hold every row exactly once.
pub struct Rows {
    /// The schema of every batch. Names are unique and lower case, as Glue stores them.
    pub schema: SchemaRef,
    /// Objects that S3 copies into the generation unchanged (passthrough).
    pub copies: Vec<Passthrough>,
    /// Streams of the other rows, to be read concurrently.
    pub streams: Vec<Batches>,
}

/// A Parquet object that passes through unchanged: Athena can read it, and its columns are exactly those to be written.
#[derive(Debug, Clone)]
pub struct Passthrough {
    pub entry: Entry,
    pub rows: u64,
}
