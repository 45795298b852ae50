//! Collects the values of one column, of any type that Turntable writes, and turns them into an Arrow array.
//!
//! A source appends in two steps: it decodes a value straight into the buffer in [`ColumnBuilder::values`], and then
//! calls [`ColumnBuilder::append_valid`]. That way, only the source matches on the type of each value, and only once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray, StringArray,
    StructArray,
    types::{
        Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
        TimestampMicrosecondType,
    },
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer};
use arrow_schema::{DataType, FieldRef, Fields, TimeUnit};

/// The maximum number of bytes that a text or binary column allocates in advance for its next batch.
const MAX_RETAINED_BYTES: usize = 8 << 20;

pub struct ColumnBuilder {
    pub data_type: DataType,
    pub values: Values,
    nulls: NullBufferBuilder,
}

/// A column's values since the last batch, without their validity. Without `repr`, the compiler would store the variant
/// in the capacity of a `Vec`, and every access to a value would have to decode it.
#[repr(u8)]
pub enum Values {
    Boolean(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: i8,
    },
    /// Days since 1970-01-01.
    Date(Vec<i32>),
    /// Microseconds since 1970-01-01T00:00:00, in UTC if `utc` is set.
    Timestamp {
        values: Vec<i64>,
        utc: bool,
    },
    Text(Bytes),
    Binary(Bytes),
    List {
        field: FieldRef,
        ends: Ends,
        element: Box<ColumnBuilder>,
    },
    /// `entries` holds the builders for the keys and for the values.
    Map {
        field: FieldRef,
        pair: Fields,
        ends: Ends,
        entries: Box<[ColumnBuilder; 2]>,
    },
    Struct {
        fields: Fields,
        columns: Vec<ColumnBuilder>,
    },
}

/// Arrow's offsets into the bytes or elements of a column: a zero, then the end of each value.
pub struct Ends(Vec<i32>);

impl Ends {
    fn with_capacity(capacity: usize) -> Ends {
        let mut ends = Vec::with_capacity(capacity + 1);
        ends.push(0);
        Ends(ends)
    }

    /// Ends a value at `end`. Fails, with the reason, if `end` doesn't fit into 31 bits, the limit of Arrow's offsets.
    /// That is not expected, because batches end far below 2 GB and databases limit a value to 1 GB.
    #[inline(always)]
    pub fn push(&mut self, end: usize) -> Result<(), &'static str> {
        self.0.push(i32::try_from(end).map_err(|_| "more than 2 GB in one batch")?);
        Ok(())
    }

    fn push_empty(&mut self) {
        self.0.push(self.0[self.0.len() - 1]);
    }

    fn take(&mut self) -> OffsetBuffer<i32> {
        let empty = Ends::with_capacity(self.0.len());
        OffsetBuffer::new(std::mem::replace(self, empty).0.into())
    }
}

/// The strings or binary values of a column, one after the other.
pub struct Bytes {
    ends: Ends,
    pub bytes: Vec<u8>,
}

impl Bytes {
    fn with_capacity(capacity: usize) -> Bytes {
        Bytes { ends: Ends::with_capacity(capacity), bytes: Vec::new() }
    }

    /// Appends a whole value. Fails, with the reason, if the batch gets too large.
    #[inline(always)]
    pub fn append(&mut self, value: &[u8]) -> Result<(), &'static str> {
        self.bytes.extend_from_slice(value);
        self.end_value()
    }

    /// Ends the value whose bytes the caller has appended to `bytes`. Fails, with the reason, if the batch gets too
    /// large.
    #[inline(always)]
    pub fn end_value(&mut self) -> Result<(), &'static str> {
        self.ends.push(self.bytes.len())
    }

    /// Replaces each value with the bytes that `convert` appends for it. Fails, with the reason, if the batch gets too
    /// large.
    fn replace(&mut self, convert: &mut impl FnMut(&[u8], &mut Vec<u8>)) -> Result<(), &'static str> {
        let mut replaced = Bytes::with_capacity(self.ends.0.len());
        for value in self.values() {
            convert(value, &mut replaced.bytes);
            replaced.end_value()?;
        }
        *self = replaced;
        Ok(())
    }

    fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.ends.0.windows(2).map(|ends| &self.bytes[ends[0] as usize..ends[1] as usize])
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let capacity = self.bytes.len().min(MAX_RETAINED_BYTES);
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(capacity));
        (self.ends.take(), bytes.into())
    }
}

/// The error for a string that is not valid UTF-8.
#[derive(Debug)]
pub struct InvalidText {
    /// The index in the column, from 0, of the value that is or contains the string.
    pub row: usize,
}

impl ColumnBuilder {
    /// Returns an empty column with room for `capacity` values. Fails with the type, possibly a nested one, that
    /// Turntable doesn't write.
    pub fn new(data_type: &DataType, capacity: usize) -> Result<ColumnBuilder, DataType> {
        let unsupported = || Err(data_type.clone());
        let nested = |field: &FieldRef, capacity| ColumnBuilder::new(field.data_type(), capacity);
        let values = match data_type {
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(capacity)),
            DataType::Int8 => Values::Int8(Vec::with_capacity(capacity)),
            DataType::Int16 => Values::Int16(Vec::with_capacity(capacity)),
            DataType::Int32 => Values::Int32(Vec::with_capacity(capacity)),
            DataType::Int64 => Values::Int64(Vec::with_capacity(capacity)),
            DataType::Float32 => Values::Float32(Vec::with_capacity(capacity)),
            DataType::Float64 => Values::Float64(Vec::with_capacity(capacity)),
            DataType::Decimal128(precision, scale) => {
                Values::Decimal { values: Vec::with_capacity(capacity), precision: *precision, scale: *scale }
            }
            DataType::Date32 => Values::Date(Vec::with_capacity(capacity)),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Values::Timestamp { values: Vec::with_capacity(capacity), utc: zone.is_some() }
            }
            DataType::Utf8 => Values::Text(Bytes::with_capacity(capacity)),
            DataType::Binary => Values::Binary(Bytes::with_capacity(capacity)),
            DataType::List(field) => {
                let (field, element) = (field.clone(), Box::new(nested(field, 0)?));
                Values::List { field, ends: Ends::with_capacity(capacity), element }
            }
            DataType::Map(field, false) => {
                let DataType::Struct(pair) = field.data_type() else { return unsupported() };
                let [key, value] = &pair[..] else { return unsupported() };
                let (ends, entries) = (Ends::with_capacity(capacity), Box::new([nested(key, 0)?, nested(value, 0)?]));
                Values::Map { field: field.clone(), pair: pair.clone(), ends, entries }
            }
            DataType::Struct(fields) => {
                let columns = fields.iter().map(|field| nested(field, capacity)).collect::<Result<_, _>>()?;
                Values::Struct { fields: fields.clone(), columns }
            }
            _ => return unsupported(),
        };
        Ok(ColumnBuilder { data_type: data_type.clone(), values, nulls: NullBufferBuilder::new(capacity) })
    }

    /// Returns the number of values since the last call of `finish`.
    pub fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Completes a value that the caller has appended to `values`.
    #[inline]
    pub fn append_valid(&mut self) {
        self.nulls.append_non_null();
    }

    /// Appends a null.
    pub fn append_null(&mut self) {
        self.nulls.append_null();
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int8(values) => values.push(0),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Timestamp { values, .. } => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::Text(values) | Values::Binary(values) => values.ends.push_empty(),
            Values::List { ends, .. } | Values::Map { ends, .. } => ends.push_empty(),
            Values::Struct { columns, .. } => columns.iter_mut().for_each(ColumnBuilder::append_null),
        }
    }

    /// Calls `visit` with every string so far that isn't ASCII, including nested strings. May also visit ASCII strings.
    pub fn each_text(&self, visit: &mut impl FnMut(&[u8])) {
        match &self.values {
            Values::Text(texts) if !texts.bytes.is_ascii() => texts.values().for_each(visit),
            Values::List { element, .. } => element.each_text(visit),
            Values::Map { entries, .. } => entries.iter().for_each(|column| column.each_text(visit)),
            Values::Struct { columns, .. } => columns.iter().for_each(|column| column.each_text(visit)),
            _ => {}
        }
    }

    /// Replaces the strings that [`ColumnBuilder::each_text`] visits with the bytes that `convert` appends for them.
    /// Fails, with the reason, if the batch gets too large.
    pub fn replace_texts(&mut self, convert: &mut impl FnMut(&[u8], &mut Vec<u8>)) -> Result<(), &'static str> {
        match &mut self.values {
            Values::Text(texts) if !texts.bytes.is_ascii() => texts.replace(convert),
            Values::List { element, .. } => element.replace_texts(convert),
            Values::Map { entries, .. } => entries.iter_mut().try_for_each(|column| column.replace_texts(convert)),
            Values::Struct { columns, .. } => columns.iter_mut().try_for_each(|column| column.replace_texts(convert)),
            _ => Ok(()),
        }
    }

    /// Returns whether the column's type is not nested. If so, the column stays unchanged when it rejects a value.
    pub fn is_scalar(&self) -> bool {
        !matches!(self.values, Values::List { .. } | Values::Map { .. } | Values::Struct { .. })
    }

    /// Returns the values so far as an array and empties the column. If `nulled` is a counter, strings that are not
    /// valid UTF-8 become null and are counted, except for a map's keys. Without a counter, and in keys, they are an
    /// error.
    pub fn finish(&mut self, nulled: Option<&AtomicU64>) -> Result<ArrayRef, InvalidText> {
        let nulls = self.nulls.finish();
        let data_type = &self.data_type;
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int8(values) => primitives::<Int8Type>(values, nulls, data_type),
            Values::Int16(values) => primitives::<Int16Type>(values, nulls, data_type),
            Values::Int32(values) => primitives::<Int32Type>(values, nulls, data_type),
            Values::Int64(values) => primitives::<Int64Type>(values, nulls, data_type),
            Values::Float32(values) => primitives::<Float32Type>(values, nulls, data_type),
            Values::Float64(values) => primitives::<Float64Type>(values, nulls, data_type),
            Values::Decimal { values, .. } => primitives::<Decimal128Type>(values, nulls, data_type),
            Values::Date(values) => primitives::<Date32Type>(values, nulls, data_type),
            Values::Timestamp { values, .. } => primitives::<TimestampMicrosecondType>(values, nulls, data_type),
            Values::Text(texts) => {
                let (ends, bytes) = texts.take();
                Arc::new(strings(ends, bytes, nulls, nulled)?)
            }
            Values::Binary(values) => {
                let (ends, bytes) = values.take();
                Arc::new(BinaryArray::new(ends, bytes, nulls))
            }
            Values::List { field, ends, element } => {
                let ends = ends.take();
                let elements = element.finish(nulled).map_err(|invalid| invalid.inside(&ends))?;
                Arc::new(ListArray::new(field.clone(), ends, elements, nulls))
            }
            Values::Map { field, pair, ends, entries } => {
                let (ends, [keys, values]) = (ends.take(), &mut **entries);
                let inside = |invalid: InvalidText| invalid.inside(&ends);
                let columns = vec![keys.finish(None).map_err(inside)?, values.finish(nulled).map_err(inside)?];
                let entries = StructArray::new(pair.clone(), columns, None);
                Arc::new(MapArray::new(field.clone(), ends, entries, nulls, false))
            }
            Values::Struct { fields, columns } => {
                let arrays = columns.iter_mut().map(|column| column.finish(nulled)).collect::<Result<_, _>>()?;
                Arc::new(StructArray::new(fields.clone(), arrays, nulls))
            }
        })
    }
}

impl InvalidText {
    /// Converts the index of an element to the index of the list or map that contains it.
    fn inside(self, ends: &OffsetBuffer<i32>) -> InvalidText {
        InvalidText { row: ends.partition_point(|end| *end as usize <= self.row).saturating_sub(1) }
    }
}

fn primitives<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> ArrayRef {
    let capacity = values.len();
    let values = std::mem::replace(values, Vec::with_capacity(capacity));
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(data_type.clone()))
}

/// Builds an array of strings. Checking all bytes at once is much faster than checking each value, so each value is
/// checked only if the check of all bytes fails.
fn strings(
    ends: OffsetBuffer<i32>,
    bytes: Buffer,
    nulls: Option<NullBuffer>,
    nulled: Option<&AtomicU64>,
) -> Result<StringArray, InvalidText> {
    if let Ok(texts) = StringArray::try_new(ends.clone(), bytes.clone(), nulls.clone()) {
        return Ok(texts);
    }
    let text = |ends: &[i32]| std::str::from_utf8(&bytes[ends[0] as usize..ends[1] as usize]).ok();
    let Some(nulled) = nulled else {
        let row = ends.windows(2).position(|ends| text(ends).is_none());
        return Err(InvalidText { row: row.unwrap_or_default() });
    };
    let is_valid = |row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let valid = ends.windows(2).enumerate().map(|(row, ends)| text(ends).filter(|_| is_valid(row)));
    let texts: StringArray = valid.collect();
    let null_before = nulls.as_ref().map_or(0, NullBuffer::null_count);
    nulled.fetch_add((texts.null_count() - null_before) as u64, Ordering::Relaxed);
    Ok(texts)
}
