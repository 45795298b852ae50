//! Builds the Arrow array of one column from the values on the wire, one value at a time.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, ListArray, MapArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, FieldRef, Fields};

use super::{
    numeric::decimal,
    value::{Fault, Form, date, end, exactly, hstore, list, row, timestamp},
    wire::{self, Wire},
};

/// The most bytes of text that a column keeps allocated between two batches.
const MAX_RETAINED_BYTES: usize = 8 << 20;

pub struct Column {
    data_type: DataType,
    values: Values,
    nulls: NullBufferBuilder,
    /// Whether unrepresentable values become null.
    lenient: bool,
    /// The number of values that became null since the last call of `nulled`.
    nulled: u64,
}

enum Values {
    Boolean(BooleanBufferBuilder),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Oid(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal { values: Vec<i128>, precision: u8, scale: u8 },
    Date(Vec<i32>),
    Timestamp(Vec<i64>),
    Bytes { form: Form, ends: Vec<i32>, bytes: Vec<u8> },
    List { field: FieldRef, ends: Vec<i32>, element: Box<Column> },
    Struct { fields: Fields, columns: Vec<Column> },
    Hstore { field: FieldRef, pair: Fields, ends: Vec<i32>, keys: Box<Column>, values: Box<Column> },
}

impl Column {
    /// Returns an empty column with room for `capacity` values. If `lenient`, unrepresentable values become null and
    /// are counted.
    pub fn new(wire: &Wire, capacity: usize, lenient: bool) -> Column {
        let boxed = |wire: &Wire| Box::new(Column::new(wire, 0, lenient));
        let bytes = |form| Values::Bytes { form, ends: new_offsets(capacity), bytes: Vec::new() };
        let values = match wire {
            Wire::Boolean => Values::Boolean(BooleanBufferBuilder::new(capacity)),
            Wire::Int16 => Values::Int16(Vec::with_capacity(capacity)),
            Wire::Int32 => Values::Int32(Vec::with_capacity(capacity)),
            Wire::Int64 => Values::Int64(Vec::with_capacity(capacity)),
            Wire::Oid => Values::Oid(Vec::with_capacity(capacity)),
            Wire::Float32 => Values::Float32(Vec::with_capacity(capacity)),
            Wire::Float64 => Values::Float64(Vec::with_capacity(capacity)),
            Wire::Decimal { precision, scale } => {
                Values::Decimal { values: Vec::with_capacity(capacity), precision: *precision, scale: *scale }
            }
            Wire::Date => Values::Date(Vec::with_capacity(capacity)),
            Wire::Timestamp { .. } => Values::Timestamp(Vec::with_capacity(capacity)),
            Wire::NumericText => bytes(Form::Numeric),
            Wire::Text => bytes(Form::Text),
            Wire::Jsonb => bytes(Form::Jsonb),
            Wire::Uuid => bytes(Form::Uuid),
            Wire::Binary => bytes(Form::Binary),
            Wire::List(element) => {
                Values::List { field: wire::element(element), ends: new_offsets(capacity), element: boxed(element) }
            }
            Wire::Struct(fields) => Values::Struct {
                fields: wire::fields(fields),
                columns: fields.iter().map(|(_, wire)| Column::new(wire, capacity, lenient)).collect(),
            },
            Wire::Hstore => Values::Hstore {
                field: wire::entries(),
                pair: wire::pair(),
                ends: new_offsets(capacity),
                // An hstore has no null keys.
                keys: Box::new(Column::new(&Wire::Text, 0, false)),
                values: boxed(&Wire::Text),
            },
        };
        Column { data_type: wire.data_type(), values, nulls: NullBufferBuilder::new(capacity), lenient, nulled: 0 }
    }

    /// Returns the number of values since the last `finish`.
    pub fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Appends a null.
    pub fn null(&mut self) {
        self.nulls.append_null();
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Oid(values) | Values::Timestamp(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::Bytes { ends, .. } | Values::List { ends, .. } | Values::Hstore { ends, .. } => {
                ends.push(ends[ends.len() - 1]);
            }
            Values::Struct { columns, .. } => columns.iter_mut().for_each(Column::null),
        }
    }

    /// Returns the number of values that became null since the last call, including values nested in others.
    pub fn nulled(&mut self) -> u64 {
        let within = match &mut self.values {
            Values::List { element, .. } => element.nulled(),
            Values::Struct { columns, .. } => columns.iter_mut().map(Column::nulled).sum(),
            Values::Hstore { values, .. } => values.nulled(),
            _ => 0,
        };
        std::mem::take(&mut self.nulled) + within
    }

    /// Appends the value with these bytes, or null if it is unrepresentable and the column is lenient.
    #[inline]
    pub fn value(&mut self, sent: &[u8]) -> Result<(), Fault> {
        match self.push(sent) {
            Ok(()) => self.nulls.append_non_null(),
            Err(Fault::Unrepresentable(_)) if self.lenient => {
                self.null();
                self.nulled += 1;
            }
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    /// Appends a value without its validity bit. An unrepresentable value leaves the buffers unchanged.
    #[inline]
    fn push(&mut self, sent: &[u8]) -> Result<(), Fault> {
        match &mut self.values {
            Values::Boolean(values) => values.append(u8::from_be_bytes(exactly(sent)?) != 0),
            Values::Int16(values) => values.push(i16::from_be_bytes(exactly(sent)?)),
            Values::Int32(values) => values.push(i32::from_be_bytes(exactly(sent)?)),
            Values::Int64(values) => values.push(i64::from_be_bytes(exactly(sent)?)),
            Values::Oid(values) => values.push(u32::from_be_bytes(exactly(sent)?).into()),
            Values::Float32(values) => values.push(f32::from_be_bytes(exactly(sent)?)),
            Values::Float64(values) => values.push(f64::from_be_bytes(exactly(sent)?)),
            Values::Decimal { values, precision, scale } => values.push(decimal(sent, *precision, *scale)?),
            Values::Date(values) => values.push(date(i32::from_be_bytes(exactly(sent)?))?),
            Values::Timestamp(values) => values.push(timestamp(i64::from_be_bytes(exactly(sent)?))?),
            Values::Bytes { form, ends, bytes } => {
                form.append(sent, bytes)?;
                ends.push(end(bytes.len())?);
            }
            Values::List { ends, element, .. } => {
                list(sent, element)?;
                ends.push(end(element.len())?);
            }
            Values::Struct { columns, .. } => row(sent, columns)?,
            Values::Hstore { ends, keys, values, .. } => {
                hstore(sent, keys, values)?;
                ends.push(end(keys.len())?);
            }
        }
        Ok(())
    }

    /// Returns the values so far and empties the column. The error has the index of the faulty value, from 0.
    pub fn finish(&mut self) -> Result<ArrayRef, (usize, Fault)> {
        let nulls = self.nulls.finish();
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int16(values) => Arc::new(Int16Array::new(take_values(values), nulls)),
            Values::Int32(values) => Arc::new(Int32Array::new(take_values(values), nulls)),
            Values::Int64(values) | Values::Oid(values) => Arc::new(Int64Array::new(take_values(values), nulls)),
            Values::Float32(values) => Arc::new(Float32Array::new(take_values(values), nulls)),
            Values::Float64(values) => Arc::new(Float64Array::new(take_values(values), nulls)),
            Values::Decimal { values, .. } => {
                Arc::new(Decimal128Array::new(take_values(values), nulls).with_data_type(self.data_type.clone()))
            }
            Values::Date(values) => Arc::new(Date32Array::new(take_values(values), nulls)),
            Values::Timestamp(values) => Arc::new(
                TimestampMicrosecondArray::new(take_values(values), nulls).with_data_type(self.data_type.clone()),
            ),
            Values::Bytes { form, ends, bytes } => {
                let ends = take_offsets(ends);
                let capacity = bytes.len().min(MAX_RETAINED_BYTES);
                let bytes = std::mem::replace(bytes, Vec::with_capacity(capacity));
                match form {
                    Form::Binary => Arc::new(BinaryArray::new(ends, bytes.into(), nulls)),
                    _ => match first_invalid_utf8(&ends, &bytes) {
                        Some(_) if self.lenient => {
                            let texts = valid_texts(&ends, &bytes, nulls.as_ref());
                            let null_before = nulls.map_or(0, |nulls| nulls.null_count());
                            self.nulled += (texts.null_count() - null_before) as u64;
                            Arc::new(texts)
                        }
                        Some(at) => {
                            return Err((at, Fault::Unrepresentable("text that is not valid UTF-8: cast it to bytea")));
                        }
                        None => Arc::new(StringArray::new(ends, bytes.into(), nulls)),
                    },
                }
            }
            Values::List { field, ends, element } => {
                let ends = take_offsets(ends);
                let elements = element.finish().map_err(|(at, fault)| (index_of_list(&ends, at), fault))?;
                Arc::new(ListArray::new(field.clone(), ends, elements, nulls))
            }
            Values::Struct { fields, columns } => {
                let arrays = columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
                Arc::new(StructArray::new(fields.clone(), arrays, nulls))
            }
            Values::Hstore { field, pair, ends, keys, values } => {
                let ends = take_offsets(ends);
                let of = |(at, fault)| (index_of_list(&ends, at), fault);
                let pairs = vec![keys.finish().map_err(of)?, values.finish().map_err(of)?];
                let entries = StructArray::new(pair.clone(), pairs, None);
                Arc::new(MapArray::new(field.clone(), ends, entries, nulls, false))
            }
        })
    }
}

fn new_offsets(capacity: usize) -> Vec<i32> {
    let mut ends = Vec::with_capacity(capacity + 1);
    ends.push(0);
    ends
}

fn take_values<T>(values: &mut Vec<T>) -> ScalarBuffer<T>
where
    T: arrow_buffer::ArrowNativeType,
{
    let capacity = values.len();
    std::mem::replace(values, Vec::with_capacity(capacity)).into()
}

fn take_offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let capacity = ends.len();
    OffsetBuffer::new(std::mem::replace(ends, new_offsets(capacity)).into())
}

/// Returns the index of the list that contains the element.
fn index_of_list(ends: &OffsetBuffer<i32>, element: usize) -> usize {
    ends.partition_point(|end| *end as usize <= element).saturating_sub(1)
}

/// Returns the texts, with null for each one that is not valid UTF-8.
fn valid_texts(ends: &OffsetBuffer<i32>, bytes: &[u8], nulls: Option<&NullBuffer>) -> StringArray {
    let text = |(at, ends): (usize, &[i32])| {
        let there = nulls.is_none_or(|nulls| nulls.is_valid(at));
        std::str::from_utf8(&bytes[ends[0] as usize..ends[1] as usize]).ok().filter(|_| there)
    };
    ends.windows(2).enumerate().map(text).collect()
}

/// Returns the index of the first value that is not valid UTF-8. Checking all bytes at once is much faster than
/// checking value by value.
fn first_invalid_utf8(ends: &OffsetBuffer<i32>, bytes: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(bytes);
    if text.is_ok_and(|text| ends.iter().all(|end| text.is_char_boundary(*end as usize))) {
        return None;
    }
    ends.windows(2).position(|ends| std::str::from_utf8(&bytes[ends[0] as usize..ends[1] as usize]).is_err())
}
