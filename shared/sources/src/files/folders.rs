//! Columns whose values are in folder names, as Hive, Spark and Athena write them: `dt=2026-01-01/region=jp/`.
//!
//! If an object contains a column itself, the column is read from the object, whatever its folders are called.

use arrow_array::ArrayRef;
use arrow_schema::{DataType, Field};
use percent_encoding::percent_decode_str;

use super::{
    infer::{self, Kind},
    object::{Folder, Object},
    scalar,
};
use crate::column_builder::ColumnBuilder;

/// The value that Hive writes into a folder name for null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Returns the columns in the key's folder names, the outermost folder first. The key is relative to the source's
/// location.
pub fn of(key: &str) -> Vec<Folder> {
    let folders = key.rsplit_once('/').map_or("", |(folders, _)| folders);
    let named = folders.split('/').filter_map(|folder| folder.split_once('=')).filter(|(name, _)| !name.is_empty());
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().map_or_else(|_| text.into(), String::from);
    let folder = |(name, value): (&str, &str)| Folder {
        name: decoded(name).to_lowercase(),
        value: (value != NULL).then(|| decoded(value)),
    };
    named.map(folder).collect()
}

/// Returns the columns in the folder names of all objects, except columns for which `has` returns `true`. Their types
/// are inferred from all values.
pub fn fields(objects: &[Object], has: impl Fn(&str) -> bool) -> Vec<Field> {
    let mut columns = Vec::new();
    for Folder { name, value } in objects.iter().flat_map(|object| &object.folders).filter(|folder| !has(&folder.name))
    {
        let kind = value.as_ref().map_or(Kind::Nothing, |text| Kind::of_text(text.as_bytes()));
        infer::add(&mut columns, name.clone(), kind);
    }
    columns.into_iter().map(|(name, kind)| Field::new(name, kind.data_type(), true)).collect()
}

/// Returns an array that contains the folder's value `rows` times. Fails, with the reason, if the value doesn't fit the
/// type.
pub fn constant(folder: &Folder, to: &DataType, rows: usize) -> Result<ArrayRef, String> {
    let mut column = ColumnBuilder::new(to, rows).map_err(|of| format!("Arrow type {of} is not supported"))?;
    for _ in 0..rows {
        match &folder.value {
            Some(text) => {
                scalar::append(&mut column.values, text.as_bytes(), false)?;
                column.append_valid();
            }
            None => column.append_null(),
        }
    }
    column.finish(None).map_err(|_| "not UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, value: Option<&str>) -> Folder {
        Folder { name: name.into(), value: value.map(Into::into) }
    }

    #[test]
    fn folders_are_columns_and_files_are_not() {
        for (key, expected) in [
            ("a.csv", vec![]),
            ("x/y/dt=1.csv", vec![]),
            ("DT=2026-01-01/a.csv", vec![folder("dt", Some("2026-01-01"))]),
            ("a=1/x/b=2=3/a.csv", vec![folder("a", Some("1")), folder("b", Some("2=3"))]),
            ("at=10%3A00%20x/a.csv", vec![folder("at", Some("10:00 x"))]),
            ("a=__HIVE_DEFAULT_PARTITION__/b=/=c/a.csv", vec![folder("a", None), folder("b", Some(""))]),
            ("a=%ff/a.csv", vec![folder("a", Some("%ff"))]),
        ] {
            assert_eq!(of(key), expected, "{key}");
        }
    }
}
