//! NDJSON: one object a line. Keys are matched to columns in any case; a missing one is null. Empty lines are skipped.

use std::io::{BufRead, BufReader, Read};

use super::{
    infer::{self, Kind},
    input::{self, Fault, Input, LONGEST, WIDEST},
    json::{self, Pairs},
    object::Object,
    row::{Rows, Stop},
};
use turntable_core::error::Result;

pub fn decode(object: &Object, input: Input, rows: &mut Rows) -> Result<(), Stop> {
    let mut lines = Lines::new(input);
    while let Some(line) = lines.next_line().map_err(|fault| input::error(object, fault))? {
        let fault = |why| input::error(object, Fault::Text(line.number, why));
        let pairs = pairs(line.text).map_err(fault)?;
        rows.row.push_json(&pairs).map_err(|why| fault(why.to_string()))?;
        rows.pushed(line.text.len())?;
    }
    Ok(())
}

pub fn pairs(line: &[u8]) -> Result<Pairs<'_>, String> {
    let json = match json::parse(line) {
        Ok(json) => json,
        Err(at) if std::str::from_utf8(line).is_err() => return Err(format!("not UTF-8 at byte {at}")),
        Err(at) => return Err(format!("not JSON at byte {at}")),
    };
    json::object(json.get()).ok_or_else(|| match json.get().starts_with('{') {
        true => format!("an object of more than {WIDEST} names, or with a name that is no text"),
        false => "not a JSON object".into(),
    })
}

/// Learns from the first records. Whatever is no JSON is for [`decode`] to say.
pub fn sample(object: &Object, input: Input, sample: &mut infer::Sample) -> Result<()> {
    let mut lines = Lines::new(input);
    while sample.records < infer::RECORDS {
        let Some(line) = lines.next_line().map_err(|fault| input::error(object, fault))? else { break };
        sample.records += 1;
        for (name, value) in pairs(line.text).unwrap_or(Pairs(Vec::new())).0 {
            let kind = serde_json::from_str(value.get()).map_or(Kind::String, |value| Kind::of_json(&value, 0));
            infer::add(&mut sample.columns, name.to_lowercase(), kind);
        }
    }
    Ok(())
}

/// The lines that are not empty.
pub struct Lines {
    input: BufReader<Input>,
    text: Vec<u8>,
    number: u64,
}

pub struct Line<'a> {
    pub text: &'a [u8],
    /// From 1.
    pub number: u64,
}

impl Lines {
    pub fn new(input: Input) -> Self {
        Self { input: BufReader::with_capacity(256 << 10, input), text: Vec::new(), number: 0 }
    }

    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, Fault> {
        loop {
            self.text.clear();
            self.number += 1;
            let read = self.input.by_ref().take(LONGEST as u64).read_until(b'\n', &mut self.text).map_err(Fault::Io)?;
            if read == LONGEST {
                return Err(Fault::Text(self.number, format!("a line longer than {} MB", LONGEST >> 20)));
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
