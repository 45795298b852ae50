//! Parquet objects that go into the generation as they are: S3 copies them, and no row is read.

use arrow_schema::Schema;
use parquet::{
    basic::{Compression, ConvertedType, Encoding, Type},
    file::metadata::{ColumnChunkMetaData, RowGroupMetaData},
};

use super::parquet::Footer;
use turntable_core::config;

/// Takes out what may be copied. What is left is read, and written anew.
pub fn take(footers: &mut Vec<Footer>, schema: &Schema, sizes: config::Parquet) -> Vec<Footer> {
    // One alone is not merged with anything, however small it is.
    let least = if footers.len() == 1 { 0 } else { sizes.file_size / 4 };
    footers.extract_if(.., |footer| footer.size() >= least && fits(footer, schema, sizes)).collect()
}

/// Bytes: `CopyObject` takes 5 GB, and more than this in one call would strain its time-out.
const MOST: u64 = 1 << 30;

/// Whether nothing differs for readers and for checks between the object and what would be written of its rows.
fn fits(footer: &Footer, schema: &Schema, sizes: config::Parquet) -> bool {
    let metadata = footer.parquet();
    let groups = metadata.row_groups();
    let compressed = |group: &RowGroupMetaData| group.compressed_size().unsigned_abs();
    let all: u64 = groups.iter().map(compressed).sum();
    let well_sized = footer.size() <= sizes.file_size.saturating_mul(2).min(MOST)
        && groups.iter().all(|group| group.num_rows() > 0 && compressed(group) <= sizes.row_group_size * 2)
        && (groups.len() == 1 || groups.len() > 1 && all / groups.len() as u64 >= sizes.row_group_size / 16);
    well_sized && same_columns(footer.schema(), schema) && groups.iter().flat_map(RowGroupMetaData::columns).all(plain)
}

/// Names as they are to be, in their order, and the very types: Arrow's go by what the file says itself.
fn same_columns(file: &Schema, schema: &Schema) -> bool {
    let fields = || file.fields().iter().zip(schema.fields());
    file.fields().len() == schema.fields().len()
        && fields().all(|(one, other)| one.name() == other.name() && one.data_type() == other.data_type())
}

/// A chunk that Athena reads without a doubt, in the object itself, and of which checks learn what they would of ours.
#[expect(deprecated, reason = "Java writers still say BIT_PACKED of levels that there are none of")]
fn plain(chunk: &ColumnChunkMetaData) -> bool {
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
        && (nested || says_what_checks_ask(chunk))
}

fn says_what_checks_ask(chunk: &ColumnChunkMetaData) -> bool {
    let Some(statistics) = chunk.statistics() else { return false };
    let Some(nulls) = statistics.null_count_opt() else { return false };
    let extremes = statistics.min_bytes_opt().is_some() && statistics.max_bytes_opt().is_some();
    nulls == chunk.num_values().unsigned_abs() || extremes && !statistics.is_min_max_deprecated()
}
