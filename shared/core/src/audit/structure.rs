//! Checks that a candidate's location holds what its manifest says, and that its partitions fit the table's.

use std::collections::BTreeMap;

use super::evidence::{Footer, Object};
use crate::{
    manifest::Manifest,
    partition,
    schema::{self, Column},
};

/// Checks that the location holds exactly the objects in the manifest, with the same keys, sizes and ETags. Returns one
/// reason for each object that is missing, has changed or isn't in the manifest.
pub fn exact_objects(manifest: &Manifest, objects: &[Object]) -> Vec<String> {
    let mut found: BTreeMap<&str, &Object> = objects.iter().map(|object| (object.key.as_str(), object)).collect();
    let mut reasons = Vec::new();
    for file in &manifest.files {
        match found.remove(file.key.as_str()) {
            None => reasons.push(format!("objects: {} is missing", file.key)),
            Some(object) if object.bytes != file.bytes || object.etag != file.etag => reasons.push(format!(
                "objects: {} has changed since it was written: expected {} bytes with ETag {}, found {} bytes with \
                 ETag {}",
                file.key, file.bytes, file.etag, object.bytes, object.etag
            )),
            Some(_) => {}
        }
    }
    reasons.extend(found.into_keys().map(|key| format!("objects: {key} is not in the manifest")));
    reasons
}

/// Checks that each footer has the columns and the number of rows that the manifest says, and that the manifest's total
/// is the sum of its files' rows. Files without a footer are skipped.
pub fn footers(manifest: &Manifest, footers: &[Footer]) -> Vec<String> {
    let mut reasons = Vec::new();
    let footers: BTreeMap<&str, &Footer> = footers.iter().map(|footer| (footer.key.as_str(), footer)).collect();
    for file in &manifest.files {
        let Some(footer) = footers.get(file.key.as_str()) else { continue };
        if footer.rows != file.rows {
            reasons
                .push(format!("rows: {}: expected {} rows, found {} in its footer", file.key, file.rows, footer.rows));
        }
        if footer.columns != manifest.columns {
            let changes = schema::changes(&manifest.columns, &footer.columns);
            let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
            reasons.push(format!("schema: {}: its footer differs from the manifest: {}", file.key, changes.join("; ")));
        }
    }
    let sum: u64 = manifest.files.iter().map(|file| file.rows).sum();
    if sum != manifest.rows {
        reasons.push(format!("rows: the manifest says {} rows, but its files have {sum}", manifest.rows));
    }
    reasons
}

/// Checks that each file is in a folder that Athena projects. The rows of any other file would be silently missing.
pub fn folders(manifest: &Manifest) -> Vec<String> {
    let partitions = &manifest.partitions;
    let found = |key: &str| match partition::values_of(partitions, key) {
        Some(values) => partitions.iter().zip(values).all(|(partition, value)| partition.has(value)),
        None => false,
    };
    let lost = manifest.files.iter().filter(|file| !partitions.is_empty() && !found(&file.key));
    lost.map(|file| format!("partitions: {} is outside the folders that the table would project", file.key)).collect()
}

/// Returns whether two partition keys are the same. `string` and `varchar` count as the same type.
pub fn is_same_key(one: &Column, other: &Column) -> bool {
    let text = |column: &Column| column.glue_type.starts_with("varchar") || column.glue_type == "string";
    one.name == other.name && (one.glue_type == other.glue_type || text(one) && text(other))
}

/// Checks that the table and the candidate have the same partition keys, and returns the reason to report if they
/// don't. `string` and `varchar` count as the same type.
pub fn partition_keys(manifest: &Manifest, keys: &[Column]) -> Option<String> {
    let expected: Vec<&Column> = manifest.partitions.iter().map(|partition| &partition.column).collect();
    if expected.len() == keys.len() && expected.iter().zip(keys).all(|(column, key)| is_same_key(column, key)) {
        return None;
    }
    let named = |column: &Column| format!("{} {}", column.name, column.glue_type);
    let listed = |names: Vec<String>| if names.is_empty() { "nothing".into() } else { names.join(", ") };
    Some(format!(
        "partitions: the table is partitioned by {}, the candidate by {}",
        listed(keys.iter().map(named).collect()),
        listed(expected.into_iter().map(named).collect())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Value, fixture};

    fn judge(change: impl FnOnce(&mut Vec<Object>, &mut Vec<Footer>)) -> Vec<String> {
        let manifest = fixture::manifest();
        let object =
            |file: &crate::manifest::File| Object { key: file.key.clone(), bytes: file.bytes, etag: file.etag.clone() };
        let mut objects: Vec<Object> = manifest.files.iter().map(object).collect();
        let values = || (0, Value::Whole(0), Value::Whole(0));
        let mut found = fixture::footers(&manifest, [values(), values()]);
        change(&mut objects, &mut found);
        [exact_objects(&manifest, &objects), footers(&manifest, &found)].concat()
    }

    #[test]
    fn objects_must_match_the_manifest_exactly() {
        assert_eq!(judge(|_, _| {}), [""; 0]);
        assert_eq!(judge(|objects, _| drop(objects.pop())), ["objects: b is missing"]);
        let stray = Object { key: "c".into(), bytes: 0, etag: "x".into() };
        assert_eq!(judge(|objects, _| objects.push(stray)), ["objects: c is not in the manifest"]);
        assert_eq!(
            judge(|objects, _| objects[0].etag = "other".into()),
            [
                "objects: a has changed since it was written: expected 10 bytes with ETag e, found 10 bytes with ETag other"
            ]
        );
        assert_eq!(judge(|objects, _| objects[0].bytes = 9).len(), 1);
    }

    #[test]
    fn footers_must_match_the_manifest() {
        assert_eq!(judge(|_, footers| footers[1].rows = 31), ["rows: b: expected 30 rows, found 31 in its footer"]);
        assert_eq!(judge(|_, footers| footers[1].rows = 29), ["rows: b: expected 30 rows, found 29 in its footer"]);
        assert_eq!(
            judge(|_, footers| footers[0].columns[0].glue_type = "int".into()),
            [
                "schema: a: its footer differs from the manifest: column \"id\" is bigint in the table and the narrower int in the new data"
            ]
        );
    }
}
