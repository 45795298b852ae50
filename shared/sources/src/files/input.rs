//! One object of S3 → its text, decompressed, for a thread that may block.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use bytes::{Buf, Bytes};
use encoding_rs::DecoderResult;
use tokio::sync::mpsc::Receiver;

use super::object::{Compression, Object};
use turntable_core::{
    config::Encoding,
    error::{Error, Result},
};

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

/// Decompresses (all members of a gzip, all frames of a zstd), and takes a byte order mark away. A zstd may look back
/// 2<sup>`window`</sup> bytes, which are kept in memory for as long as it is read.
pub fn open(object: &Object, arriving: impl BufRead + Send + 'static, window: u32) -> Result<Input> {
    let mut input: Input = match object.compression {
        Compression::None => Box::new(arriving),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(arriving)),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(arriving).and_then(|mut decoder| {
                decoder.window_log_max(window)?;
                Ok(decoder)
            });
            Box::new(decoder.map_err(|error| self::error(object, Fault::Io(error)))?)
        }
    };
    let mut mark = Vec::new();
    input.by_ref().take(3).read_to_end(&mut mark).map_err(|error| self::error(object, Fault::Io(error)))?;
    if mark == b"\xEF\xBB\xBF" {
        mark.clear();
    }
    Ok(Box::new(Read::chain(Cursor::new(mark), input)))
}

/// The text in UTF-8. What is none of the encoding's texts is an error after all that stands before it.
pub fn in_utf8(input: Input, encoding: Encoding) -> Input {
    let from = match encoding {
        // Not looked at twice: whoever takes a text looks whether it is one.
        Encoding::Utf8 => return input,
        Encoding::ShiftJis => encoding_rs::SHIFT_JIS,
        Encoding::EucJp => encoding_rs::EUC_JP,
        Encoding::Utf16Le => encoding_rs::UTF_16LE,
        Encoding::Utf16Be => encoding_rs::UTF_16BE,
        Encoding::Windows1252 => encoding_rs::WINDOWS_1252,
    };
    let input = BufReader::with_capacity(64 << 10, input);
    Box::new(Decoding { input, decoder: from.new_decoder_with_bom_removal(), state: State::Text })
}

struct Decoding {
    input: BufReader<Input>,
    decoder: encoding_rs::Decoder,
    state: State,
}

enum State {
    Text,
    Undecodable,
    Ended,
}

/// Bytes that are no text of their encoding come next.
#[derive(Debug)]
struct Undecodable;

impl std::fmt::Display for Undecodable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no text of its encoding")
    }
}

impl std::error::Error for Undecodable {}

pub fn is_undecodable(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<Undecodable>())
}

impl Read for Decoding {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.state {
                State::Text => {}
                State::Undecodable => return Err(io::Error::other(Undecodable)),
                State::Ended => return Ok(0),
            }
            let from = self.input.fill_buf()?;
            let last = from.is_empty();
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(from, to, last);
            self.input.consume(read);
            match result {
                DecoderResult::InputEmpty if last => self.state = State::Ended,
                DecoderResult::InputEmpty => {}
                DecoderResult::OutputFull if written == 0 => return Err(io::ErrorKind::InvalidInput.into()),
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => self.state = State::Undecodable,
            }
            if written > 0 {
                return Ok(written);
            }
        }
    }
}

/// Why a text cannot be read on.
#[derive(Debug)]
pub enum Fault {
    Io(io::Error),
    /// The line on which the record begins, and the field, from 0, that has bytes that are none of the encoding's.
    Undecodable {
        line: u64,
        field: usize,
    },
    /// The line on which the record begins, and what is wrong with it.
    Text(u64, String),
}

/// Bytes. A record that is longer is taken for a fault, so that it does not take all of the memory.
pub const LONGEST: usize = 16 << 20;

/// Fields of a record and names of an object, for the same reason: each takes more memory than the byte that it is made of.
pub const WIDEST: usize = 10_000;

/// What `zstd` itself takes unless it is told otherwise: 128 MB.
pub const WINDOW: u32 = 27;

/// The sentence for the operator.
pub fn error(object: &Object, fault: Fault) -> Error {
    let error = match fault {
        Fault::Text(line, why) => return Error::input(format!("{object}: line {line}: {why}")),
        Fault::Undecodable { line, field } => {
            return Error::input(format!("{object}: line {line}: field {} is not in the encoding", field + 1));
        }
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
