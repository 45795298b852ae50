//! The wire formats of values, and the Arrow type of each. `postgres::types` maps PostgreSQL's types to wire formats.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};

use turntable_parquet::arrow_types::ELEMENT;

/// The wire format of a value, which determines its Arrow type.
#[derive(Debug, Clone, PartialEq)]
pub enum Wire {
    Boolean,
    Int16,
    Int32,
    Int64,
    /// An unsigned 32-bit integer.
    Oid,
    Float32,
    Float64,
    Decimal {
        precision: u8,
        scale: u8,
    },
    /// A binary `numeric`, decoded to text.
    NumericText,
    Text,
    /// A version byte, then text.
    Jsonb,
    Uuid,
    Binary,
    Date,
    Timestamp {
        utc: bool,
    },
    List(Box<Wire>),
    Struct(Vec<(String, Wire)>),
    Hstore,
}

impl Wire {
    /// Returns the Arrow type.
    pub fn data_type(&self) -> DataType {
        match self {
            Wire::Boolean => DataType::Boolean,
            Wire::Int16 => DataType::Int16,
            Wire::Int32 => DataType::Int32,
            Wire::Int64 | Wire::Oid => DataType::Int64,
            Wire::Float32 => DataType::Float32,
            Wire::Float64 => DataType::Float64,
            Wire::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
            Wire::NumericText | Wire::Text | Wire::Jsonb | Wire::Uuid => DataType::Utf8,
            Wire::Binary => DataType::Binary,
            Wire::Date => DataType::Date32,
            Wire::Timestamp { utc } => DataType::Timestamp(TimeUnit::Microsecond, utc.then(|| "UTC".into())),
            Wire::List(of) => DataType::List(element(of)),
            Wire::Struct(of) => DataType::Struct(fields(of)),
            Wire::Hstore => DataType::Map(entries(), false),
        }
    }
}

/// Returns the Arrow field for a list's elements.
fn element(of: &Wire) -> FieldRef {
    Arc::new(Field::new(ELEMENT, of.data_type(), true))
}

/// Returns the Arrow fields for a struct.
fn fields(of: &[(String, Wire)]) -> Fields {
    of.iter().map(|(name, wire)| Field::new(name, wire.data_type(), true)).collect()
}

/// Returns the Arrow field for a map's entries, which are pairs.
fn entries() -> FieldRef {
    Arc::new(Field::new("key_value", DataType::Struct(pair()), false))
}

/// Returns the key and value fields of a map's entry.
fn pair() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)])
}
