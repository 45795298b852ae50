//! Splits CSV text (RFC 4180 or another dialect) into records, each with the number of its first line.
//!
//! A field is quoted only if its first byte is a quote. A quoted field may contain delimiters, line ends and escaped
//! quotes. Lines end with LF or CRLF. Callers skip empty lines, except in a source with one column, where an
//! empty line is a null.

use std::io::{self, Read};

use super::input::{self, MAX_FIELDS, MAX_RECORD_BYTES, ReadFault};
use turntable_core::config::Dialect;

/// The minimum free space in the buffer, in bytes, when reading from the input.
const CHUNK_BYTES: usize = 256 << 10;

pub struct Records<R> {
    input: R,
    dialect: Dialect,
    ended: bool,
    /// Whether the bytes after the buffer are invalid in the text's encoding.
    undecodable: bool,
    buffer: Vec<u8>,
    /// The start of the next record in the buffer.
    at: usize,
    /// The end of the text in the buffer.
    filled: usize,
    fields: Vec<Span>,
    /// Whether a quoted field in `fields` contains escape characters.
    escaped: bool,
    /// The next record, if it has been found: its end in the buffer, and the number of line ends inside its quotes.
    found: Option<(usize, u64)>,
    /// The position in the buffer where the last failed scan ended.
    reached: usize,
    /// The first line of the next record, from 1.
    line: u64,
}

/// Describes the next record without consuming it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// The record's first line in the decompressed text, from 1.
    pub line: u64,
    /// The number of lines in the record.
    pub lines: u64,
    /// The number of fields.
    pub width: usize,
    /// Whether the record is an empty line.
    pub is_blank: bool,
    /// Whether an unquoted field contains a quote.
    pub stray_quote: bool,
}

#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    quoted: bool,
}

/// A record. It borrows the buffer, so it must be dropped before the next record is read.
pub struct Record<'a> {
    buffer: &'a [u8],
    fields: &'a [Span],
    /// The record's first line in the decompressed text, from 1.
    pub line: u64,
    /// The size of the record's text in bytes, including the line end.
    pub size: usize,
}

pub struct Field<'a> {
    pub text: &'a [u8],
    pub quoted: bool,
}

impl<'a> Record<'a> {
    /// Returns the number of fields.
    pub fn width(&self) -> usize {
        self.fields.len()
    }

    /// Returns whether the record is an empty line.
    pub fn is_blank(&self) -> bool {
        matches!(self.fields, [Span { start, end, quoted: false }] if start == end)
    }

    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> {
        let buffer = self.buffer;
        self.fields.iter().map(move |span| Field { text: &buffer[span.start..span.end], quoted: span.quoted })
    }
}

enum Scan {
    /// A whole record: its end in the buffer, and the number of line ends inside quotes.
    Record(usize, u64),
    /// The record continues beyond the buffer.
    More,
    End,
}

impl<R: Read> Records<R> {
    pub fn new(input: R, dialect: Dialect) -> Self {
        let buffer = vec![0; 2 * CHUNK_BYTES];
        Self {
            input,
            dialect,
            ended: false,
            undecodable: false,
            buffer,
            at: 0,
            filled: 0,
            fields: Vec::new(),
            escaped: false,
            found: None,
            reached: 0,
            line: 1,
        }
    }

    /// Returns the next record, or `None` at the end of the text.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, ReadFault> {
        let Some((end, inner)) = self.find()? else { return Ok(None) };
        self.found = None;
        self.unescape_fields();
        let (line, size) = (self.line, end - self.at);
        self.line += 1 + inner;
        self.at = end;
        Ok(Some(Record { buffer: &self.buffer, fields: &self.fields, line, size }))
    }

    /// Describes the next record without consuming it. Returns `None` at the end of the text.
    pub fn look(&mut self) -> Result<Option<Ahead>, ReadFault> {
        let Some((_, inner)) = self.find()? else { return Ok(None) };
        let is_stray = |span: &Span| {
            let text = &self.buffer[span.start..span.end];
            !span.quoted && self.dialect.quote.is_some_and(|quote| memchr::memchr(quote, text).is_some())
        };
        Ok(Some(Ahead {
            line: self.line,
            lines: 1 + inner,
            width: self.fields.len(),
            is_blank: matches!(self.fields.as_slice(), [Span { start, end, quoted: false }] if start == end),
            stray_quote: self.fields.iter().any(is_stray),
        }))
    }

    /// Returns the fields of the record that [`Records::look`] described, with their escape characters.
    pub fn raw_fields(&self) -> Vec<&[u8]> {
        self.fields.iter().map(|span| &self.buffer[span.start..span.end]).collect()
    }

    /// Returns whether a record with `width` fields, for which `holds` returns `true`, begins on a later line within
    /// the record that [`Records::look`] described. `holds` gets the fields with their escape characters.
    pub fn any_within(&mut self, width: usize, holds: impl Fn(&[&[u8]]) -> bool) -> Result<bool, ReadFault> {
        let Some((end, _)) = self.found.take() else { return Ok(false) };
        // `fill` moves the text in the buffer, so positions count from the start of the record.
        let (length, mut line) = (end - self.at, 0);
        loop {
            let rest = &self.buffer[self.at + line..self.at + length];
            let Some(line_end) = memchr::memchr(b'\n', rest) else { return Ok(false) };
            line += line_end + 1;
            if line == length {
                return Ok(false);
            }
            if self.scan_completely(line)? && self.fields.len() == width && holds(&self.raw_fields()) {
                return Ok(true);
            }
        }
    }

    /// Scans the record that begins `offset` bytes after the next record. Returns `false` if it is malformed or too
    /// long.
    fn scan_completely(&mut self, offset: usize) -> Result<bool, ReadFault> {
        loop {
            match self.scan(self.at + offset) {
                Ok(Scan::Record(..)) => return Ok(true),
                Ok(Scan::End) | Err(_) => return Ok(false),
                Ok(Scan::More) => match self.fill() {
                    Ok(()) => {}
                    Err(ReadFault::Text(..)) => return Ok(false),
                    Err(fault) => return Err(fault),
                },
            }
        }
    }

    /// Skips one line, so that the next record begins on the line after it. The record on the skipped line may be
    /// malformed. Returns the number of bytes after the line that were already scanned and will be scanned again.
    pub fn skip_line(&mut self) -> Result<usize, ReadFault> {
        let scanned = self.found.take().map_or(self.reached, |(end, _)| end).saturating_sub(self.at);
        let mut length = 0;
        loop {
            let text = &self.buffer[self.at..self.filled];
            if let Some(line_end) = memchr::memchr(b'\n', text) {
                length += line_end + 1;
                self.at += line_end + 1;
                break;
            }
            length += text.len();
            self.at = self.filled;
            if self.ended {
                break;
            }
            self.fill()?;
        }
        self.line += 1;
        Ok(scanned.saturating_sub(length))
    }

    /// Returns the delimiter, which a line such as `sep=;` may have set.
    pub fn delimiter(&self) -> u8 {
        self.dialect.delimiter
    }

    /// Returns the next bytes of the text: `length` bytes, or fewer at its end.
    pub fn start(&mut self, length: usize) -> Result<&[u8], ReadFault> {
        while self.filled - self.at < length && !self.ended && !self.undecodable {
            self.fill()?;
        }
        let end = self.filled.min(self.at + length);
        Ok(&self.buffer[self.at..end])
    }

    /// Skips a line such as `sep=;`, in which Excel files name the delimiter, and uses this delimiter from then on.
    pub fn take_separator_line(&mut self) -> Result<(), ReadFault> {
        let (delimiter, length) = match self.start(7)? {
            [b's', b'e', b'p', b'=', delimiter, b'\n', ..] => (*delimiter, 6),
            [b's', b'e', b'p', b'=', delimiter, b'\r', b'\n', ..] => (*delimiter, 7),
            _ => return Ok(()),
        };
        if delimiter.is_ascii() && self.dialect.quote != Some(delimiter) {
            self.dialect.delimiter = delimiter;
            self.found = None;
            self.at += length;
            self.line += 1;
        }
        Ok(())
    }

    /// Finds the next record, unless it has already been found.
    fn find(&mut self) -> Result<Option<(usize, u64)>, ReadFault> {
        loop {
            if self.found.is_some() {
                return Ok(self.found);
            }
            match self.scan(self.at).map_err(|fault| ReadFault::Text(self.line, fault.into()))? {
                Scan::Record(end, inner) => self.found = Some((end, inner)),
                Scan::End => return Ok(None),
                Scan::More => self.fill()?,
            }
        }
    }

    /// Reads more text into the buffer, unless the input has ended. Fails if the record in the buffer is too long, or
    /// continues with bytes that are invalid in the encoding.
    fn fill(&mut self) -> Result<(), ReadFault> {
        self.buffer.copy_within(self.at..self.filled, 0);
        self.filled -= self.at;
        self.at = 0;
        if self.filled >= MAX_RECORD_BYTES {
            self.reached = self.filled;
            let fault = format!("record longer than {} MB: check for an unclosed quote", MAX_RECORD_BYTES >> 20);
            return Err(ReadFault::Text(self.line, fault));
        }
        if self.buffer.len() - self.filled < CHUNK_BYTES {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        if self.undecodable {
            return Err(ReadFault::Undecodable { line: self.line, field: self.fields.len() });
        }
        while self.buffer.len() - self.filled >= CHUNK_BYTES && !self.ended {
            match self.input.read(&mut self.buffer[self.filled..]) {
                Ok(0) => self.ended = true,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The whole records before the invalid bytes are returned first; a later call reports the error.
                Err(error) if input::is_undecodable(&error) => {
                    self.undecodable = true;
                    break;
                }
                Err(error) => return Err(ReadFault::Io(error)),
            }
        }
        Ok(())
    }

    /// Finds the fields of the record that begins at `from` in the buffer. Leaves their escape characters in place.
    fn scan(&mut self, from: usize) -> Result<Scan, &'static str> {
        self.fields.clear();
        self.escaped = false;
        let (buffer, mut at) = (&self.buffer[..self.filled], from);
        let Dialect { delimiter, quote, escape } = self.dialect;
        let mut inner = 0;
        if at == buffer.len() {
            return Ok(if self.ended { Scan::End } else { Scan::More });
        }
        let end = loop {
            if self.fields.len() == MAX_FIELDS {
                self.reached = at;
                return Err("record with more than 10,000 fields");
            }
            if let Some(quote) = quote
                && buffer.get(at) == Some(&quote)
            {
                let start = at + 1;
                let mut from = start;
                let end = loop {
                    let Some(found) = memchr::memchr2(quote, escape, &buffer[from..]).map(|found| from + found) else {
                        self.reached = buffer.len();
                        return if self.ended { Err("unclosed quote") } else { Ok(Scan::More) };
                    };
                    match buffer.get(found + 1) {
                        None if !self.ended => return Ok(Scan::More),
                        Some(next) if buffer[found] == escape && (*next == quote || *next == escape) => {
                            self.escaped = true;
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
                    _ => {
                        self.reached = end + 1;
                        return Err("text after a closing quote, expected a delimiter or line end");
                    }
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
        Ok(Scan::Record(end, inner))
    }

    /// Removes the escape characters from the record in `fields`.
    fn unescape_fields(&mut self) {
        let Dialect { quote, escape, .. } = self.dialect;
        if let (Some(quote), true) = (quote, self.escaped) {
            for field in self.fields.iter_mut().filter(|field| field.quoted) {
                field.end = field.start + unescape(&mut self.buffer[field.start..field.end], quote, escape);
            }
        }
    }
}

/// Removes escape characters in place and returns the new length.
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

    /// Reads one byte at a time, so that the buffered text ends once at every position.
    struct OneByteReads<'a>(&'a [u8]);

    impl Read for OneByteReads<'_> {
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

    /// Returns the first line and the number of lines of each record with this width. Skips the first line of each
    /// other or malformed record.
    fn resumed(text: impl Read, width: usize) -> Vec<(u64, u64)> {
        let mut records = Records::new(text, Dialect::default());
        let mut all = Vec::new();
        loop {
            match records.look() {
                Ok(None) => return all,
                Ok(Some(ahead)) if ahead.width == width => {
                    all.push((ahead.line, ahead.lines));
                    let record = records.next_record().unwrap().unwrap();
                    assert_eq!((record.line, record.width()), (ahead.line, ahead.width));
                }
                Ok(Some(_)) | Err(ReadFault::Text(..)) => {
                    records.skip_line().unwrap();
                }
                Err(fault) => panic!("{fault:?}"),
            }
        }
    }

    #[test]
    fn reading_goes_on_after_the_first_line_of_a_malformed_record() {
        for (text, expected) in [
            ("a,b\n1,\"x\n2,y\n", &[(1, 1), (3, 1)][..]),
            ("a,b\r\n1,\"x\" \r\n2,\"y\r\n\"\r\n3,z", &[(1, 1), (3, 2), (5, 1)]),
            ("a,b\n\"1,\n2,\"\"\n3,y\n4,\"z\"\n", &[(1, 1), (3, 1), (4, 1), (5, 1)]),
            ("a,b\n1,\"x", &[(1, 1)]),
            ("a,b\n\"1\n2,\",x\n3,y\n", &[(1, 1), (2, 2), (4, 1)]),
        ] {
            assert_eq!(resumed(text.as_bytes(), 2), expected, "{text:?}");
            assert_eq!(resumed(OneByteReads(text.as_bytes()), 2), expected, "{text:?}");
        }
    }

    /// Returns whether a record with two fields, the first of which is `key`, begins within the first record.
    fn within(input: impl Read, key: &str) -> bool {
        let mut records = Records::new(input, Dialect::default());
        records.look().unwrap();
        let found = records.any_within(2, |fields| fields[0] == key.as_bytes()).unwrap();
        assert_eq!(records.next_record().unwrap().unwrap().line, 1);
        found
    }

    #[test]
    fn records_within_a_record_are_found() {
        let text = "1,\"a\n2,b\n3\n4,\"\"c\n5,\"\n6,\",d\"\n";
        for (text, key, expected) in [
            (text, "1", false),
            (text, "2", true),
            (text, "3", false),
            (text, "4", false),
            (text, "5", false),
            (text, "6", false),
            // The inner record ends on a later line than the outer one.
            ("1,\"a\n5,\"\n6\"\n", "5", true),
            ("1,b\n2,c\n", "2", false),
        ] {
            assert_eq!(within(text.as_bytes(), key), expected, "{key} in {text:?}");
            assert_eq!(within(OneByteReads(text.as_bytes()), key), expected, "{key} in {text:?}");
        }
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
                Err(ReadFault::Text(line, why)) => return Err((line, why)),
                Err(fault) => panic!("{fault:?}"),
            }
        }
    }

    fn fields(text: &str) -> Parsed {
        fields_as(text, Dialect::default())
    }

    fn fields_as(text: &str, dialect: Dialect) -> Parsed {
        let parsed = parse_as(text.as_bytes(), dialect);
        assert_eq!(parse_as(OneByteReads(text.as_bytes()), dialect), parsed);
        parsed
    }

    fn of(list: &[(u64, &[&str])]) -> Parsed {
        Ok(list.iter().map(|(line, fields)| (*line, fields.iter().map(|f| (*f).to_owned()).collect())).collect())
    }

    #[test]
    fn records_have_line_numbers() {
        assert_eq!(
            fields("a,b\r\n1,\"x\r\ny,\"\"z\"\"\"\r\n\"\",\n2,5\"\n"),
            of(&[(1, &["a", "b"]), (2, &["1", "'x\r\ny,\"z\""]), (4, &["'", ""]), (5, &["2", "5\""])])
        );
    }

    #[test]
    fn last_line_end_is_optional() {
        assert_eq!(fields("a,b"), of(&[(1, &["a", "b"])]));
        assert_eq!(fields("a,"), of(&[(1, &["a", ""])]));
        assert_eq!(fields("\"a\"\r"), of(&[(1, &["'a"])]));
        assert_eq!(fields("a\r\n\r\n"), of(&[(1, &["a"]), (2, &[""])]));
        assert_eq!(fields(""), of(&[]));
    }

    #[test]
    fn tabs_without_quotes_and_backslash_escapes() {
        let tabs = Dialect { delimiter: b'\t', quote: None, escape: b'"' };
        assert_eq!(fields_as("a\t\"b,\n\t\n", tabs), of(&[(1, &["a", "\"b,"]), (2, &["", ""])]));
        let backslash = Dialect { delimiter: b';', quote: Some(b'\''), escape: b'\\' };
        assert_eq!(
            fields_as("'a\\'b';'\\\\';'\\n'\nx\\;\"\n'a'", backslash),
            of(&[(1, &["'a'b", "'\\", "'\\n"]), (2, &["x\\", "\""]), (3, &["'a"])])
        );
        assert_eq!(fields_as("'a\\'", backslash), Err((1, "unclosed quote".into())));
    }

    #[test]
    fn malformed_csv_reports_first_line_of_the_record() {
        assert_eq!(fields("a\n\"b\n\nc"), Err((2, "unclosed quote".into())));
        assert_eq!(
            fields("a\n\"b\"c\n"),
            Err((2, "text after a closing quote, expected a delimiter or line end".into()))
        );
        assert_eq!(
            fields("\"b\"\rc\n"),
            Err((1, "text after a closing quote, expected a delimiter or line end".into()))
        );
        let endless = io::Read::chain(&b"a\n\""[..], io::repeat(b'x'));
        assert_eq!(parse(endless), Err((2, "record longer than 16 MB: check for an unclosed quote".into())));
    }
}
