//! Large drops for measurements.

use std::{ops::Range, sync::Arc};

use arrow_array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};

/// Returns a Parquet drop that opts these people out.
pub fn parquet(people: Range<i64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer: Option<parquet::arrow::ArrowWriter<&mut Vec<u8>>> = None;
    let mut to = Some(&mut bytes);
    for start in people.clone().step_by(1 << 16) {
        let ids = start..(start + (1 << 16)).min(people.end);
        let times = ids.clone().map(|id| 1_767_225_600_000_000 - id * 7919 % 31_536_000 * 1_000_003);
        let batch = RecordBatch::try_from_iter([
            ("user_id", Arc::new(Int64Array::from_iter_values(ids.clone())) as _),
            ("state", Arc::new(StringArray::from_iter_values(ids.map(|_| "opted_out"))) as _),
            ("occurred_at", Arc::new(TimestampMicrosecondArray::from_iter_values(times)) as _),
        ])
        .unwrap();
        if let Some(to) = to.take() {
            writer = Some(parquet::arrow::ArrowWriter::try_new(to, batch.schema(), None).unwrap());
        }
        writer.as_mut().unwrap().write(&batch).unwrap();
    }
    writer.unwrap().close().unwrap();
    bytes
}
