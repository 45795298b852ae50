//! A manifest and its footers, for tests.

use jiff::Timestamp;

use super::{Extremes, Footer, Statistics, Value};
use crate::{
    manifest::{File, Manifest, TypedBy, VERSION},
    schema::Column,
};

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
        missing: Default::default(),
        ignored: Default::default(),
        merge: None,
        group: None,
        inputs: Default::default(),
        read: None,
    }
}

/// Returns the footers of the two files in [`manifest`]. For each file, `values` holds the number of nulls, the
/// smallest value and the largest value of the column `id`.
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
