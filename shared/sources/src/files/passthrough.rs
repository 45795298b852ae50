//! Selects the Parquet objects for passthrough: S3 copies them into the generation unchanged, without reading any row.

use arrow_schema::Schema;
use parquet::{
    basic::{Compression, ConvertedType, Encoding, Type},
    file::metadata::{ColumnChunkMetaData, RowGroupMetaData},
};

use super::parquet::Footer;
use crate::context::Copies;
use turntable_parquet::nested_nulls;

/// Removes from `footers` the objects that can be copied, and returns them. The others are read and rewritten.
pub fn extract_copyable(footers: &mut Vec<Footer>, schema: &Schema, copies: &Copies) -> Vec<Footer> {
    // A single object can't be merged with others, however small it is.
    let min_size = if footers.len() == 1 { 0 } else { copies.sizes.file_size / 4 };
    footers.extract_if(.., |footer| footer.size() >= min_size && can_copy(footer, schema, copies)).collect()
}

/// The maximum size of an object that is copied, in bytes. `CopyObject` accepts 5 GB, but above this limit it may time
/// out.
const MAX_COPY_BYTES: u64 = 1 << 30;

/// Returns whether the object is as good for readers and checks as the files that Turntable would write for its rows.
fn can_copy(footer: &Footer, schema: &Schema, copies: &Copies) -> bool {
    let sizes = copies.sizes;
    let metadata = footer.parquet();
    let groups = metadata.row_groups();
    let compressed = |group: &RowGroupMetaData| group.compressed_size().unsigned_abs();
    let total: u64 = groups.iter().map(compressed).sum();
    let well_sized = footer.size() <= sizes.file_size.saturating_mul(2).min(MAX_COPY_BYTES)
        && groups.iter().all(|group| group.num_rows() > 0 && compressed(group) <= sizes.row_group_size * 2)
        && (groups.len() == 1 || groups.len() > 1 && total / groups.len() as u64 >= sizes.row_group_size / 16);
    well_sized
        && same_columns(footer.schema(), schema)
        && groups.iter().flat_map(RowGroupMetaData::columns).all(is_copyable_chunk)
        && copies.not_null.iter().all(|column| counts_nulls(footer, column))
        && groups
            .iter()
            .flat_map(RowGroupMetaData::columns)
            .all(|chunk| !copies.range.iter().any(|name| hides_nan(chunk, name)))
}

/// Returns whether the column is not nested, or the footer has its null count.
fn counts_nulls(footer: &Footer, column: &str) -> bool {
    let is_nested = footer.schema().field_with_name(column).is_ok_and(|field| field.data_type().is_nested());
    !is_nested || nested_nulls(footer.parquet(), column).is_some()
}

/// Returns whether the column chunk belongs to this column and may contain NaN that the footer doesn't show.
fn hides_nan(chunk: &ColumnChunkMetaData, column: &str) -> bool {
    let is_column = matches!(chunk.column_path().parts(), [name] if name == column);
    let is_float = matches!(chunk.column_type(), Type::FLOAT | Type::DOUBLE);
    is_column && is_float && chunk.statistics().is_none_or(|statistics| statistics.nan_count_opt().is_none())
}

/// Returns whether the file's columns have the schema's names, order and types. The file's Arrow types are derived from
/// its Parquet types, so equal Arrow types are enough.
fn same_columns(file: &Schema, schema: &Schema) -> bool {
    let fields = || file.fields().iter().zip(schema.fields());
    file.fields().len() == schema.fields().len()
        && fields().all(|(one, other)| one.name() == other.name() && one.data_type() == other.data_type())
}

/// Returns whether the column chunk is one that Athena can certainly read, has its data in the object itself, and has
/// statistics that are as good for the checks as Turntable's own.
#[expect(deprecated, reason = "Java writers list BIT_PACKED for levels that the column does not have")]
fn is_copyable_chunk(chunk: &ColumnChunkMetaData) -> bool {
    use Encoding::{BIT_PACKED, PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY};
    let decimal = chunk.column_descr().converted_type() == ConvertedType::DECIMAL;
    let physical = !matches!((chunk.column_type(), decimal), (Type::INT96, _) | (Type::BYTE_ARRAY, true));
    let compressed = matches!(chunk.compression(), Compression::ZSTD(_) | Compression::SNAPPY | Compression::GZIP(_));
    let known = |encoding| matches!(encoding, PLAIN | RLE | BIT_PACKED | PLAIN_DICTIONARY | RLE_DICTIONARY);
    let nested = chunk.column_path().parts().len() > 1;
    physical
        && compressed
        && chunk.file_path().is_none()
        && chunk.encodings().all(known)
        && (nested || has_statistics(chunk))
}

fn has_statistics(chunk: &ColumnChunkMetaData) -> bool {
    let Some(statistics) = chunk.statistics() else { return false };
    let Some(nulls) = statistics.null_count_opt() else { return false };
    let extremes = statistics.min_bytes_opt().is_some() && statistics.max_bytes_opt().is_some();
    nulls == chunk.num_values().unsigned_abs() || extremes && !statistics.is_min_max_deprecated()
}
