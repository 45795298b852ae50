//! Splits a file into its JSON objects. There may be one or several on a line, one may span several lines, or they may
//! be the elements of one array.

use std::io::{BufRead, BufReader, Read};

use super::{
    hints,
    input::{Input, MAX_RECORD_BYTES, ReadFault},
};

/// Reads the JSON values in a text one by one. A value that isn't an object ends with its line.
pub struct JsonRecords {
    input: BufReader<Input>,
    /// The text that has been read. The part before `at` has already been returned.
    text: Vec<u8>,
    at: usize,
    /// The number of the line at `at`, from 1.
    line: u64,
    within: Within,
}

/// Where the next value is.
enum Within {
    Start,
    /// Among values that aren't in an array.
    Text,
    /// In an array that begins on this line. `is_first` means that no element has been read yet.
    Array {
        line: u64,
        is_first: bool,
    },
    /// After the array.
    AfterArray,
}

pub struct JsonRecord<'a> {
    pub text: &'a [u8],
    /// The number of the value's first line, from 1.
    pub line: u64,
}

/// The progress of the search for a value's end.
#[derive(Default)]
struct Scan {
    /// The number of bytes that have been scanned.
    length: usize,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl Scan {
    /// Scans the bytes that were added. Returns the value's length if they contain its end.
    fn end(&mut self, text: &[u8]) -> Option<usize> {
        while let Some(byte) = text.get(self.length) {
            if self.in_string && !self.is_escaped {
                let Some(next) = memchr::memchr3(b'"', b'\\', b'\n', text.get(self.length..)?) else {
                    self.length = text.len();
                    return None;
                };
                self.length += next + 1;
                match text.get(self.length - 1) {
                    Some(b'"') => self.in_string = false,
                    Some(b'\\') => self.is_escaped = true,
                    // JSON strings can't contain line ends, so the value stops here, and the parser reports the error.
                    _ => return Some(self.length - 1),
                }
                continue;
            }
            self.length += 1;
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth <= 1 => return Some(self.length),
                b'}' | b']' => self.depth -= 1,
                _ => {}
            }
        }
        None
    }
}

impl JsonRecords {
    pub fn new(input: Input) -> Self {
        let input = BufReader::with_capacity(256 << 10, input);
        Self { input, text: Vec::new(), at: 0, line: 1, within: Within::Start }
    }

    /// Returns the rest of the line from the start that [`JsonRecords::find_start`] has found, if it looks like one
    /// object. The caller parses it and, if it really is one object, calls [`JsonRecords::skip`]. That is faster than
    /// searching for the object's end first.
    pub fn line(&self) -> Option<JsonRecord<'_>> {
        let rest = self.text.get(self.at..)?;
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let text = rest.get(..length)?.trim_ascii_end();
        let is_object = matches!(self.within, Within::Text) && text.starts_with(b"{") && text.ends_with(b"}");
        is_object.then_some(JsonRecord { text, line: self.line })
    }

    /// Skips a value of `length` bytes. The value must not contain a line end.
    pub fn skip(&mut self, length: usize) {
        self.at += length;
    }

    /// Returns the value whose start [`JsonRecords::find_start`] has found, and skips it.
    pub fn value(&mut self) -> Result<JsonRecord<'_>, ReadFault> {
        let mut scan = Scan::default();
        let starts_object = self.text.get(self.at) == Some(&b'{');
        let length = loop {
            let value = self.text.get(self.at..).unwrap_or_default();
            if !starts_object {
                break value.iter().position(|byte| *byte == b'\n').unwrap_or(value.len());
            }
            if let Some(length) = scan.end(value) {
                break length;
            }
            if !self.read_line()? {
                let why = "the JSON object that begins here has no end: expected a closing brace";
                return Err(ReadFault::Text(self.line, why.into()));
            }
        };
        let (start, end, line) = (self.at, self.at + length, self.line);
        let text = self.text.get(start..end).unwrap_or_default();
        self.line += memchr::memchr_iter(b'\n', text).count() as u64;
        self.at = end;
        Ok(JsonRecord { text: text.trim_ascii_end(), line })
    }

    /// Goes to the start of the next value. Returns `false` if there is none.
    pub fn find_start(&mut self) -> Result<bool, ReadFault> {
        if matches!(self.within, Within::Start) {
            let start = self.input.fill_buf().map_err(ReadFault::Io)?;
            if let Some(name) = hints::utf16(start.get(..hints::START_BYTES).unwrap_or(start)) {
                return Err(ReadFault::Text(1, format!("the text is {name}, but JSON is UTF-8: convert it to UTF-8")));
            }
        }
        loop {
            let Some(byte) = self.skip_blanks()? else {
                return match self.within {
                    Within::Array { line, .. } => {
                        Err(ReadFault::Text(line, "the JSON array that begins here has no end: expected ]".into()))
                    }
                    _ => Ok(false),
                };
            };
            let fault = |line, expected: &str| {
                Err(ReadFault::Text(line, format!("unexpected text in a JSON array: expected {expected}")))
            };
            match (&self.within, byte) {
                (Within::Start, b'[') => self.within = Within::Array { line: self.line, is_first: true },
                (Within::Start, _) => self.within = Within::Text,
                (Within::Text, _) => return Ok(true),
                (Within::Array { .. }, b']') => self.within = Within::AfterArray,
                (Within::Array { line, is_first: false }, b',') => {
                    self.within = Within::Array { line: *line, is_first: true };
                    self.at += 1;
                    return match self.skip_blanks()? {
                        Some(b'{') => {
                            self.element();
                            Ok(true)
                        }
                        _ => fault(self.line, "a JSON object"),
                    };
                }
                (Within::Array { is_first: true, .. }, b'{') => {
                    self.element();
                    return Ok(true);
                }
                (Within::Array { is_first: true, .. }, _) => return fault(self.line, "a JSON object or ]"),
                (Within::Array { is_first: false, .. }, _) => return fault(self.line, "a comma or ]"),
                (Within::AfterArray, _) => {
                    return Err(ReadFault::Text(
                        self.line,
                        "text after the JSON array: expected the end of the file".into(),
                    ));
                }
            }
            if matches!(self.within, Within::Array { .. } | Within::AfterArray) {
                self.at += 1;
            }
        }
    }

    /// Records that an element of the array has been read.
    fn element(&mut self) {
        if let Within::Array { is_first, .. } = &mut self.within {
            *is_first = false;
        }
    }

    /// Skips whitespace and returns the byte after it, or `None` at the end of the text.
    fn skip_blanks(&mut self) -> Result<Option<u8>, ReadFault> {
        loop {
            while let Some(byte) = self.text.get(self.at) {
                if !byte.is_ascii_whitespace() {
                    return Ok(Some(*byte));
                }
                self.line += u64::from(*byte == b'\n');
                self.at += 1;
            }
            self.text.clear();
            self.at = 0;
            if !self.read_line()? {
                return Ok(None);
            }
        }
    }

    /// Appends the next line to the text. Returns `false` at the end of the input.
    fn read_line(&mut self) -> Result<bool, ReadFault> {
        self.text.drain(..std::mem::take(&mut self.at));
        let room = (MAX_RECORD_BYTES.saturating_sub(self.text.len())) as u64;
        let read = self.input.by_ref().take(room).read_until(b'\n', &mut self.text).map_err(ReadFault::Io)?;
        if self.text.len() >= MAX_RECORD_BYTES {
            return Err(ReadFault::Text(self.line, format!("line longer than {} MB", MAX_RECORD_BYTES >> 20)));
        }
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn split(text: &str) -> Result<Vec<(u64, String)>, String> {
        let mut records = JsonRecords::new(Box::new(Cursor::new(text.as_bytes().to_vec())));
        let mut all = Vec::new();
        loop {
            let next = match records.find_start() {
                Ok(true) => records.value().map(Some),
                Ok(false) => Ok(None),
                Err(fault) => Err(fault),
            };
            match next {
                Ok(Some(record)) => all.push((record.line, String::from_utf8(record.text.to_vec()).unwrap())),
                Ok(None) => return Ok(all),
                Err(ReadFault::Text(line, why)) => return Err(format!("line {line}: {why}")),
                Err(fault) => panic!("{fault:?}"),
            }
        }
    }

    #[test]
    fn objects_are_split_wherever_they_are() {
        for (text, expected) in [
            ("", &[][..]),
            (" \r\n\n", &[]),
            ("{}\r\n{\"a\":1}\n\n{}", &[(1, "{}"), (2, "{\"a\":1}"), (4, "{}")]),
            ("{}{}\t{}\n{}", &[(1, "{}"), (1, "{}"), (1, "{}"), (2, "{}")]),
            ("\n{\n \"a\": [\n{}]\n}\n{}", &[(2, "{\n \"a\": [\n{}]\n}"), (6, "{}")]),
            (r#"{"a":"}{\"\\"}{"b":"]"}"#, &[(1, r#"{"a":"}{\"\\"}"#), (1, r#"{"b":"]"}"#)]),
            ("[]", &[]),
            ("[{},\n{\"a\":[1]}]\n", &[(1, "{}"), (2, "{\"a\":[1]}")]),
            (" [\n  {}\n  ,\n  {}\n]\n", &[(2, "{}"), (4, "{}")]),
            ("1\n\"x\"\n{}", &[(1, "1"), (2, "\"x\""), (3, "{}")]),
            ("{}\n[1]\n", &[(1, "{}"), (2, "[1]")]),
            ("{\"a\":\"x\n{}", &[(1, "{\"a\":\"x"), (2, "{}")]),
        ] {
            let expected = expected.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
            assert_eq!(split(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn text_that_is_neither_lines_nor_an_array_names_what_is_expected() {
        for (text, expected) in [
            ("{}\n{\"a\":1\n{}\n", "line 2: the JSON object that begins here has no end: expected a closing brace"),
            ("\n[{}\n", "line 2: the JSON array that begins here has no end: expected ]"),
            ("[{}\n{}]", "line 2: unexpected text in a JSON array: expected a comma or ]"),
            ("[1]", "line 1: unexpected text in a JSON array: expected a JSON object or ]"),
            ("[{},]", "line 1: unexpected text in a JSON array: expected a JSON object"),
            ("[,{}]", "line 1: unexpected text in a JSON array: expected a JSON object or ]"),
            ("[{}]\n{}", "line 2: text after the JSON array: expected the end of the file"),
        ] {
            assert_eq!(split(text), Err(expected.into()), "{text:?}");
        }
        let endless = "{\"a\":[".to_owned() + &"1,\n".repeat(MAX_RECORD_BYTES / 3);
        assert_eq!(split(&endless), Err("line 1: line longer than 16 MB".into()));
    }
}
