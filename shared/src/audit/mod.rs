//! Checks → verdict. What a candidate must pass before it may go live, decided on facts that others have fetched.
//!
//! A reason names the check, what it expects and what was found, and never the value of a row: a smallest value, too,
//! is somebody's. The one thing told of a value is how many hours the newest of a `fresh` column is old.

mod asked;
mod rows;
mod statistics;
mod structure;
mod value;

use jiff::Timestamp;

pub use asked::{Question, asks, questions};
pub use statistics::{Extremes, Statistics, of_folders};
pub use structure::exact_objects;
pub use value::Value;

use crate::{
    config::Checks,
    manifest::Manifest,
    schema::{Column, Policy},
};

/// All that a verdict needs.
pub struct Evidence<'a> {
    pub now: Timestamp,
    pub manifest: &'a Manifest,
    /// Every object that lies under the candidate's location.
    pub objects: &'a [Object],
    /// What each file's own footer says; only of files that are as the manifest has them.
    pub footers: &'a [Footer],
    /// The table's columns; `None` where it is yet to be created.
    pub table: Option<&'a [Column]>,
    /// The table's columns that are folders.
    pub partition_keys: Option<&'a [Column]>,
    /// What may change of them.
    pub policy: Policy,
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

#[derive(Debug, Clone, PartialEq)]
pub struct Footer {
    /// Relative to the location.
    pub key: String,
    pub rows: u64,
    pub columns: Vec<Column>,
    /// One for each of `columns`; `None` where a column is nested.
    pub statistics: Vec<Option<Statistics>>,
    /// One for each of the manifest's partition columns, of which the key tells.
    pub partitions: Vec<Statistics>,
}

/// Every reason against the candidate. None: it may go live.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// It is not what its manifest says, or not what the table can become: nothing can be asked of it.
    pub structure: Vec<String>,
    /// It is sound, and its rows are not as they should be.
    pub content: Vec<String>,
}

impl Verdict {
    pub fn reasons(self) -> Vec<String> {
        [self.structure, self.content].concat()
    }
}

pub fn verdict(evidence: &Evidence) -> Verdict {
    let (manifest, checks) = (evidence.manifest, evidence.checks);
    let mut structure = structure::exact_objects(manifest, evidence.objects);
    structure.extend(structure::footers(manifest, evidence.footers));
    structure.extend(structure::folders(manifest));
    if let Some(keys) = evidence.partition_keys {
        structure.extend(structure::partition_keys(manifest, keys));
    }
    if let Some(table) = evidence.table {
        let refused = evidence.policy.refused(table, &manifest.columns);
        structure.extend(refused.into_iter().map(|change| format!("schema: {change}")));
    }
    let mut content = rows::rows(checks, manifest.rows, evidence.live_rows);
    // Without all the footers there is nothing to say of values; why they are missing is said above.
    if evidence.footers.len() == manifest.files.len() {
        content.extend(statistics::not_null(checks, manifest, evidence.footers));
        content.extend(statistics::range(checks, manifest, evidence.footers));
        content.extend(statistics::fresh(checks, manifest, evidence.footers, evidence.now));
    }
    Verdict { structure, content }
}

#[cfg(test)]
pub(crate) mod fixture {
    use super::*;
    use crate::manifest::{File, TypedBy, VERSION};

    pub fn manifest() -> Manifest {
        let column = Column { name: "id".into(), glue_type: "bigint".into() };
        let file = |key: &str, rows| File { key: key.into(), bytes: 10, rows, etag: "e".into() };
        Manifest {
            version: VERSION,
            dataset: "t".into(),
            generation: "blue-00000000010000000000000000".parse().unwrap(),
            location: "s3://lake/t/blue-00000000010000000000000000".parse().unwrap(),
            base: None,
            as_of: Timestamp::UNIX_EPOCH,
            created_at: Timestamp::UNIX_EPOCH,
            spec: String::new(),
            typed_by: TypedBy::Source,
            columns: vec![column],
            partitions: Vec::new(),
            rows: 80,
            bytes: 20,
            files: vec![file("a", 50), file("b", 30)],
            nulled: Default::default(),
            merge: None,
            group: None,
        }
    }

    /// A column of each file of [`manifest`]: its nulls, its smallest and its largest value.
    pub fn footers(manifest: &Manifest, values: [(u64, Value, Value); 2]) -> Vec<Footer> {
        let footer = |(file, (nulls, min, max)): (&File, _)| Footer {
            key: file.key.clone(),
            rows: file.rows,
            columns: manifest.columns.clone(),
            statistics: vec![Some(Statistics {
                nulls: Some(nulls),
                extremes: Extremes::Between { min, max, exact: true },
            })],
            partitions: Vec::new(),
        };
        manifest.files.iter().zip(values).map(footer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_failures_are_reported_together() {
        let mut manifest = fixture::manifest();
        let objects = manifest.files.iter();
        let objects: Vec<Object> =
            objects.map(|file| Object { key: file.key.clone(), bytes: file.bytes, etag: file.etag.clone() }).collect();
        let footers = fixture::footers(
            &manifest,
            [(0, Value::Whole(1), Value::Whole(9)), (2, Value::Whole(3), Value::Whole(11))],
        );
        manifest.rows = 79;
        let checks = Checks {
            min_rows: Some(80),
            max_shrink: Some(0.2),
            not_null: vec!["id".into(), "name".into()],
            ..Checks::default()
        };
        let table = [Column { name: "key".into(), glue_type: "bigint".into() }];
        let evidence = Evidence {
            now: Timestamp::UNIX_EPOCH,
            manifest: &manifest,
            objects: &objects,
            footers: &footers,
            table: Some(&table),
            partition_keys: Some(&[]),
            policy: Policy::Strict,
            live_rows: Some(100),
            checks: &checks,
        };
        assert_eq!(
            verdict(&evidence).reasons(),
            [
                "rows: the manifest says 79, its files add up to 80",
                "schema: column \"key\" bigint is missing from the new data, maybe renamed to \"id\"",
                "min_rows: expected at least 80, found 79",
                "max_shrink: expected at most 0.2 of live's 100 rows to go, found 79 rows",
                "not_null: id: expected no null, found 2",
                "not_null: expected a column \"name\", found only id",
            ]
        );
    }
}
