//! Parquet: footers first, which must agree; then row group by row group, by ranges. Memory grows with the size of a
//! row group, and not with the object's.

use std::{ops::Range, panic::AssertUnwindSafe, sync::Arc};

use arrow_array::{RecordBatch, StructArray, new_empty_array};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use parquet::{
    arrow::{
        ParquetRecordBatchStreamBuilder, ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
        async_reader::AsyncFileReader,
    },
    errors::ParquetError,
    file::metadata::{ParquetMetaData, ParquetMetaDataReader},
};
use tokio::sync::mpsc;

use super::{codec, convert, decode, finer, object::Object};
use crate::unrepresentable::Unrepresentable;
use turntable_core::{
    error::{Error, Result},
    port::Objects,
};
use turntable_parquet::{Batches, Copy};
use turntable_parquet::{arrow_types, int96, with_micros};

/// An object whose footer was read.
pub struct Footer {
    object: Object,
    metadata: ArrowReaderMetadata,
    /// The same with INT96 in nanoseconds, where there is any: microseconds do not tell what they have lost.
    nanos: Option<ArrowReaderMetadata>,
}

impl Footer {
    pub fn schema(&self) -> &Schema {
        self.metadata.schema()
    }

    pub fn parquet(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// The object, to be copied.
    pub fn copy(self) -> Copy {
        let rows = self.parquet().file_metadata().num_rows().unsigned_abs();
        Copy { entry: self.object.entry, rows }
    }

    /// Bytes of the object.
    pub fn size(&self) -> u64 {
        self.object.entry.size
    }
}

const ROWS: usize = 8192;
/// How many requests are under way at once, for footers and for the columns of a row group.
const REQUESTS: usize = 8;

/// The footers of all objects, and the one schema that all of them have or that is declared.
pub async fn open(
    objects: &Arc<dyn Objects>,
    list: Vec<Object>,
    declared: Option<SchemaRef>,
) -> Result<(SchemaRef, Vec<Footer>)> {
    let footers: Vec<Footer> =
        stream::iter(list).map(|object| footer(objects.clone(), object)).buffered(REQUESTS).try_collect().await?;
    let normal = |footer: &Footer| {
        let fields = convert::normal_fields(footer.metadata.schema().fields());
        fields.map_err(|fault| Error::input(format!("{}: {fault}", footer.object)))
    };
    let is_declared = declared.is_some();
    let schema = match (declared, footers.first()) {
        (Some(schema), _) => schema,
        (None, Some(first)) => Arc::new(Schema::new(normal(first)?)),
        (None, None) => Arc::new(Schema::empty()),
    };
    for footer in &footers {
        let fields = normal(footer)?;
        if !is_declared {
            agree(&fields, &footer.object, &footers[0].object, &schema)?;
        }
        // What does not fit in type does not fit without rows either.
        let file = new_empty_array(&DataType::Struct(footer.metadata.schema().fields().clone()));
        converted(&footer.object, file.to_data().into(), &schema)?;
    }
    Ok((schema, footers))
}

/// All objects have the columns of the first, in any order. (That theirs are not more is seen when they are converted.)
fn agree(fields: &Fields, object: &Object, first: &Object, schema: &Schema) -> Result<()> {
    let words = |field: &Field| {
        arrow_types::glue_type(field.data_type()).map(|glue_type| glue_type.to_string()).unwrap_or_default()
    };
    for column in schema.fields() {
        if let Some((_, field)) = fields.find(column.name())
            && field.data_type() != column.data_type()
        {
            let (name, this, that) = (column.name(), words(field), words(column));
            return Err(Error::input(format!("{object}: column {name:?} is {this}, and {that} in {first}")));
        }
    }
    Ok(())
}

/// The rows of the objects, one object after the other.
pub fn batches(
    objects: Arc<dyn Objects>,
    list: Vec<Footer>,
    schema: SchemaRef,
    unrepresentable: Arc<Unrepresentable>,
) -> Batches {
    let of_object = move |footer: Footer| {
        let (objects, schema, unrepresentable) = (objects.clone(), schema.clone(), unrepresentable.clone());
        // Decoding is work for a task of its own: whoever reads the stream does other things meanwhile.
        let start = async move {
            let (to, batches) = mpsc::channel(2);
            let object = footer.object.clone();
            let reading = async move { guarded(&object, read(objects, footer, schema, unrepresentable, to)).await };
            let task = tokio::spawn(reading);
            decode::until_done(batches, task)
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
    let Footer { object, metadata, nanos } = footer;
    let builder = |metadata| {
        let reader = Reader { objects: objects.clone(), object: object.clone() };
        ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata).with_batch_size(ROWS)
    };
    let mut batches = builder(metadata).build().map_err(|error| fault(&object, error))?;
    let nanos = nanos.map(|nanos| {
        let leaves = ProjectionMask::roots(nanos.parquet_schema(), int96(nanos.parquet_schema()));
        builder(nanos).with_projection(leaves).build()
    });
    let mut nanos = nanos.transpose().map_err(|error| fault(&object, error))?;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| fault(&object, error))?;
        let length = batch.num_rows() as u64;
        let nanos = match &mut nanos {
            Some(nanos) => nanos.next().await.transpose().map_err(|error| fault(&object, error))?,
            None => None,
        };
        let batch = finer::settled(&object, batch, nanos.as_ref(), rows, (&schema, &*unrepresentable))?;
        rows += length;
        if to.send(converted(&object, batch, &schema)?).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn converted(object: &Object, rows: StructArray, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = convert::convert_fields(&rows, schema.fields());
    let columns = columns.map_err(|fault| Error::input(format!("{object}: {fault}")))?;
    RecordBatch::try_new(schema.clone(), columns)
        .map_err(|error| Error::input(format!("{object}: columns of different lengths")).caused_by(error))
}

/// The parquet crate panics on some damaged pages; that is a fault of the object, as any other damage is.
pub async fn guarded<T>(object: &Object, reading: impl Future<Output = Result<T>>) -> Result<T> {
    let panicked = |_| Err(Error::input(format!("{object} is damaged: the Parquet reader gave up")));
    AssertUnwindSafe(reading).catch_unwind().await.unwrap_or_else(panicked)
}

async fn footer(objects: Arc<dyn Objects>, object: Object) -> Result<Footer> {
    let (metadata, nanos) = guarded(&object, metadata(objects, &object)).await?;
    Ok(Footer { object, metadata, nanos })
}

async fn metadata(
    objects: Arc<dyn Objects>,
    object: &Object,
) -> Result<(ArrowReaderMetadata, Option<ArrowReaderMetadata>)> {
    let mut reader = Reader { objects, object: object.clone() };
    let metadata = reader.get_metadata(None).await.map_err(|error| fault(object, error))?;
    codec::readable(&metadata).map_err(|why| Error::input(format!("{object}: {why}")))?;
    // Types are Parquet's own, as Athena sees them, and not those of the program that wrote it.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let plain = ArrowReaderMetadata::try_new(metadata, options.clone()).map_err(|error| fault(object, error))?;
    let Some(schema) = with_micros(plain.parquet_schema(), plain.schema()) else { return Ok((plain, None)) };
    let micros = ArrowReaderMetadata::try_new(plain.metadata().clone(), options.with_schema(schema));
    Ok((micros.map_err(|error| fault(object, error))?, Some(plain)))
}

pub fn fault(object: &Object, error: ParquetError) -> Error {
    match error {
        ParquetError::External(below) => match below.downcast::<Error>() {
            Ok(error) => *error,
            Err(other) => Error::input(format!("{object} is damaged or no Parquet")).caused_by(other),
        },
        error => Error::input(format!("{object} is damaged or no Parquet")).caused_by(error),
    }
}

/// An object, by ranges.
pub struct Reader {
    pub objects: Arc<dyn Objects>,
    pub object: Object,
}

/// Parts of an object; one that the footer makes up is an error before it is asked for.
async fn part(objects: Arc<dyn Objects>, object: Object, range: Range<u64>) -> parquet::errors::Result<Bytes> {
    if range.is_empty() || range.end > object.entry.size {
        return Err(ParquetError::EOF("a place outside of the object".into()));
    }
    let bytes = objects.range(&object.entry.key, &object.entry.etag, range.clone()).await;
    let bytes = bytes.map_err(|error| ParquetError::External(Box::new(error)))?;
    if bytes.len() as u64 != range.end - range.start {
        let error = Error::unavailable(format!("{object}: fewer bytes came than were asked for; run again"));
        return Err(ParquetError::External(Box::new(error)));
    }
    Ok(bytes)
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        part(self.objects.clone(), self.object.clone(), range).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        let (objects, object) = (self.objects.clone(), self.object.clone());
        let parts = stream::iter(ranges).map(move |range| part(objects.clone(), object.clone(), range));
        parts.buffered(REQUESTS).try_collect().boxed()
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
