//! Finds a source's objects.

use super::{
    folders,
    object::{COMPRESSED, Compression, Object, format_by_name},
    table_format,
};
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
    let (location, entries) = list_entries(options, objects).await?;
    for entry in entries {
        let (named, compression) = format_by_name(&entry.key.key);
        let this = options.format.or(named).ok_or_else(|| unknown_format(&entry.key))?;
        if this == Format::Parquet && compression != Compression::None {
            return Err(Error::input(format!(
                "{}: a Parquet file must not be compressed again: decompress it and store it without {COMPRESSED}",
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
        let folders = entry.key.key.strip_prefix(&location.prefix).map(folders::of).unwrap_or_default();
        found.push(Object { entry, compression, folders });
    }
    Ok(format.map(|format| (format, found)))
}

/// Lists the objects that the options name, whatever their formats.
pub async fn entries(options: &Files, objects: &dyn Objects) -> Result<Vec<Entry>> {
    Ok(list_entries(options, objects).await?.1)
}

/// Returns the location and the one object whose key equals it. If there is none, returns the location as a folder and
/// all objects in it that aren't hidden. Fails if the folder is a table in another format, or belongs to one.
async fn list_entries(options: &Files, objects: &dyn Objects) -> Result<(Location, Vec<Entry>)> {
    let mut prefix = options.key.clone();
    table_format::refuse_within(&Location { bucket: options.bucket.clone(), prefix: prefix.clone() }, objects).await?;
    if !prefix.is_empty() && !prefix.ends_with('/') {
        let key = Key { bucket: options.bucket.clone(), key: prefix.clone() };
        if let Some(entry) = objects.head(&key).await? {
            return Ok((Location { bucket: options.bucket.clone(), prefix }, vec![entry]));
        }
        prefix.push('/');
    }
    let location = Location { bucket: options.bucket.clone(), prefix };
    let mut entries = objects.list(&location, None).await?;
    table_format::refuse(&location, &entries)?;
    entries.retain(|entry| entry.key.key.strip_prefix(&location.prefix).is_some_and(|name| !is_hidden(name)));
    Ok((location, entries))
}

fn unknown_format(key: &Key) -> Error {
    Error::input(format!(
        "{key}: unknown file extension: expected .csv, .ndjson, .jsonl, .json (each also with {COMPRESSED}) or \
         .parquet, or set source.files.format"
    ))
}

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Csv => "csv",
        Format::Ndjson => "ndjson",
        Format::Parquet => "parquet",
    }
}
