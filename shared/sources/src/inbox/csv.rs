//! Reads CSV drops into records, and continues after stray and unclosed quotes.
//!
//! A stray quote may swallow the lines after it, up to the next quote. So after malformed CSV, reading continues with
//! the next line. Lines are skipped until one begins a record that has the header's field count and no further stray
//! quote. The skipped lines are one reject.
//!
//! A quoted field may contain line ends. If its record has the header's field count, the lines in the field are text,
//! as in RFC 4180. If they look like records, they are also reported as rejects. If the drop also has a stray quote or
//! a wrong field count anywhere, they may be records that were swallowed, so the drop is rejected as a whole.

use jiff::Timestamp;

use super::{
    reader::{ParsedDrop, Reader},
    record::{MAX_RECORDS, Records, Text, too_many},
    text::{Bounded, MAX_TEXT_BYTES},
};
use crate::files::{
    input::{self, Input, ReadFault},
    object::Object,
    records::{Ahead, Record, Records as Csv},
};
use turntable_core::{
    config::Dialect,
    consent::ConsentState,
    error::{Error, Result},
};

/// The maximum number of bytes in a drop that are scanned again because a malformed record extends over them. It limits
/// the time to read a drop full of stray quotes.
const MAX_RESCANNED_BYTES: usize = 1 << 30;

/// The reason given for rejecting lines in a quoted field, although their text is read as a part of the field.
const READ_AS_TEXT: &str = "lines within a quoted field look like records: they were read as text";

/// Reads a CSV drop. Invalid records are rejected. Fails if the header is invalid, a limit is exceeded, the input is
/// damaged, or a stray quote may have swallowed records.
pub fn csv(object: &Object, input: Input, reader: &Reader) -> Result<ParsedDrop> {
    let fault = |fault| input::error(object, fault);
    let mut csv = Csv::new(Bounded::new(object, input, MAX_TEXT_BYTES), Dialect::default());
    let first = csv.look().map_err(fault)?;
    let header: Vec<String> = match csv.next_record().map_err(fault)? {
        Some(header) => {
            header.fields().map(|field| String::from_utf8_lossy(field.text).trim().to_lowercase()).collect()
        }
        None => Vec::new(),
    };
    if header.iter().any(|name| has_records(name)) {
        return Err(ambiguous(object, 1));
    }
    let positions = header_positions(object, &header, &Records::names(&reader.key))?;
    // A header that extends over several lines may have swallowed records too.
    let swallower = first.filter(|header| header.lines > 1).map(|header| header.line);
    let damaged = first.is_some_and(|header| header.stray_quote);
    let records = Records::new(reader);
    let mut drop = Drop { width: header.len(), positions, records, skipped: None, damaged, swallower };
    let (mut read, mut rescanned) = (0, 0);
    loop {
        // Blank lines count too, because a small drop can decompress to hundreds of millions of them.
        read += 1;
        if read > MAX_RECORDS + 1 {
            return Err(too_many(object));
        }
        match csv.look() {
            Ok(None) => break,
            Ok(Some(ahead)) => match drop.doubt(&ahead) {
                None => drop.take(&mut csv, &ahead).map_err(fault)?,
                Some(why) => {
                    drop.reject(ahead.line, why, ahead.lines > 1);
                    rescanned += csv.skip_line().map_err(fault)?;
                }
            },
            Err(ReadFault::Text(line, why)) => {
                drop.reject(line, why, true);
                rescanned += csv.skip_line().map_err(fault)?;
            }
            Err(other) => return Err(fault(other)),
        }
        if rescanned > MAX_RESCANNED_BYTES {
            return Err(Error::input(format!(
                "{object} has unclosed quotes, and reading past them takes too long: quote its fields as in RFC 4180"
            )));
        }
    }
    drop.finish(object)
}

/// A drop that is being read.
struct Drop<'a> {
    /// The number of fields in the header.
    width: usize,
    /// The positions of the key's columns, of `state` and of `occurred_at` in the header.
    positions: Vec<usize>,
    records: Records<'a>,
    skipped: Option<Skipped>,
    /// Whether the drop has a stray quote, malformed CSV or a wrong field count.
    damaged: bool,
    /// The first line of a record that may have swallowed others.
    swallower: Option<u64>,
}

/// The lines that have been skipped since the last record.
struct Skipped {
    first: u64,
    last: u64,
    why: String,
}

impl Drop<'_> {
    /// Returns why the next record can't be trusted to be a record in this drop, or `None` if it can.
    fn doubt(&self, ahead: &Ahead) -> Option<String> {
        if ahead.is_blank {
            return None;
        }
        if ahead.width != self.width {
            return Some(format!("field count is {}, expected {} as in the header", ahead.width, self.width));
        }
        (self.skipped.is_some() && ahead.stray_quote).then(|| "stray quote".to_owned())
    }

    /// Rejects a line. If `resume` is set, the next record may begin on any line after it.
    fn reject(&mut self, line: u64, why: String, resume: bool) {
        self.damaged = true;
        if let Some(skipped) = &mut self.skipped {
            skipped.last = line;
        } else if resume {
            self.skipped = Some(Skipped { first: line, last: line, why });
        } else {
            self.records.reject(line, why);
        }
    }

    /// Reads the next record, which is blank or has the header's field count.
    fn take(&mut self, csv: &mut Csv<Bounded>, ahead: &Ahead) -> Result<(), ReadFault> {
        if !ahead.is_blank {
            self.end_skipping();
        }
        if ahead.lines > 1 && self.may_have_swallowed(csv)? {
            self.swallower.get_or_insert(ahead.line);
            self.records.reject_lines(ahead.line + 1, ahead.line + ahead.lines - 1, READ_AS_TEXT);
        }
        self.damaged |= ahead.stray_quote;
        match csv.next_record()? {
            Some(record) if !ahead.is_blank => self.read(&record),
            _ => {}
        }
        Ok(())
    }

    fn read(&mut self, record: &Record) {
        let all: Vec<Result<&str, _>> = record.fields().map(|field| std::str::from_utf8(field.text)).collect();
        let fields: Result<Vec<Text>, _> = self.positions.iter().map(|at| all[*at].map(Some)).collect();
        match fields {
            Ok(fields) => self.records.text(record.line, &fields),
            Err(_) => self.records.reject(record.line, "invalid UTF-8"),
        }
    }

    /// Returns whether a line within the next record begins a record with another key, state or time.
    fn may_have_swallowed(&self, csv: &mut Csv<Bounded>) -> Result<bool, ReadFault> {
        let [.., state, time] = self.positions.as_slice() else { return Ok(false) };
        let own: Vec<Vec<u8>> = {
            let fields = csv.raw_fields();
            self.positions.iter().map(|at| fields[*at].to_vec()).collect()
        };
        csv.any_within(self.width, |fields| {
            let mut wanted = self.positions.iter().map(|at| fields[*at]).zip(&own);
            let text = |at: usize| std::str::from_utf8(fields[at]).unwrap_or_default().trim();
            text(*state).parse::<ConsentState>().is_ok()
                && text(*time).parse::<Timestamp>().is_ok()
                && wanted.clone().all(|(field, _)| !field.contains(&b'\n'))
                && wanted.any(|(field, own)| field != own.as_slice())
        })
    }

    /// Adds the skipped lines to the rejects.
    fn end_skipping(&mut self) {
        if let Some(Skipped { first, last, why }) = self.skipped.take() {
            self.records.reject_lines(first, last, why);
        }
    }

    fn finish(mut self, object: &Object) -> Result<ParsedDrop> {
        self.end_skipping();
        match self.swallower.filter(|_| self.damaged) {
            Some(line) => Err(ambiguous(object, line)),
            None => self.records.finish(),
        }
    }
}

/// Returns whether a name in the header contains lines of records, because a stray quote has swallowed them.
fn has_records(name: &str) -> bool {
    let has_state = |line: &str| line.split(',').any(|field| field.trim().parse::<ConsentState>().is_ok());
    name.lines().skip(1).any(has_state)
}

fn ambiguous(object: &Object, line: u64) -> Error {
    Error::input(format!(
        "{object}: a stray quote may have swallowed records after line {line}: quote the fields as in RFC 4180, and \
         upload the drop again"
    ))
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Cursor, sync::Arc};

    use serde_json::Value;

    use super::*;
    use crate::files::object::Compression;
    use turntable_core::{
        consent::{
            key::{Key, Type},
            normalize::Normalization,
        },
        layout::Entry,
        manifest::InboxObject,
    };

    const TIME: &str = "2026-01-01T00:00:00Z";

    /// Each key's state and time, in seconds since the start of 2026.
    type People = BTreeMap<String, (ConsentState, i64)>;

    /// The first line of a reject, its last line, and the reason.
    type Rejected = (u64, u64, String);

    /// Returns a drop's records and rejects.
    fn parse(text: &str) -> Result<(People, Vec<Rejected>)> {
        let entry = Entry {
            key: "s3://b/a.csv".parse().unwrap(),
            size: text.len() as u64,
            etag: String::new(),
            modified: Timestamp::UNIX_EPOCH,
        };
        let object = Object::new(entry, Compression::None);
        let reader = Reader {
            key: Key { columns: vec![("id".into(), Type::String)] },
            states: Default::default(),
            normalize: Normalization::default(),
            now: "2026-06-01T00:00:00Z".parse().unwrap(),
            spill: Arc::default(),
        };
        let ParsedDrop { records, rejects, .. } = csv(&object, Box::new(Cursor::new(text.to_owned())), &reader)?;
        let start = TIME.parse::<Timestamp>().unwrap().as_second();
        let run = records.partition_by_bucket(1).remove(0).load()?.sorted();
        let person = |(key, word): (&[u8], turntable_core::consent::ConsentRecord)| {
            (String::from_utf8(key.to_vec()).unwrap(), (word.state, word.occurred_at / 1_000_000 - start))
        };
        let people = run.records().map(person).collect();
        let json = rejects.to_json(&InboxObject { key: String::new(), etag: String::new() });
        let json: Value = json.map(|json| serde_json::from_slice(&json).unwrap()).unwrap_or_default();
        let reject = |reject: &Value| {
            let line = reject["line"].as_u64().unwrap();
            (line, reject["last_line"].as_u64().unwrap_or(line), reject["reason"].as_str().unwrap().to_owned())
        };
        let listed: Vec<_> = json["records"].as_array().into_iter().flatten().map(reject).collect();
        assert_eq!(rejects.count, listed.iter().map(|(first, last, _)| last - first + 1).sum::<u64>());
        Ok((people, listed))
    }

    /// Checks which keys are read from a drop with the columns id, state, occurred_at and note, and which of its lines
    /// are rejected.
    #[track_caller]
    fn assert_read(lines: &[&str], keys: &[&str], rejects: &[(u64, u64)]) {
        let text = format!("id,state,occurred_at,note\n{}\n", lines.join("\n")).replace('T', TIME);
        for text in [text.clone(), text.replace('\n', "\r\n"), text.trim_end().to_owned()] {
            let (people, rejected) = parse(&text).unwrap();
            assert_eq!(people.keys().collect::<Vec<_>>(), keys, "{text}");
            let rejected: Vec<(u64, u64)> = rejected.into_iter().map(|(first, last, _)| (first, last)).collect();
            assert_eq!(rejected, rejects, "{text}");
        }
    }

    #[test]
    fn reading_goes_on_after_a_stray_or_unclosed_quote() {
        let good = |key: &str| format!("{key},opted_out,T,fine");
        let [one, three, four] = ["1", "3", "4"].map(good);
        let (one, three, four) = (one.as_str(), three.as_str(), four.as_str());
        assert_read(&[one, "2,opted_out,T,\"he said \"stop\"\"", three, four], &["1", "3", "4"], &[(3, 3)]);
        assert_read(&[one, "2,opted_out,T,\"unclosed", three, four], &["1", "3", "4"], &[(3, 3)]);
        assert_read(&["\"2,opted_out,T,x", three, four], &["3", "4"], &[(2, 2)]);
        assert_read(&[one, three, "2,opted_out,T,\""], &["1", "3"], &[(4, 4)]);
        // A quote in another line closes this one, but the field count is wrong.
        assert_read(&["2,\"opted_out,T,x", three, "4,opted_out,T,x\"", one], &["1", "3", "4"], &[(2, 2)]);
    }

    #[test]
    fn skipped_lines_are_one_range() {
        let lines = ["2,opted_out,T,\"a \"b\"", "c, \"d\"", "", "e\"", "3,opted_out,T,\"x\ny\"", "4,opted_out"];
        assert_read(&lines, &["3"], &[(2, 5), (8, 8)]);
        // The first record after malformed CSV must not be doubtful, so that no text is read as a record.
        let lines = ["2,opted_out,T,\"a \"b\"", "3,opted_out,T,5\"", "4,opted_out,T,5", "5,opted_out,T,5\""];
        assert_read(&lines, &["4", "5"], &[(2, 3)]);
    }

    #[test]
    fn quoted_lines_are_text_unless_the_drop_is_damaged() {
        let note = "1,opted_out,T,\"see\n9,opted_in,T,x\nand \"\"so\"\" on\"";
        assert_read(&[note, "2,opted_out,T,x"], &["1", "2"], &[(3, 4)]);
        assert_read(&["1,opted_out,T,\"two\nlines\""], &["1"], &[]);
        let text = format!("id,state,occurred_at,note\n{note}\n2,opted_out,T,\"x\n").replace('T', TIME);
        let error = parse(&text).err().unwrap();
        assert_eq!(
            error.message(),
            "s3://b/a.csv: a stray quote may have swallowed records after line 2: quote the fields as in RFC 4180, and \
             upload the drop again"
        );
        let header = format!("id,state,occurred_at,\"note\n1,opted_out,{TIME},\"\n2,opted_out,{TIME},x\n");
        assert!(parse(&header).err().unwrap().message().contains("swallowed records after line 1"));
    }

    /// A generator of pseudorandom numbers.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % end
        }
    }

    /// A key, and its state and time.
    type Person = (String, (ConsentState, i64));

    /// Returns the header, and up to twelve records with their text.
    fn valid_drop(random: &mut Random) -> (String, Vec<(String, Person)>) {
        const PIECES: [&str; 8] = ["a", " ", ",", "\"", "\n", "", ",\n", "x,y"];
        let mut columns = ["id", "state", "occurred_at", "n0", "n1", "n2"][..3 + random.below(4)].to_vec();
        for at in (1..columns.len()).rev() {
            columns.swap(at, random.below(at + 1));
        }
        let mut records = Vec::new();
        for second in 0..=random.below(12) {
            let (key, state) = (format!("k{second:02}"), ConsentState::ALL[random.below(3)]);
            let mut fields = Vec::new();
            for column in &columns {
                let text = match *column {
                    "id" => key.clone(),
                    "state" => state.as_str().to_owned(),
                    "occurred_at" => format!("2026-01-01T00:00:{second:02}Z"),
                    _ => (0..random.below(5)).map(|_| PIECES[random.below(PIECES.len())]).collect(),
                };
                let needs_quotes = text.contains([',', '"', '\n']);
                let quoted = needs_quotes || random.below(6) == 0;
                fields.push(if quoted { format!("\"{}\"", text.replace('"', "\"\"")) } else { text });
            }
            records.push((fields.join(",") + "\n", (key, (state, second as i64))));
        }
        (columns.join(",") + "\n", records)
    }

    /// A quote anywhere in one line loses no record in another line, and no record gets another one's state or time.
    /// Otherwise, the whole drop is rejected.
    #[test]
    fn one_damaged_line_never_costs_another() {
        const DROPS: u64 = 10_000;
        let mut whole = 0;
        for seed in 0..DROPS {
            let mut random = Random(seed);
            let (mut header, mut records) = valid_drop(&mut random);
            let text = |header: &str, records: &[(String, Person)]| {
                records.iter().fold(header.to_owned(), |text, (line, _)| text + line)
            };
            let all: People = records.iter().map(|(_, person)| person.clone()).collect();
            let before = text(&header, &records);
            assert_eq!(parse(&before).unwrap().0, all, "{seed}: {before}");

            let damaged = random.below(records.len() + 1);
            let line = records.get_mut(damaged).map_or(&mut header, |(line, _)| line);
            line.insert(random.below(line.len()), '"');
            let after = text(&header, &records);
            let Ok((people, _)) = parse(&after) else {
                whole += 1;
                continue;
            };
            let own = records.get(damaged).map(|(_, person)| person);
            for (_, (key, said)) in records.iter().filter(|(_, person)| Some(person) != own) {
                assert_eq!(people.get(key), Some(said), "{seed}: {key} in {after}");
            }
            for (key, said) in people.iter().filter(|(key, said)| all.get(*key) != Some(*said)) {
                assert_eq!(own.map(|(_, own)| own), Some(said), "{seed}: {key} in {after}");
                let mut others = all.keys().filter(|other| own.is_none_or(|(own, _)| own != *other));
                assert!(others.all(|other| !key.contains(other.as_str())), "{seed}: {key} in {after}");
            }
        }
        // In a fifth of these drops, a misplaced quote leaves lines that look like records.
        assert!(whole < DROPS / 4, "{whole} of {DROPS}");
    }
}
