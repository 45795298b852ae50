//! Turns the bytes of one S3 object into decompressed UTF-8 text. Reads block, so they belong on a blocking thread.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use bytes::{Buf, Bytes};
use encoding_rs::DecoderResult;
use tokio::sync::mpsc::Receiver;

use super::{
    hints,
    object::{Compression, Object},
};
use turntable_core::{
    config::Encoding,
    error::{Error, Result},
};

/// Decompressed text without a byte order mark.
pub type Input = Box<dyn Read + Send>;

/// Reads an object's bytes as they arrive. A download error is returned as an [`Error`] inside an [`io::Error`];
/// [`error()`] unwraps it.
pub struct Arriving {
    /// The object's name, for the error message.
    object: String,
    chunks: Receiver<Result<Bytes>>,
    chunk: Bytes,
    /// The number of bytes that haven't arrived yet. If the chunks end before this is 0, the download was cut off.
    missing: u64,
}

impl Arriving {
    pub fn new(object: &Object, chunks: Receiver<Result<Bytes>>) -> Self {
        Self { object: object.to_string(), chunks, chunk: Bytes::new(), missing: object.entry.size }
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
                    let cut = format!("{}: the download was cut off: run the export or refresh again", self.object);
                    return Err(io::Error::other(Error::unavailable(cut)));
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

/// Decompresses the object (all gzip members, zstd frames and bzip2 streams) and removes a UTF-8 byte order mark.
///
/// `window` is the base-2 logarithm of the largest accepted zstd window, in bytes. The decoder keeps the window in
/// memory.
pub fn open(object: &Object, arriving: impl BufRead + Send + 'static, window: u32) -> Result<Input> {
    let mut input: Input = match object.compression {
        Compression::None => Box::new(arriving),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(arriving)),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(arriving).and_then(|mut decoder| {
                decoder.window_log_max(window)?;
                Ok(decoder)
            });
            Box::new(decoder.map_err(|error| self::error(object, ReadFault::Io(error)))?)
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(arriving)),
        Compression::Snappy => Box::new(snap::read::FrameDecoder::new(arriving)),
    };
    let mut start = Vec::new();
    let most = hints::START_BYTES as u64;
    input.by_ref().take(most).read_to_end(&mut start).map_err(|error| self::error(object, ReadFault::Io(error)))?;
    if let Some(why) = hints::no_text(&start) {
        return Err(Error::input(format!("{object} {why}")));
    }
    if start.starts_with(b"\xEF\xBB\xBF") {
        start.drain(..3);
    }
    Ok(Box::new(Read::chain(Cursor::new(start), input)))
}

/// Converts the text to UTF-8. Bytes that are invalid in the encoding cause an error after all text before them has
/// been returned; [`is_undecodable`] recognizes that error. Text that is already UTF-8 is passed through unchecked.
pub fn in_utf8(input: Input, encoding: Encoding) -> Input {
    let from = match encoding {
        // The parsers check UTF-8 themselves.
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

/// An error that means that bytes are invalid in the text's encoding.
#[derive(Debug)]
struct Undecodable;

impl std::fmt::Display for Undecodable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("invalid bytes for the text's encoding")
    }
}

impl std::error::Error for Undecodable {}

/// Returns whether the error comes from [`in_utf8`] and means that bytes are invalid in the encoding.
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

/// Why reading text failed.
#[derive(Debug)]
pub enum ReadFault {
    Io(io::Error),
    /// A field has bytes that are invalid in the encoding. `line` is the record's first line; `field` counts from 0.
    Undecodable {
        line: u64,
        field: usize,
    },
    /// Malformed text, with the record's first line and the reason.
    Text(u64, String),
}

/// The maximum size of a record, in bytes. It limits the memory that a malformed object can use.
pub const MAX_RECORD_BYTES: usize = 16 << 20;

/// The maximum number of fields in a CSV record, or names in a JSON object. Each takes more memory than its text.
pub const MAX_FIELDS: usize = 10_000;

/// The base-2 logarithm of the largest zstd window, in bytes, that a source's objects may use: 128 MB, the default
/// limit in the `zstd` tool.
pub const MAX_ZSTD_WINDOW_LOG: u32 = 27;

/// Converts a fault to an error with the object's name and, if known, the line. An [`Error`] inside the fault, such as
/// a failed download, is returned unchanged.
pub fn error(object: &Object, fault: ReadFault) -> Error {
    let error = match fault {
        ReadFault::Text(line, why) => return Error::input(format!("{object}: line {line}: {why}")),
        ReadFault::Undecodable { line, field } => {
            return Error::input(format!(
                "{object}: line {line}: field {} is not valid in the file's encoding: correct the file",
                field + 1
            ));
        }
        ReadFault::Io(error) => error,
    };
    let what = match object.compression {
        Compression::None => "can't be read: replace the file",
        Compression::Gzip => "is damaged or not gzip: replace the file",
        Compression::Zstd => "is damaged or not zstd: replace the file",
        Compression::Bzip2 => "is damaged or not bzip2: replace the file",
        Compression::Snappy => {
            "is damaged or not in snappy's framing format (Hadoop's format and plain snappy can't be read): replace the file"
        }
    };
    match error.downcast::<Error>() {
        Ok(below) => below,
        Err(error) => Error::input(format!("{object} {what}")).caused_by(error),
    }
}
