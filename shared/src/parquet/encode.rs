//! Rows → the column chunks of a row group, on several threads.

use std::{
    io,
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use arrow_array::RecordBatch;
use arrow_schema::{FieldRef, SchemaRef};
use parquet::{
    arrow::{
        ArrowSchemaConverter,
        arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves},
    },
    errors::Result,
    file::{
        properties::{WriterProperties, WriterPropertiesPtr},
        writer::SerializedFileWriter,
    },
    schema::types::SchemaDescPtr,
};

/// What the files of one table have in common.
pub(super) struct Columns {
    pub schema: SchemaRef,
    pub parquet: SchemaDescPtr,
    pub properties: WriterPropertiesPtr,
    /// How many columns of Parquet each field of the schema has: more than one where it nests.
    leaves: Vec<usize>,
    writers: ArrowRowGroupWriterFactory,
}

impl Columns {
    pub(super) fn new(schema: SchemaRef, properties: WriterProperties) -> Result<Self> {
        let parquet = ArrowSchemaConverter::new().with_coerce_types(properties.coerce_types()).convert(&schema)?;
        let mut leaves = vec![0; schema.fields().len()];
        for leaf in 0..parquet.num_columns() {
            leaves[parquet.get_column_root_idx(leaf)] += 1;
        }
        let properties = Arc::new(properties);
        let file = SerializedFileWriter::new(io::sink(), parquet.root_schema_ptr(), properties.clone())?;
        let writers = ArrowRowGroupWriterFactory::new(&file, schema.clone());
        Ok(Self { schema, parquet: Arc::new(parquet), properties, leaves, writers })
    }
}

/// Builds one row group after the other. Its methods take their time: call them where blocking is allowed.
pub(super) struct Encoder {
    columns: Arc<Columns>,
    threads: usize,
    /// Of the row group that is being built: one writer a leaf, in the order of the schema. Empty before its first row.
    writers: Vec<ArrowColumnWriter>,
    rows: u64,
}

/// An encoded row group.
pub(super) struct RowGroup {
    pub columns: Vec<ArrowColumnChunk>,
    pub rows: u64,
    /// Bytes.
    pub size: u64,
}

impl Encoder {
    pub(super) fn new(columns: Arc<Columns>, threads: usize) -> Self {
        Self { columns, threads, writers: Vec::new(), rows: 0 }
    }

    /// Of the row group that is being built.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes that the row group would have if it ended here, about: full pages are compressed, the last ones not yet.
    pub(super) fn size(&self) -> u64 {
        self.writers.iter().map(|writer| writer.get_estimated_total_bytes() as u64).sum()
    }

    /// Appends the batches to every column. Whichever thread is free takes the next column.
    pub(super) fn encode(&mut self, batches: &[RecordBatch]) -> Result<()> {
        if self.writers.is_empty() {
            // The ordinal matters to encrypted files only.
            self.writers = self.columns.writers.create_column_writers(0)?;
        }
        let mut writers = self.writers.iter_mut();
        let fields = self.columns.schema.fields().iter().zip(&self.columns.leaves).enumerate();
        let columns: Vec<(usize, &FieldRef, Vec<&mut ArrowColumnWriter>)> =
            fields.map(|(n, (field, leaves))| (n, field, writers.by_ref().take(*leaves).collect())).collect();
        in_parallel(self.threads, columns, |(n, field, mut writers)| {
            for batch in batches {
                let leaves = compute_leaves(field, batch.column(n))?;
                for (writer, leaf) in writers.iter_mut().zip(&leaves) {
                    writer.write(leaf)?;
                }
            }
            Ok(())
        })?;
        self.rows += batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
        Ok(())
    }

    pub(super) fn finish_row_group(&mut self) -> Result<RowGroup> {
        let writers = std::mem::take(&mut self.writers);
        let mut chunks: Vec<Option<ArrowColumnChunk>> = writers.iter().map(|_| None).collect();
        let closing: Vec<_> = writers.into_iter().zip(&mut chunks).collect();
        in_parallel(self.threads, closing, |(writer, chunk)| {
            *chunk = Some(writer.close()?);
            Ok(())
        })?;
        let columns: Vec<_> = chunks.into_iter().flatten().collect();
        let size = columns.iter().map(|column| column.close().bytes_written).sum();
        Ok(RowGroup { columns, rows: std::mem::take(&mut self.rows), size })
    }
}

/// Does the work for every item, on this thread and `threads - 1` more; the first error that a thread met.
fn in_parallel<T: Send>(threads: usize, items: Vec<T>, work: impl Fn(T) -> Result<()> + Sync) -> Result<()> {
    let threads = threads.min(items.len());
    let items = Mutex::new(items.into_iter());
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(item) = next() {
            work(item)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            done = done.and(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    })
}
