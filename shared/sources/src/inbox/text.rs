//! CSV and NDJSON → records.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use super::{
    Reader, Said,
    record::{MOST, Records, Text, too_many},
};
use crate::files::{
    input::{self, Fault, Input},
    json::{self, Scalar},
    ndjson,
    object::Object,
    records::Records as Csv,
};
use turntable_core::{
    config::Dialect,
    error::{Error, Result},
};

/// As far as a zstd may look back, as in [`input::open`]: 8 MB, which is what every decoder must take (RFC 8878). Many drops
/// are read at the same time.
pub const WINDOW: u32 = 23;

/// Bytes of a drop's text. A few kilobytes decompress to as much as somebody wants.
const LARGEST: u64 = 1 << 30;

pub fn csv(object: &Object, input: Input, reader: &Reader) -> Result<Said> {
    let mut csv = Csv::new(Bounded::new(object, input, LARGEST), Dialect::default());
    let mut records = Records::new(reader);
    let header = match csv.next_record().map_err(|fault| input::error(object, fault))? {
        Some(header) => {
            header.fields().map(|field| String::from_utf8_lossy(field.text).trim().to_lowercase()).collect()
        }
        None => Vec::new(),
    };
    let places = places(object, &header, &Records::names(&reader.key))?;
    let mut read = 0;
    loop {
        // Blank ones count too: a few bytes decompress to any number of them.
        read += 1;
        if read > MOST + 1 {
            return Err(too_many(object));
        }
        let record = match csv.next_record() {
            Ok(Some(record)) => record,
            Ok(None) => return records.finish(),
            // Where the next record begins is not known any more.
            Err(Fault::Text(line, why)) => {
                records.reject(line, format!("{why}; nothing is read from here on"));
                return records.finish();
            }
            Err(fault) => return Err(input::error(object, fault)),
        };
        if record.is_blank() {
            continue;
        }
        if record.width() != header.len() {
            records.reject(record.line, format!("{} fields where the header has {}", record.width(), header.len()));
            continue;
        }
        let all: Vec<Result<&str, _>> = record.fields().map(|field| std::str::from_utf8(field.text)).collect();
        let fields: Result<Vec<Text>, _> = places.iter().map(|at| all[*at].map(Some)).collect();
        match fields {
            Ok(fields) => records.text(record.line, &fields),
            Err(_) => records.reject(record.line, "not UTF-8"),
        }
    }
}

/// Where each column stands in the header.
fn places(object: &Object, header: &[String], names: &[&str]) -> Result<Vec<usize>> {
    let times = |name: &str| header.iter().filter(|other| *other == name).count();
    let lacking: Vec<&str> = names.iter().copied().filter(|name| times(name) == 0).collect();
    let expected = names.join(", ");
    if !lacking.is_empty() {
        let lacking = lacking.join(", ");
        return Err(Error::input(format!("{object}: the header lacks {lacking}: expected {expected}")));
    }
    if let Some(twice) = names.iter().find(|name| times(name) > 1) {
        return Err(Error::input(format!("{object}: the header has {twice} twice: expected {expected}")));
    }
    Ok(names.iter().filter_map(|name| header.iter().position(|other| other == name)).collect())
}

pub fn ndjson(object: &Object, input: Input, reader: &Reader) -> Result<Said> {
    let names = Records::names(&reader.key);
    let mut lines = ndjson::Lines::new(Box::new(Bounded::new(object, input, LARGEST)));
    let mut records = Records::new(reader);
    loop {
        let line = match lines.next_line() {
            Ok(Some(line)) => line,
            Ok(None) => return records.finish(),
            Err(Fault::Text(line, why)) => {
                records.reject(line, format!("{why}; nothing is read from here on"));
                return records.finish();
            }
            Err(fault) => return Err(input::error(object, fault)),
        };
        if line.number > MOST {
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

fn fields<'a>(line: &'a [u8], names: &[&str]) -> Result<Vec<Option<Cow<'a, str>>>, String> {
    let mut fields: Vec<Option<Cow<str>>> = vec![None; names.len()];
    for (name, value) in ndjson::pairs(line)?.0 {
        let Some(at) = names.iter().position(|known| name.eq_ignore_ascii_case(known)) else { continue };
        let text = match json::scalar(value.get()) {
            Some(Scalar::Other("null")) => continue,
            Some(Scalar::String(text)) => text,
            Some(Scalar::Other(text)) => Cow::Borrowed(text),
            Some(Scalar::Nested(_)) | None => return Err(format!("{} is no single value", names[at])),
        };
        if fields[at].replace(text).is_some() {
            return Err(format!("{} stands there twice", names[at]));
        }
    }
    Ok(fields)
}

/// An input with an end.
struct Bounded {
    input: Input,
    /// Bytes that may still come.
    left: u64,
    object: String,
}

impl Bounded {
    fn new(object: &Object, input: Input, most: u64) -> Bounded {
        Bounded { input, left: most, object: object.to_string() }
    }
}

impl Read for Bounded {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(to)?;
        let left = self.left.checked_sub(read as u64);
        self.left = left.ok_or_else(|| {
            let gigabytes = LARGEST >> 30;
            io::Error::other(Error::input(format!("{}: more than {gigabytes} GB of text: split it", self.object)))
        })?;
        Ok(read)
    }
}
