//! Reads Parquet: first all footers, whose columns must match, then the row groups one by one with range requests.
//! Memory grows with the size of a row group, not of the object.

use std::{ops::Range, panic::AssertUnwindSafe, sync::Arc};

use arrow_array::{RecordBatch, StructArray, new_empty_array};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use parquet::{
    arrow::{
        ParquetRecordBatchStreamBuilder, ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
        async_reader::AsyncFileReader,
    },
    errors::ParquetError,
    file::{
        FOOTER_SIZE,
        metadata::{FooterTail, ParquetMetaData, ParquetMetaDataReader},
    },
};
use tokio::sync::mpsc;

use super::{codec, convert, decode, folders, object::Object, page_bounds, time_of_day, timestamps};
use crate::{unmatched::Unmatched, unrepresentable::Unrepresentable};
use turntable_core::{
    config::Nested,
    error::{Error, Result},
    port::Objects,
};
use turntable_parquet::{Batches, Passthrough};
use turntable_parquet::{arrow_types, int96_columns, int96_in};

/// An object and its footer.
pub struct Footer {
    object: Object,
    metadata: ArrowReaderMetadata,
    /// `None` if the object has no INT96 columns.
    int96: Option<Int96>,
}

/// An object's footer, with the INT96 columns (96-bit timestamps) in other units than microseconds.
struct Int96 {
    /// With INT96 in nanoseconds, which shows digits that microseconds lose.
    nanos: ArrowReaderMetadata,
    /// With INT96 in seconds, which shows timestamps out of range for microseconds. Every INT96 fits into 64 bits in
    /// seconds.
    seconds: ArrowReaderMetadata,
}

impl Footer {
    pub fn schema(&self) -> &Schema {
        self.metadata.schema()
    }

    pub fn parquet(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// Returns the object as a passthrough file, with its number of rows.
    pub fn copy(self) -> Passthrough {
        let rows = self.rows();
        Passthrough { entry: self.object.entry, rows }
    }

    fn rows(&self) -> u64 {
        self.parquet().file_metadata().num_rows().unsigned_abs()
    }

    /// Returns the object's size in bytes.
    pub fn size(&self) -> u64 {
        self.object.entry.size
    }
}

/// The maximum number of rows in a batch.
const BATCH_ROWS: usize = 8192;
/// The maximum number of concurrent requests for the footers of all objects, and for the columns in one row group.
const MAX_CONCURRENT_REQUESTS: usize = 8;

/// Reads the footers of all objects. Returns them with the schema: the declared one or, if there is none, the first
/// object's. Fails unless every object's columns fit the schema.
pub async fn open(
    objects: &Arc<dyn Objects>,
    list: Vec<Object>,
    declared: Option<SchemaRef>,
    nested: Nested,
    unmatched: &Unmatched,
) -> Result<(SchemaRef, Vec<Footer>)> {
    let in_folders = list.clone();
    let footers: Vec<Footer> = stream::iter(list)
        .map(|object| read_footer(objects.clone(), object))
        .buffered(MAX_CONCURRENT_REQUESTS)
        .try_collect()
        .await?;
    let normal = |footer: &Footer| {
        let fields = convert::normal_fields(footer.metadata.schema().fields(), nested);
        fields.map_err(|fault| Error::input(format!("{}: {fault}", footer.object)))
    };
    let is_declared = declared.is_some();
    let schema = match (declared, footers.first()) {
        (Some(schema), _) => schema,
        (None, Some(first)) => {
            let mut fields: Vec<FieldRef> = normal(first)?.iter().cloned().collect();
            let has = |name: &str| fields.iter().any(|field| field.name() == name);
            let added = folders::fields(&in_folders, has);
            fields.extend(added.into_iter().map(Arc::new));
            Arc::new(Schema::new(fields))
        }
        (None, None) => Arc::new(Schema::empty()),
    };
    for footer in &footers {
        let fields = normal(footer)?;
        if !is_declared {
            check_types_match(&fields, &footer.object, &footers[0].object, &schema)?;
        }
        // Converting an empty array detects columns and types that don't fit before any row is read.
        let file = new_empty_array(&DataType::Struct(footer.metadata.schema().fields().clone()));
        convert_batch(&footer.object, file.to_data().into(), &schema, unmatched)?;
    }
    Ok((schema, footers))
}

/// Checks that the columns in `object` have the same types as in the first object. Their order doesn't matter, and the
/// conversion detects missing and additional columns.
fn check_types_match(fields: &Fields, object: &Object, first: &Object, schema: &Schema) -> Result<()> {
    let glue_type = |field: &Field| {
        arrow_types::glue_type(field.data_type()).map(|glue_type| glue_type.to_string()).unwrap_or_default()
    };
    for column in schema.fields() {
        if let Some((_, field)) = fields.find(column.name())
            && field.data_type() != column.data_type()
        {
            let (name, this, that) = (column.name(), glue_type(field), glue_type(column));
            return Err(Error::input(format!(
                "{object}: column {name:?} is {this}, but {that} in {first}: write both with the same type"
            )));
        }
    }
    Ok(())
}

/// Returns the rows in the objects, one object after another.
pub fn batches(
    objects: Arc<dyn Objects>,
    list: Vec<Footer>,
    schema: SchemaRef,
    unrepresentable: Arc<Unrepresentable>,
) -> Batches {
    let of_object = move |footer: Footer| {
        let (objects, schema, unrepresentable) = (objects.clone(), schema.clone(), unrepresentable.clone());
        // A separate task decodes the rows while the stream's consumer does other work.
        let start = async move {
            let (to, batches) = mpsc::channel(2);
            let object = footer.object.clone();
            let reading = async move { guarded(&object, read(objects, footer, schema, unrepresentable, to)).await };
            let task = tokio::spawn(reading);
            decode::with_task_error(batches, task)
        };
        stream::once(start).flatten()
    };
    stream::iter(list).flat_map(of_object).boxed()
}

async fn read(
    objects: Arc<dyn Objects>,
    footer: Footer,
    schema: SchemaRef,
    unrepresentable: Arc<Unrepresentable>,
    to: mpsc::Sender<RecordBatch>,
) -> Result<()> {
    let expected = footer.rows();
    let chunks = Arc::new(page_bounds::chunks(footer.parquet()));
    let Footer { object, metadata, int96 } = footer;
    let builder = |metadata| {
        let reader = Reader { objects: objects.clone(), object: object.clone(), chunks: Some(chunks.clone()) };
        ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata).with_batch_size(BATCH_ROWS)
    };
    let mut batches = builder(metadata).build().map_err(|error| fault(&object, error))?;
    let int96 = int96.map(|int96| {
        let of = |metadata: ArrowReaderMetadata| {
            let leaves = ProjectionMask::roots(metadata.parquet_schema(), int96_columns(metadata.parquet_schema()));
            builder(metadata).with_projection(leaves).build()
        };
        Ok((of(int96.nanos)?, of(int96.seconds)?))
    });
    let mut int96 = int96.transpose().map_err(|error| fault(&object, error))?;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| fault(&object, error))?;
        let length = batch.num_rows() as u64;
        let (nanos, seconds) = match &mut int96 {
            Some((nanos, seconds)) => {
                let read = async { Ok((nanos.try_next().await?, seconds.try_next().await?)) };
                read.await.map_err(|error| fault(&object, error))?
            }
            None => (None, None),
        };
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            if let Some(row) = time_of_day::first_outside(array) {
                let (row, name) = (rows + row as u64 + 1, field.name());
                return Err(Error::input(format!(
                    "{object} row {row}: column {name:?}: the time is outside of 00:00:00 to 24:00:00: correct it in the file"
                )));
            }
        }
        let int96 = timestamps::Int96 { nanos: nanos.as_ref(), seconds: seconds.as_ref() };
        let batch = timestamps::replace_unrepresentable(&object, batch, int96, rows, (&schema, &*unrepresentable))?;
        rows += length;
        if to.send(convert_batch(&object, batch, &schema, &unrepresentable.unmatched)?).await.is_err() {
            return Ok(());
        }
    }
    if rows != expected {
        return Err(Error::input(format!(
            "{object} contradicts itself: its footer says {expected} rows, but its pages hold {rows}: write the file again"
        )));
    }
    Ok(())
}

fn convert_batch(object: &Object, rows: StructArray, schema: &SchemaRef, unmatched: &Unmatched) -> Result<RecordBatch> {
    let columns = convert::convert_fields(&rows, schema.fields(), &object.folders, unmatched);
    let columns = columns.map_err(|fault| Error::input(format!("{object}: {fault}")))?;
    RecordBatch::try_new(schema.clone(), columns).map_err(|error| {
        Error::input(format!("{object}: its columns have different lengths: write the file again")).caused_by(error)
    })
}

/// Runs a Parquet read, and turns a panic into an `Input` error, because the parquet crate panics on some damaged
/// pages.
pub async fn guarded<T>(object: &Object, reading: impl Future<Output = Result<T>>) -> Result<T> {
    let panicked = |_| {
        Err(Error::input(format!("{object} is damaged, because the Parquet reader panicked on it: replace the file")))
    };
    AssertUnwindSafe(reading).catch_unwind().await.unwrap_or_else(panicked)
}

async fn read_footer(objects: Arc<dyn Objects>, object: Object) -> Result<Footer> {
    let (metadata, int96) = guarded(&object, read_metadata(objects, &object)).await?;
    Ok(Footer { object, metadata, int96 })
}

async fn read_metadata(objects: Arc<dyn Objects>, object: &Object) -> Result<(ArrowReaderMetadata, Option<Int96>)> {
    let mut reader = Reader::new(objects, object.clone());
    let metadata = load_footer(&mut reader, object).await?;
    codec::readable(&metadata).map_err(|why| Error::input(format!("{object}: {why}")))?;
    // Athena uses the Parquet types, so ignore the Arrow schema that the writer may have embedded.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let plain = ArrowReaderMetadata::try_new(metadata, options.clone()).map_err(|error| fault(object, error))?;
    let in_unit = |unit| {
        let schema = int96_in(unit, plain.parquet_schema(), plain.schema())?;
        let options = options.clone().with_schema(schema);
        Some(ArrowReaderMetadata::try_new(plain.metadata().clone(), options).map_err(|error| fault(object, error)))
    };
    let Some(micros) = in_unit(TimeUnit::Microsecond).transpose()? else { return Ok((plain, None)) };
    let seconds = in_unit(TimeUnit::Second).transpose()?;
    Ok((micros, seconds.map(|seconds| Int96 { nanos: plain, seconds })))
}

/// The number of bytes that the first request reads from the end of an object. Few footers are longer.
const TAIL_BYTES: u64 = 64 << 10;

/// The maximum size of a footer, in bytes. A decoded footer takes much more memory.
const MAX_FOOTER_BYTES: usize = 16 << 20;
/// The maximum size of a row group in the file, in bytes. It is read as a whole.
const MAX_ROW_GROUP_BYTES: u64 = 1 << 30;

/// Reads the footer. Fails if the footer or a column is encrypted, if its row counts contradict each other, or if the
/// footer or a row group is larger than its limit: anybody who may write the object can state any size.
async fn load_footer(reader: &mut Reader, object: &Object) -> Result<Arc<ParquetMetaData>> {
    let size = object.entry.size;
    let damaged = |error| fault(object, error);
    let end = || ParquetError::EOF("the object ends before its footer".into());
    let tail = reader.get_bytes(size.saturating_sub(TAIL_BYTES)..size).await.map_err(damaged)?;
    let last = tail.last_chunk::<FOOTER_SIZE>().ok_or_else(|| damaged(end()))?;
    let last = FooterTail::try_new(last).map_err(damaged)?;
    let encrypted = |what| {
        Error::input(format!(
            "{object}: {what} encrypted, which neither Turntable nor Athena can read: write it unencrypted"
        ))
    };
    if last.is_encrypted_footer() {
        return Err(encrypted("its footer is"));
    }
    let length = last.metadata_length();
    if length > MAX_FOOTER_BYTES {
        return Err(Error::input(format!(
            "{object} has a footer larger than {} MB: write larger row groups or fewer columns",
            MAX_FOOTER_BYTES >> 20
        )));
    }
    let before = tail.len() - FOOTER_SIZE;
    let footer = match before.checked_sub(length) {
        Some(start) => tail.slice(start..before),
        None => {
            let footer_end = size - FOOTER_SIZE as u64;
            let start = footer_end.checked_sub(length as u64).ok_or_else(|| damaged(end()))?;
            reader.get_bytes(start..footer_end).await.map_err(damaged)?
        }
    };
    if turntable_parquet::has_encrypted_columns(&footer) {
        return Err(encrypted("columns are"));
    }
    let metadata = ParquetMetaDataReader::decode_metadata(&footer).map_err(damaged)?;
    if let Some(what) = turntable_parquet::contradiction(&metadata) {
        return Err(Error::input(format!("{object} contradicts itself: {what}: write the file again")));
    }
    if metadata.row_groups().iter().any(|group| page_bounds::size_of(group) > MAX_ROW_GROUP_BYTES) {
        return Err(Error::input(format!(
            "{object} has a row group larger than {} MB: write smaller row groups",
            MAX_ROW_GROUP_BYTES >> 20
        )));
    }
    Ok(Arc::new(metadata))
}

/// Converts an error from the parquet crate. An [`Error`] inside it, such as a failed request, is returned unchanged.
pub fn fault(object: &Object, error: ParquetError) -> Error {
    match error {
        ParquetError::External(below) => match below.downcast::<Error>() {
            Ok(error) => *error,
            Err(other) => {
                Error::input(format!("{object} is damaged or not Parquet: replace the file")).caused_by(other)
            }
        },
        error => Error::input(format!("{object} is damaged or not Parquet: replace the file")).caused_by(error),
    }
}

/// Reads an object with range requests.
pub struct Reader {
    objects: Arc<dyn Objects>,
    object: Object,
    /// The column chunks, which are checked when they are read. `None` checks nothing.
    chunks: Option<Arc<page_bounds::Chunks>>,
}

impl Reader {
    /// Returns a reader that checks no pages. The caller must check them before decoding.
    pub fn new(objects: Arc<dyn Objects>, object: Object) -> Reader {
        Reader { objects, object, chunks: None }
    }
}

/// Reads one range of an object. A range outside the object, for example from a damaged footer, fails without a
/// request.
async fn read_range(objects: Arc<dyn Objects>, object: Object, range: Range<u64>) -> parquet::errors::Result<Bytes> {
    if range.is_empty() || range.end > object.entry.size {
        return Err(ParquetError::EOF("a byte range outside the object".into()));
    }
    let bytes = objects.range(&object.entry.key, &object.entry.etag, range.clone()).await;
    let bytes = bytes.map_err(|error| ParquetError::External(Box::new(error)))?;
    if bytes.len() as u64 != range.end - range.start {
        let error = Error::unavailable(format!(
            "{object}: S3 returned fewer bytes than requested: run the export or refresh again"
        ));
        return Err(ParquetError::External(Box::new(error)));
    }
    Ok(bytes)
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        read_range(self.objects.clone(), self.object.clone(), range).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        let Reader { objects, object, chunks } = self;
        let (objects, object, chunks) = (objects.clone(), object.clone(), chunks.clone());
        async move {
            let read = |range: Range<u64>| {
                let bytes = read_range(objects.clone(), object.clone(), range.clone());
                async move { bytes.await.map(|bytes| (range, bytes)) }
            };
            let parts = stream::iter(ranges).map(read).buffered(MAX_CONCURRENT_REQUESTS);
            let parts: Vec<(Range<u64>, Bytes)> = parts.try_collect().await?;
            if let Some(chunks) = chunks {
                page_bounds::check(&object, &chunks, &parts)
                    .map_err(|error| ParquetError::External(Box::new(error)))?;
            }
            Ok(parts.into_iter().map(|(_, bytes)| bytes).collect())
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let size = self.object.entry.size;
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            let metadata = reader.with_prefetch_hint(Some(64 << 10)).load_and_finish(self, size).await?;
            Ok(Arc::new(metadata))
        }
        .boxed()
    }
}
