//! The options for reading CSV files.

use std::collections::BTreeMap;

/// The format of CSV files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csv {
    pub dialect: Dialect,
    /// The strings that mean null in an unquoted field.
    pub nulls: Vec<String>,
    /// Whether the first record contains the column names. If not, the fields are the declared columns, in order.
    pub header: bool,
    pub encoding: Encoding,
    /// Whether fields are matched to the declared columns by position, whatever the names in the header are.
    pub by_position: bool,
    /// The number of lines before the header or, without one, before the first record.
    pub skip: u64,
    /// How numbers are written in each column whose numbers don't look like `1234.5`.
    pub numbers: BTreeMap<String, Separators>,
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            dialect: Dialect::default(),
            nulls: vec![String::new()],
            header: true,
            encoding: Encoding::Utf8,
            by_position: false,
            skip: 0,
            numbers: BTreeMap::new(),
        }
    }
}

/// The separators in a column's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Separators {
    pub decimal: u8,
    /// The character between groups of three digits. `None` if digits aren't grouped.
    pub thousands: Option<u8>,
}

/// The characters that delimit, quote and escape CSV fields. All are ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    pub delimiter: u8,
    /// The quote character. `None` turns quoting off.
    pub quote: Option<u8>,
    /// The character that escapes a quote, or itself, inside a quoted field. In RFC 4180, it is the quote character.
    pub escape: u8,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { delimiter: b',', quote: Some(b'"'), escape: b'"' }
    }
}

/// The text encoding of CSV files. The names and the character tables come from <https://encoding.spec.whatwg.org>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    /// The Windows variant, code page 932, which includes ①, ～, 髙 and half-width kana.
    ShiftJis,
    EucJp,
    Utf16Le,
    Utf16Be,
    Windows1252,
}

impl Encoding {
    const ALL: [Encoding; 6] = [
        Encoding::Utf8,
        Encoding::ShiftJis,
        Encoding::EucJp,
        Encoding::Utf16Le,
        Encoding::Utf16Be,
        Encoding::Windows1252,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "utf-8",
            Encoding::ShiftJis => "shift_jis",
            Encoding::EucJp => "euc-jp",
            Encoding::Utf16Le => "utf-16le",
            Encoding::Utf16Be => "utf-16be",
            Encoding::Windows1252 => "windows-1252",
        }
    }

    pub fn parse(text: &str) -> Result<Encoding, String> {
        let named = |encoding: &Encoding| encoding.name().eq_ignore_ascii_case(text);
        Encoding::ALL.into_iter().find(named).ok_or_else(|| {
            let names: Vec<&str> = Encoding::ALL.into_iter().map(Encoding::name).collect();
            format!("unknown encoding {text:?}, expected one of {}", names.join(", "))
        })
    }
}
