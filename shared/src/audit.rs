//! Checks → verdict. What a candidate must pass before it may go live, decided on facts that others have fetched.

use std::collections::BTreeMap;

use crate::{
    config::Checks,
    manifest::Manifest,
    schema::{self, Column},
};

/// All that a verdict needs.
pub struct Evidence<'a> {
    pub manifest: &'a Manifest,
    /// Every object that lies under the candidate's location.
    pub objects: &'a [Object],
    /// What each file's own footer says; only of files that are as the manifest has them.
    pub footers: &'a [Footer],
    /// The table's columns; `None` where it is yet to be created.
    pub table: Option<&'a [Column]>,
    /// How many rows live has; `None` where nobody knows.
    pub live_rows: Option<u64>,
    pub checks: &'a Checks,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Relative to the location.
    pub key: String,
    pub bytes: u64,
    pub etag: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// Relative to the location.
    pub key: String,
    pub rows: u64,
    pub columns: Vec<Column>,
}

/// Every reason against the candidate: the check, what it expects, what was found. Empty: it may go live.
pub fn verdict(evidence: &Evidence) -> Vec<String> {
    let mut reasons = exact_objects(evidence.manifest, evidence.objects);
    reasons.extend(footers(evidence.manifest, evidence.footers));
    if let Some(table) = evidence.table {
        let found = schema::differences(table, &evidence.manifest.columns);
        reasons.extend(found.into_iter().map(|difference| format!("schema: {difference}")));
    }
    reasons.extend(rows(evidence));
    reasons
}

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

fn footers(manifest: &Manifest, footers: &[Footer]) -> Vec<String> {
    let mut reasons = Vec::new();
    let footers: BTreeMap<&str, &Footer> = footers.iter().map(|footer| (footer.key.as_str(), footer)).collect();
    for file in &manifest.files {
        let Some(footer) = footers.get(file.key.as_str()) else { continue };
        if footer.rows != file.rows {
            reasons.push(format!("rows: {}: expected {}, its footer says {}", file.key, file.rows, footer.rows));
        }
        if footer.columns != manifest.columns {
            let differences = schema::differences(&manifest.columns, &footer.columns);
            reasons.push(format!("schema: {}: its footer is not the manifest's: {}", file.key, differences.join("; ")));
        }
    }
    let sum: u64 = manifest.files.iter().map(|file| file.rows).sum();
    if sum != manifest.rows {
        reasons.push(format!("rows: the manifest says {}, its files add up to {sum}", manifest.rows));
    }
    reasons
}

fn rows(evidence: &Evidence) -> Vec<String> {
    let rows = evidence.manifest.rows;
    let mut reasons = Vec::new();
    if let Some(least) = evidence.checks.min_rows.filter(|least| rows < *least) {
        reasons.push(format!("min_rows: expected at least {least}, found {rows}"));
    }
    if let (Some(part), Some(live)) = (evidence.checks.max_shrink, evidence.live_rows) {
        let gone = live.saturating_sub(rows);
        if live > 0 && gone as f64 / live as f64 > part {
            reasons.push(format!("max_shrink: expected at most {part} of live's {live} rows to go, found {rows} rows"));
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{File, TypedBy, VERSION};

    fn manifest() -> Manifest {
        let column = Column { name: "id".into(), glue_type: "bigint".into() };
        let file = |key: &str, rows| File { key: key.into(), bytes: 10, rows, etag: "e".into() };
        let location: crate::name::Location = "s3://lake/t/blue-00000000010000000000000000".parse().unwrap();
        Manifest {
            version: VERSION,
            dataset: "t".into(),
            generation: "blue-00000000010000000000000000".parse().unwrap(),
            location,
            base: None,
            as_of: jiff::Timestamp::UNIX_EPOCH,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            spec: String::new(),
            typed_by: TypedBy::Source,
            columns: vec![column],
            rows: 80,
            bytes: 20,
            files: vec![file("a", 50), file("b", 30)],
        }
    }

    fn sound(manifest: &Manifest) -> (Vec<Object>, Vec<Footer>) {
        let object = |file: &File| Object { key: file.key.clone(), bytes: file.bytes, etag: file.etag.clone() };
        let footer = |file: &File| Footer { key: file.key.clone(), rows: file.rows, columns: manifest.columns.clone() };
        (manifest.files.iter().map(object).collect(), manifest.files.iter().map(footer).collect())
    }

    fn judge(change: impl FnOnce(&mut Manifest, &mut Vec<Object>, &mut Vec<Footer>)) -> Vec<String> {
        let mut manifest = manifest();
        let (mut objects, mut footers) = sound(&manifest);
        change(&mut manifest, &mut objects, &mut footers);
        let checks = Checks { min_rows: Some(80), max_shrink: Some(0.2) };
        let table = [Column { name: "id".into(), glue_type: "bigint".into() }];
        verdict(&Evidence {
            manifest: &manifest,
            objects: &objects,
            footers: &footers,
            table: Some(&table),
            live_rows: Some(100),
            checks: &checks,
        })
    }

    #[test]
    fn a_sound_candidate_passes_at_the_very_bounds() {
        assert_eq!(judge(|_, _, _| {}), [""; 0]);
    }

    #[test]
    fn objects_are_exactly_the_manifests() {
        assert_eq!(judge(|_, objects, _| drop(objects.pop())), ["objects: b is missing"]);
        let stray = Object { key: "c".into(), bytes: 0, etag: "x".into() };
        assert_eq!(judge(|_, objects, _| objects.push(stray)), ["objects: c is not in the manifest"]);
        assert_eq!(
            judge(|_, objects, _| objects[0].etag = "other".into()),
            ["objects: a is not as it was written: expected 10 bytes with ETag e, found 10 with other"]
        );
        assert_eq!(judge(|_, objects, _| objects[0].bytes = 9).len(), 1);
    }

    #[test]
    fn footers_say_the_same_as_the_manifest() {
        assert_eq!(judge(|_, _, footers| footers[1].rows = 31), ["rows: b: expected 30, its footer says 31"]);
        assert_eq!(
            judge(|_, _, footers| footers[0].columns[0].glue_type = "int".into()),
            [
                "schema: a: its footer is not the manifest's: column \"id\" is bigint in the table and int in the new data"
            ]
        );
    }

    #[test]
    fn all_failures_are_reported_together() {
        let reasons = judge(|manifest, _, _| {
            manifest.rows = 79;
            manifest.columns[0].name = "key".into();
        });
        assert_eq!(
            reasons,
            [
                "schema: a: its footer is not the manifest's: column \"key\" bigint is missing from the new data; column \"id\" bigint is not in the table",
                "schema: b: its footer is not the manifest's: column \"key\" bigint is missing from the new data; column \"id\" bigint is not in the table",
                "rows: the manifest says 79, its files add up to 80",
                "schema: column \"id\" bigint is missing from the new data",
                "schema: column \"key\" bigint is not in the table",
                "min_rows: expected at least 80, found 79",
                "max_shrink: expected at most 0.2 of live's 100 rows to go, found 79 rows",
            ]
        );
    }
}
