//! Rows on their way to a generation.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::stream::BoxStream;
use turntable_core::{error::Result, layout::Entry};

/// Rows on their way, a batch at a time, in memory that does not grow with their number.
pub type Batches = BoxStream<'static, Result<RecordBatch>>;

/// All rows of a table. Together, the copies and the streams hold each row once.
pub struct Rows {
    /// The schema of every batch. Names are lower case, as Glue keeps them, and unique.
    pub schema: SchemaRef,
    /// Objects that go into the generation as they are.
    pub copies: Vec<Copy>,
    /// Streams of all other rows, to be read at the same time.
    pub streams: Vec<Batches>,
}

/// A Parquet object of the very columns that are written, and readable by Athena.
#[derive(Debug, Clone)]
pub struct Copy {
    pub entry: Entry,
    pub rows: u64,
}
