//! One object of S3 → its text, decompressed, for a thread that may block.

use std::io::{self, BufRead, Cursor, Read};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc::Receiver;

use super::listing::{Compression, Object};
use crate::error::{Error, Result};

/// The text without a byte order mark.
pub type Input = Box<dyn Read + Send>;

/// What arrives of an object. Its errors are [`Error`]s inside of [`io::Error`]s: [`error`] takes them out.
pub struct Arriving {
    chunks: Receiver<Result<Bytes>>,
    chunk: Bytes,
    /// Bytes that must still come: an end before is none.
    missing: u64,
}

impl Arriving {
    pub fn new(object: &Object, chunks: Receiver<Result<Bytes>>) -> Self {
        Self { chunks, chunk: Bytes::new(), missing: object.entry.size }
    }
}

impl BufRead for Arriving {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.chunk.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => {
                    self.chunk = chunk.map_err(io::Error::other)?;
                    self.missing = self.missing.saturating_sub(self.chunk.len() as u64);
                }
                None if self.missing > 0 => {
                    let error = Error::unavailable("an object ended before its last byte; run again");
                    return Err(io::Error::other(error));
                }
                None => break,
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        self.chunk.advance(amount);
    }
}

impl Read for Arriving {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let from = self.fill_buf()?;
        let length = from.len().min(to.len());
        to[..length].copy_from_slice(&from[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// Decompresses (all members of a gzip, all frames of a zstd), and takes a byte order mark away.
pub fn open(object: &Object, arriving: Arriving) -> Result<Input> {
    let mut input: Input = match object.compression {
        Compression::None => Box::new(arriving),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(arriving)),
        Compression::Zstd => Box::new(
            zstd::stream::read::Decoder::with_buffer(arriving)
                .map_err(|error| self::error(object, Fault::Io(error)))?,
        ),
    };
    let mut mark = Vec::new();
    input.by_ref().take(3).read_to_end(&mut mark).map_err(|error| self::error(object, Fault::Io(error)))?;
    if mark == b"\xEF\xBB\xBF" {
        mark.clear();
    }
    Ok(Box::new(Read::chain(Cursor::new(mark), input)))
}

/// Why a text cannot be read on.
#[derive(Debug)]
pub enum Fault {
    Io(io::Error),
    /// The line on which the record begins, and what is wrong with it.
    Text(u64, String),
}

/// Bytes. A record that is longer is taken for a fault, so that it does not take all of the memory.
pub const LONGEST: usize = 16 << 20;

/// The sentence for the operator.
pub fn error(object: &Object, fault: Fault) -> Error {
    let error = match fault {
        Fault::Text(line, why) => return Error::input(format!("{object}: line {line}: {why}")),
        Fault::Io(error) => error,
    };
    let what = match object.compression {
        Compression::None => "cannot be read",
        Compression::Gzip => "is damaged or no gzip",
        Compression::Zstd => "is damaged or no zstd",
    };
    match error.downcast::<Error>() {
        Ok(below) => below,
        Err(error) => Error::input(format!("{object} {what}")).caused_by(error),
    }
}
