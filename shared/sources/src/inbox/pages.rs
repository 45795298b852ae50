//! Passes a drop's pages to the Parquet reader, but rejects large ones: a page of a few bytes can expand to 2 GB.

use std::io::{self, Read};

use bytes::{Buf, Bytes, buf::Reader};
use parquet::{
    errors::{ParquetError, Result},
    file::reader::{ChunkReader, Length},
};

/// The maximum uncompressed size of a page, in bytes. Most writers aim for 1 MB, but DuckDB writes each column of a row
/// group as one page.
const MAX_PAGE_BYTES: u32 = 64 << 20;

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
    fn from(&self, start: u64) -> Result<Bytes> {
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

/// Returns a page's uncompressed size from its header, or `None` if the header has another format.
///
/// The header is a struct in Thrift's compact protocol. Its first fields are three `i32`: the page type, the
/// uncompressed size and the compressed size (parquet.thrift, `PageHeader`; thrift-compact-protocol.md).
pub fn uncompressed_size(mut header: &[u8]) -> Option<u32> {
    /// The header of a field whose type is `i32` and whose id is one higher than the previous field's.
    const NEXT: u8 = 0x15;
    let mut sizes = [0; 3];
    for size in &mut sizes {
        let [NEXT, rest @ ..] = header else { return None };
        (*size, header) = zigzag_varint(rest)?;
    }
    Some(sizes[1])
}

/// Parses a non-negative zigzag varint. Returns it with the bytes that follow.
fn zigzag_varint(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return (value & 1 == 0).then_some((u32::try_from(value >> 1).ok()?, &bytes[at + 1..]));
        }
    }
    None
}
