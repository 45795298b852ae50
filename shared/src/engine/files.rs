//! What an engine has written: objects → the manifest's files, columns and partitions.

use std::{collections::BTreeSet, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};

use turntable_core::layout::is_hidden;
use turntable_core::{
    error::{Error, Kind, Result},
    layout::{Entry, Location},
    manifest::File,
    partition::{self, Kind as PartitionKind, MOST_PARTITIONS, Partition, Value},
    port::Objects,
    record::{Folder, Pending, Work},
    schema::{self, Column},
};
use turntable_parquet::{columns_of, read_footer};

pub struct Found {
    /// In the order of their names.
    pub files: Vec<File>,
    /// Of the files, and so without the partition columns.
    pub columns: Vec<Column>,
    pub partitions: Vec<Partition>,
}

/// Footers that are read at the same time.
const AT_ONCE: usize = 16;

/// One listing, and one ranged read a file. `keys`: the table's partition keys; `None` where it is yet to be created.
pub async fn read(objects: &Arc<dyn Objects>, pending: &Pending, keys: &Option<Vec<Column>>) -> Result<Found> {
    let location = &pending.location;
    let listed = objects.list(location, None).await?;
    let readable = |entry: &Entry| !is_hidden(&entry.key.key[location.prefix.len()..]);
    let listed: Vec<Entry> = listed.into_iter().filter(readable).collect();
    if listed.is_empty() {
        let why = match &pending.work {
            Work::Athena { .. } => {
                "the result has no rows, and UNLOAD writes no file for them, so nothing tells the columns: a table that \
                 may be empty takes another source"
            }
            Work::GlueJob { .. } => "the job has written nothing there: it must write to --turntable_location",
        };
        return Err(Error::input(format!("{location}: no files: {why}")));
    }
    let read: Vec<(File, Vec<Column>)> = stream::iter(listed)
        .map(|entry| file(objects.clone(), location, entry))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let columns = alike(location, &read)?;
    let files: Vec<File> = read.into_iter().map(|(file, _)| file).collect();
    let partitions = partitions(location, pending, keys.as_deref(), &columns, &files)?;
    Ok(Found { files, columns, partitions })
}

async fn file(objects: Arc<dyn Objects>, location: &Location, entry: Entry) -> Result<(File, Vec<Column>)> {
    let Entry { key: at, size, etag, .. } = entry;
    // It is the source's, and no failure of ours, if it is no Parquet.
    let of_source = |error: Error| match error.kind() {
        Kind::Corrupt => Error::input(
            "what the engine has written cannot be published: it must be Parquet with columns of Glue's types",
        )
        .caused_by(error),
        _ => error,
    };
    let footer = read_footer(objects.as_ref(), &at, &etag, size).await.map_err(of_source)?;
    let columns = columns_of(&at, &footer).map_err(of_source)?;
    let rows = u64::try_from(footer.file_metadata().num_rows())
        .map_err(|_| Error::input(format!("{at}: its footer says a negative number of rows")))?;
    Ok((File { key: at.key[location.prefix.len()..].to_owned(), bytes: size, rows, etag }, columns))
}

/// The columns that all files have, in their order.
fn alike(location: &Location, read: &[(File, Vec<Column>)]) -> Result<Vec<Column>> {
    let Some(((first, columns), others)) = read.split_first() else { return Ok(Vec::new()) };
    if let Some((file, theirs)) = others.iter().find(|(_, theirs)| theirs != columns) {
        let changes: Vec<String> = schema::changes(columns, theirs).iter().map(ToString::to_string).collect();
        let changes = if changes.is_empty() { "another order".to_owned() } else { changes.join("; ") };
        return Err(Error::input(format!(
            "{location}: {} has other columns than {}: {changes}; one run writes one schema",
            file.key, first.key
        )));
    }
    let mut seen = BTreeSet::new();
    match columns.iter().find(|column| !seen.insert(&column.name)) {
        Some(twice) => Err(Error::input(format!(
            "{location}: two columns are called {:?} (Glue's names are lower case): rename one",
            twice.name
        ))),
        None => Ok(columns.clone()),
    }
}

/// What Athena shall look for, from the folders' names.
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
            fault(format!("{} does not lie in {expected}, as partition_by ({}) has it", file.key, names.join(", ")))
        })?;
        for (values, value) in values.iter_mut().zip(&of_file) {
            values.insert(value);
        }
        existing.insert(of_file);
    }
    if existing.len() > MOST_PARTITIONS {
        let count = existing.len();
        return Err(fault(format!(
            "{count} partitions, and {MOST_PARTITIONS} are the most: partition by coarser columns"
        )));
    }
    let mut partitions = Vec::new();
    for (folder, values) in pending.folders.iter().zip(values) {
        let column = |glue_type: String| Column { name: folder.name.clone(), glue_type };
        if columns.iter().any(|column| column.name == folder.name) {
            return Err(fault(format!(
                "column {:?} is in the files and in their folders: leave it out of the files",
                folder.name
            )));
        }
        let key = keys.and_then(|keys| keys.iter().find(|key| key.name == folder.name));
        let glue_type = key.map(|key| key.glue_type.clone()).or_else(|| folder.glue_type.clone());
        let glue_type = glue_type.unwrap_or_else(|| told_by(&values).into());
        let kind = PartitionKind::of(&glue_type)
            .map_err(|why| fault(format!("partition_by: column {:?}: {why}", folder.name)))?;
        let value = |text: &&str| Value::parse(kind, text).ok_or_else(|| not_a(folder, &glue_type));
        let values = values.iter().map(value).collect::<Result<BTreeSet<Value>, String>>().map_err(fault)?;
        partitions.push(Partition::of(column(glue_type), kind, &values).map_err(fault)?);
    }
    partition::projected(&partitions, existing.len()).map_err(fault)?;
    Ok(partitions)
}

/// The type of a column whose values are known by their folders alone.
fn told_by(values: &BTreeSet<&str>) -> &'static str {
    let all = |kind| values.iter().all(|value| Value::parse(kind, value).is_some());
    match (all(PartitionKind::Date), all(PartitionKind::Integer)) {
        (true, _) => "date",
        (_, true) => "bigint",
        _ => "string",
    }
}

fn not_a(folder: &Folder, glue_type: &str) -> String {
    format!(
        "partition_by: column {:?} is {glue_type}, and a folder has a value that is none, or NULL, or a text that no \
         folder can hold: see docs/partitions.md",
        folder.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_tell_the_type_of_their_column() {
        let told = |values: &[&'static str]| told_by(&values.iter().copied().collect());
        assert_eq!(told(&["2024-01-31", "2024-02-29"]), "date");
        assert_eq!(told(&["7", "-12"]), "bigint");
        for texts in [&["07"][..], &["2024-01-31", "7"], &["jp"], &["2024-02-30"]] {
            assert_eq!(told(texts), "string");
        }
    }
}
