//! The pages of a drop of Parquet, none of which is taken on its word: a page of a few bytes may say, and be, 2 GB.

use std::io::{self, Read};

use bytes::{Buf, Bytes, buf::Reader};
use parquet::{
    errors::{ParquetError, Result},
    file::reader::{ChunkReader, Length},
};

/// Bytes of a page before it was compressed. Writers aim at 1 MB; DuckDB puts a column of a row group into one.
const LARGEST: u32 = 64 << 20;

/// Parts of a file, each from where it begins.
pub struct Parts {
    parts: Vec<(u64, Bytes)>,
}

impl Parts {
    pub fn new(parts: Vec<(u64, Bytes)>) -> Parts {
        Parts { parts }
    }

    /// What is there from a place on.
    fn from(&self, start: u64) -> Result<Bytes> {
        let within = |(at, bytes): &(u64, Bytes)| {
            let skipped = usize::try_from(start.checked_sub(*at)?).ok()?;
            (skipped < bytes.len()).then(|| bytes.slice(skipped..))
        };
        self.parts.iter().find_map(within).ok_or_else(|| ParquetError::EOF("a page outside of its column".into()))
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
            return Err(ParquetError::EOF("a page that ends outside of its column".into()));
        }
        Ok(bytes.slice(..length))
    }
}

/// What is read from a file as it comes, which are the headers of its pages only.
pub struct Header {
    unseen: Option<Bytes>,
    bytes: Reader<Bytes>,
}

impl Read for Header {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if let Some(header) = self.unseen.take() {
            let size = size(&header).ok_or_else(|| io::Error::other("a page whose header is of no known form"))?;
            if size > LARGEST {
                return Err(io::Error::other("a page of more than 64 MB: write smaller ones"));
            }
        }
        self.bytes.read(to)
    }
}

/// The size of a page before it was compressed. A header is a struct of Thrift's compact protocol, whose first fields are
/// three `i32`: its kind, this, and the compressed size (parquet.thrift, `PageHeader`; thrift-compact-protocol.md).
fn size(mut header: &[u8]) -> Option<u32> {
    /// An `i32` in the field after the one before.
    const NEXT: u8 = 0x15;
    let mut sizes = [0; 3];
    for size in &mut sizes {
        let [NEXT, rest @ ..] = header else { return None };
        (*size, header) = whole(rest)?;
    }
    Some(sizes[1])
}

/// A zigzag varint that is not negative, and what follows it.
fn whole(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return (value & 1 == 0).then_some((u32::try_from(value >> 1).ok()?, &bytes[at + 1..]));
        }
    }
    None
}
