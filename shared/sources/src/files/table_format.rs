//! Recognizes folders that belong to tables of other formats. Their logs say which data files are current; reading all
//! files would bring back deleted and replaced rows.

use turntable_core::{
    error::{Error, Result},
    layout::{Entry, Location},
};

/// Fails if one of the objects below the location is the log of a table.
pub fn refuse(location: &Location, entries: &[Entry]) -> Result<()> {
    for Entry { key, .. } in entries {
        let Some(name) = key.key.strip_prefix(&location.prefix) else { continue };
        if let Some(format) = of_log(name) {
            return Err(Error::input(format!(
                "{location} contains {key}, so it is a table in {format} format, and only the table's log says which rows are \
                 current: export it with source.athena and a query that selects from it, or put plain copies of its rows \
                 elsewhere"
            )));
        }
    }
    Ok(())
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
}
