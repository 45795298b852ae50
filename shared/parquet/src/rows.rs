//! The rows to write to a generation.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::stream::BoxStream;
use turntable_core::{
    error::{Error, Result},
    layout::{Entry, Location},
};

/// A stream of record batches. Its memory use does not grow with the number of rows.
pub type Batches = BoxStream<'static, Result<RecordBatch>>;

/// All rows of a table. `copies` and `streams` together hold every row exactly once.
pub struct Rows {
    /// The schema of every batch. Column names are unique and lower case, as Glue stores them.
    pub schema: SchemaRef,
    /// Objects that S3 copies into the generation unchanged (passthrough).
    pub copies: Vec<Passthrough>,
    /// Streams of the other rows, which can be read concurrently.
    pub streams: Vec<Batches>,
}

/// A Parquet object that passes through unchanged: Athena can read it, and its columns are exactly those to write.
#[derive(Debug, Clone)]
pub struct Passthrough {
    pub entry: Entry,
    pub rows: u64,
}

/// Checks that a batch's columns have the types of the schema.
pub(super) fn check_schema(batch: &RecordBatch, schema: &SchemaRef, location: &Location) -> Result<()> {
    let types = |schema: &SchemaRef| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
    if Arc::ptr_eq(batch.schema_ref(), schema) || types(batch.schema_ref()) == types(schema) {
        return Ok(());
    }
    Err(Error::corrupt(format!(
        "{location}: the source returned rows that don't match its schema: this is a bug, please report it with the \
         source's columns"
    )))
}
