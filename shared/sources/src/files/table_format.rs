//! Recognizes folders that belong to tables in other formats. The tables' logs say which data files are current;
//! reading all files would bring back deleted and replaced rows.

use futures::future::try_join_all;
use turntable_core::{
    error::{Error, Kind, Result},
    layout::{Entry, Key, Location},
    port::Objects,
};

/// The names of the folders where the formats keep their logs.
const LOGS: [&str; 3] = ["_delta_log", ".hoodie", "metadata"];

/// The maximum number of folders above a location that are checked. Each takes one request per format.
const MAX_PARENTS: usize = 5;

/// Fails if one of the objects below the location belongs to a table's log.
pub fn refuse(location: &Location, entries: &[Entry]) -> Result<()> {
    match log(location, entries) {
        Some((format, key)) => Err(refused(location, "is", format, key)),
        None => Ok(()),
    }
}

/// Fails if the location lies inside a table, for example if it is one of its partitions. Finds only tables whose logs
/// may be listed.
pub async fn refuse_within(location: &Location, objects: &dyn Objects) -> Result<()> {
    let logs = parents(location).flat_map(|parent| LOGS.map(|log| (parent.clone(), parent.folder(log))));
    let lists = logs.map(async |(parent, log)| match objects.list_first(&log).await {
        Ok(entries) => Ok((parent, entries)),
        Err(error) if error.kind() == Kind::Config => Ok((parent, Vec::new())),
        Err(error) => Err(error),
    });
    for (parent, entries) in try_join_all(lists).await? {
        if let Some((format, key)) = log(&parent, &entries) {
            return Err(refused(location, "belongs to", format, key));
        }
    }
    Ok(())
}

/// Returns the folders that contain the location, innermost first, at most [`MAX_PARENTS`].
fn parents(location: &Location) -> impl Iterator<Item = Location> {
    let path = location.prefix.trim_end_matches('/');
    let ends = path.rmatch_indices('/').map(|(at, slash)| at + slash.len());
    let root = (!path.is_empty()).then_some(0);
    let parent = |end: usize| Location {
        bucket: location.bucket.clone(),
        prefix: path.get(..end).unwrap_or_default().to_owned(),
    };
    ends.chain(root).map(parent).take(MAX_PARENTS)
}

/// Returns the first object that belongs to a table's log, with the table's format.
fn log<'a>(location: &Location, entries: &'a [Entry]) -> Option<(&'static str, &'a Key)> {
    entries.iter().find_map(|Entry { key, .. }| Some((of_log(key.key.strip_prefix(&location.prefix)?)?, key)))
}

fn refused(location: &Location, relation: &str, format: &str, key: &Key) -> Error {
    Error::input(format!(
        "{location} {relation} a table in {format} format, as {key} shows, and only the table's log says which rows \
         are current: export the table with source.athena and a query that selects from it, or put plain copies of its \
         rows elsewhere"
    ))
}

/// Returns the table format whose log an object with this key would belong to, if any. The key is relative to the
/// source's location.
fn of_log(name: &str) -> Option<&'static str> {
    let folders: Vec<&str> = name.split('/').collect();
    let (file, folders) = folders.split_last()?;
    if folders.contains(&"_delta_log") {
        return Some("Delta Lake");
    }
    if folders.contains(&".hoodie") {
        return Some("Hudi");
    }
    let in_metadata = folders.last() == Some(&"metadata");
    let is_iceberg =
        file.ends_with(".metadata.json") || file.ends_with(".metadata.json.gz") || *file == "version-hint.text";
    (in_metadata && is_iceberg).then_some("Iceberg")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_recognized_at_any_depth() {
        for (name, format) in [
            ("_delta_log/00000000000000000000.json", Some("Delta Lake")),
            ("a/dt=1/_delta_log/x.checkpoint.parquet", Some("Delta Lake")),
            (".hoodie/hoodie.properties", Some("Hudi")),
            ("t/.hoodie/timeline/1.commit", Some("Hudi")),
            ("metadata/v1.metadata.json", Some("Iceberg")),
            ("t/metadata/00001-x.metadata.json", Some("Iceberg")),
            ("metadata/00001-x.gz.metadata.json", Some("Iceberg")),
            ("metadata/version-hint.text", Some("Iceberg")),
            ("metadata/users.json", None),
            ("metadata.json", None),
            ("_delta_log", None),
            ("a.metadata.json", None),
            ("dt=1/a.parquet", None),
        ] {
            assert_eq!(of_log(name), format, "{name}");
        }
    }

    #[test]
    fn tables_are_looked_for_in_the_folders_above() {
        let of = |prefix: &str| {
            let location = Location { bucket: "b".into(), prefix: prefix.into() };
            parents(&location).map(|parent| parent.prefix).collect::<Vec<_>>()
        };
        assert_eq!(of("t/day=1/"), ["t/", ""]);
        assert_eq!(of("t/day=1/a.csv"), ["t/day=1/", "t/", ""]);
        assert_eq!(of("t/"), [""]);
        assert_eq!(of(""), [""; 0]);
        assert_eq!(of("a/b/c/d/e/f/g/"), ["a/b/c/d/e/f/", "a/b/c/d/e/", "a/b/c/d/", "a/b/c/", "a/b/"]);
    }
}
