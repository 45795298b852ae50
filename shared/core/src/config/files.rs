//! Reads `source = { files = … }`.

use toml::Value;

use super::{
    csv::{Csv, Dialect, Encoding, Separators},
    names::{self, columns},
    read::{Keys, described},
    source::{Files, Format, Nested},
};

pub(super) fn files(keys: Keys) -> Option<Files> {
    let location = keys.parsed("location", |text| {
        names::written(text)?
            .strip_prefix("s3://")
            .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
            .filter(|(bucket, _)| !bucket.is_empty())
            .map(|(bucket, key)| (bucket.to_owned(), key.to_owned()))
            .ok_or_else(|| format!("{text:?} is not an S3 location, expected s3://BUCKET/PREFIX/ or s3://BUCKET/KEY"))
    });
    if !keys.has("location") {
        keys.fault_here("location is missing");
    }
    let format = keys.parsed("format", |text| match text {
        "csv" => Ok(Format::Csv),
        "ndjson" => Ok(Format::Ndjson),
        "parquet" => Ok(Format::Parquet),
        _ => Err(format!("unknown format {text:?}, expected one of csv, ndjson, parquet")),
    });
    let columns = keys.has("columns").then(|| columns(&keys)).flatten();
    let csv = keys.table("csv").map(|options| {
        if format.is_some_and(|format| format != Format::Csv) {
            keys.fault("csv", "these options apply only to CSV: set format = \"csv\" or remove them");
        }
        csv(options, keys.has("columns"))
    });
    let objects = keys.parsed("objects", |text| match text {
        "struct" => Ok(Nested::Struct),
        "map" => Ok(Nested::Map),
        "json" => Ok(Nested::Json),
        _ => Err(format!("unknown type {text:?}, expected one of struct, map, json")),
    });
    if objects.is_some() && format == Some(Format::Csv) {
        keys.fault("objects", "applies only to NDJSON and Parquet: remove it");
    }
    let missing_is_null = chosen(&keys, "missing", "null");
    let ignore_extra = chosen(&keys, "extra", "ignore");
    keys.finish();
    let (bucket, key) = location?;
    let objects = objects.unwrap_or_default();
    Some(Files { bucket, key, format, columns, csv, objects, missing_is_null, ignore_extra })
}

/// Reads the key `missing` or `extra`. Returns `true` if its value is `choice`, and `false` if it is `"error"`, the
/// default. Reports a fault if the value is `choice` but the key `columns` is not set: without declared columns, nothing
/// is missing or extra.
fn chosen(keys: &Keys, key: &'static str, choice: &'static str) -> bool {
    let is_chosen = keys.parsed(key, |text| match text {
        "error" => Ok(false),
        _ if text == choice => Ok(true),
        _ => Err(format!("unknown choice {text:?}, expected one of error, {choice}")),
    });
    let is_chosen = is_chosen.unwrap_or_default();
    if is_chosen && !keys.has("columns") {
        keys.fault(key, "needs columns, which declare the table's columns");
    }
    is_chosen
}

fn csv(keys: Keys, is_declared: bool) -> Csv {
    let default = Csv::default();
    let delimiter = character(&keys, "delimiter").flatten().unwrap_or(b',');
    let quote = character(&keys, "quote").unwrap_or(default.dialect.quote);
    let escape = character(&keys, "escape").flatten();
    if quote == Some(delimiter) {
        keys.fault("quote", "must differ from delimiter");
    }
    if escape == Some(delimiter) {
        keys.fault("escape", "must differ from delimiter");
    }
    if escape.is_some() && quote.is_none() {
        keys.fault("escape", "has no effect, because quote = \"\" turns quoting off: remove one of the two");
    }
    let header = keys.boolean("header").unwrap_or(default.header);
    if !header && !is_declared {
        keys.fault("header", "files without a header need columns, declared in the order of the fields");
    }
    let by_position = keys.parsed("match", |text| match text {
        "name" => Ok(false),
        "position" => Ok(true),
        _ => Err(format!("unknown choice {text:?}, expected one of name, position")),
    });
    let by_position = by_position.unwrap_or_default();
    if by_position && !is_declared {
        keys.fault("match", "\"position\" needs columns, declared in the order of the fields");
    }
    let skip = keys.whole("skip", 0).unwrap_or_default();
    let entries = keys.entries("numbers");
    let numbers = entries.filter_map(|(name, path, value)| Some((name, number(&keys, &path, value)?))).collect();
    let nulls = nulls(&keys).unwrap_or(default.nulls);
    let encoding = keys.parsed("encoding", Encoding::parse).unwrap_or(default.encoding);
    keys.finish();
    let escape = escape.or(quote).unwrap_or(b'"');
    Csv { dialect: Dialect { delimiter, quote, escape }, nulls, header, encoding, by_position, skip, numbers }
}

/// Reads the separators in a column's numbers.
fn number(keys: &Keys, path: &str, value: &Value) -> Option<Separators> {
    let Some(table) = value.as_table() else {
        keys.fault(path, format!("expected a table such as {{ decimal = \",\" }}, found {}", described(value)));
        return None;
    };
    let of_column = Keys::new(keys.at(path), table, keys.faults());
    let separator = |key: &'static str| {
        of_column.parsed(key, |text| match text.as_bytes() {
            [byte @ (b'.' | b',' | b'\'' | b'_')] => Ok(*byte),
            _ => Err(format!("{text:?} is not a separator, expected one of . , ' _")),
        })
    };
    let decimal = separator("decimal").unwrap_or(b'.');
    let thousands = separator("thousands");
    if thousands == Some(decimal) {
        of_column.fault("thousands", "must differ from decimal, which is \".\" by default");
    }
    of_column.finish();
    Some(Separators { decimal, thousands })
}

/// Reads one ASCII character other than NUL and line ends. Returns `Some(None)` for an empty `quote`, which turns
/// quoting off, and `None` for a missing or invalid value.
fn character(keys: &Keys, key: &'static str) -> Option<Option<u8>> {
    let value = keys.value(key)?;
    match value.as_str().map(str::as_bytes) {
        Some([]) if key == "quote" => return Some(None),
        Some([byte]) if byte.is_ascii() && !matches!(byte, 0 | b'\n' | b'\r') => return Some(Some(*byte)),
        _ => {}
    }
    let or_none = if key == "quote" { ", or \"\" to turn quoting off" } else { "" };
    let found = if value.is_str() { "another string" } else { described(value) };
    keys.fault(key, format!("expected one ASCII character other than NUL and line ends{or_none}, found {found}"));
    None
}

/// Reads `null`: one string or a list of strings.
fn nulls(keys: &Keys) -> Option<Vec<String>> {
    let value = keys.value("null")?;
    let texts = match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(texts) => texts.iter().map(|text| text.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    if texts.is_none() {
        keys.fault("null", format!("expected a string or a list of strings, found {}", described(value)));
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Source, test_support::without_positions};

    fn parsed(files: &str) -> Result<Files, String> {
        let text = format!(
            "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
             [datasets.a]\nsource.files = {{ location = \"s3://lake/in/\", {files} }}\n"
        );
        let config = Config::parse("x", &text)
            .map_err(|error| without_positions(error.message()).replace("x: datasets.a.source.", ""))?;
        match config.dataset("a").unwrap().source.clone() {
            Source::Files(files) => Ok(files),
            _ => unreachable!(),
        }
    }

    #[test]
    fn csv_options_are_read() {
        assert_eq!(parsed("").unwrap().csv, None);
        assert_eq!(parsed("csv = {}").unwrap().csv, Some(Csv::default()));
        let columns = "columns = { id = \"bigint\" }";
        let given = "csv = { delimiter = \"\\t\", quote = \"'\", escape = \"\\\\\", null = [\"\", \"NULL\"], header = false, encoding = \"Shift_JIS\" }";
        assert_eq!(
            parsed(&format!("{columns}, {given}")).unwrap().csv,
            Some(Csv {
                dialect: Dialect { delimiter: b'\t', quote: Some(b'\''), escape: b'\\' },
                nulls: vec!["".into(), "NULL".into()],
                header: false,
                encoding: Encoding::ShiftJis,
                ..Csv::default()
            })
        );
        let none = parsed("csv = { quote = \"\", null = \"\\\\N\" }").unwrap().csv.unwrap();
        assert_eq!((none.dialect.quote, none.nulls), (None, vec!["\\N".into()]));
        let single = parsed("csv = { quote = \"'\" }").unwrap().csv.unwrap();
        assert_eq!(single.dialect.escape, b'\'');
    }

    #[test]
    fn columns_of_files_may_be_missing_extra_or_matched_by_position() {
        let columns = "columns = { id = \"bigint\", price = \"decimal(9,2)\" }";
        let given = "csv = { match = \"position\", skip = 3, numbers = { Price = { decimal = \",\", thousands = \".\" }, id = {} } }";
        let read = parsed(&format!("{columns}, missing = \"null\", extra = \"ignore\", {given}")).unwrap();
        assert_eq!((read.missing_is_null, read.ignore_extra), (true, true));
        let numbers = [
            ("price".to_owned(), Separators { decimal: b',', thousands: Some(b'.') }),
            ("id".to_owned(), Separators { decimal: b'.', thousands: None }),
        ];
        let csv = Csv { by_position: true, skip: 3, numbers: numbers.into(), ..Csv::default() };
        assert_eq!(read.csv, Some(csv));
        assert_eq!(
            parsed("missing = \"null\", extra = \"x\", objects = \"jsonb\", csv = { match = \"position\", skip = -1, numbers = { a = 1, b = { decimal = \";\" }, c = { thousands = \".\" } } }")
                .unwrap_err(),
            "files.csv.match: \"position\" needs columns, declared in the order of the fields\n\
             files.csv.skip: expected a whole number, 0 or more, found a negative number\n\
             files.csv.numbers.a: expected a table such as { decimal = \",\" }, found a whole number\n\
             files.csv.numbers.b.decimal: \";\" is not a separator, expected one of . , ' _\n\
             files.csv.numbers.c.thousands: must differ from decimal, which is \".\" by default\n\
             files.objects: unknown type \"jsonb\", expected one of struct, map, json\n\
             files.missing: needs columns, which declare the table's columns\n\
             files.extra: unknown choice \"x\", expected one of error, ignore"
        );
    }

    #[test]
    fn every_fault_in_csv_options_is_listed() {
        assert_eq!(
            parsed("format = \"ndjson\", csv = { delimiter = \"||\", quote = \"“\", null = 7, header = false, encoding = \"sjis\", eol = 1 }")
                .unwrap_err(),
            "files.csv: these options apply only to CSV: set format = \"csv\" or remove them\n\
             files.csv.delimiter: expected one ASCII character other than NUL and line ends, found another string\n\
             files.csv.quote: expected one ASCII character other than NUL and line ends, or \"\" to turn quoting off, found another string\n\
             files.csv.header: files without a header need columns, declared in the order of the fields\n\
             files.csv.null: expected a string or a list of strings, found a whole number\n\
             files.csv.encoding: unknown encoding \"sjis\", expected one of utf-8, shift_jis, euc-jp, utf-16le, utf-16be, windows-1252\n\
             files.csv: unknown key \"eol\", expected one of delimiter, quote, escape, header, match, skip, numbers, null, encoding"
        );
        assert_eq!(
            parsed("csv = { delimiter = \";\", quote = \";\", escape = \";\" }").unwrap_err(),
            "files.csv.quote: must differ from delimiter\nfiles.csv.escape: must differ from delimiter"
        );
        assert_eq!(
            parsed("csv = { quote = \"\", escape = \"\\\\\" }").unwrap_err(),
            "files.csv.escape: has no effect, because quote = \"\" turns quoting off: remove one of the two"
        );
    }
}
