//! Converts between Arrow types and Glue types. The table shows the Arrow types that Turntable writes. [`glue_type`]
//! also accepts large types, views, fixed-size binary, and timestamps in milliseconds or in any time zone.
//!
//! | Arrow | Glue |
//! |---|---|
//! | Boolean | boolean |
//! | Int8, Int16, Int32, Int64 | tinyint, smallint, int, bigint |
//! | Float32, Float64 | float, double |
//! | Decimal128(p ≤ 38, s) | decimal(p,s) |
//! | Utf8 | string |
//! | Binary | binary |
//! | Date32 | date |
//! | Timestamp(µs, no zone or UTC) | timestamp |
//! | List, Struct, Map | array<…>, struct<…>, map<…> |

use std::{collections::BTreeSet, sync::Arc};

use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use turntable_core::schema::{Column, GlueType, readable};

/// The name of a list's element field in Parquet.
pub const ELEMENT: &str = "element";

/// Returns a schema's columns with their Glue types. The error names every column that has no Glue type, or whose name
/// or type Glue or Athena can't read.
pub fn columns(schema: &Schema) -> Result<Vec<Column>, String> {
    columns_named(schema, str::to_owned)
}

/// Does the same as [`columns`], with names in lower case.
pub fn lower_case_columns(schema: &Schema) -> Result<Vec<Column>, String> {
    columns_named(schema, str::to_lowercase)
}

fn columns_named(schema: &Schema, named: impl Fn(&str) -> String) -> Result<Vec<Column>, String> {
    let mut faults = Vec::new();
    let (mut columns, mut seen) = (Vec::new(), BTreeSet::new());
    for field in schema.fields() {
        let name = named(field.name());
        if !seen.insert(name.to_lowercase()) {
            faults.push(format!("two columns are called {:?} (Glue's names are lower case): rename one", field.name()));
        }
        let found = glue_type(field.data_type()).map_err(|fault| format!("column {name:?}: {fault}"));
        match found.and_then(|glue_type| readable(&name, &glue_type)) {
            Ok(column) => columns.push(column),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(columns) } else { Err(faults.join("; ")) }
}

/// Returns the Glue type for an Arrow type. Fails if Glue has none.
pub fn glue_type(data_type: &DataType) -> Result<GlueType, String> {
    let inner = |field: &Field| glue_type(field.data_type()).map(Box::new);
    let unknown = || format!("Arrow type {data_type} has no matching Glue type");
    Ok(match data_type {
        DataType::Boolean => GlueType::Boolean,
        DataType::Int8 => GlueType::Tinyint,
        DataType::Int16 => GlueType::Smallint,
        DataType::Int32 => GlueType::Int,
        DataType::Int64 => GlueType::Bigint,
        DataType::Float32 => GlueType::Float,
        DataType::Float64 => GlueType::Double,
        DataType::Decimal128(precision, scale) => {
            GlueType::Decimal { precision: *precision, scale: u8::try_from(*scale).map_err(|_| unknown())? }
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => GlueType::String,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            GlueType::Binary
        }
        DataType::Date32 => GlueType::Date,
        DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Millisecond, _) => GlueType::Timestamp,
        DataType::List(item) | DataType::LargeList(item) => GlueType::Array(inner(item)?),
        DataType::Struct(fields) => {
            let field = |field: &Arc<Field>| Ok((field.name().clone(), glue_type(field.data_type())?));
            GlueType::Struct(fields.iter().map(field).collect::<Result<_, String>>()?)
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => GlueType::Map(inner(&pair[0])?, inner(&pair[1])?),
            other => return Err(format!("Arrow type {other} has no matching Glue type")),
        },
        _ => return Err(unknown()),
    })
}

/// Returns the Arrow type that is written for a Glue type.
pub fn arrow_type(glue_type: &GlueType) -> DataType {
    match glue_type {
        GlueType::Boolean => DataType::Boolean,
        GlueType::Tinyint => DataType::Int8,
        GlueType::Smallint => DataType::Int16,
        GlueType::Int => DataType::Int32,
        GlueType::Bigint => DataType::Int64,
        GlueType::Float => DataType::Float32,
        GlueType::Double => DataType::Float64,
        // `GlueType` allows a scale of at most 38.
        GlueType::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
        GlueType::String => DataType::Utf8,
        GlueType::Binary => DataType::Binary,
        GlueType::Date => DataType::Date32,
        GlueType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        GlueType::Array(element) => DataType::List(Arc::new(Field::new(ELEMENT, arrow_type(element), true))),
        GlueType::Map(key, value) => map_of(arrow_type(key), arrow_type(value)),
        GlueType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|(name, inner)| Field::new(name, arrow_type(inner), true)).collect())
        }
    }
}

/// Returns the Arrow type that is written for a map with these keys and values.
pub fn map_of(key: DataType, value: DataType) -> DataType {
    let pair = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(pair), false)), false)
}

/// Returns the Arrow type that is written for a Glue type given as text.
pub fn parse_arrow_type(text: &str) -> Result<DataType, String> {
    GlueType::parse(text).map(|glue_type| arrow_type(&glue_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_comes_back_from_arrow() {
        for text in ["tinyint", "decimal(38,18)", "map<string,array<decimal(5,0)>>", "struct<a:int,b:struct<c:date>>"] {
            assert_eq!(glue_type(&parse_arrow_type(text).unwrap()).unwrap().to_string(), text);
        }
        assert!(glue_type(&DataType::Decimal128(5, -2)).is_err());
    }
}
