//! The verdict: all reasons against a candidate.

use super::{evidence::Evidence, footer_checks, rows, structure};

/// All reasons against a candidate. If there are none, it may go live.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How the candidate differs from its manifest or doesn't fit the table. Unless this is empty, the candidate must
    /// not be queried.
    pub structure: Vec<String>,
    /// How the candidate's rows fail the dataset's checks.
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
        structure.extend(evidence.policy.against(table, &manifest.columns));
    }
    let mut content = rows::rows(checks, manifest.rows, evidence.live_rows);
    // These checks need all footers. If one is missing, `structure` already has the reason.
    if evidence.footers.len() == manifest.files.len() {
        content.extend(footer_checks::not_null(checks, manifest, evidence.footers));
        content.extend(footer_checks::range(checks, manifest, evidence.footers));
        content.extend(footer_checks::fresh(checks, manifest, evidence.footers, evidence.now));
    }
    Verdict { structure, content }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        audit::{Object, Value, fixture},
        config::Checks,
        schema::{Column, Policy},
    };

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
