//! Which objects a source is.

use super::object::{Compression, Object, told_by_name};
use turntable_core::{
    config::{Files, Format},
    error::{Error, Result},
    layout::{Entry, Key, Location, is_hidden},
    port::Objects,
};

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
