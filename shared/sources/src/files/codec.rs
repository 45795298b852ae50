//! Checks that the compression codecs in Parquet files can be read.

use parquet::{
    basic::Compression,
    file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData},
};

/// Checks that every column chunk uses a supported codec. The error names the first codec that isn't supported.
pub fn readable(footer: &ParquetMetaData) -> Result<(), String> {
    footer
        .row_groups()
        .iter()
        .flat_map(RowGroupMetaData::columns)
        .map(ColumnChunkMetaData::compression)
        .try_for_each(ensure_supported)
}

fn ensure_supported(compression: Compression) -> Result<(), String> {
    let name = match compression {
        Compression::BROTLI(_) => "Brotli",
        Compression::LZO => "LZO",
        _ => return Ok(()),
    };
    Err(format!("it is compressed with {name}, which is not supported: write it with ZSTD, Snappy, gzip or LZ4"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_codec_is_named() {
        assert_eq!(ensure_supported(Compression::LZ4_RAW), Ok(()));
        assert_eq!(ensure_supported(Compression::GZIP(parquet::basic::GzipLevel::default())), Ok(()));
        assert!(
            ensure_supported(Compression::BROTLI(parquet::basic::BrotliLevel::default()))
                .unwrap_err()
                .contains("with Brotli,")
        );
    }
}
