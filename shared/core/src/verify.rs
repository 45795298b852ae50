//! Compares a live table with the manifest of the generation that its location names. Crawlers and people edit tables,
//! and readers then get wrong or missing rows, often without an error.

use std::{collections::BTreeMap, slice};

use crate::{
    audit::{Object, exact_objects, partition_keys},
    manifest::{File, Manifest},
    schema::{Change, Column, Policy},
    table::{StorageFormat, TableVersion, is_projection_of, projection_parameters},
};

/// Returns every difference between a table and the manifest of its live generation, in the columns, partition keys,
/// partition projection and storage format. Doesn't compare the location. An empty list means that readers see what was
/// published.
///
/// The table and its location must come from the same read, so that one of Turntable's own flips never looks like a
/// difference.
pub fn table_differences(table: &TableVersion, manifest: &Manifest) -> Vec<String> {
    let mut found: Vec<String> =
        Policy::Strict.refused(&table.columns, &manifest.columns).iter().map(column_difference).collect();
    found.extend(partition_keys(manifest, &table.partition_keys));
    found.extend(projection_differences(&table.parameters, manifest));
    found.extend(format_differences(&table.format));
    found
}

/// Returns the columns that `table` should have, according to the manifest of the live generation. Columns that agree
/// with the manifest stay as they are and in their order.
pub fn published_columns(table: &[Column], manifest: &Manifest) -> Vec<Column> {
    let files = &manifest.columns;
    if Policy::Strict.refused(table, files).is_empty() {
        return table.to_vec();
    }
    let right = |column: &Column| {
        let file = files.iter().find(|file| file.name == column.name)?;
        let agrees = Policy::Strict.refused(slice::from_ref(column), slice::from_ref(file)).is_empty();
        Some(if agrees { column } else { file }.clone())
    };
    let missing = files.iter().filter(|file| !table.iter().any(|column| column.name == file.name)).cloned();
    table.iter().filter_map(right).chain(missing).collect()
}

fn column_difference(change: &Change) -> String {
    match change {
        Change::Added { name, glue_type } => format!("columns: {name:?} {glue_type} is missing from the table"),
        Change::Dropped { name, glue_type } => format!("columns: {name:?} {glue_type} is not in the files"),
        Change::Renamed { from, to, .. } => format!("columns: {to:?} in the files is {from:?} in the table"),
        Change::Widened { name, from, to }
        | Change::Narrowed { name, from, to }
        | Change::Retyped { name, from, to } => {
            format!("columns: {name:?} is {to} in the files and {from} in the table")
        }
    }
}

/// Returns one message for each projection parameter that is missing, was changed or was added.
fn projection_differences(parameters: &BTreeMap<String, String>, manifest: &Manifest) -> Vec<String> {
    let expected = projection_parameters(&manifest.location, &manifest.partitions);
    let mut found = Vec::new();
    for (name, value) in &expected {
        match parameters.get(name) {
            Some(now) if now == value => {}
            Some(now) => found.push(format!("projection: {name} is {now:?}, but the flip set {value:?}")),
            None => found.push(format!("projection: {name} is missing, but the flip set {value:?}")),
        }
    }
    let added =
        parameters.keys().filter(|name| is_projection_of(name, &manifest.partitions) && !expected.contains_key(*name));
    found.extend(added.map(|name| format!("projection: {name} was added")));
    found
}

fn format_differences(format: &StorageFormat) -> Vec<String> {
    let parquet = StorageFormat::parquet();
    let named = [
        ("input format", &format.input, parquet.input),
        ("output format", &format.output, parquet.output),
        ("SerDe", &format.serde, parquet.serde),
    ];
    let other = named.into_iter().filter_map(|(name, found, expected)| {
        let found = found.as_ref().filter(|found| expected.as_ref() != Some(*found))?;
        Some(format!("format: the {name} is {found}, but the files are Parquet"))
    });
    let path =
        format.spark_path().map(|path| format!("format: the SerDe parameter path is {path:?}, from which Spark reads"));
    other.chain(path).collect()
}

/// How the files of a live generation differ from its manifest. The default is no difference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileDifferences {
    /// One message for each object that is missing, has changed or isn't in the manifest.
    pub found: Vec<String>,
    /// Whether an object of the manifest is missing or has changed. If not, all published rows are still there.
    pub lost: bool,
}

impl FileDifferences {
    /// Compares the objects under the generation's location, without those that Athena ignores, with the manifest.
    pub fn of(manifest: &Manifest, objects: &[Object]) -> FileDifferences {
        let is_there = |file: &File| objects.iter().any(|object| file.is(&object.key, object.bytes, &object.etag));
        let found = exact_objects(manifest, objects);
        let lost = !found.is_empty() && !manifest.files.iter().all(is_there);
        FileDifferences { found, lost }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        audit::fixture,
        layout::TableName,
        partition::{Partition, Projection},
        table::{Original, TableVersion},
    };

    fn column(name: &str, glue_type: &str) -> Column {
        Column { name: name.into(), glue_type: glue_type.into() }
    }

    /// Returns a manifest with three columns, partitioned by `n`, and the table that its flip made.
    fn published() -> (TableVersion, Manifest) {
        let projection = Projection::Integer { first: 1, last: 9, interval: 2 };
        let partitions = vec![Partition { column: column("n", "int"), projection }];
        let columns = vec![column("id", "bigint"), column("name", "string"), column("price", "decimal(10,2)")];
        let manifest = Manifest { columns, partitions, ..fixture::manifest() };
        let table = TableVersion {
            name: TableName { database: "dmp".into(), table: "t".into() },
            token: Some("1".into()),
            unsupported: None,
            unadoptable: None,
            crawler: None,
            view: None,
            location: Some(manifest.location.to_string()),
            columns: manifest.columns.clone(),
            partition_keys: vec![column("n", "int")],
            parameters: projection_parameters(&manifest.location, &manifest.partitions),
            storage_parameters: BTreeMap::new(),
            format: StorageFormat::parquet(),
            original: Original(Arc::new(())),
        };
        (table, manifest)
    }

    fn found(change: impl FnOnce(&mut TableVersion)) -> Vec<String> {
        let (mut table, manifest) = published();
        change(&mut table);
        table_differences(&table, &manifest)
    }

    #[test]
    fn what_a_flip_publishes_has_no_differences() {
        assert_eq!(found(|_| {}), [""; 0]);
        assert_eq!(found(|table| table.columns.reverse()), [""; 0], "Athena matches columns by name");
        assert_eq!(found(|table| table.columns[1].glue_type = "varchar(20)".into()), [""; 0], "files have no lengths");
        assert_eq!(found(|table| drop(table.parameters.insert("comment".into(), "prices".into()))), [""; 0]);
        assert_eq!(found(|table| table.format = StorageFormat::default()), [""; 0], "an adopted table may lack them");
    }

    #[test]
    fn every_edit_that_readers_would_notice_is_named() {
        type Edit = fn(&mut TableVersion);
        let cases: [(&str, Edit); 11] = [
            ("columns: \"id\" is bigint in the files and string in the table", |table| {
                table.columns[0].glue_type = "string".into();
            }),
            ("columns: \"price\" decimal(10,2) is missing from the table", |table| drop(table.columns.pop())),
            ("columns: \"extra\" int is not in the files", |table| table.columns.push(column("extra", "int"))),
            ("columns: \"name\" in the files is \"title\" in the table", |table| {
                table.columns[1].name = "title".into();
            }),
            ("partitions: the table is partitioned by nothing, the candidate by n int", |table| {
                table.partition_keys.clear();
            }),
            ("projection: projection.n.range is \"1,3\", but the flip set \"1,9\"", |table| {
                table.parameters.insert("projection.n.range".into(), "1,3".into());
            }),
            ("projection: projection.enabled is missing, but the flip set \"true\"", |table| {
                table.parameters.remove("projection.enabled");
            }),
            ("projection: projection.n.digits was added", |table| {
                table.parameters.insert("projection.n.digits".into(), "2".into());
            }),
            ("format: the SerDe is org.openx.data.jsonserde.JsonSerDe, but the files are Parquet", |table| {
                table.format.serde = Some("org.openx.data.jsonserde.JsonSerDe".into());
            }),
            (
                "format: the input format is org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat, but the files are Parquet",
                |table| table.format.input = Some("org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat".into()),
            ),
            ("format: the SerDe parameter path is \"s3://lake/old\", from which Spark reads", |table| {
                table.format.serde_parameters.insert("path".into(), "s3://lake/old".into());
            }),
        ];
        for (message, edit) in cases {
            assert_eq!(found(edit), [message]);
        }
    }

    #[test]
    fn columns_that_agree_keep_their_order_and_text_lengths() {
        let (mut table, manifest) = published();
        table.columns = vec![column("price", "double"), column("extra", "int"), column("name", "varchar(20)")];
        let restored = published_columns(&table.columns, &manifest);
        assert_eq!(restored, [column("price", "decimal(10,2)"), column("name", "varchar(20)"), column("id", "bigint")]);
        table.columns = restored.clone();
        assert_eq!(table_differences(&table, &manifest), [""; 0]);
        assert_eq!(published_columns(&restored, &manifest), restored);
    }

    #[test]
    fn added_file_loses_nothing_and_a_changed_one_does() {
        let manifest = fixture::manifest();
        let object = |file: &File| Object { key: file.key.clone(), bytes: file.bytes, etag: file.etag.clone() };
        let mut objects: Vec<Object> = manifest.files.iter().map(object).collect();
        assert_eq!(FileDifferences::of(&manifest, &objects), FileDifferences::default());
        objects.push(Object { key: "c".into(), bytes: 1, etag: "x".into() });
        let added = FileDifferences::of(&manifest, &objects);
        assert_eq!((added.found.len(), added.lost), (1, false));
        objects[0].etag = "other".into();
        let changed = FileDifferences::of(&manifest, &objects);
        assert_eq!((changed.found.len(), changed.lost), (2, true));
    }
}
