//! Whether a location holds what its manifest says.

use std::collections::BTreeMap;

use super::{Footer, Object};
use crate::{
    manifest::Manifest,
    partition,
    schema::{self, Column},
};

/// The location holds exactly the manifest's objects, no more and no fewer.
pub fn exact_objects(manifest: &Manifest, objects: &[Object]) -> Vec<String> {
    let mut found: BTreeMap<&str, &Object> = objects.iter().map(|object| (object.key.as_str(), object)).collect();
    let mut reasons = Vec::new();
    for file in &manifest.files {
        match found.remove(file.key.as_str()) {
            None => reasons.push(format!("objects: {} is missing", file.key)),
            Some(object) if object.bytes != file.bytes || object.etag != file.etag => reasons.push(format!(
                "objects: {} is not as it was written: expected {} bytes with ETag {}, found {} with {}",
                file.key, file.bytes, file.etag, object.bytes, object.etag
            )),
            Some(_) => {}
        }
    }
    reasons.extend(found.into_keys().map(|key| format!("objects: {key} is not in the manifest")));
    reasons
}

/// Each file's footer says of it what the manifest says.
pub fn footers(manifest: &Manifest, footers: &[Footer]) -> Vec<String> {
    let mut reasons = Vec::new();
    let footers: BTreeMap<&str, &Footer> = footers.iter().map(|footer| (footer.key.as_str(), footer)).collect();
    for file in &manifest.files {
        let Some(footer) = footers.get(file.key.as_str()) else { continue };
        if footer.rows != file.rows {
            reasons.push(format!("rows: {}: expected {}, its footer says {}", file.key, file.rows, footer.rows));
        }
        if footer.columns != manifest.columns {
            let changes = schema::changes(&manifest.columns, &footer.columns);
            let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
            reasons.push(format!("schema: {}: its footer is not the manifest's: {}", file.key, changes.join("; ")));
        }
    }
    let sum: u64 = manifest.files.iter().map(|file| file.rows).sum();
    if sum != manifest.rows {
        reasons.push(format!("rows: the manifest says {}, its files add up to {sum}", manifest.rows));
    }
    reasons
}

/// Each file lies in a folder in which Athena looks for it. In another one, its rows would silently be missing.
pub fn folders(manifest: &Manifest) -> Vec<String> {
    let partitions = &manifest.partitions;
    let found = |key: &str| match partition::values_of(partitions, key) {
        Some(values) => partitions.iter().zip(values).all(|(partition, value)| partition.has(value)),
        None => false,
    };
    let lost = manifest.files.iter().filter(|file| !partitions.is_empty() && !found(&file.key));
    lost.map(|file| format!("partitions: {} lies in no folder that the table would project", file.key)).collect()
}

/// The table's partition keys are the candidate's.
pub fn partition_keys(manifest: &Manifest, keys: &[Column]) -> Option<String> {
    let ours: Vec<&Column> = manifest.partitions.iter().map(|partition| &partition.column).collect();
    let alike = |ours: &Column, key: &Column| {
        let text = |column: &Column| column.glue_type.starts_with("varchar") || column.glue_type == "string";
        ours.name == key.name && (ours.glue_type == key.glue_type || text(ours) && text(key))
    };
    if ours.len() == keys.len() && ours.iter().zip(keys).all(|(ours, key)| alike(ours, key)) {
        return None;
    }
    let named = |column: &Column| format!("{} {}", column.name, column.glue_type);
    let listed = |names: Vec<String>| if names.is_empty() { "nothing".into() } else { names.join(", ") };
    Some(format!(
        "partitions: the table is partitioned by {}, the candidate by {}",
        listed(keys.iter().map(named).collect()),
        listed(ours.into_iter().map(named).collect())
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
    fn objects_are_exactly_the_manifests() {
        assert_eq!(judge(|_, _| {}), [""; 0]);
        assert_eq!(judge(|objects, _| drop(objects.pop())), ["objects: b is missing"]);
        let stray = Object { key: "c".into(), bytes: 0, etag: "x".into() };
        assert_eq!(judge(|objects, _| objects.push(stray)), ["objects: c is not in the manifest"]);
        assert_eq!(
            judge(|objects, _| objects[0].etag = "other".into()),
            ["objects: a is not as it was written: expected 10 bytes with ETag e, found 10 with other"]
        );
        assert_eq!(judge(|objects, _| objects[0].bytes = 9).len(), 1);
    }

    #[test]
    fn footers_say_the_same_as_the_manifest() {
        assert_eq!(judge(|_, footers| footers[1].rows = 31), ["rows: b: expected 30, its footer says 31"]);
        assert_eq!(
            judge(|_, footers| footers[0].columns[0].glue_type = "int".into()),
            [
                "schema: a: its footer is not the manifest's: column \"id\" is bigint in the table and the narrower int in the new data"
            ]
        );
    }
}
