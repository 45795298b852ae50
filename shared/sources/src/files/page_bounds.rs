//! Checks the pages of a Parquet column before the parquet crate decodes them. The crate allocates as many bytes as a
//! page's header says, and decompresses gzip to the end, so a page of a few bytes could use up all memory.

use std::{collections::HashMap, io::Read, ops::Range};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use parquet::{
    basic::Compression,
    file::metadata::{ParquetMetaData, RowGroupMetaData},
};

use super::object::Object;
use turntable_core::error::{Error, Result};
use turntable_parquet::{PageHeader, page_header};

/// The maximum size of a page after decompression, in bytes. Most writers aim at 1 MB, but DuckDB writes one page per
/// column of a row group.
const MAX_PAGE_BYTES: u32 = 256 << 20;
/// The maximum size of the pages that are decoded at the same time, one of each column, in bytes.
const MAX_OPEN_PAGES_BYTES: u64 = 1 << 30;

/// The highest compression ratio of deflate: its longest match encodes 258 bytes in 2 bits.
const MAX_GZIP_RATIO: u64 = 1032;
/// The highest compression ratio of LZ4: 255 bytes for each byte of a match's length.
const MAX_LZ4_RATIO: u64 = 255;
/// The magic number of LZ4's frame format. The parquet crate falls back to this format for files of old writers, and
/// then decompresses a page to its end.
const LZ4_FRAME: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// The maximum size to which a page in LZ4's frame format may expand, in bytes.
const MAX_LZ4_BYTES: u64 = 1 << 30;

/// How the pages of each column chunk are compressed, by the chunk's byte range in the file. A forged footer may name a
/// range twice.
pub type Chunks = HashMap<Range<u64>, Vec<Compression>>;

/// Returns the column chunks that a footer names.
pub fn chunks(footer: &ParquetMetaData) -> Chunks {
    let mut chunks = Chunks::new();
    for column in footer.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        let (start, length) = column.byte_range();
        let codecs = chunks.entry(start..start.saturating_add(length)).or_default();
        if !codecs.contains(&column.compression()) {
            codecs.push(column.compression());
        }
    }
    chunks
}

/// Returns the size of a row group in the file, in bytes, as its columns' metadata says.
pub fn size_of(group: &RowGroupMetaData) -> u64 {
    let sizes = group.columns().iter().map(|column| u64::try_from(column.compressed_size()).unwrap_or(u64::MAX));
    sizes.fold(0, u64::saturating_add)
}

/// Checks the pages of the chunks that were read, before they are decoded.
pub fn check(object: &Object, chunks: &Chunks, read: &[(Range<u64>, Bytes)]) -> Result<()> {
    let mut open = 0_u64;
    for (range, bytes) in read {
        let Some(codecs) = chunks.get(range) else {
            return Err(Error::input(format!(
                "{object}: the bytes {range:?} belong to no column: write the file again"
            )));
        };
        for codec in codecs {
            let largest = largest(bytes, *codec, u64::MAX, MAX_PAGE_BYTES);
            let largest = largest.map_err(|what| Error::input(format!("{object} is damaged or forged: {what}")))?;
            open = open.saturating_add(largest.into());
        }
    }
    if open > MAX_OPEN_PAGES_BYTES {
        return Err(Error::input(format!(
            "{object} has a row group whose pages take more than {} MB at the same time: write smaller pages",
            MAX_OPEN_PAGES_BYTES >> 20
        )));
    }
    Ok(())
}

/// Checks the pages of a column chunk, and returns the size of the largest one. `chunk` has the whole chunk, and `max`
/// is the maximum size of a page. Once the pages contain `values` values, following bytes that aren't a page are
/// ignored.
pub fn largest(chunk: &[u8], compression: Compression, values: u64, max: u32) -> std::result::Result<u32, String> {
    let (mut rest, mut seen, mut largest) = (chunk, 0, 0);
    while !rest.is_empty() {
        let Some(header) = page_header(rest) else {
            return if seen >= values { Ok(largest) } else { Err("a page has an unknown header".into()) };
        };
        let mb = max >> 20;
        if header.uncompressed > max {
            return Err(format!("page larger than {mb} MB: write smaller pages"));
        }
        let end = header.length.saturating_add(header.compressed as usize);
        let page = rest.get(header.length..end).ok_or("a page ends outside its column")?;
        if expands_beyond(page, compression, &header) {
            return Err(format!("a page of {} bytes expands to more than its header says", page.len()));
        }
        seen += u64::from(header.values);
        largest = largest.max(header.uncompressed);
        rest = &rest[end..];
    }
    Ok(largest)
}

/// Returns whether a page expands to more bytes than its header says. Codecs that stop at this size need no check, nor
/// does a page that is too small to expand that far. Damaged pages are an error when they are decoded.
fn expands_beyond(page: &[u8], compression: Compression, header: &PageHeader) -> bool {
    let Some(data) = page.get(header.levels as usize..) else { return false };
    let (size, said) = (data.len() as u64, u64::from(header.uncompressed.saturating_sub(header.levels)));
    match compression {
        Compression::GZIP(_) if size.saturating_mul(MAX_GZIP_RATIO) > said.max(1 << 20) => {
            let (mut gz, mut buffer, mut out) = (MultiGzDecoder::new(data), [0; 16 << 10], 0);
            loop {
                match gz.read(&mut buffer) {
                    Ok(0) | Err(_) => return false,
                    Ok(read) => out += read as u64,
                }
                if out > said {
                    return true;
                }
            }
        }
        Compression::LZ4 => data.starts_with(&LZ4_FRAME) && size.saturating_mul(MAX_LZ4_RATIO) > MAX_LZ4_BYTES,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression as Level, write::GzEncoder};
    use parquet::basic::GzipLevel;

    use super::*;

    /// Returns a data page with 7 values and this many bytes before compression, as its header says.
    fn page(uncompressed: u32, body: &[u8]) -> Vec<u8> {
        let varint = |number: u32| {
            let (mut rest, mut bytes) = (u64::from(number) << 1, Vec::new());
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
            bytes
        };
        let sizes = [&[0x15, 0x00, 0x15][..], &varint(uncompressed), &[0x15], &varint(body.len() as u32)].concat();
        [&sizes[..], &[0x2c, 0x15, 0x0e, 0x15, 0x00, 0x15, 0x06, 0x15, 0x06, 0x00, 0x00], body].concat()
    }

    fn gz(bytes: usize) -> Vec<u8> {
        let mut gz = GzEncoder::new(Vec::new(), Level::best());
        gz.write_all(&vec![0; bytes]).unwrap();
        gz.finish().unwrap()
    }

    const GZIP: fn() -> Compression = || Compression::GZIP(GzipLevel::default());

    #[test]
    fn largest_page_is_found() {
        let chunk = [page(10, b"0123456789"), page(20, &[7; 20])].concat();
        assert_eq!(largest(&chunk, Compression::UNCOMPRESSED, 14, 1 << 20), Ok(20));
        let padded = [&chunk[..], &[0xff; 9]].concat();
        assert_eq!(largest(&padded, Compression::UNCOMPRESSED, 14, 1 << 20), Ok(20));
        let refused = largest(&padded, Compression::UNCOMPRESSED, 15, 1 << 20);
        assert_eq!(refused, Err("a page has an unknown header".into()));
        let cut = largest(&chunk[..chunk.len() - 1], Compression::UNCOMPRESSED, 14, 1 << 20);
        assert_eq!(cut, Err("a page ends outside its column".into()));
    }

    #[test]
    fn page_that_says_too_much_is_refused() {
        let refused = largest(&page((1 << 20) + 1, b"x"), Compression::SNAPPY, 7, 1 << 20);
        assert_eq!(refused, Err("page larger than 1 MB: write smaller pages".into()));
    }

    #[test]
    fn page_that_expands_beyond_what_it_says_is_refused() {
        let bomb = gz(64 << 20);
        assert!(bomb.len() < 100_000);
        let refused = largest(&page(1000, &bomb), GZIP(), 7, 1 << 20).unwrap_err();
        assert!(refused.ends_with("expands to more than its header says"), "{refused}");
        for (said, bytes) in [(64 << 20, 64 << 20), (1000, 1000)] {
            assert_eq!(largest(&page(said, &gz(bytes)), GZIP(), 7, 64 << 20), Ok(said));
        }
        let frame = [&LZ4_FRAME[..], &vec![0; 5 << 20]].concat();
        assert!(largest(&page(1000, &frame), Compression::LZ4, 7, 1 << 20).is_err());
        assert!(largest(&page(1000, &frame[1..]), Compression::LZ4, 7, 1 << 20).is_ok());
    }
}
