//! The character sets of text columns. The server sends text in its column's own character set, because the server's
//! conversion turns a character that it doesn't know into `?`, without an error.
//!
//! The server's own tables decide which character a code stands for, so that text comes out as the server's own clients
//! show it. Where such a table has no entry, another table is used that only adds characters: cp932 for sjis, eucjpms
//! for ujis, gbk for gb2312, and the tables in WHATWG's Encoding Standard for the others. A code that stands for no
//! character is an error.

use std::{collections::BTreeSet, ops::RangeInclusive, sync::Arc};

use encoding_rs::{BIG5, Encoding, GB18030, GBK, ISO_8859_7, WINDOWS_1256};
use mysql_async::{Column, Conn, Value, consts::ColumnType, prelude::Queryable};

use super::{
    failure,
    server::Server,
    types::{BINARY_COLLATION, is_string},
    value::text,
};
use crate::value_fault::ValueFault;
use turntable_core::error::{Error, Result};

const UNKNOWN_CODE: ValueFault = ValueFault::Unrepresentable(
    "text with a code that its character set doesn't define: select hex(column) to see it, or CAST(column AS BINARY) to \
     publish the bytes",
);

/// How to decode a character set.
pub enum Charset {
    Utf8,
    /// UCS-2 is UTF-16 without surrogates.
    Utf16 {
        is_little_endian: bool,
    },
    Utf32,
    Table(Box<Table>),
}

/// A character set whose codes have one to three bytes, or four in gb18030.
pub struct Table {
    shape: Shape,
    /// Whether every ASCII byte stands for its ASCII character.
    keeps_ascii: bool,
    /// The characters for codes of one byte, of two bytes, and of three bytes that begin with 0x8F. U+0000 means that
    /// the code has no character, unless the code itself is 0.
    single: [char; 256],
    double: Vec<char>,
    triple: Vec<char>,
}

/// The bytes that a character set's codes consist of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Single,
    /// Shift_JIS and cp932.
    Sjis,
    /// EUC-JP and eucJP-ms: 0x8E begins two bytes, 0x8F three.
    Ujis,
    Big5,
    Gb2312,
    Gbk,
    /// Like GBK, plus codes of four bytes whose second byte is a digit.
    Gb18030,
    Euckr,
}

impl Shape {
    fn of(name: &str) -> Shape {
        match name {
            "sjis" | "cp932" => Shape::Sjis,
            "ujis" | "eucjpms" => Shape::Ujis,
            "big5" => Shape::Big5,
            "gb2312" => Shape::Gb2312,
            "gbk" => Shape::Gbk,
            "gb18030" => Shape::Gb18030,
            "euckr" => Shape::Euckr,
            _ => Shape::Single,
        }
    }

    /// Returns the ranges of the first and of the second byte in two-byte codes.
    fn double(self) -> (&'static [RangeInclusive<u8>], &'static [RangeInclusive<u8>]) {
        match self {
            Shape::Single => (&[], &[]),
            Shape::Sjis => (&[0x81..=0x9f, 0xe0..=0xfc], &[0x40..=0x7e, 0x80..=0xfc]),
            Shape::Ujis => (&[0xa1..=0xfe], &[0xa1..=0xfe]),
            Shape::Big5 => (&[0xa1..=0xf9], &[0x40..=0x7e, 0xa1..=0xfe]),
            Shape::Gb2312 => (&[0xa1..=0xf7], &[0xa1..=0xfe]),
            Shape::Gbk | Shape::Gb18030 => (&[0x81..=0xfe], &[0x40..=0x7e, 0x80..=0xfe]),
            Shape::Euckr => (&[0x81..=0xfe], &[0x41..=0x5a, 0x61..=0x7a, 0x81..=0xfe]),
        }
    }

    /// Returns the ranges of the bytes that are one-byte codes and that every server accepts as well-formed.
    fn single(self) -> &'static [RangeInclusive<u8>] {
        match self {
            Shape::Single => &[0..=0xff],
            Shape::Sjis => &[0..=0x7f, 0xa1..=0xdf],
            _ => &[0..=0x7f],
        }
    }

    /// Returns all codes of up to three bytes.
    fn codes(self) -> Vec<Vec<u8>> {
        let bytes = |ranges: &'static [RangeInclusive<u8>]| ranges.iter().cloned().flatten();
        let (first, second) = self.double();
        let mut codes: Vec<Vec<u8>> = bytes(self.single()).map(|byte| vec![byte]).collect();
        codes.extend(bytes(first).flat_map(|one| bytes(second).map(move |two| vec![one, two])));
        if self == Shape::Ujis {
            codes.extend((0xa1..=0xdf).map(|two| vec![0x8e, two]));
            codes.extend(bytes(first).flat_map(|two| bytes(second).map(move |three| vec![0x8f, two, three])));
        }
        codes
    }
}

impl Table {
    fn new(shape: Shape) -> Table {
        let double = if shape == Shape::Single { Vec::new() } else { vec!['\0'; 1 << 16] };
        let triple = if shape == Shape::Ujis { vec!['\0'; 1 << 16] } else { Vec::new() };
        Table { shape, keeps_ascii: false, single: ['\0'; 256], double, triple }
    }

    fn set(&mut self, code: &[u8], character: char) {
        match *code {
            [one] => self.single[usize::from(one)] = character,
            [one, two] => self.double[pair(one, two)] = character,
            [0x8f, two, three] => self.triple[pair(two, three)] = character,
            _ => {}
        }
    }

    /// Returns the first character in `bytes`, and the length of its code in bytes. Returns `None` if the first code is
    /// incomplete or has no character.
    fn next(&self, bytes: &[u8]) -> Option<(char, usize)> {
        let is_first = |byte: u8| self.shape.double().0.iter().any(|range| range.contains(&byte));
        let (found, length) = match *bytes {
            [0, ..] => return Some((self.single[0], 1)),
            [0x8f, two, three, ..] if self.shape == Shape::Ujis => (self.triple[pair(two, three)], 3),
            [one @ 0x81..=0xfe, b'0'..=b'9', ..] if self.shape == Shape::Gb18030 => {
                let code = bytes.get(..4)?;
                return (is_first(one)).then(|| decode_one(GB18030, code)).flatten().map(|found| (found, 4));
            }
            [one, two, ..] if is_first(one) || (self.shape == Shape::Ujis && one == 0x8e) => {
                (self.double[pair(one, two)], 2)
            }
            [one, ..] => (self.single[usize::from(one)], 1),
            [] => return None,
        };
        (found != '\0').then_some((found, length))
    }
}

fn pair(one: u8, two: u8) -> usize {
    usize::from(one) << 8 | usize::from(two)
}

/// Decodes one code with a table from the Encoding Standard. Returns `None` if the code has no character; for such a
/// code, the table may have a control character.
fn decode_one(encoding: &'static Encoding, code: &[u8]) -> Option<char> {
    let text = encoding.decode_without_bom_handling_and_without_replacement(code)?;
    let mut characters = text.chars();
    let found = characters.next().filter(|found| !found.is_control())?;
    characters.next().is_none().then_some(found)
}

impl Charset {
    /// Decodes `bytes`, and appends the text to `out` as UTF-8. Fails if a code has no character.
    pub fn decode(&self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ValueFault> {
        let mut push = |character: char| out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        match self {
            Charset::Utf8 => out.extend_from_slice(bytes),
            Charset::Table(table) if table.keeps_ascii && bytes.is_ascii() => out.extend_from_slice(bytes),
            Charset::Table(table) => {
                while !bytes.is_empty() {
                    let (character, length) = table.next(bytes).ok_or(UNKNOWN_CODE)?;
                    push(character);
                    bytes = bytes.get(length..).unwrap_or_default();
                }
            }
            Charset::Utf16 { is_little_endian } => {
                let (units, rest) = bytes.as_chunks::<2>();
                let unit = |unit: &[u8; 2]| {
                    if *is_little_endian { u16::from_le_bytes(*unit) } else { u16::from_be_bytes(*unit) }
                };
                for character in char::decode_utf16(units.iter().map(unit)) {
                    push(character.map_err(|_| UNKNOWN_CODE)?);
                }
                if !rest.is_empty() {
                    return Err(UNKNOWN_CODE);
                }
            }
            Charset::Utf32 => {
                let (units, rest) = bytes.as_chunks::<4>();
                for unit in units {
                    push(char::from_u32(u32::from_be_bytes(*unit)).ok_or(UNKNOWN_CODE)?);
                }
                if !rest.is_empty() {
                    return Err(UNKNOWN_CODE);
                }
            }
        }
        Ok(())
    }
}

/// Returns how to decode each column that the server has described. `None` means that the column holds no text, or text
/// in UTF-8. Queries the server for the tables of the other character sets.
pub async fn of_columns(conn: &mut Conn, server: &Server, columns: &[Column]) -> Result<Vec<Option<Arc<Charset>>>> {
    let ids: BTreeSet<u16> = columns.iter().filter_map(collation).collect();
    let mut known: Vec<(Value, Value)> = Vec::new();
    let unknown: Vec<String> = ids.iter().filter(|id| fixed(**id).is_none()).map(u16::to_string).collect();
    if !unknown.is_empty() {
        let sql = format!(
            "SELECT CAST(id AS SIGNED), CAST(character_set_name AS CHAR) FROM information_schema.collations \
             WHERE id IN ({})",
            unknown.join(", ")
        );
        known = conn.query(sql).await.map_err(|error| failure::error_of(server, error))?;
    }
    let mut charsets: Vec<(String, Arc<Charset>)> = Vec::new();
    let mut of_columns = Vec::with_capacity(columns.len());
    for column in columns {
        let Some(id) = collation(column) else {
            of_columns.push(None);
            continue;
        };
        let listed = || known.iter().find(|(other, _)| text(other) == id.to_string()).map(|(_, name)| text(name));
        let name = fixed(id).map(str::to_owned).or_else(listed).ok_or_else(|| {
            Error::input(format!(
                "column {:?} has a character set that the server doesn't list (collation {id}): convert it in the query, \
                 with CONVERT(column USING utf8mb4)",
                column.name_str()
            ))
        })?;
        let name = name.to_lowercase();
        let charset = match charsets.iter().find(|(other, _)| *other == name) {
            Some((_, charset)) => charset.clone(),
            None => {
                let charset = Arc::new(load(conn, server, &name).await?);
                charsets.push((name, charset.clone()));
                charset
            }
        };
        of_columns.push((!matches!(*charset, Charset::Utf8)).then_some(charset));
    }
    Ok(of_columns)
}

/// Returns the ID of a text column's collation.
fn collation(column: &Column) -> Option<u16> {
    use ColumnType as Type;
    let of = column.column_type();
    let is_text = is_string(of) || matches!(of, Type::MYSQL_TYPE_ENUM | Type::MYSQL_TYPE_SET);
    (is_text && column.character_set() != BINARY_COLLATION).then(|| column.character_set())
}

/// Returns the character set of a collation whose ID is known in advance: a usual collation, or one of MariaDB's
/// combinations of a Unicode character set and a UCA-14 collation, which the server's list of collations lacks. Returns
/// `None` for any other ID.
fn fixed(id: u16) -> Option<&'static str> {
    match id {
        33 | 83 | 192..=215 | 45 | 46 | 224..=247 | 255..=323 => Some("utf8mb4"),
        2048..=2559 => Some("utf8mb4"),
        2560..=2815 => Some("ucs2"),
        2816..=3071 => Some("utf16"),
        3072..=3327 => Some("utf32"),
        _ => None,
    }
}

/// Returns how to decode a character set. Queries the server for the character set's table, unless it is a form of
/// Unicode.
async fn load(conn: &mut Conn, server: &Server, name: &str) -> Result<Charset> {
    let shape = Shape::of(name);
    match name {
        "utf8mb4" | "utf8mb3" | "utf8" => return Ok(Charset::Utf8),
        "utf16" | "ucs2" => return Ok(Charset::Utf16 { is_little_endian: false }),
        "utf16le" => return Ok(Charset::Utf16 { is_little_endian: true }),
        "utf32" => return Ok(Charset::Utf32),
        _ => {}
    }
    let mut table = Table::new(shape);
    if name == "ascii" {
        // MySQL doesn't accept other bytes as ASCII, so they can't be queried.
        (0..128).for_each(|ascii| table.set(&[ascii], char::from(ascii)));
        table.keeps_ascii = true;
        return Ok(Charset::Table(Box::new(table)));
    }
    let codes = shape.codes();
    let found = ask(conn, server, name, &codes).await?;
    let mut missing = Vec::new();
    for (code, found) in codes.into_iter().zip(found) {
        match found {
            Some(found) => table.set(&code, found),
            None => missing.push(code),
        }
    }
    let wider = match name {
        "sjis" => Some("cp932"),
        "ujis" => Some("eucjpms"),
        "gb2312" => Some("gbk"),
        _ => None,
    };
    if let Some(wider) = wider {
        let found = ask(conn, server, wider, &missing).await?;
        missing.iter().zip(found).for_each(|(code, found)| table.set(code, found.unwrap_or('\0')));
    }
    for code in &missing {
        let found = match (name, code.as_slice()) {
            ("greek", _) => decode_one(ISO_8859_7, code),
            ("cp1256", _) => decode_one(WINDOWS_1256, code),
            // The standard reads this code of the private area as a space.
            ("gbk", [0xa3, 0xa0]) => None,
            ("gbk", _) => decode_one(GBK, code),
            // The rest of Big5 has several meanings.
            ("big5", [0xf9, _]) => decode_one(BIG5, code),
            _ => None,
        };
        found.into_iter().for_each(|found| table.set(code, found));
    }
    table.keeps_ascii = table.single.iter().take(128).enumerate().all(|(code, found)| *found as usize == code);
    Ok(Charset::Table(Box::new(table)))
}

/// Queries the server for the characters that these codes stand for in a character set. Returns `None` for each code
/// that the server doesn't know.
async fn ask(conn: &mut Conn, server: &Server, name: &str, codes: &[Vec<u8>]) -> Result<Vec<Option<char>>> {
    // A line feed follows each code. The line feed has the code 0x0A in every character set that has a table.
    let digits: String =
        codes.iter().flat_map(|code| code.iter().chain(b"\n")).map(|byte| format!("{byte:02x}")).collect();
    let sql = format!("SELECT CAST(CONVERT(CONVERT(X'{digits}' USING {name}) USING utf8mb4) AS BINARY)");
    let answer: Option<Value> = conn.query_first(sql).await.map_err(|error| failure::error_of(server, error))?;
    let answer = answer.as_ref().map(text).unwrap_or_default();
    let mut rest = answer.as_str();
    let mut found = Vec::with_capacity(codes.len());
    for code in codes {
        let (line, after) = match code.as_slice() {
            [b'\n'] => ("\n", rest.strip_prefix("\n\n")),
            _ => rest.split_once('\n').map_or(("", None), |(line, after)| (line, Some(after))),
        };
        let mut characters = line.chars();
        let (Some(after), Some(character), None) = (after, characters.next(), characters.next()) else {
            return Err(Error::corrupt(format!(
                "MySQL at {}: the server doesn't say what the codes of the character set {name} mean: convert its columns \
                 in the query, with CONVERT(column USING utf8mb4)",
                server.name()
            )));
        };
        rest = after;
        let is_unknown = matches!(character, '?' | char::REPLACEMENT_CHARACTER) && *code != [b'?'];
        found.push((!is_unknown).then_some(character));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(charset: &Charset, bytes: &[u8]) -> Result<String, ValueFault> {
        let mut out = Vec::new();
        charset.decode(bytes, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn forms_of_unicode_are_decoded_without_the_server() {
        let utf16 = |is_little_endian| Charset::Utf16 { is_little_endian };
        assert_eq!(decoded(&utf16(false), &[0x9a, 0xd9, 0xd8, 0x3c, 0xdf, 0xa1]).unwrap(), "髙🎡");
        assert_eq!(decoded(&utf16(true), &[0xd9, 0x9a, 0x3c, 0xd8, 0xa1, 0xdf]).unwrap(), "髙🎡");
        assert_eq!(decoded(&Charset::Utf32, &[0, 0, 0x9a, 0xd9, 0, 1, 0xf3, 0xa1]).unwrap(), "髙🎡");
        for (charset, bytes) in [
            (utf16(false), &[0xd8, 0x3c][..]),
            (utf16(true), &[0x41]),
            (Charset::Utf32, &[0, 0, 0xd8, 0]),
            (Charset::Utf32, &[0, 0, 0]),
        ] {
            assert_eq!(decoded(&charset, bytes), Err(UNKNOWN_CODE), "{bytes:?}");
        }
    }

    #[test]
    fn a_code_without_a_character_is_a_fault() {
        let mut table = Table::new(Shape::Ujis);
        (0..128).for_each(|ascii| table.set(&[ascii], char::from(ascii)));
        table.set(&[0xad, 0xa1], '①');
        table.set(&[0x8e, 0xb1], 'ｱ');
        table.set(&[0x8f, 0xf4, 0xfb], '髙');
        let charset = Charset::Table(Box::new(table));
        assert_eq!(decoded(&charset, b"a\0\xad\xa1\x8e\xb1\x8f\xf4\xfb").unwrap(), "a\0①ｱ髙");
        for bytes in [&b"\xad\xa2"[..], b"\xad", b"\x8f\xf4", b"\x80", b"\x8f\xf4\xfd", b"\xff\xa1"] {
            assert_eq!(decoded(&charset, bytes), Err(UNKNOWN_CODE), "{bytes:?}");
        }
    }

    #[test]
    fn codes_of_the_encoding_standard_are_characters_and_never_controls() {
        assert_eq!(decode_one(BIG5, &[0xf9, 0xd6]), Some('碁'));
        assert_eq!(decode_one(WINDOWS_1256, &[0x8a]), Some('ٹ'));
        assert_eq!(decode_one(ISO_8859_7, &[0xa4]), Some('€'));
        assert_eq!(decode_one(ISO_8859_7, &[0xff]), None);
        assert_eq!(decode_one(encoding_rs::WINDOWS_1251, &[0x81, 0x81]), None);
        assert_eq!(decode_one(encoding_rs::WINDOWS_1252, &[0x81]), None);
    }

    #[test]
    fn every_code_of_a_shape_is_read_back_as_one_code() {
        for name in ["latin1", "sjis", "ujis", "big5", "gb2312", "gbk", "gb18030", "euckr"] {
            let shape = Shape::of(name);
            let mut table = Table::new(shape);
            let codes = shape.codes();
            codes.iter().for_each(|code| table.set(code, 'x'));
            for code in &codes {
                assert_eq!(table.next(code).map(|(_, length)| length), Some(code.len()), "{name} {code:x?}");
            }
        }
    }
}
