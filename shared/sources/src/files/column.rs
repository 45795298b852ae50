//! Builds Arrow arrays of one type from values given as text or JSON.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ListArray, MapArray, StructArray,
    builder::{
        ArrayBuilder, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, PrimitiveBuilder, StringBuilder,
        TimestampMicrosecondBuilder,
    },
    types::{ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type},
};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{DataType, FieldRef, TimeUnit};
use serde_json::value::RawValue;

use super::{
    infer::Kind,
    json::{self, Pairs, Scalar},
    row::Row,
    text::{self, Zone},
};
use turntable_core::manifest::TypedBy;
use turntable_parquet::arrow_types;

/// Why a value does not fit its column. Never contains the value.
#[derive(Debug, PartialEq)]
pub struct Fault {
    /// The column's name; for nested columns the path, such as `address.city`.
    pub column: String,
    pub why: String,
    /// Whether the value is of the right kind but the type can't represent it, and the type is not an inferred one.
    pub is_unrepresentable: bool,
}

/// A column of the batch that is being built.
pub struct Column {
    of: Type,
    values: Values,
}

struct Type {
    data_type: DataType,
    /// Whether to accept only texts that the type preserves exactly. Set for inferred types, which rest on a sample.
    canonical: bool,
}

enum Values {
    Boolean(BooleanBuilder),
    Int8(PrimitiveBuilder<Int8Type>),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    Decimal(Decimal128Builder, u8, i8),
    String(StringBuilder),
    Binary(BinaryBuilder),
    Date(Date32Builder),
    /// The flag is set if the values have a time zone and are stored as UTC.
    Timestamp(TimestampMicrosecondBuilder, bool),
    List(FieldRef, Nested, Box<Column>),
    Map(FieldRef, Nested, Box<[Column; 2]>),
    Struct(NullBufferBuilder, Row),
}

/// The offsets and nulls of lists or maps.
struct Nested {
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Nested {
    fn new() -> Self {
        Self { offsets: vec![0], nulls: NullBufferBuilder::new(0) }
    }

    /// Appends a list of `length` elements; `None` is a null.
    fn push(&mut self, length: Option<usize>) {
        let last = self.offsets.last().copied().unwrap_or(0);
        // The limits of a batch in `Rows` keep the sum far below `i32::MAX`.
        self.offsets.push(last + length.unwrap_or(0) as i32);
        self.nulls.append(length.is_some());
    }

    fn finish(&mut self) -> (OffsetBuffer<i32>, Option<arrow_buffer::NullBuffer>) {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        (OffsetBuffer::new(offsets.into()), self.nulls.finish())
    }
}

impl Column {
    pub fn new(data_type: &DataType, typed_by: TypedBy) -> Result<Self, String> {
        let column = |data_type: &DataType| Column::new(data_type, typed_by);
        let values = match data_type {
            DataType::Boolean => Values::Boolean(Default::default()),
            DataType::Int8 => Values::Int8(Default::default()),
            DataType::Int16 => Values::Int16(Default::default()),
            DataType::Int32 => Values::Int32(Default::default()),
            DataType::Int64 => Values::Int64(Default::default()),
            DataType::Float32 => Values::Float32(Default::default()),
            DataType::Float64 => Values::Float64(Default::default()),
            DataType::Decimal128(precision, scale) => {
                let builder = Decimal128Builder::new().with_data_type(data_type.clone());
                Values::Decimal(builder, *precision, *scale)
            }
            DataType::Utf8 => Values::String(Default::default()),
            DataType::Binary => Values::Binary(Default::default()),
            DataType::Date32 => Values::Date(Default::default()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let builder = TimestampMicrosecondBuilder::new().with_timezone_opt(zone.clone());
                Values::Timestamp(builder, zone.is_some())
            }
            DataType::List(element) => {
                Values::List(element.clone(), Nested::new(), Box::new(column(element.data_type())?))
            }
            DataType::Map(entries, false) => match entries.data_type() {
                DataType::Struct(pair) if pair.len() == 2 => {
                    let pair = [column(pair[0].data_type())?, column(pair[1].data_type())?];
                    Values::Map(entries.clone(), Nested::new(), Box::new(pair))
                }
                _ => return Err(format!("Arrow type {data_type} cannot be read from CSV or NDJSON")),
            },
            DataType::Struct(fields) => Values::Struct(NullBufferBuilder::new(0), Row::new(fields, typed_by)?),
            _ => return Err(format!("Arrow type {data_type} cannot be read from CSV or NDJSON")),
        };
        let of = Type { data_type: data_type.clone(), canonical: typed_by == TypedBy::Inferred };
        Ok(Self { of, values })
    }

    /// Appends the value that the text represents. Lists, maps and structs are given as JSON.
    pub fn push(&mut self, text: &[u8]) -> Result<(), Fault> {
        if matches!(self.values, Values::List(..) | Values::Map(..) | Values::Struct(..)) {
            let json = json::parse(text).map_err(|_| self.of.fault("not JSON"))?;
            return self.push_json(json);
        }
        self.push_scalar(text).map_err(|why| self.of.fault(why))
    }

    fn push_scalar(&mut self, text: &[u8]) -> Result<(), text::Fault> {
        let canonical = self.of.canonical;
        let trimmed = if canonical { text } else { text.trim_ascii() };
        match &mut self.values {
            Values::String(to) => to.append_value(std::str::from_utf8(text).map_err(|_| "not UTF-8")?),
            Values::Int64(to) => to.append_value(text::whole(trimmed, canonical)?),
            Values::Int32(to) => whole(to, trimmed)?,
            Values::Int16(to) => whole(to, trimmed)?,
            Values::Int8(to) => whole(to, trimmed)?,
            Values::Float64(to) => {
                if canonical && !matches!(Kind::of_number(text), Kind::Int | Kind::Double) {
                    return Err("not a number that a double holds exactly");
                }
                to.append_value(text::real(trimmed)?);
            }
            Values::Float32(to) => to.append_value(text::real(trimmed)?),
            Values::Boolean(to) => to.append_value(text::boolean(trimmed, canonical)?),
            Values::Decimal(to, precision, scale) => to.append_value(text::decimal(trimmed, *precision, *scale)?),
            Values::Date(to) => to.append_value(text::date(trimmed)?),
            Values::Timestamp(to, utc) => match text::timestamp(trimmed)? {
                (_, Zone::NoTime | Zone::None) if *utc => return Err("missing time zone"),
                (_, Zone::Some) if canonical && !*utc => return Err("unexpected time zone"),
                (_, Zone::NoTime) if canonical => return Err("missing time of day"),
                (micros, _) => to.append_value(micros),
            },
            Values::Binary(to) => to.append_value(text::binary(trimmed)?),
            Values::List(..) | Values::Map(..) | Values::Struct(..) => return Err("not JSON"),
        }
        Ok(())
    }

    /// Appends a JSON value. A string column accepts every value, and keeps the JSON text of those that aren't strings.
    pub fn push_json(&mut self, json: &RawValue) -> Result<(), Fault> {
        let text = json.get();
        if text == "null" {
            self.push_null();
            return Ok(());
        }
        match &mut self.values {
            Values::List(_, nested, element) => {
                let values: Vec<&RawValue> = json::array(text).ok_or_else(|| self.of.fault("not a JSON array"))?;
                for value in &values {
                    element.push_json(value)?;
                }
                nested.push(Some(values.len()));
                Ok(())
            }
            Values::Map(_, nested, pair) => {
                let Pairs(values) = json::object(text).ok_or_else(|| self.of.fault("not a JSON object"))?;
                let [key, value] = &mut **pair;
                for (name, json) in &values {
                    key.push(name.as_bytes())?;
                    value.push_json(json)?;
                }
                nested.push(Some(values.len()));
                Ok(())
            }
            Values::Struct(nulls, row) => {
                let pairs = json::object(text).ok_or_else(|| self.of.fault("not a JSON object"))?;
                nulls.append_non_null();
                row.push_json(&pairs)
            }
            values => match json::scalar(text) {
                Some(Scalar::String(text)) => self.push_scalar(text.as_bytes()).map_err(|why| self.of.fault(why)),
                Some(Scalar::Other(text)) => self.push_scalar(text.as_bytes()).map_err(|why| self.of.fault(why)),
                Some(Scalar::Nested(text)) if matches!(values, Values::String(_)) => {
                    self.push_scalar(text.as_bytes()).map_err(|why| self.of.fault(why))
                }
                Some(Scalar::Nested(_)) => Err(self.of.fault("an array or an object, expected a single value")),
                None => Err(self.of.fault("invalid JSON string")),
            },
        }
    }

    pub fn push_null(&mut self) {
        match &mut self.values {
            Values::Boolean(to) => to.append_null(),
            Values::Int8(to) => to.append_null(),
            Values::Int16(to) => to.append_null(),
            Values::Int32(to) => to.append_null(),
            Values::Int64(to) => to.append_null(),
            Values::Float32(to) => to.append_null(),
            Values::Float64(to) => to.append_null(),
            Values::Decimal(to, ..) => to.append_null(),
            Values::String(to) => to.append_null(),
            Values::Binary(to) => to.append_null(),
            Values::Date(to) => to.append_null(),
            Values::Timestamp(to, _) => to.append_null(),
            Values::List(_, nested, _) | Values::Map(_, nested, _) => nested.push(None),
            Values::Struct(nulls, row) => {
                nulls.append_null();
                row.push_null();
            }
        }
    }

    /// Returns whether a failed push leaves the column unchanged, which holds for types that don't nest.
    pub fn is_scalar(&self) -> bool {
        !matches!(self.values, Values::List(..) | Values::Map(..) | Values::Struct(..))
    }

    /// Returns the values that were pushed since the last call.
    pub fn finish(&mut self) -> ArrayRef {
        match &mut self.values {
            Values::Boolean(from) => ArrayBuilder::finish(from),
            Values::Int8(from) => ArrayBuilder::finish(from),
            Values::Int16(from) => ArrayBuilder::finish(from),
            Values::Int32(from) => ArrayBuilder::finish(from),
            Values::Int64(from) => ArrayBuilder::finish(from),
            Values::Float32(from) => ArrayBuilder::finish(from),
            Values::Float64(from) => ArrayBuilder::finish(from),
            Values::Decimal(from, ..) => ArrayBuilder::finish(from),
            Values::String(from) => ArrayBuilder::finish(from),
            Values::Binary(from) => ArrayBuilder::finish(from),
            Values::Date(from) => ArrayBuilder::finish(from),
            Values::Timestamp(from, _) => ArrayBuilder::finish(from),
            Values::List(field, nested, element) => {
                let (offsets, nulls) = nested.finish();
                Arc::new(ListArray::new(field.clone(), offsets, element.finish(), nulls))
            }
            Values::Map(field, nested, pair) => {
                let (offsets, nulls) = nested.finish();
                let DataType::Struct(fields) = field.data_type() else { unreachable!("checked by Column::new") };
                let [key, value] = &mut **pair;
                let entries = StructArray::new(fields.clone(), vec![key.finish(), value.finish()], None);
                Arc::new(MapArray::new(field.clone(), offsets, entries, nulls, false))
            }
            Values::Struct(nulls, row) => {
                let nulls = nulls.finish();
                Arc::new(StructArray::new(row.fields().clone(), row.finish(), nulls))
            }
        }
    }
}

impl Type {
    fn fault(&self, why: &str) -> Fault {
        let glue_type =
            arrow_types::glue_type(&self.data_type).map(|glue_type| glue_type.to_string()).unwrap_or_default();
        let is_unrepresentable = !self.canonical && text::UNREPRESENTABLE.contains(&why);
        let why = match self.canonical {
            false => format!("({glue_type}): {why}"),
            true => format!(
                "({glue_type}, inferred from the first records): {why}; declare the types in source.files.columns"
            ),
        };
        Fault { column: String::new(), why, is_unrepresentable }
    }
}

fn whole<T>(to: &mut PrimitiveBuilder<T>, text: &[u8]) -> Result<(), text::Fault>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64>,
{
    let value = text::whole(text, false)?;
    to.append_value(T::Native::try_from(value).map_err(|_| text::RANGE)?);
    Ok(())
}
