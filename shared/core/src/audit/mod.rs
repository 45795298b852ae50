//! The audit: decides from evidence whether a candidate may go live. The evidence is fetched elsewhere.
//!
//! A reason names the check, the expected and the actual result, and never a value of a row: even a smallest value
//! belongs to some row. The only exception is the age in hours of the newest value of a `fresh` column.

mod rows;
mod sql_checks;
mod statistics;
mod structure;
mod value;

use jiff::Timestamp;

pub use sql_checks::{Question, has_sql_checks, questions};
pub use statistics::{Extremes, Statistics, of_folders};
pub use structure::exact_objects;
pub use value::Value;

use crate::{
    config::Checks,
    manifest::Manifest,
    schema::{Column, Policy},
};

/// The facts that a verdict is based on.
pub struct Evidence<'a> {
    pub now: Timestamp,
    pub manifest: &'a Manifest,
    /// Every object under the candidate's location.
    pub objects: &'a [Object],
    /// The footers of the files that match the manifest.
    pub footers: &'a [Footer],
    /// The table's columns. `None` if the table doesn't exist yet.
    pub table: Option<&'a [Column]>,
    /// The table's partition keys. `None` if the table doesn't exist yet.
    pub partition_keys: Option<&'a [Column]>,
    /// Which changes to the table's columns are allowed.
    pub policy: Policy,
    /// The number of live rows. `None` if unknown.
    pub live_rows: Option<u64>,
    pub checks: &'a Checks,
}

/// One object under the candidate's location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Relative to the location.
    pub key: String,
    pub bytes: u64,
    pub etag: String,
}

/// The content of one file's Parquet footer.
#[derive(Debug, Clone, PartialEq)]
pub struct Footer {
    /// Relative to the location.
    pub key: String,
    pub rows: u64,
    pub columns: Vec<Column>,
    /// One for each of `columns`. `None` for a nested column.
    pub statistics: Vec<Option<Statistics>>,
    /// One for each of the manifest's partition columns, derived from the file's key.
    pub partitions: Vec<Statistics>,
}

/// Every reason against the candidate. If there is none, the candidate may go live.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The candidate differs from its manifest or doesn't fit the table. It must not be queried.
    pub structure: Vec<String>,
    /// The rows fail checks.
    pub content: Vec<String>,
}

impl Verdict {
    /// Returns all reasons, those about the structure first.
    pub fn reasons(self) -> Vec<String> {
        [self.structure, self.content].concat()
    }
}

/// Runs all checks that need no query.
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
    // Checks of values need all footers. If some are missing, `structure` has the reason.
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

    /// Returns the footers of the files of [`manifest`]: for each, the nulls, the smallest and the largest value.
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
                "rows: the manifest says 79 rows, but its files have 80",
                "schema: column \"key\" bigint is missing from the new data, maybe renamed to \"id\"",
                "min_rows: expected at least 80, found 79",
                "max_shrink: expected to lose at most 0.2 of the 100 live rows, found 79 rows",
                "not_null: id: expected no nulls, found 2",
                "not_null: expected a column \"name\", found only id",
            ]
        );
    }
}
