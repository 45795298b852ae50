//! The settings for Parquet files.

use arrow_schema::SchemaRef;
use parquet::{
    basic::{Compression, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties, WriterVersion},
};
use turntable_core::error::{Error, Result};

/// The maximum size in memory of an unfinished page, in bytes. Long pages compress better.
const MAX_PAGE_BYTES: usize = 1 << 20;

/// Returns properties for files that Athena reads reliably: format version 1 with version 1 data pages, ZSTD,
/// dictionaries, and statistics for every page and column chunk. The footer has no Arrow schema, because readers,
/// including the audit, must use Parquet's own types.
pub(super) fn properties(compression_level: i32) -> Result<WriterProperties> {
    let level = ZstdLevel::try_new(compression_level).map_err(|error| {
        Error::config(format!("ZSTD has no level {compression_level}: this is a bug, please report it"))
            .caused_by(error)
    })?;
    Ok(WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Page)
        // Names the fields in lists `list.element` and in maps `key_value.key` and `key_value.value`, whatever the
        // Arrow fields are called.
        .set_coerce_types(true)
        // Java readers ignore the statistics of a writer whose version they can't parse.
        .set_created_by(concat!("turntable version ", env!("CARGO_PKG_VERSION")).to_owned())
        .build())
}

/// Sets long pages, for writers with few open files. All unfinished pages together take at most half a row group of
/// memory, unless there are so many columns that pages would be shorter than 8 KB. The number of rows in a page is
/// limited too, because a dictionary index takes eight bytes until its page ends.
pub(super) fn with_long_pages(
    properties: WriterProperties,
    schema: &SchemaRef,
    row_group_size: u64,
) -> WriterProperties {
    let columns = schema.flattened_fields().len().max(1);
    let page = (row_group_size as usize / 2 / columns).clamp(8 << 10, MAX_PAGE_BYTES);
    properties.into_builder().set_data_page_size_limit(page).set_data_page_row_count_limit(page / 8).build()
}
