//! A CSV text → its records (RFC 4180, or another dialect), each with the line that it begins on.
//!
//! Quotes count only where a field begins with one; they may hold delimiters, line ends and escaped quotes.
//! Lines end with LF or CRLF. A line without any byte is no record, except in a file of one column, where it is a null.

use std::io::{self, Read};

use super::input::{self, Fault, LONGEST, WIDEST};
use turntable_core::config::Dialect;

const CHUNK: usize = 256 << 10;

pub struct Records<R> {
    input: R,
    dialect: Dialect,
    ended: bool,
    /// After what is in the buffer comes what is no text of its encoding.
    undecodable: bool,
    buffer: Vec<u8>,
    /// What of the buffer is read but not yet given out.
    at: usize,
    filled: usize,
    fields: Vec<Span>,
    /// Where the next record begins, from 1.
    line: u64,
}

#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    quoted: bool,
}

/// One record, until the next is asked for.
pub struct Record<'a> {
    buffer: &'a [u8],
    fields: &'a [Span],
    /// The line that it begins on, in the decompressed text, from 1.
    pub line: u64,
    /// Bytes of the text that it takes.
    pub size: usize,
}

pub struct Field<'a> {
    pub text: &'a [u8],
    pub quoted: bool,
}

impl<'a> Record<'a> {
    /// How many fields it has.
    pub fn width(&self) -> usize {
        self.fields.len()
    }

    /// Whether its line has no byte.
    pub fn is_blank(&self) -> bool {
        matches!(self.fields, [Span { start, end, quoted: false }] if start == end)
    }

    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> {
        let buffer = self.buffer;
        self.fields.iter().map(move |span| Field { text: &buffer[span.start..span.end], quoted: span.quoted })
    }
}

enum Scan {
    /// The record ends before this place of the buffer, after so many line ends inside of quotes.
    Record(usize, u64),
    More,
    End,
}

impl<R: Read> Records<R> {
    pub fn new(input: R, dialect: Dialect) -> Self {
        let buffer = vec![0; 2 * CHUNK];
        let (ended, undecodable) = (false, false);
        Self { input, dialect, ended, undecodable, buffer, at: 0, filled: 0, fields: Vec::new(), line: 1 }
    }

    /// The next record; `None` at the text's end.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, Fault> {
        let (end, inner) = loop {
            match self.scan().map_err(|fault| Fault::Text(self.line, fault.into()))? {
                Scan::Record(end, inner) => break (end, inner),
                Scan::End => return Ok(None),
                Scan::More => self.fill()?,
            }
        };
        let (line, size) = (self.line, end - self.at);
        self.line += 1 + inner;
        self.at = end;
        Ok(Some(Record { buffer: &self.buffer, fields: &self.fields, line, size }))
    }

    /// Reads more, at least one byte unless the input has ended.
    fn fill(&mut self) -> Result<(), Fault> {
        self.buffer.copy_within(self.at..self.filled, 0);
        self.filled -= self.at;
        self.at = 0;
        if self.filled >= LONGEST {
            let fault = format!("a record longer than {} MB: is a quote not closed?", LONGEST >> 20);
            return Err(Fault::Text(self.line, fault));
        }
        if self.buffer.len() - self.filled < CHUNK {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        if self.undecodable {
            return Err(Fault::Undecodable { line: self.line, field: self.fields.len() });
        }
        while self.buffer.len() - self.filled >= CHUNK && !self.ended {
            match self.input.read(&mut self.buffer[self.filled..]) {
                Ok(0) => self.ended = true,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The records before are whole, and whoever reads them comes here again.
                Err(error) if input::is_undecodable(&error) => {
                    self.undecodable = true;
                    break;
                }
                Err(error) => return Err(Fault::Io(error)),
            }
        }
        Ok(())
    }

    /// Finds the fields of the record at `at`; changes nothing but `fields` unless the record is whole.
    fn scan(&mut self) -> Result<Scan, &'static str> {
        self.fields.clear();
        let (buffer, mut at) = (&self.buffer[..self.filled], self.at);
        let Dialect { delimiter, quote, escape } = self.dialect;
        let (mut inner, mut escaped) = (0, false);
        if at == buffer.len() {
            return Ok(if self.ended { Scan::End } else { Scan::More });
        }
        let end = loop {
            if self.fields.len() == WIDEST {
                return Err("a record of more than 10,000 fields");
            }
            if let Some(quote) = quote
                && buffer.get(at) == Some(&quote)
            {
                let start = at + 1;
                let mut from = start;
                let end = loop {
                    let Some(found) = memchr::memchr2(quote, escape, &buffer[from..]).map(|found| from + found) else {
                        return if self.ended { Err("a quote that is not closed") } else { Ok(Scan::More) };
                    };
                    match buffer.get(found + 1) {
                        None if !self.ended => return Ok(Scan::More),
                        Some(next) if buffer[found] == escape && (*next == quote || *next == escape) => {
                            escaped = true;
                            from = found + 2;
                        }
                        _ if buffer[found] == quote => break found,
                        _ => from = found + 1,
                    }
                };
                inner += memchr::memchr_iter(b'\n', &buffer[start..end]).count() as u64;
                self.fields.push(Span { start, end, quoted: true });
                match &buffer[end + 1..] {
                    [next, ..] if *next == delimiter => at = end + 2,
                    [b'\n', ..] => break end + 2,
                    [b'\r', b'\n', ..] => break end + 3,
                    [] | [b'\r'] if self.ended => break buffer.len(),
                    [b'\r'] => return Ok(Scan::More),
                    _ => return Err("text between a closing quote and the next delimiter"),
                }
            } else {
                let rest = &buffer[at..];
                let length = rest.iter().position(|byte| *byte == delimiter || *byte == b'\n');
                let (start, end) = (at, at + length.unwrap_or(rest.len()));
                if length.is_none() && !self.ended {
                    return Ok(Scan::More);
                }
                if buffer.get(end) == Some(&delimiter) {
                    self.fields.push(Span { start, end, quoted: false });
                    at = end + 1;
                } else {
                    let cr = buffer[start..end].ends_with(b"\r");
                    self.fields.push(Span { start, end: end - usize::from(cr), quoted: false });
                    break (end + 1).min(buffer.len());
                }
            }
        };
        if let (Some(quote), true) = (quote, escaped) {
            for field in self.fields.iter_mut().filter(|field| field.quoted) {
                field.end = field.start + unescape(&mut self.buffer[field.start..field.end], quote, escape);
            }
        }
        Ok(Scan::Record(end, inner))
    }
}

/// Takes what escapes away, in place; the length that is left.
fn unescape(text: &mut [u8], quote: u8, escape: u8) -> usize {
    let (mut to, mut from) = (0, 0);
    while from < text.len() {
        if text[from] == escape && text.get(from + 1).is_some_and(|next| *next == quote || *next == escape) {
            from += 1;
        }
        text[to] = text[from];
        (to, from) = (to + 1, from + 1);
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time: every place is the end of a chunk once.
    struct Dribble<'a>(&'a [u8]);

    impl Read for Dribble<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            (to[0], self.0) = (*first, rest);
            Ok(1)
        }
    }

    type Parsed = Result<Vec<(u64, Vec<String>)>, (u64, String)>;

    fn parse(input: impl Read) -> Parsed {
        parse_as(input, Dialect::default())
    }

    fn parse_as(input: impl Read, dialect: Dialect) -> Parsed {
        let mut records = Records::new(input, dialect);
        let mut all = Vec::new();
        loop {
            match records.next_record() {
                Ok(None) => return Ok(all),
                Ok(Some(record)) => {
                    let mark = |field: Field| {
                        format!("{}{}", if field.quoted { "'" } else { "" }, String::from_utf8_lossy(field.text))
                    };
                    all.push((record.line, record.fields().map(mark).collect()));
                }
                Err(Fault::Text(line, why)) => return Err((line, why)),
                Err(fault) => panic!("{fault:?}"),
            }
        }
    }

    fn fields(text: &str) -> Parsed {
        fields_as(text, Dialect::default())
    }

    fn fields_as(text: &str, dialect: Dialect) -> Parsed {
        let parsed = parse_as(text.as_bytes(), dialect);
        assert_eq!(parse_as(Dribble(text.as_bytes()), dialect), parsed);
        parsed
    }

    fn of(list: &[(u64, &[&str])]) -> Parsed {
        Ok(list.iter().map(|(line, fields)| (*line, fields.iter().map(|f| (*f).to_owned()).collect())).collect())
    }

    #[test]
    fn records_know_their_line() {
        assert_eq!(
            fields("a,b\r\n1,\"x\r\ny,\"\"z\"\"\"\r\n\"\",\n2,5\"\n"),
            of(&[(1, &["a", "b"]), (2, &["1", "'x\r\ny,\"z\""]), (4, &["'", ""]), (5, &["2", "5\""])])
        );
    }

    #[test]
    fn the_last_line_end_may_be_missing() {
        assert_eq!(fields("a,b"), of(&[(1, &["a", "b"])]));
        assert_eq!(fields("a,"), of(&[(1, &["a", ""])]));
        assert_eq!(fields("\"a\"\r"), of(&[(1, &["'a"])]));
        assert_eq!(fields("a\r\n\r\n"), of(&[(1, &["a"]), (2, &[""])]));
        assert_eq!(fields(""), of(&[]));
    }

    #[test]
    fn other_dialects() {
        let tabs = Dialect { delimiter: b'\t', quote: None, escape: b'"' };
        assert_eq!(fields_as("a\t\"b,\n\t\n", tabs), of(&[(1, &["a", "\"b,"]), (2, &["", ""])]));
        let backslash = Dialect { delimiter: b';', quote: Some(b'\''), escape: b'\\' };
        assert_eq!(
            fields_as("'a\\'b';'\\\\';'\\n'\nx\\;\"\n'a'", backslash),
            of(&[(1, &["'a'b", "'\\", "'\\n"]), (2, &["x\\", "\""]), (3, &["'a"])])
        );
        assert_eq!(fields_as("'a\\'", backslash), Err((1, "a quote that is not closed".into())));
    }

    #[test]
    fn what_is_no_csv_says_where_its_record_begins() {
        assert_eq!(fields("a\n\"b\n\nc"), Err((2, "a quote that is not closed".into())));
        assert_eq!(fields("a\n\"b\"c\n"), Err((2, "text between a closing quote and the next delimiter".into())));
        assert_eq!(fields("\"b\"\rc\n"), Err((1, "text between a closing quote and the next delimiter".into())));
        let endless = io::Read::chain(&b"a\n\""[..], io::repeat(b'x'));
        assert_eq!(parse(endless), Err((2, "a record longer than 16 MB: is a quote not closed?".into())));
    }
}
