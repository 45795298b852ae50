//! Parquet drops. A run reads a whole drop before it decodes it, so only calls wait at the gate, and never a thread.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow_array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use bytes::Bytes;
use tests::{memory::Objects, rig::Rig};
use turntable::{consent::ConsentState, layout::Key};

/// 2026-01-01 in Unix seconds.
const BEGIN: i64 = 1_767_225_600;

/// Returns a drop with these records: id, state, and seconds after `BEGIN`.
pub fn parquet(words: &[(i64, ConsentState, i64)]) -> Bytes {
    let ids = Int64Array::from_iter_values(words.iter().map(|word| word.0));
    let states = StringArray::from_iter_values(words.iter().map(|word| word.1.as_str()));
    let times = TimestampMicrosecondArray::from_iter_values(words.iter().map(|word| (BEGIN + word.2) * 1_000_000));
    let columns: [(&str, arrow_array::ArrayRef); 3] = [
        ("user_id", Arc::new(ids)),
        ("state", Arc::new(states)),
        ("occurred_at", Arc::new(times.with_timezone("UTC"))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ::parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes.into()
}

/// Puts a drop into the inbox.
pub fn put(rig: &Rig, name: &str, words: &[(i64, ConsentState, i64)]) {
    rig.objects.put(&format!("s3://lake/inbox/optouts/{name}.parquet"), parquet(words));
}

/// Returns the keys of all drops, in the inbox and in the archive.
fn keys(objects: &Objects) -> impl Iterator<Item = String> {
    objects.keys().into_iter().filter(|key| key.contains("/inbox/optouts/") && key.ends_with(".parquet"))
}

/// Returns the ETags of all drops.
pub fn etags(objects: &Objects) -> BTreeSet<String> {
    keys(objects).filter_map(|key| objects.etag(&key.parse::<Key>().ok()?)).collect()
}

/// Returns the latest record of each person in all drops: id → second and state.
pub fn all(objects: &Objects) -> BTreeMap<i64, (i64, ConsentState)> {
    let mut said = BTreeMap::new();
    for key in keys(objects) {
        let bytes = objects.body(&key).unwrap();
        for (id, state, second) in tests::optouts::rows::read(bytes) {
            let word = (second, state);
            said.entry(id).and_modify(|known: &mut (i64, ConsentState)| *known = word.max(*known)).or_insert(word);
        }
    }
    said
}
