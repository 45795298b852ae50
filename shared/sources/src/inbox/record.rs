//! Validates a record's fields, and converts them into a key and a consent record.

use std::fmt::Display;

use jiff::{SignedDuration, Timestamp};

use super::reader::{ParsedDrop, Reader};
use turntable_core::{
    consent::{
        ConsentRecord, ConsentState, OCCURRED_AT, STATE,
        key::{Key, Type, Value},
    },
    error::{self, Error},
};

/// The maximum number of records in one drop. It limits the time and disk space that a refresh needs.
pub const MAX_RECORDS: u64 = 5_000_000;

/// Returns the error for a drop with more than [`MAX_RECORDS`] records.
pub fn too_many(what: &impl Display) -> Error {
    Error::input(format!("{what} has more than 5,000,000 records: split the drop"))
}

/// How far in the future `occurred_at` may be, because the application's clock may be ahead of this machine's.
const MAX_CLOCK_AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Validates records one by one, and collects the valid ones and the rejects.
pub struct Records<'a> {
    reader: &'a Reader,
    parsed: ParsedDrop,
    /// The encoded key of the current record.
    key: Vec<u8>,
    /// The latest `occurred_at` that is accepted, in microseconds since 1970.
    latest: i64,
}

/// A field in a text record. `None` is null.
pub type Text<'a> = Option<&'a str>;

impl<'a> Records<'a> {
    pub fn new(reader: &'a Reader) -> Self {
        let latest = reader.now.checked_add(MAX_CLOCK_AHEAD).unwrap_or(Timestamp::MAX).as_microsecond();
        Records { reader, parsed: ParsedDrop::new(reader), key: Vec::new(), latest }
    }

    pub fn reader(&self) -> &'a Reader {
        self.reader
    }

    /// Returns the valid records and the rejects. Fails if records could not be spilled.
    pub fn finish(self) -> error::Result<ParsedDrop> {
        let ParsedDrop { records, rejects, opts_in } = self.parsed;
        Ok(ParsedDrop { records: records.ensure_complete()?, rejects, opts_in })
    }

    pub fn reject(&mut self, line: u64, reason: impl Into<String>) {
        self.parsed.rejects.add_record(line, reason);
    }

    /// Rejects all lines from `first` to `last`.
    pub fn reject_lines(&mut self, first: u64, last: u64, reason: impl Into<String>) {
        self.parsed.rejects.add_lines(first, last, reason);
    }

    /// Returns the names of a record's columns: the key's columns, then `state` and `occurred_at`.
    pub fn names(key: &Key) -> Vec<&str> {
        key.columns.iter().map(|(name, _)| name.as_str()).chain([STATE, OCCURRED_AT]).collect()
    }

    /// Adds the record with these text fields, or rejects it. The fields are the key's columns, then `state` and
    /// `occurred_at`.
    pub fn text(&mut self, line: u64, fields: &[Text]) {
        if let Err(reason) = self.read_text(fields) {
            self.reject(line, reason);
        }
    }

    fn read_text(&mut self, fields: &[Text]) -> Result<(), String> {
        self.key.clear();
        let key = &self.reader.key;
        for (at, (name, kind)) in key.columns.iter().enumerate() {
            let reason = |why: &str| format!("{name} {why}");
            let text = fields.get(at).copied().flatten().filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| reason("is missing"))?;
            let normalized;
            let value = match kind {
                Type::String => {
                    normalized = self.reader.normalize.apply(text).map_err(reason)?;
                    Value::Text(&normalized)
                }
                _ => {
                    Value::Whole(text.trim().parse().map_err(|_| reason("is not a whole number in the type's range"))?)
                }
            };
            key.push(at, value, &mut self.key).map_err(reason)?;
        }
        let rest = |at: usize, name: &str| {
            let text = fields.get(key.columns.len() + at).copied().flatten().map(str::trim);
            text.filter(|text| !text.is_empty()).ok_or_else(|| format!("{name} is missing"))
        };
        let state = state(rest(0, STATE)?)?;
        let time: Timestamp =
            rest(1, OCCURRED_AT)?.parse().map_err(|_| format!("{OCCURRED_AT} is not an RFC 3339 timestamp"))?;
        self.push(state, time.as_microsecond())
    }

    /// Starts a record with typed values. The caller appends the key to the returned buffer, and then calls
    /// [`Records::end`].
    pub fn begin(&mut self) -> &mut Vec<u8> {
        self.key.clear();
        &mut self.key
    }

    /// Ends the record with its state and its time, in microseconds since 1970, or with the reason for rejecting it.
    pub fn end(&mut self, line: u64, word: Result<(ConsentState, i64), String>) {
        if let Err(reason) = word.and_then(|(state, time)| self.push(state, time)) {
            self.reject(line, reason);
        }
    }

    fn push(&mut self, state: ConsentState, occurred_at: i64) -> Result<(), String> {
        if occurred_at > self.latest {
            return Err(format!("{OCCURRED_AT} is more than 5 minutes in the future"));
        }
        if !self.reader.states.has(state) {
            return Err(format!("{STATE} is not one that the inbox accepts from this drop"));
        }
        self.parsed.opts_in |= state == ConsentState::OptedIn;
        self.parsed.records.push(&self.key, ConsentRecord { occurred_at, state });
        Ok(())
    }
}

/// Parses a state, or returns the reason for rejecting the record.
pub fn state(text: &str) -> Result<ConsentState, String> {
    text.parse().map_err(|why| format!("{STATE} {why}"))
}
