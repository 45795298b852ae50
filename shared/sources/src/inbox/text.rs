//! Reads NDJSON drops into records, and limits the size of a drop's text.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use super::{
    reader::{ParsedDrop, Reader},
    record::{MAX_RECORDS, Records, Text, too_many},
};
use crate::files::{
    input::{self, Input, ReadFault},
    json::{self, Scalar},
    ndjson,
    object::Object,
};
use turntable_core::error::{Error, Result};

/// The base-2 logarithm of the largest zstd window, in bytes, that [`input::open`] accepts: 8 MB, the size that RFC
/// 8878 recommends that decoders support. It is small because many drops are read at the same time.
pub const MAX_ZSTD_WINDOW_LOG: u32 = 23;

/// The maximum size of a drop's decompressed text, in bytes. Even a small drop can decompress to many gigabytes.
pub const MAX_TEXT_BYTES: u64 = 1 << 30;

/// Reads an NDJSON drop. Invalid lines are rejected. Fails if a limit is exceeded or the input is damaged.
pub fn ndjson(object: &Object, input: Input, reader: &Reader) -> Result<ParsedDrop> {
    let names = Records::names(&reader.key);
    let mut lines = ndjson::Lines::new(Box::new(Bounded::new(object, input, MAX_TEXT_BYTES)));
    let mut records = Records::new(reader);
    loop {
        let line = match lines.next_line() {
            Ok(Some(line)) => line,
            Ok(None) => return records.finish(),
            Err(ReadFault::Text(line, why)) => {
                records.reject(line, format!("{why}; the rest of the drop is not read"));
                return records.finish();
            }
            Err(fault) => return Err(input::error(object, fault)),
        };
        if line.number > MAX_RECORDS {
            return Err(too_many(object));
        }
        match fields(line.text, &names) {
            Ok(fields) => {
                let fields: Vec<Text> = fields.iter().map(Option::as_deref).collect();
                records.text(line.number, &fields);
            }
            Err(reason) => records.reject(line.number, reason),
        }
    }
}

/// Returns the line's fields in the order of `names`, or the reason why the line is invalid. Missing fields are null.
fn fields<'a>(line: &'a [u8], names: &[&str]) -> Result<Vec<Option<Cow<'a, str>>>, String> {
    let mut fields: Vec<Option<Cow<str>>> = vec![None; names.len()];
    for (name, value) in ndjson::pairs(line)?.0 {
        let Some(at) = names.iter().position(|known| name.eq_ignore_ascii_case(known)) else { continue };
        let text = match json::scalar(value.get()) {
            Some(Scalar::Other("null")) => continue,
            Some(Scalar::String(text)) => text,
            Some(Scalar::Other(text)) => Cow::Borrowed(text),
            Some(Scalar::Nested(_)) | None => return Err(format!("{} is not a single value", names[at])),
        };
        if fields[at].replace(text).is_some() {
            return Err(format!("{} appears twice", names[at]));
        }
    }
    Ok(fields)
}

/// An input that fails if it is larger than its limit.
pub struct Bounded {
    input: Input,
    /// The number of bytes that may still be read.
    left: u64,
    object: String,
}

impl Bounded {
    pub fn new(object: &Object, input: Input, max_bytes: u64) -> Bounded {
        Bounded { input, left: max_bytes, object: object.to_string() }
    }
}

impl Read for Bounded {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(to)?;
        let left = self.left.checked_sub(read as u64);
        self.left = left.ok_or_else(|| {
            let gigabytes = MAX_TEXT_BYTES >> 30;
            io::Error::other(Error::input(format!(
                "{} has more than {gigabytes} GB of text: split the drop",
                self.object
            )))
        })?;
        Ok(read)
    }
}
