//! Finds the objects of a source.

use super::object::{Compression, Object, format_by_name};
use turntable_core::{
    config::{Files, Format},
    error::{Error, Result},
    layout::{Entry, Key, Location, is_hidden},
    port::Objects,
};

/// Lists the objects that the options name, in key order, with the format that they share. Returns `None` if there are
/// none.
pub async fn find(options: &Files, objects: &dyn Objects) -> Result<Option<(Format, Vec<Object>)>> {
    let mut format = None;
    let mut found: Vec<Object> = Vec::new();
    for entry in list_entries(options, objects).await? {
        let (named, compression) = format_by_name(&entry.key.key);
        let this = options.format.or(named).ok_or_else(|| unknown_format(&entry.key))?;
        if this == Format::Parquet && compression != Compression::None {
            return Err(Error::input(format!(
                "{}: a Parquet file must not be compressed again: decompress it and store it without .gz or .zst",
                entry.key
            )));
        }
        if let (Some(first), Some(format)) = (found.first(), format)
            && format != this
        {
            return Err(Error::input(format!(
                "{}: format is {}, but {first} is {}: keep one format per location",
                entry.key,
                format_name(this),
                format_name(format)
            )));
        }
        format = Some(this);
        found.push(Object { entry, compression });
    }
    Ok(format.map(|format| (format, found)))
}

/// Returns the object whose key is exactly the location, if it exists. Otherwise lists the folder, without hidden
/// objects.
async fn list_entries(options: &Files, objects: &dyn Objects) -> Result<Vec<Entry>> {
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

fn unknown_format(key: &Key) -> Error {
    Error::input(format!(
        "{key}: unknown file extension: expected .csv, .ndjson, .jsonl, .json (each also with .gz or .zst) or .parquet, \
         or set source.files.format"
    ))
}

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Csv => "csv",
        Format::Ndjson => "ndjson",
        Format::Parquet => "parquet",
    }
}
