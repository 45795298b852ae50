//! Reads the rows of an opt-out table.

use crate::memory;
use arrow_array::{
    cast::AsArray,
    types::{Int64Type, TimestampMicrosecondType},
};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use turntable::{
    consent::ConsentState,
    layout::{Generation, TablePaths},
    manifest::Manifest,
};

/// Returns every row in the files that a generation's manifest lists, sorted by id: id, state, and time in Unix
/// seconds.
pub fn of(objects: &memory::Objects, paths: &TablePaths, generation: &Generation) -> Vec<(i64, ConsentState, i64)> {
    let at = paths.manifest(generation);
    let manifest = Manifest::from_json(&at, generation, &objects.body(&at.to_string()).unwrap()).unwrap();
    let mut rows = Vec::new();
    for file in &manifest.files {
        rows.extend(read(objects.body(&manifest.location.key(&file.key).to_string()).unwrap()));
    }
    assert_eq!(rows.len() as u64, manifest.rows);
    rows.sort_by_key(|row| row.0);
    rows
}

/// Returns every row of a Parquet file, in the file's order: id, state, and time in Unix seconds.
pub fn read(file: Bytes) -> Vec<(i64, ConsentState, i64)> {
    let mut rows = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
        let batch = batch.unwrap();
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let states = batch.column(1).as_string::<i32>();
        let times = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        let row = |row| (ids.value(row), states.value(row).parse().unwrap(), times.value(row) / 1_000_000);
        rows.extend((0..batch.num_rows()).map(row));
    }
    rows
}
