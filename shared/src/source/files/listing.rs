//! Which objects a source is, and what each of them is.

use crate::{
    config::{Files, Format},
    error::{Error, Result},
    name::{Key, Location},
    port::{Entry, Objects},
};

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

/// The objects that the options name, in the order of their keys, and the one format that all of them have.
/// `None` where there are no objects.
pub async fn find(options: &Files, objects: &dyn Objects) -> Result<Option<(Format, Vec<Object>)>> {
    let mut format = None;
    let mut found: Vec<Object> = Vec::new();
    for entry in entries(options, objects).await? {
        let (named, compression) = told_by_name(&entry.key.key);
        let this = options.format.or(named).ok_or_else(|| unknown(&entry.key))?;
        if this == Format::Parquet && compression != Compression::None {
            return Err(Error::input(format!(
                "{}: Parquet compresses itself; store it without .gz or .zst",
                entry.key
            )));
        }
        if let (Some(first), Some(format)) = (found.first(), format)
            && format != this
        {
            return Err(Error::input(format!(
                "{}: is {}, and {first} is {}; keep one format in one place",
                entry.key,
                name(this),
                name(format)
            )));
        }
        format = Some(this);
        found.push(Object { entry, compression });
    }
    Ok(format.map(|format| (format, found)))
}

/// The location is one object if there is one of that key, else a folder.
async fn entries(options: &Files, objects: &dyn Objects) -> Result<Vec<Entry>> {
    let mut prefix = options.key.clone();
    if !prefix.is_empty() && !prefix.ends_with('/') {
        let key = Key { bucket: options.bucket.clone(), key: prefix.clone() };
        if let Some(entry) = objects.head(&key).await? {
            return Ok(vec![entry]);
        }
        prefix.push('/');
    }
    let location = Location { bucket: options.bucket.clone(), prefix };
    let mut entries = objects.list(&location, None).await?;
    entries.retain(|entry| entry.key.key.strip_prefix(&location.prefix).is_some_and(|name| !is_hidden(name)));
    Ok(entries)
}

/// As Athena has it: names that begin with `_` or `.`, of folders too, and the empty objects that stand for folders.
fn is_hidden(key: &str) -> bool {
    key.is_empty() || key.ends_with('/') || key.split('/').any(|name| name.starts_with(['_', '.']))
}

fn told_by_name(key: &str) -> (Option<Format>, Compression) {
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

fn unknown(key: &Key) -> Error {
    Error::input(format!(
        "{key}: the name tells no format, expected .csv, .ndjson, .jsonl, .json (each also with .gz or .zst) or .parquet; \
         or set format"
    ))
}

fn name(format: Format) -> &'static str {
    match format {
        Format::Csv => "csv",
        Format::Ndjson => "ndjson",
        Format::Parquet => "parquet",
    }
}
