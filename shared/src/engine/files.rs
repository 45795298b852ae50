//! Reads the files that an engine run has written, and determines the files, columns and partitions for the manifest.

use std::{collections::BTreeSet, sync::Arc};

use futures::{Future, StreamExt, TryStreamExt, stream};

use turntable_core::layout::is_hidden;
use turntable_core::{
    error::{Error, Kind, Result},
    layout::{Entry, Location},
    manifest::File,
    partition::{self, Kind as PartitionKind, MAX_PARTITIONS, Partition, Value},
    port::Objects,
    record::{Folder, Pending, Work},
    schema::{self, Column},
};
use turntable_parquet::{columns_of, read_footer};

/// The files that an engine run has written, with their columns and partitions.
pub struct Found {
    /// Sorted by key.
    pub files: Vec<File>,
    /// The columns in the files, without the partition columns.
    pub columns: Vec<Column>,
    pub partitions: Vec<Partition>,
}

/// The maximum number of Parquet footers that are read at the same time.
const MAX_CONCURRENT_FOOTERS: usize = 16;

/// Reads a run's output with one listing, and one or two ranged reads per file. `keys` are the table's partition keys,
/// or `None` if the table doesn't exist yet. `if_empty` returns the columns of a run that has written no files, if they
/// are known. Fails if they aren't, or if the run's files can't be published together.
pub async fn read(
    objects: &Arc<dyn Objects>,
    pending: &Pending,
    keys: &Option<Vec<Column>>,
    if_empty: impl Future<Output = Result<Option<Vec<Column>>>>,
) -> Result<Found> {
    let location = &pending.location;
    let listed = objects.list(location, None).await?;
    let readable = |entry: &Entry| !is_hidden(&entry.key.key[location.prefix.len()..]);
    let listed: Vec<Entry> = listed.into_iter().filter(readable).collect();
    if listed.is_empty() {
        if let Some(columns) = if_empty.await? {
            return Ok(Found { files: Vec::new(), columns, partitions: Vec::new() });
        }
        let why = match &pending.work {
            Work::Athena { .. } => {
                "the query returned no rows, and UNLOAD writes no file for an empty result, so the columns are \
                 unknown: use another source for a table that may be empty"
            }
            Work::GlueJob { .. } => "the job has written nothing: it must write to --turntable_location",
        };
        return Err(Error::input(format!("{location} has no files: {why}")));
    }
    let read: Vec<(File, Vec<Column>)> = stream::iter(listed)
        .map(|entry| file(objects.clone(), location, entry))
        .buffered(MAX_CONCURRENT_FOOTERS)
        .try_collect()
        .await?;
    let columns = common_columns(location, &read)?;
    let files: Vec<File> = read.into_iter().map(|(file, _)| file).collect();
    let partitions = partitions(location, pending, keys.as_deref(), &columns, &files)?;
    Ok(Found { files, columns, partitions })
}

async fn file(objects: Arc<dyn Objects>, location: &Location, entry: Entry) -> Result<(File, Vec<Column>)> {
    let Entry { key: at, size, etag, .. } = entry;
    // An unreadable file is the engine's fault, so the error's kind is `Input` instead of `Corrupt`.
    let as_source_error = |error: Error| match error.kind() {
        Kind::Corrupt => {
            let text = format!(
                "{location}: the run's files can't be published: write Parquet files whose columns have Glue types"
            );
            Error::input(text).caused_by(error)
        }
        _ => error,
    };
    let footer = read_footer(objects.as_ref(), &at, &etag, size).await.map_err(as_source_error)?;
    let columns = columns_of(&at, &footer).map_err(as_source_error)?;
    let rows = u64::try_from(footer.file_metadata().num_rows()).map_err(|_| {
        Error::input(format!("{at}: its Parquet footer has a negative number of rows: write the file again"))
    })?;
    Ok((File { key: at.key[location.prefix.len()..].to_owned(), bytes: size, rows, etag }, columns))
}

/// Returns the columns in the files. Fails if two files have different columns or have them in a different order, or if
/// two columns have the same name in lower case.
fn common_columns(location: &Location, read: &[(File, Vec<Column>)]) -> Result<Vec<Column>> {
    let Some(((first, columns), others)) = read.split_first() else { return Ok(Vec::new()) };
    if let Some((file, theirs)) = others.iter().find(|(_, theirs)| theirs != columns) {
        let changes: Vec<String> = schema::changes(columns, theirs).iter().map(ToString::to_string).collect();
        let changes = if changes.is_empty() { "the order differs".to_owned() } else { changes.join("; ") };
        return Err(Error::input(format!(
            "{location}: {} and {} have different columns ({changes}): all files of a run must have the same columns \
             in the same order",
            file.key, first.key
        )));
    }
    let mut seen = BTreeSet::new();
    match columns.iter().find(|column| !seen.insert(&column.name)) {
        Some(twice) => Err(Error::input(format!(
            "{location}: two columns are named {:?} in lower case, as Glue stores it: rename one",
            twice.name
        ))),
        None => Ok(columns.clone()),
    }
}

/// Returns the partition columns, with the values that Athena's projection must cover. The values come from the names
/// of the files' folders.
fn partitions(
    location: &Location,
    pending: &Pending,
    keys: Option<&[Column]>,
    columns: &[Column],
    files: &[File],
) -> Result<Vec<Partition>> {
    let names: Vec<&str> = pending.folders.iter().map(|folder| folder.name.as_str()).collect();
    let fault = |fault: String| Error::input(format!("{location}: {fault}"));
    let mut values: Vec<BTreeSet<&str>> = vec![BTreeSet::new(); names.len()];
    let mut existing = BTreeSet::new();
    for file in files {
        let of_file = partition::folders_of(names.iter().copied(), &file.key).ok_or_else(|| {
            let expected = names.iter().map(|name| format!("{name}=…/")).collect::<String>();
            fault(format!(
                "{} is not in a folder {expected}, but partition_by = {} requires one",
                file.key,
                names.join(", ")
            ))
        })?;
        for (values, value) in values.iter_mut().zip(&of_file) {
            values.insert(value);
        }
        existing.insert(of_file);
    }
    if existing.len() > MAX_PARTITIONS {
        let count = existing.len();
        return Err(fault(format!(
            "the run wrote {count} partitions, but at most {MAX_PARTITIONS} are allowed: partition by coarser columns"
        )));
    }
    let mut partitions = Vec::new();
    for (folder, values) in pending.folders.iter().zip(values) {
        let column = |glue_type: String| Column { name: folder.name.clone(), glue_type };
        if columns.iter().any(|column| column.name == folder.name) {
            return Err(fault(format!(
                "column {:?} is in the files and in the folder names: leave it out of the files",
                folder.name
            )));
        }
        let key = keys.and_then(|keys| keys.iter().find(|key| key.name == folder.name));
        let glue_type = key.map(|key| key.glue_type.clone()).or_else(|| folder.glue_type.clone());
        let glue_type = glue_type.unwrap_or_else(|| inferred_type(&values).into());
        let kind = PartitionKind::of(&glue_type)
            .map_err(|why| fault(format!("partition_by: column {:?}: {why}", folder.name)))?;
        let value = |text: &&str| Value::parse(kind, text).ok_or_else(|| unusable_folder(folder, &glue_type));
        let values = values.iter().map(value).collect::<Result<BTreeSet<Value>, String>>().map_err(fault)?;
        partitions.push(Partition::of(column(glue_type), kind, &values).map_err(fault)?);
    }
    partition::projected(&partitions, existing.len()).map_err(fault)?;
    Ok(partitions)
}

/// Infers a partition column's type from its values in the folder names.
fn inferred_type(values: &BTreeSet<&str>) -> &'static str {
    let all = |kind| values.iter().all(|value| Value::parse(kind, value).is_some());
    match (all(PartitionKind::Date), all(PartitionKind::Integer)) {
        (true, _) => "date",
        (_, true) => "bigint",
        _ => "string",
    }
}

fn unusable_folder(folder: &Folder, glue_type: &str) -> String {
    format!(
        "partition_by: column {:?} has the type {glue_type}, but a folder's value has another type, is NULL, or can't \
         be a folder's name: see docs/partitions.md",
        folder.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_values_determine_the_column_type() {
        let inferred = |values: &[&'static str]| inferred_type(&values.iter().copied().collect());
        assert_eq!(inferred(&["2024-01-31", "2024-02-29"]), "date");
        assert_eq!(inferred(&["7", "-12"]), "bigint");
        for texts in [&["07"][..], &["2024-01-31", "7"], &["jp"], &["2024-02-30"]] {
            assert_eq!(inferred(texts), "string");
        }
    }
}
