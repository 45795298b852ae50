//! Finds the position of a key in `datasets.toml`.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A line and a column, both counted from 1. Columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

impl Position {
    /// Returns the position of the byte at offset `byte` in `text`.
    pub fn of(text: &str, byte: usize) -> Position {
        let before = text.get(..byte).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Position { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The keys in a TOML file with their positions.
pub struct Positions<'a> {
    text: &'a str,
    table: DeTable<'a>,
}

impl<'a> Positions<'a> {
    /// Parses `text` as far as possible, even if it has syntax errors.
    pub fn of(text: &'a str) -> Self {
        Self { text, table: DeTable::parse_recoverable(text).0.into_inner() }
    }

    /// Returns the position of the last key in a path such as `datasets.users.checks`. If that key doesn't exist,
    /// returns the position of its deepest existing parent, or the start of the file if it has none.
    pub fn find(&self, path: &str) -> Position {
        let byte = deepest(&self.table, path).map_or(0, |(_, byte)| byte);
        Position::of(self.text, byte)
    }
}

/// Finds the key that matches the longest beginning of `path`. Returns the length of the rest of `path`, and the byte
/// offset of the key. A key may contain dots, so several keys can match. The shortest rest wins.
fn deepest(table: &DeTable, path: &str) -> Option<(usize, usize)> {
    let of = |(key, value): (&Spanned<_>, &Spanned<DeValue>)| {
        let name: &std::borrow::Cow<str> = key.get_ref();
        let rest = path.strip_prefix(&**name)?;
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix('.')? };
        let here = (rest.len(), key.span().start);
        match value.get_ref() {
            DeValue::Table(below) => deepest(below, rest).or(Some(here)),
            _ => Some(here),
        }
    };
    table.iter().filter_map(of).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_every_notation() {
        let text = "[datasets.users]\n\"表\" = 1\nsource = { files = { location = \"猫\", \"a.b\" = 1, a = { c = 1 } } }\n\
                    checks.min_rows = 1\n[datasets.users.retain]\n  drain = \"1h\"\n";
        let positions = Positions::of(text);
        let of = |path: &str| positions.find(path).to_string();
        assert_eq!(of("datasets"), "1:2");
        assert_eq!(of("datasets.users"), "1:11");
        assert_eq!(of("datasets.users.表"), "2:1");
        assert_eq!(of("datasets.users.source.files.location"), "3:22");
        assert_eq!(of("datasets.users.source.files.a.b"), "3:38");
        assert_eq!(of("datasets.users.source.files.a.c"), "3:55");
        assert_eq!(of("datasets.users.checks.min_rows"), "4:8");
        assert_eq!(of("datasets.users.retain.drain"), "6:3");
        assert_eq!(of("datasets.users.checks.max_shrink"), "4:1", "a missing key is reported at its parent");
        assert_eq!(of("defaults"), "1:1");
    }
}
