//! Encodes rows into the column chunks of a row group, on several threads.

use std::{
    io,
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use arrow_array::{Array, RecordBatch};
use arrow_schema::{FieldRef, SchemaRef};
use parquet::{
    arrow::{
        ArrowSchemaConverter,
        arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves},
    },
    basic::{Encoding, PageType, Type},
    errors::Result,
    file::{
        metadata::ColumnChunkMetaData,
        properties::{WriterProperties, WriterPropertiesPtr},
        writer::SerializedFileWriter,
    },
    schema::types::{ColumnPath, SchemaDescPtr},
};

/// The maximum number of entries in a dictionary of numbers. A larger dictionary saves almost nothing, because each
/// index would take at least 17 bits.
const MAX_DICTIONARY_ENTRIES: usize = 1 << 16;

/// The size, in bytes, at which a page without a dictionary is closed. A page can exceed this, but stays below twice
/// the size, so within 256 KB. Up to that size, ZSTD level 1 finds most repetitions; in larger pages it finds only the
/// longer ones.
const PLAIN_PAGE_BYTES: usize = 120 << 10;

/// The schema and writer settings that all files of one table share.
pub(super) struct Columns {
    pub schema: SchemaRef,
    pub parquet: SchemaDescPtr,
    pub properties: WriterPropertiesPtr,
    /// The number of Parquet columns for each field in the schema. A nested field can have several.
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
        let mut properties = properties.into_builder();
        for leaf in parquet.columns() {
            let width = match leaf.physical_type() {
                Type::INT32 | Type::FLOAT => 4,
                Type::INT64 | Type::DOUBLE => 8,
                _ => continue,
            };
            properties =
                properties.set_column_dictionary_page_size_limit(leaf.path().clone(), MAX_DICTIONARY_ENTRIES * width);
        }
        let properties = Arc::new(properties.build());
        let file = SerializedFileWriter::new(io::sink(), parquet.root_schema_ptr(), properties.clone())?;
        let writers = ArrowRowGroupWriterFactory::new(&file, schema.clone());
        Ok(Self { schema, parquet: Arc::new(parquet), properties, leaves, writers })
    }
}

/// Builds row groups, one at a time. Its methods are CPU-bound: call them where blocking is allowed.
pub(super) struct Encoder {
    columns: Arc<Columns>,
    threads: usize,
    /// The writers of the current row group: one per leaf, in schema order. Empty before the row group's first row.
    writers: Vec<ArrowColumnWriter>,
    rows: u64,
    /// The number of nulls in each field of the schema.
    nulls: Vec<u64>,
}

/// An encoded row group.
pub(super) struct RowGroup {
    pub columns: Vec<ArrowColumnChunk>,
    pub rows: u64,
    /// The number of nulls in each field of the schema.
    pub nulls: Vec<u64>,
    /// The encoded and compressed size, in bytes.
    pub size: u64,
}

impl Encoder {
    pub(super) fn new(columns: Arc<Columns>, threads: usize) -> Self {
        Self { columns, threads, writers: Vec::new(), rows: 0, nulls: Vec::new() }
    }

    /// Returns the number of rows in the current row group.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Estimates the size that the current row group would have if it ended now, in bytes. Unfinished pages count
    /// uncompressed.
    pub(super) fn size(&self) -> u64 {
        self.writers.iter().map(|writer| writer.get_estimated_total_bytes() as u64).sum()
    }

    /// Appends the batches to the current row group. Each free thread takes the next column.
    pub(super) fn encode(&mut self, batches: &[RecordBatch]) -> Result<()> {
        if self.writers.is_empty() {
            // The argument is the row group's ordinal, which only encrypted files use.
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
        self.nulls.resize(self.columns.schema.fields().len(), 0);
        for (n, nulls) in self.nulls.iter_mut().enumerate() {
            *nulls += batches.iter().map(|batch| batch.column(n).null_count() as u64).sum::<u64>();
        }
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
        self.disable_outgrown_dictionaries(&columns)?;
        let size = columns.iter().map(|column| column.close().bytes_written).sum();
        Ok(RowGroup { columns, rows: std::mem::take(&mut self.rows), nulls: std::mem::take(&mut self.nulls), size })
    }

    /// Disables, for later row groups, the dictionary of each column whose dictionary grew too large. Filling such a
    /// dictionary again would cost time, memory and space in the file.
    fn disable_outgrown_dictionaries(&mut self, chunks: &[ArrowColumnChunk]) -> Result<()> {
        let chunks = chunks.iter().map(|chunk| &chunk.close().metadata);
        let outgrown: Vec<&ColumnPath> =
            chunks.filter(|chunk| has_outgrown(chunk)).map(|chunk| chunk.column_path()).collect();
        if outgrown.is_empty() {
            return Ok(());
        }
        let properties = &self.columns.properties;
        let mut fewer = WriterProperties::clone(properties).into_builder();
        for path in outgrown {
            let page = properties.column_data_page_size_limit(path).min(PLAIN_PAGE_BYTES);
            fewer = fewer
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_data_page_size_limit(path.clone(), page);
        }
        self.columns = Arc::new(Columns::new(self.columns.schema.clone(), fewer.build())?);
        Ok(())
    }
}

/// Returns whether the column chunk started with a dictionary and continued without one.
fn has_outgrown(chunk: &ColumnChunkMetaData) -> bool {
    let mut pages = chunk.page_encoding_stats().into_iter().flatten();
    chunk.dictionary_page_offset().is_some()
        && pages.any(|page| page.page_type == PageType::DATA_PAGE && page.encoding != Encoding::RLE_DICTIONARY)
}

/// Runs `work` for every item, on this thread and up to `threads - 1` others. Returns the first error, in thread order.
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
