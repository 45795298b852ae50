//! One object, and what its name tells of it.

use crate::{config::Format, name::Entry};

/// One object to read.
#[derive(Debug, Clone)]
pub struct Object {
    pub entry: Entry,
    pub compression: Compression,
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.entry.key.fmt(f)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// As Athena has it: names that begin with `_` or `.`, of folders too, and the empty objects that stand for folders,
/// which Hadoop calls `NAME_$folder$`.
pub fn is_hidden(key: &str) -> bool {
    key.is_empty()
        || key.ends_with('/')
        || key.ends_with("_$folder$")
        || key.split('/').any(|name| name.starts_with(['_', '.']))
}

pub fn told_by_name(key: &str) -> (Option<Format>, Compression) {
    let key = key.to_ascii_lowercase();
    let (rest, compression) = match key.rsplit_once('.') {
        Some((rest, "gz")) => (rest, Compression::Gzip),
        Some((rest, "zst")) => (rest, Compression::Zstd),
        _ => (key.as_str(), Compression::None),
    };
    let format = match rest.rsplit_once('.') {
        Some((_, "csv")) => Some(Format::Csv),
        Some((_, "ndjson" | "jsonl" | "json")) => Some(Format::Ndjson),
        Some((_, "parquet")) => Some(Format::Parquet),
        _ => None,
    };
    (format, compression)
}
