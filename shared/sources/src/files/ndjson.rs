//! Reads JSON objects, usually one per line (NDJSON). Names are matched to columns regardless of letter case. Columns
//! that an object doesn't name are null. Blank lines are skipped.

use std::io::{BufRead, BufReader, Read};

use super::{
    infer::{self, Kind},
    input::{self, Input, MAX_RECORD_BYTES, ReadFault},
    json::{self, Pairs},
    json_records::{JsonRecord, JsonRecords},
    object::Object,
    row::{Rows, Stop},
};
use turntable_core::{config::Nested, error::Result};

/// Appends every record in the text to `rows`.
pub fn decode(object: &Object, input: Input, rows: &mut Rows) -> Result<(), Stop> {
    let mut records = JsonRecords::new(input);
    while records.find_start().map_err(|fault| input::error(object, fault))? {
        let fault = |line, why| input::error(object, ReadFault::Text(line, why));
        if let Some(JsonRecord { text, line }) = records.line()
            && let Some(pairs) = object_in(text)
        {
            let length = text.len();
            rows.row.push_json(&pairs).map_err(|why| fault(line, why.to_string()))?;
            rows.pushed(length)?;
            records.skip(length);
            continue;
        }
        let record = records.value().map_err(|fault| input::error(object, fault))?;
        let mut spelt = None;
        let pairs = parsed(&record, &mut spelt).map_err(|(line, why)| fault(line, why))?;
        rows.row.push_json(&pairs).map_err(|why| fault(record.line, why.to_string()))?;
        rows.pushed(record.text.len())?;
    }
    Ok(())
}

/// Returns the names and values of the JSON object in a record, which may contain NaN and the infinities. An error has
/// the line and the reason. If NaN or an infinity has to be replaced first, `spelt` keeps the text with the
/// replacements.
fn parsed<'a>(record: &JsonRecord<'a>, spelt: &'a mut Option<String>) -> Result<Pairs<'a>, (u64, String)> {
    strictly_parsed(record).or_else(|fault| {
        *spelt = std::str::from_utf8(record.text).ok().and_then(json::with_not_finite);
        spelt.as_deref().and_then(|text| pairs(text.as_bytes()).ok()).ok_or(fault)
    })
}

fn strictly_parsed<'a>(record: &JsonRecord<'a>) -> Result<Pairs<'a>, (u64, String)> {
    let JsonRecord { text, line } = *record;
    // Only an invalid record is parsed again, for the message.
    if let Some(pairs) = object_in(text) {
        return Ok(pairs);
    }
    let json = json::parse(text).map_err(|fault| (line + fault.line.saturating_sub(1) as u64, fault.to_string()))?;
    json::object(json.get()).map_err(|why| (line, why.to_owned()))
}

/// Returns the names and values of the JSON object, or `None` if the text is anything else. Reading the object also
/// checks its syntax.
fn object_in(text: &[u8]) -> Option<Pairs<'_>> {
    std::str::from_utf8(text).ok().and_then(|text| json::object(text).ok())
}

/// Returns the names and values of the JSON object in a line, or the reason why the line is not one.
pub fn pairs(line: &[u8]) -> Result<Pairs<'_>, String> {
    let json = match json::parse(line) {
        Ok(json) => json,
        Err(fault) => return Err(fault.short()),
    };
    Ok(json::object(json.get())?)
}

/// Adds the kinds of the values in the first records to `sample`.
pub fn sample(object: &Object, input: Input, nested: Nested, sample: &mut infer::Sample) -> Result<()> {
    let mut records = JsonRecords::new(input);
    while sample.records < infer::MAX_SAMPLED_RECORDS {
        if !records.find_start().map_err(|fault| input::error(object, fault))? {
            break;
        }
        let record = records.value().map_err(|fault| input::error(object, fault))?;
        sample.records += 1;
        let mut spelt = None;
        let pairs = parsed(&record, &mut spelt);
        let pairs = pairs.map_err(|(line, why)| input::error(object, ReadFault::Text(line, why)))?;
        for (name, value) in pairs.0 {
            infer::add(&mut sample.columns, name.to_lowercase(), Kind::of_json(value, 0, nested));
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

    /// Returns the next line that isn't blank, without trailing whitespace. Returns `None` at the end of the text.
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
