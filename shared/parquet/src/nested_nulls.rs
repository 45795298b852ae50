//! The null counts of arrays, maps and structs. Parquet counts nulls only in the values within them, so Turntable
//! itself writes these counts into the footer.

use std::collections::BTreeMap;

use arrow_schema::{DataType, Schema};
use parquet::file::metadata::{KeyValue, ParquetMetaData};

/// The key of the counts in the footer's metadata. The value is JSON: `{"tags":0}`.
const KEY: &str = "turntable.nulls";

/// Returns whether Parquet counts the nulls of a column of this type.
pub(crate) fn is_nested(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::Map(..) | DataType::Struct(_))
}

/// Returns the metadata for a file with these null counts in the columns of the schema. Returns `None` if no column is
/// nested.
pub(crate) fn metadata(schema: &Schema, nulls: &[u64]) -> Option<KeyValue> {
    let nested = schema.fields().iter().zip(nulls).filter(|(field, _)| is_nested(field.data_type()));
    let nulls: BTreeMap<&str, u64> = nested.map(|(field, nulls)| (field.name().as_str(), *nulls)).collect();
    if nulls.is_empty() {
        return None;
    }
    serde_json::to_string(&nulls).ok().map(|json| KeyValue::new(KEY.to_owned(), json))
}

/// Returns the number of nulls in a nested column of a file, or `None` if the footer doesn't say. If Turntable didn't
/// write the file, the footer can only show that there are no nulls: because the column can't be null, or because one
/// of the values within it never is.
pub fn nested_nulls(footer: &ParquetMetaData, column: &str) -> Option<u64> {
    if let Some(nulls) = written(footer, column) {
        return Some(nulls);
    }
    let leaves = footer.file_metadata().schema_descr();
    let roots = leaves.root_schema().get_fields();
    let root = roots.iter().position(|field| field.name().to_lowercase() == column)?;
    if !roots.get(root)?.is_optional() {
        return Some(0);
    }
    let mut within = (0..leaves.num_columns()).filter(|leaf| leaves.get_column_root_idx(*leaf) == root);
    let never_null = |leaf: usize| {
        let mut groups = footer.row_groups().iter().filter(|group| group.num_rows() > 0);
        groups.all(|group| group.column(leaf).statistics().and_then(|chunk| chunk.null_count_opt()) == Some(0))
    };
    within.any(never_null).then_some(0)
}

fn written(footer: &ParquetMetaData, column: &str) -> Option<u64> {
    let pairs = footer.file_metadata().key_value_metadata()?;
    let json = pairs.iter().find(|pair| pair.key == KEY)?.value.as_ref()?;
    serde_json::from_str::<BTreeMap<String, u64>>(json).ok()?.get(column).copied()
}
