//! Converts values from Parquet files to the types that Turntable writes. A conversion that would lose data is an
//! error. The error never contains a value.
//!
//! | Parquet | written |
//! |---|---|
//! | unsigned 8, 16, 32, 64 bits | smallint, int, bigint, decimal(20,0) |
//! | timestamps in any unit, INT96 | timestamp in microseconds; one that microseconds can't hold is an error or NULL (`timestamps.rs`) |
//! | float16 | float |
//! | decimals with up to 38 digits | unchanged |
//! | uuid and other fixed-length bytes | binary |
//! | time | string, `03:04:05.123456` |
//! | structs | unchanged, or as `source.files.objects` says (`nested.rs`) |

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, ListArray, MapArray, StructArray, cast::AsArray, new_null_array, types::TimestampMicrosecondType,
};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};

use super::{folders, nested as nesting, object::Folder, time_of_day};
use crate::unmatched::Unmatched;
use turntable_core::config::Nested;
use turntable_parquet::arrow_types::ELEMENT;

/// Returns the type that Turntable writes for a type in a Parquet file. `nested` is the type for structs.
pub fn normal(from: &DataType, nested: Nested) -> Result<DataType, String> {
    use DataType::*;
    Ok(match from {
        Boolean | Int8 | Int16 | Int32 | Int64 | Float32 | Float64 | Utf8 | Binary | Date32 => from.clone(),
        Null => Utf8,
        UInt8 => Int16,
        UInt16 => Int32,
        UInt32 => Int64,
        UInt64 => Decimal128(20, 0),
        Float16 => Float32,
        FixedSizeBinary(_) => Binary,
        Time32(_) | Time64(_) => Utf8,
        Timestamp(_, zone) => Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| "UTC".into())),
        Decimal32(precision, scale)
        | Decimal64(precision, scale)
        | Decimal128(precision, scale)
        | Decimal256(precision, scale)
            if *precision <= 38 && *scale >= 0 =>
        {
            Decimal128(*precision, *scale)
        }
        List(element) => List(Arc::new(Field::new(ELEMENT, normal(element.data_type(), nested)?, true))),
        Struct(fields) => match nested {
            Nested::Struct => Struct(normal_fields(fields, nested)?),
            Nested::Map => {
                let types: Result<Vec<DataType>, String> =
                    fields.iter().map(|field| normal(field.data_type(), nested)).collect();
                nesting::map_type(&types?)?
            }
            Nested::Json => Utf8,
        },
        Map(entries, _) => {
            let (key, value) = key_and_value(entries).ok_or("a map without a key and a value")?;
            let key = Field::new("key", normal(key.data_type(), nested)?, false);
            let value = Field::new("value", normal(value.data_type(), nested)?, true);
            Map(Arc::new(Field::new("key_value", Struct(vec![key, value].into()), false)), false)
        }
        _ => return Err(format!("Arrow type {from} has no matching Glue type")),
    })
}

/// Returns the fields with lower-case names and with the types that Turntable writes. Fails if two names differ only in
/// case.
pub fn normal_fields(fields: &Fields, nested: Nested) -> Result<Fields, String> {
    let mut normal_fields: Vec<Field> = Vec::with_capacity(fields.len());
    for field in fields {
        let name = field.name().to_lowercase();
        if normal_fields.iter().any(|other| *other.name() == name) {
            return Err(format!("two columns are called {name:?} (Glue's names are lower case): rename one"));
        }
        let data_type = normal(field.data_type(), nested).map_err(|fault| format!("column {name:?}: {fault}"))?;
        normal_fields.push(Field::new(name, data_type, true));
    }
    Ok(normal_fields.into())
}

/// Converts an array to another type. Fails if the types are incompatible, even if the array is empty.
pub fn convert(array: &ArrayRef, to: &DataType, unmatched: &Unmatched) -> Result<ArrayRef, String> {
    use DataType::*;
    let from = array.data_type();
    let nulls = array.nulls().cloned();
    match (from, to) {
        _ if from == to => Ok(array.clone()),
        (Null, _) => Ok(new_null_array(to, array.len())),
        (List(_), List(field)) => {
            let list = array.as_list::<i32>();
            let values = convert(list.values(), field.data_type(), unmatched)?;
            Ok(Arc::new(
                ListArray::try_new(field.clone(), list.offsets().clone(), values, nulls).map_err(inconsistent)?,
            ))
        }
        (Struct(_), Struct(fields)) => {
            let columns = convert_fields(array.as_struct(), fields, &[], unmatched)?;
            Ok(Arc::new(StructArray::try_new(fields.clone(), columns, nulls).map_err(inconsistent)?))
        }
        (Struct(_), Map(entries, _)) => {
            let pair = key_and_value(entries).ok_or("a map without a key and a value")?;
            let columns = array.as_struct().columns().iter();
            let columns: Result<Vec<ArrayRef>, String> =
                columns.map(|column| convert(column, pair.1.data_type(), unmatched)).collect();
            nesting::as_maps(array.as_struct(), entries, pair, &columns?)
        }
        (Struct(_), Utf8) => nesting::as_json(&convert(array, &normal(from, Nested::Struct)?, unmatched)?, array),
        (Map(..), Map(entries, ordered)) => {
            let map = array.as_map();
            let (key, value) = key_and_value(entries).ok_or("a map without a key and a value")?;
            let keys = convert(map.keys(), key.data_type(), unmatched)?;
            let pair = vec![keys, convert(map.values(), value.data_type(), unmatched)?];
            let fields: Fields = vec![key.clone(), value.clone()].into();
            let pairs = StructArray::try_new(fields, pair, None).map_err(inconsistent)?;
            let map = MapArray::try_new(entries.clone(), map.offsets().clone(), pairs, nulls, *ordered);
            Ok(Arc::new(map.map_err(inconsistent)?))
        }
        (Timestamp(_, zone), Timestamp(TimeUnit::Microsecond, to_zone)) => {
            // If a value doesn't fit into microseconds, its whole row has already been replaced with NULL. The value is
            // still there below that NULL, and becomes NULL too.
            let to = Timestamp(TimeUnit::Microsecond, zone.clone());
            let micros = cast_with_options(array, &to, &CastOptions::default());
            let micros = micros.map_err(|_| format!("{from} can't be converted to {to}"))?;
            let micros = micros.as_primitive::<TimestampMicrosecondType>();
            // The values are in UTC, whether the type has a time zone or not.
            Ok(Arc::new(micros.clone().with_timezone_opt(to_zone.clone())))
        }
        (
            Decimal32(_, scale) | Decimal64(_, scale) | Decimal128(_, scale) | Decimal256(_, scale),
            Decimal128(_, to_scale),
        ) if to_scale >= scale => cast(array, to),
        (Float16, Float32 | Float64) | (Float32, Float64) => cast(array, to),
        (Utf8, Binary) | (Binary, Utf8) | (FixedSizeBinary(_), Binary) => cast(array, to),
        (Time32(_) | Time64(_), Utf8) => time_of_day::as_text(array),
        _ if from.is_integer() && (to.is_integer() || matches!(to, Decimal128(..))) => cast(array, to),
        _ => Err(format!("{from} can't be converted to {to} without loss")),
    }
}

/// Converts a struct's columns, matched by name regardless of letter case. A missing column gets its value from the
/// folder names, if they have one for it. Other missing columns, and unexpected columns, are errors or are only
/// counted, as `unmatched` says.
pub fn convert_fields(
    from: &StructArray,
    to: &Fields,
    folders: &[Folder],
    unmatched: &Unmatched,
) -> Result<Vec<ArrayRef>, String> {
    let rows = from.len();
    let names: Vec<String> = from.fields().iter().map(|field| field.name().to_lowercase()).collect();
    let known = |name: &&String| to.iter().any(|field| field.name() == *name);
    let in_folders = folders.iter().map(|folder| &folder.name).filter(|name| !names.contains(name));
    for name in names.iter().chain(in_folders).filter(|name| !known(name)) {
        if !unmatched.ignore_extra {
            return Err(format!(
                "unexpected column {name:?}: all files must have the same columns, unless source.files has columns and \
                 extra = \"ignore\""
            ));
        }
        unmatched.count_ignored(name, rows as u64);
    }
    let column = |field: &FieldRef| {
        let name = field.name();
        let fault = |fault| format!("column {name:?}: {fault}");
        if let Some(at) = names.iter().position(|known| known == name) {
            return convert(from.column(at), field.data_type(), unmatched).map_err(fault);
        }
        if let Some(folder) = folders.iter().find(|folder| folder.name == *name) {
            return folders::constant(folder, field.data_type(), rows).map_err(fault);
        }
        if !unmatched.missing_is_null {
            return Err(format!(
                "missing column {name:?}: all files must have the same columns, unless source.files has columns and \
                 missing = \"null\""
            ));
        }
        unmatched.count_missing(name, rows as u64);
        Ok(new_null_array(field.data_type(), rows))
    };
    to.iter().map(column).collect()
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    let options = CastOptions { safe: false, ..Default::default() };
    // Arrow's error message is dropped, because it contains the value.
    cast_with_options(array, to, &options).map_err(|_| format!("a value doesn't fit the type {to}"))
}

fn key_and_value(entries: &Field) -> Option<(&FieldRef, &FieldRef)> {
    match entries.data_type() {
        DataType::Struct(pair) if pair.len() == 2 => Some((&pair[0], &pair[1])),
        _ => None,
    }
}

fn inconsistent(_: arrow_schema::ArrowError) -> String {
    "the file is damaged: lengths or nulls in it don't match its values".into()
}
