//! One column on its way from the wire to an Arrow array: typed once, filled a value at a time, without allocating.

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

/// What a column keeps allocated between two batches at most, in bytes of text.
const KEPT: usize = 8 << 20;

pub struct Column {
    data_type: DataType,
    values: Values,
    nulls: NullBufferBuilder,
    /// Whether what is unrepresentable becomes null.
    lenient: bool,
    /// How often that was, since it was last asked.
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
    /// An empty column with room for so many values; `lenient`: what is unrepresentable becomes null, and is counted.
    pub fn new(wire: &Wire, room: usize, lenient: bool) -> Column {
        let boxed = |wire: &Wire| Box::new(Column::new(wire, 0, lenient));
        let bytes = |form| Values::Bytes { form, ends: ends(room), bytes: Vec::new() };
        let values = match wire {
            Wire::Boolean => Values::Boolean(BooleanBufferBuilder::new(room)),
            Wire::Int16 => Values::Int16(Vec::with_capacity(room)),
            Wire::Int32 => Values::Int32(Vec::with_capacity(room)),
            Wire::Int64 => Values::Int64(Vec::with_capacity(room)),
            Wire::Oid => Values::Oid(Vec::with_capacity(room)),
            Wire::Float32 => Values::Float32(Vec::with_capacity(room)),
            Wire::Float64 => Values::Float64(Vec::with_capacity(room)),
            Wire::Decimal { precision, scale } => {
                Values::Decimal { values: Vec::with_capacity(room), precision: *precision, scale: *scale }
            }
            Wire::Date => Values::Date(Vec::with_capacity(room)),
            Wire::Timestamp { .. } => Values::Timestamp(Vec::with_capacity(room)),
            Wire::NumericText => bytes(Form::Numeric),
            Wire::Text => bytes(Form::Text),
            Wire::Jsonb => bytes(Form::Jsonb),
            Wire::Uuid => bytes(Form::Uuid),
            Wire::Binary => bytes(Form::Binary),
            Wire::List(element) => {
                Values::List { field: wire::element(element), ends: ends(room), element: boxed(element) }
            }
            Wire::Struct(fields) => Values::Struct {
                fields: wire::fields(fields),
                columns: fields.iter().map(|(_, wire)| Column::new(wire, room, lenient)).collect(),
            },
            Wire::Hstore => Values::Hstore {
                field: wire::entries(),
                pair: wire::pair(),
                ends: ends(room),
                // A key that is null is none.
                keys: Box::new(Column::new(&Wire::Text, 0, false)),
                values: boxed(&Wire::Text),
            },
        };
        Column { data_type: wire.data_type(), values, nulls: NullBufferBuilder::new(room), lenient, nulled: 0 }
    }

    /// How many values there are since the last `finish`.
    pub fn len(&self) -> usize {
        self.nulls.len()
    }

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

    /// How many values have become null since this was last asked, those within values too.
    pub fn nulled(&mut self) -> u64 {
        let within = match &mut self.values {
            Values::List { element, .. } => element.nulled(),
            Values::Struct { columns, .. } => columns.iter_mut().map(Column::nulled).sum(),
            Values::Hstore { values, .. } => values.nulled(),
            _ => 0,
        };
        std::mem::take(&mut self.nulled) + within
    }

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

    /// All of a value but that it is not null; nothing of one that is unrepresentable.
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

    /// The values so far, and an empty column again. The error says which value is none, counted from 0.
    pub fn finish(&mut self) -> Result<ArrayRef, (usize, Fault)> {
        let nulls = self.nulls.finish();
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int16(values) => Arc::new(Int16Array::new(taken(values), nulls)),
            Values::Int32(values) => Arc::new(Int32Array::new(taken(values), nulls)),
            Values::Int64(values) | Values::Oid(values) => Arc::new(Int64Array::new(taken(values), nulls)),
            Values::Float32(values) => Arc::new(Float32Array::new(taken(values), nulls)),
            Values::Float64(values) => Arc::new(Float64Array::new(taken(values), nulls)),
            Values::Decimal { values, .. } => {
                Arc::new(Decimal128Array::new(taken(values), nulls).with_data_type(self.data_type.clone()))
            }
            Values::Date(values) => Arc::new(Date32Array::new(taken(values), nulls)),
            Values::Timestamp(values) => {
                Arc::new(TimestampMicrosecondArray::new(taken(values), nulls).with_data_type(self.data_type.clone()))
            }
            Values::Bytes { form, ends, bytes } => {
                let ends = taken_ends(ends);
                let room = bytes.len().min(KEPT);
                let bytes = std::mem::replace(bytes, Vec::with_capacity(room));
                match form {
                    Form::Binary => Arc::new(BinaryArray::new(ends, bytes.into(), nulls)),
                    _ => match not_utf8(&ends, &bytes) {
                        Some(_) if self.lenient => {
                            let texts = texts(&ends, &bytes, nulls.as_ref());
                            let null_before = nulls.map_or(0, |nulls| nulls.null_count());
                            self.nulled += (texts.null_count() - null_before) as u64;
                            Arc::new(texts)
                        }
                        Some(at) => {
                            return Err((at, Fault::Unrepresentable("text that is no UTF-8: cast it to bytea")));
                        }
                        None => Arc::new(StringArray::new(ends, bytes.into(), nulls)),
                    },
                }
            }
            Values::List { field, ends, element } => {
                let ends = taken_ends(ends);
                let elements = element.finish().map_err(|(at, fault)| (owner(&ends, at), fault))?;
                Arc::new(ListArray::new(field.clone(), ends, elements, nulls))
            }
            Values::Struct { fields, columns } => {
                let arrays = columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
                Arc::new(StructArray::new(fields.clone(), arrays, nulls))
            }
            Values::Hstore { field, pair, ends, keys, values } => {
                let ends = taken_ends(ends);
                let of = |(at, fault)| (owner(&ends, at), fault);
                let pairs = vec![keys.finish().map_err(of)?, values.finish().map_err(of)?];
                let entries = StructArray::new(pair.clone(), pairs, None);
                Arc::new(MapArray::new(field.clone(), ends, entries, nulls, false))
            }
        })
    }
}

fn ends(room: usize) -> Vec<i32> {
    let mut ends = Vec::with_capacity(room + 1);
    ends.push(0);
    ends
}

fn taken<T>(values: &mut Vec<T>) -> ScalarBuffer<T>
where
    T: arrow_buffer::ArrowNativeType,
{
    let room = values.len();
    std::mem::replace(values, Vec::with_capacity(room)).into()
}

fn taken_ends(ends_: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let room = ends_.len();
    OffsetBuffer::new(std::mem::replace(ends_, ends(room)).into())
}

/// The list that the element belongs to.
fn owner(ends: &OffsetBuffer<i32>, element: usize) -> usize {
    ends.partition_point(|end| *end as usize <= element).saturating_sub(1)
}

/// What is no UTF-8 is null.
fn texts(ends: &OffsetBuffer<i32>, bytes: &[u8], nulls: Option<&NullBuffer>) -> StringArray {
    let text = |(at, ends): (usize, &[i32])| {
        let there = nulls.is_none_or(|nulls| nulls.is_valid(at));
        std::str::from_utf8(&bytes[ends[0] as usize..ends[1] as usize]).ok().filter(|_| there)
    };
    ends.windows(2).enumerate().map(text).collect()
}

/// The first value that is no UTF-8. The whole is looked at at once, which is much faster than value by value.
fn not_utf8(ends: &OffsetBuffer<i32>, bytes: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(bytes);
    if text.is_ok_and(|text| ends.iter().all(|end| text.is_char_boundary(*end as usize))) {
        return None;
    }
    ends.windows(2).position(|ends| std::str::from_utf8(&bytes[ends[0] as usize..ends[1] as usize]).is_err())
}
