//! How the Parquet that is read may be compressed.

use parquet::{
    basic::Compression,
    file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData},
};

/// Why a file cannot be read, if it cannot.
pub fn readable(footer: &ParquetMetaData) -> Result<(), String> {
    footer
        .row_groups()
        .iter()
        .flat_map(RowGroupMetaData::columns)
        .map(ColumnChunkMetaData::compression)
        .try_for_each(known)
}

fn known(compression: Compression) -> Result<(), String> {
    let name = match compression {
        Compression::BROTLI(_) => "Brotli",
        Compression::LZO => "LZO",
        _ => return Ok(()),
    };
    Err(format!("it is compressed with {name}, which is not read: write it with ZSTD, Snappy, gzip or LZ4"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_codec_is_there_for_is_told_by_its_name() {
        assert_eq!(known(Compression::LZ4_RAW), Ok(()));
        assert_eq!(known(Compression::GZIP(parquet::basic::GzipLevel::default())), Ok(()));
        assert!(
            known(Compression::BROTLI(parquet::basic::BrotliLevel::default())).unwrap_err().contains("with Brotli,")
        );
    }
}
