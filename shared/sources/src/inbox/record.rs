//! One record's fields → a key and a word.

use std::fmt::Display;

use jiff::{SignedDuration, Timestamp};

use super::{Reader, Said};
use turntable_core::{
    consent::{
        OCCURRED_AT, STATE, State, Word,
        key::{Key, Type, Value},
    },
    error::{self, Error},
};

/// Records of one drop. Of more, nobody could say when a refresh ends, and how much room it takes.
pub const MOST: u64 = 5_000_000;

/// A drop of more than [`MOST`] records.
pub fn too_many(what: &impl Display) -> Error {
    Error::input(format!("{what}: more than 5,000,000 records: split it"))
}

/// How far ahead of now a clock may be.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Fills in one record after the other, and keeps what is good of them.
pub struct Records<'a> {
    reader: &'a Reader,
    said: Said,
    /// The key of the record that is being filled in.
    key: Vec<u8>,
    /// The latest time that is taken, in microseconds.
    latest: i64,
}

/// A field: `None` is null.
pub type Text<'a> = Option<&'a str>;

impl<'a> Records<'a> {
    pub fn new(reader: &'a Reader) -> Self {
        let latest = reader.now.checked_add(AHEAD).unwrap_or(Timestamp::MAX).as_microsecond();
        Records { reader, said: Said::new(reader), key: Vec::new(), latest }
    }

    pub fn reader(&self) -> &'a Reader {
        self.reader
    }

    pub fn finish(self) -> error::Result<Said> {
        let Said { records, rejects } = self.said;
        Ok(Said { records: records.whole()?, rejects })
    }

    pub fn reject(&mut self, line: u64, reason: impl Into<String>) {
        self.said.rejects.line(line, reason);
    }

    /// The names of all columns of a record: the key's, then state and time.
    pub fn names(key: &Key) -> Vec<&str> {
        key.columns.iter().map(|(name, _)| name.as_str()).chain([STATE, OCCURRED_AT]).collect()
    }

    /// A record of text: the key's columns, then state and time.
    pub fn text(&mut self, line: u64, fields: &[Text]) {
        if let Err(reason) = self.read_text(fields) {
            self.reject(line, reason);
        }
    }

    fn read_text(&mut self, fields: &[Text]) -> Result<(), String> {
        self.key.clear();
        let key = &self.reader.key;
        for (at, (name, kind)) in key.columns.iter().enumerate() {
            let of = |why: &str| format!("{name} {why}");
            let text = fields.get(at).copied().flatten().filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| of("is missing"))?;
            let value = match kind {
                Type::String => Value::Text(text),
                _ => Value::Whole(text.trim().parse().map_err(|_| of("is not a whole number of its type"))?),
            };
            key.push(at, value, &mut self.key).map_err(of)?;
        }
        let rest = |at: usize, name: &str| {
            let text = fields.get(key.columns.len() + at).copied().flatten().map(str::trim);
            text.filter(|text| !text.is_empty()).ok_or_else(|| format!("{name} is missing"))
        };
        let state = state(rest(0, STATE)?)?;
        let time: Timestamp =
            rest(1, OCCURRED_AT)?.parse().map_err(|_| format!("{OCCURRED_AT} is no RFC 3339 time"))?;
        self.take(state, time.as_microsecond())
    }

    /// Begins a record whose parts have types already: its key is filled in through the result.
    pub fn begin(&mut self) -> &mut Vec<u8> {
        self.key.clear();
        &mut self.key
    }

    /// Ends the record that was begun.
    pub fn end(&mut self, line: u64, word: Result<(State, i64), String>) {
        if let Err(reason) = word.and_then(|(state, time)| self.take(state, time)) {
            self.reject(line, reason);
        }
    }

    fn take(&mut self, state: State, occurred_at: i64) -> Result<(), String> {
        if occurred_at > self.latest {
            return Err(format!("{OCCURRED_AT} is more than 5 minutes ahead"));
        }
        self.said.records.push(&self.key, Word { occurred_at, state });
        Ok(())
    }
}

pub fn state(text: &str) -> Result<State, String> {
    text.parse().map_err(|why| format!("{STATE} {why}"))
}
