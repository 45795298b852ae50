//! Reads NDJSON: one JSON object per line. Names are matched to columns regardless of letter case, and columns whose
//! names are missing are null. Blank lines are skipped.

use std::io::{BufRead, BufReader, Read};

use super::{
    infer::{self, Kind},
    input::{self, Input, MAX_RECORD_BYTES, ReadFault},
    json::{self, Pairs},
    object::Object,
    row::{Rows, Stop},
};
use turntable_core::error::Result;

/// Appends every record in the text to `rows`.
pub fn decode(object: &Object, input: Input, rows: &mut Rows) -> Result<(), Stop> {
    let mut lines = Lines::new(input);
    while let Some(line) = lines.next_line().map_err(|fault| input::error(object, fault))? {
        let fault = |why| input::error(object, ReadFault::Text(line.number, why));
        let pairs = pairs(line.text).map_err(fault)?;
        rows.row.push_json(&pairs).map_err(|why| fault(why.to_string()))?;
        rows.pushed(line.text.len())?;
    }
    Ok(())
}

/// Returns the names and values of the JSON object in a line, or the reason why the line is not one.
pub fn pairs(line: &[u8]) -> Result<Pairs<'_>, String> {
    let json = match json::parse(line) {
        Ok(json) => json,
        Err(at) if std::str::from_utf8(line).is_err() => return Err(format!("invalid UTF-8 at byte {at}")),
        Err(at) => return Err(format!("invalid JSON at byte {at}")),
    };
    Ok(json::object(json.get())?)
}

/// Adds the kinds of the first records' values to `sample`. Ignores lines that are not JSON objects; [`decode`] reports
/// them.
pub fn sample(object: &Object, input: Input, sample: &mut infer::Sample) -> Result<()> {
    let mut lines = Lines::new(input);
    while sample.records < infer::MAX_SAMPLED_RECORDS {
        let Some(line) = lines.next_line().map_err(|fault| input::error(object, fault))? else { break };
        sample.records += 1;
        for (name, value) in pairs(line.text).unwrap_or(Pairs(Vec::new())).0 {
            let kind = serde_json::from_str(value.get()).map_or(Kind::String, |value| Kind::of_json(&value, 0));
            infer::add(&mut sample.columns, name.to_lowercase(), kind);
        }
    }
    Ok(())
}

/// Reads text line by line, without the blank lines.
pub struct Lines {
    input: BufReader<Input>,
    text: Vec<u8>,
    number: u64,
}

pub struct Line<'a> {
    pub text: &'a [u8],
    /// The line's number in the text, from 1. Blank lines count too.
    pub number: u64,
}

impl Lines {
    pub fn new(input: Input) -> Self {
        Self { input: BufReader::with_capacity(256 << 10, input), text: Vec::new(), number: 0 }
    }

    /// Returns the next line that is not blank, without trailing whitespace; `None` at the end of the text.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, ReadFault> {
        loop {
            self.text.clear();
            self.number += 1;
            let read = self
                .input
                .by_ref()
                .take(MAX_RECORD_BYTES as u64)
                .read_until(b'\n', &mut self.text)
                .map_err(ReadFault::Io)?;
            if read == MAX_RECORD_BYTES {
                return Err(ReadFault::Text(self.number, format!("line longer than {} MB", MAX_RECORD_BYTES >> 20)));
            }
            if read == 0 {
                return Ok(None);
            }
            if !self.text.trim_ascii().is_empty() {
                return Ok(Some(Line { text: self.text.trim_ascii_end(), number: self.number }));
            }
        }
    }
}
