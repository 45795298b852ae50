//! Passes a drop's pages to the Parquet reader, but rejects large ones: a page of a few bytes can expand to 2 GB.

use std::io::{self, Read};

use bytes::{Buf, Bytes, buf::Reader};
use parquet::{
    errors::{ParquetError, Result},
    file::reader::{ChunkReader, Length},
};
use turntable_parquet::page_header;

/// The maximum uncompressed size of a page, in bytes. Most writers aim at 1 MB, but DuckDB writes one page per column
/// of a row group.
pub const MAX_PAGE_BYTES: u32 = 64 << 20;

/// Parts of a file, each with its offset in the file.
#[derive(Clone)]
pub struct Parts {
    parts: Vec<(u64, Bytes)>,
}

impl Parts {
    pub fn new(parts: Vec<(u64, Bytes)>) -> Parts {
        Parts { parts }
    }

    /// Returns the bytes from an offset in the file to the end of the part that contains it.
    pub fn from(&self, start: u64) -> Result<Bytes> {
        let within = |(at, bytes): &(u64, Bytes)| {
            let skipped = usize::try_from(start.checked_sub(*at)?).ok()?;
            (skipped < bytes.len()).then(|| bytes.slice(skipped..))
        };
        self.parts.iter().find_map(within).ok_or_else(|| ParquetError::EOF("a page lies outside its column".into()))
    }
}

impl Length for Parts {
    fn len(&self) -> u64 {
        self.parts.iter().map(|(at, bytes)| at + bytes.len() as u64).max().unwrap_or(0)
    }
}

impl ChunkReader for Parts {
    type T = Header;

    fn get_read(&self, start: u64) -> Result<Header> {
        let bytes = self.from(start)?;
        Ok(Header { unseen: Some(bytes.clone()), bytes: bytes.reader() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF("a page ends outside its column".into()));
        }
        Ok(bytes.slice(..length))
    }
}

/// Reads from an offset in the file to the end of the part that contains it. The parquet crate reads page headers this
/// way, and page data with `get_bytes`. The first read fails if the page is too large.
pub struct Header {
    unseen: Option<Bytes>,
    bytes: Reader<Bytes>,
}

impl Read for Header {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if let Some(header) = self.unseen.take() {
            let size = uncompressed_size(&header).ok_or_else(|| io::Error::other("unknown page header format"))?;
            if size > MAX_PAGE_BYTES {
                return Err(io::Error::other("page larger than 64 MB: write smaller pages"));
            }
        }
        self.bytes.read(to)
    }
}

/// Returns the uncompressed size of a page from its header, or `None` if the header has an unknown format.
pub fn uncompressed_size(header: &[u8]) -> Option<u32> {
    page_header(header).map(|header| header.uncompressed)
}
