//! Converts Parquet structs to JSON text or to maps, for structs whose field names Athena can't read.

use std::{fmt::Write, sync::Arc};

use arrow_array::{
    Array, ArrayRef, MapArray, StringArray, StructArray,
    cast::AsArray,
    types::{
        Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
        TimestampMicrosecondType,
    },
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, FieldRef};
use arrow_select::interleave::interleave;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// Returns the map type for a struct with these field types. Fails if they differ.
pub fn map_type(types: &[DataType]) -> Result<DataType, String> {
    match types.split_first() {
        Some((first, others)) if others.iter().all(|other| other == first) => {
            Ok(turntable_parquet::arrow_types::map_of(DataType::Utf8, first.clone()))
        }
        _ => Err(
            "the fields of a struct have different types, so it can't be a map: set source.files.objects = \"json\""
                .into(),
        ),
    }
}

/// Converts structs to maps from field names to values. `columns` are the fields' converted values.
pub fn as_maps(
    structs: &StructArray,
    entries: &FieldRef,
    (key, value): (&FieldRef, &FieldRef),
    columns: &[ArrayRef],
) -> Result<ArrayRef, String> {
    let broken = |_| "the file is damaged: lengths or nulls in it don't match its values".to_owned();
    let rows: Vec<usize> = (0..structs.len()).filter(|row| structs.is_valid(*row)).collect();
    let order: Vec<(usize, usize)> =
        rows.iter().flat_map(|row| (0..columns.len()).map(move |column| (column, *row))).collect();
    let arrays: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    let values = interleave(&arrays, &order).map_err(broken)?;
    let names = structs.fields().iter().map(|field| field.name().as_str());
    let keys: StringArray = rows.iter().flat_map(|_| names.clone()).map(Some).collect();
    let lengths = (0..structs.len()).map(|row| if structs.is_valid(row) { columns.len() } else { 0 });
    let pairs = StructArray::try_new(vec![key.clone(), value.clone()].into(), vec![Arc::new(keys), values], None);
    let offsets = OffsetBuffer::from_lengths(lengths);
    let maps = MapArray::try_new(entries.clone(), offsets, pairs.map_err(broken)?, structs.nulls().cloned(), false);
    Ok(Arc::new(maps.map_err(broken)?))
}

/// Converts structs to JSON text. `plain` has the values: it is already converted to the types that Turntable writes,
/// except that structs are still structs. `structs` is the same column as it was read from the file, and has the field
/// names.
pub fn as_json(plain: &ArrayRef, structs: &ArrayRef) -> Result<ArrayRef, String> {
    let text = |row| {
        let mut text = String::new();
        write(plain, structs, row, &mut text)?;
        Ok(plain.is_valid(row).then_some(text))
    };
    let texts: Result<StringArray, String> = (0..plain.len()).map(text).collect();
    Ok(Arc::new(texts?))
}

/// Appends a value as JSON. `original` is the array before the conversion, with the field names from the file.
fn write(array: &ArrayRef, original: &ArrayRef, row: usize, to: &mut String) -> Result<(), String> {
    if array.is_null(row) {
        to.push_str("null");
        return Ok(());
    }
    let _ = match array.data_type() {
        DataType::Boolean => write!(to, "{}", array.as_boolean().value(row)),
        DataType::Int8 => write!(to, "{}", array.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => write!(to, "{}", array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => write!(to, "{}", array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => write!(to, "{}", array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => write!(to, "{}", finite(array.as_primitive::<Float32Type>().value(row))?),
        DataType::Float64 => write!(to, "{}", finite(array.as_primitive::<Float64Type>().value(row))?),
        DataType::Decimal128(..) => write!(to, "{}", array.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Utf8 => write!(to, "{}", string(array.as_string::<i32>().value(row))),
        DataType::Date32 => {
            let seconds = i64::from(array.as_primitive::<Date32Type>().value(row)) * 86_400;
            write!(to, "\"{}\"", moment(seconds, 0)?.to_zoned(TimeZone::UTC).date())
        }
        DataType::Timestamp(_, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            let at = moment(micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000))?;
            let format = if zone.is_some() { "\"%Y-%m-%dT%H:%M:%S%.fZ\"" } else { "\"%Y-%m-%dT%H:%M:%S%.f\"" };
            write!(to, "{}", at.to_zoned(TimeZone::UTC).strftime(format))
        }
        DataType::List(_) => {
            let (values, original) = (array.as_list::<i32>(), original.as_list_opt::<i32>().ok_or_else(inconsistent)?);
            let items = (values.value(row), original.value(row));
            return separated(to, ['[', ']'], items.0.len(), |at, to| write_item(&items, at, to));
        }
        DataType::Map(..) => {
            let (map, original) = (array.as_map(), original.as_map_opt().ok_or_else(inconsistent)?);
            let entries = (map.value(row), original.value(row));
            let (keys, values) = (entries.0.column(0), entries.0.column(1));
            return separated(to, ['{', '}'], keys.len(), |at, to| {
                let mut key = String::new();
                write(keys, entries.1.column(0), at, &mut key)?;
                // A key that isn't a string becomes a string that contains its JSON text.
                to.push_str(&if key.starts_with('"') { key } else { string(&key) });
                to.push(':');
                write(values, entries.1.column(1), at, to)
            });
        }
        DataType::Struct(_) => {
            let (fields, original) = (array.as_struct(), original.as_struct_opt().ok_or_else(inconsistent)?);
            return separated(to, ['{', '}'], fields.num_columns(), |at, to| {
                to.push_str(&string(original.fields().get(at).ok_or_else(inconsistent)?.name()));
                to.push(':');
                write(fields.column(at), original.column(at), row, to)
            });
        }
        other => return Err(format!("a struct with {other} can't be JSON text: write it with another type")),
    };
    Ok(())
}

fn write_item(items: &(ArrayRef, ArrayRef), at: usize, to: &mut String) -> Result<(), String> {
    write(&items.0, &items.1, at, to)
}

/// Appends `count` items in brackets, with commas between them.
fn separated(
    to: &mut String,
    [open, close]: [char; 2],
    count: usize,
    item: impl Fn(usize, &mut String) -> Result<(), String>,
) -> Result<(), String> {
    to.push(open);
    for at in 0..count {
        if at > 0 {
            to.push(',');
        }
        item(at, to)?;
    }
    to.push(close);
    Ok(())
}

fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns the shortest text that parses back to the same float. Fails for NaN and infinities.
fn finite<F: Into<f64> + Copy + std::fmt::LowerExp>(value: F) -> Result<String, String> {
    match value.into().is_finite() {
        true => Ok(format!("{value:e}").trim_end_matches("e0").to_owned()),
        false => Err("a struct contains NaN or an infinity, which JSON has no number for: write null instead".into()),
    }
}

fn moment(seconds: i64, micros: i64) -> Result<Timestamp, String> {
    let at = SignedDuration::from_secs(seconds) + SignedDuration::from_micros(micros);
    Timestamp::from_duration(at)
        .map_err(|_| "a struct contains a date or a time outside of the years -9999 to 9999".to_owned())
}

fn inconsistent() -> String {
    "the file is damaged: lengths or nulls in it don't match its values".into()
}
