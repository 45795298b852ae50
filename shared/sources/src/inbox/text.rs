//! Reads CSV and NDJSON drops into records.

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
    records::Records as Csv,
};
use turntable_core::{
    config::Dialect,
    error::{Error, Result},
};

/// The base-2 logarithm of the largest accepted zstd window, in bytes, for [`input::open`]: 8 MB, the size that RFC
/// 8878 recommends that decoders support. It is small because many drops are read at the same time.
pub const MAX_ZSTD_WINDOW_LOG: u32 = 23;

/// The maximum size of a drop's decompressed text, in bytes. Even a small drop can decompress to many gigabytes.
const MAX_TEXT_BYTES: u64 = 1 << 30;

/// Reads a CSV drop. Invalid records are rejected. Fails if the header is invalid, a limit is exceeded or the input is
/// damaged.
pub fn csv(object: &Object, input: Input, reader: &Reader) -> Result<ParsedDrop> {
    let mut csv = Csv::new(Bounded::new(object, input, MAX_TEXT_BYTES), Dialect::default());
    let mut records = Records::new(reader);
    let header = match csv.next_record().map_err(|fault| input::error(object, fault))? {
        Some(header) => {
            header.fields().map(|field| String::from_utf8_lossy(field.text).trim().to_lowercase()).collect()
        }
        None => Vec::new(),
    };
    let positions = header_positions(object, &header, &Records::names(&reader.key))?;
    let mut read = 0;
    loop {
        // Blank lines count too, because a small drop can decompress to hundreds of millions of them.
        read += 1;
        if read > MAX_RECORDS + 1 {
            return Err(too_many(object));
        }
        let record = match csv.next_record() {
            Ok(Some(record)) => record,
            Ok(None) => return records.finish(),
            // After malformed CSV, the start of the next record is unknown.
            Err(ReadFault::Text(line, why)) => {
                records.reject(line, format!("{why}; the rest of the drop is not read"));
                return records.finish();
            }
            Err(fault) => return Err(input::error(object, fault)),
        };
        if record.is_blank() {
            continue;
        }
        if record.width() != header.len() {
            let reason = format!("field count is {}, expected {} as in the header", record.width(), header.len());
            records.reject(record.line, reason);
            continue;
        }
        let all: Vec<Result<&str, _>> = record.fields().map(|field| std::str::from_utf8(field.text)).collect();
        let fields: Result<Vec<Text>, _> = positions.iter().map(|at| all[*at].map(Some)).collect();
        match fields {
            Ok(fields) => records.text(record.line, &fields),
            Err(_) => records.reject(record.line, "invalid UTF-8"),
        }
    }
}

/// Returns the position of each named column in the header. Fails if a name is missing or appears twice.
fn header_positions(object: &Object, header: &[String], names: &[&str]) -> Result<Vec<usize>> {
    let times = |name: &str| header.iter().filter(|other| *other == name).count();
    let missing: Vec<&str> = names.iter().copied().filter(|name| times(name) == 0).collect();
    let expected = names.join(", ");
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(Error::input(format!("{object}: the header is missing {missing}: expected {expected}")));
    }
    if let Some(twice) = names.iter().find(|name| times(name) > 1) {
        return Err(Error::input(format!("{object}: the header has {twice} twice: expected {expected} once each")));
    }
    Ok(names.iter().filter_map(|name| header.iter().position(|other| other == name)).collect())
}

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
struct Bounded {
    input: Input,
    /// The number of bytes that may still be read.
    left: u64,
    object: String,
}

impl Bounded {
    fn new(object: &Object, input: Input, max_bytes: u64) -> Bounded {
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
