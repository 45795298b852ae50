//! The objects to read. The extensions in their keys indicate their format and compression.

use turntable_core::{config::Format, layout::Entry};

/// An object to read.
#[derive(Debug, Clone)]
pub struct Object {
    pub entry: Entry,
    pub compression: Compression,
    /// The columns in the names of the folders between the source's location and the object, outermost first.
    pub folders: Vec<Folder>,
}

/// A folder whose name is `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// The name in lower case.
    pub name: String,
    /// The value. `None` means null.
    pub value: Option<String>,
}

impl Object {
    /// Returns an object in no folder.
    pub fn new(entry: Entry, compression: Compression) -> Object {
        Object { entry, compression, folders: Vec::new() }
    }
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
    Bzip2,
    /// Snappy's framing format.
    Snappy,
}

/// The extensions that indicate a compression, for error messages.
pub const COMPRESSED: &str = ".gz, .zst, .bz2 or .snappy";

/// Returns the format and compression that the key's extensions indicate, regardless of letter case. The format is
/// `None` if the extension is unknown.
pub fn format_by_name(key: &str) -> (Option<Format>, Compression) {
    let key = key.to_ascii_lowercase();
    let (rest, compression) = match key.rsplit_once('.') {
        Some((rest, "gz")) => (rest, Compression::Gzip),
        Some((rest, "zst")) => (rest, Compression::Zstd),
        Some((rest, "bz2")) => (rest, Compression::Bzip2),
        Some((rest, "snappy" | "sz")) => (rest, Compression::Snappy),
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
