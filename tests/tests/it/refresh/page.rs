//! The records on docs/events.md are read by the code that writes them.

use std::fs;

use serde_json::Value;
use turntable::record::{ExportFailure, Flip, FlipOrigin, Verdict};

/// Returns the fields that a record has when it is written again.
fn again<T: serde::Serialize + serde::de::DeserializeOwned>(written: &Value) -> Value {
    serde_json::to_value(serde_json::from_value::<T>(written.clone()).unwrap()).unwrap()
}

#[test]
fn the_records_on_the_page_have_the_fields_that_are_stored() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/events.md")).unwrap();
    let blocks = page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let blocks: Vec<Value> = blocks.map(|block| serde_json::from_str(block).unwrap()).collect();
    let records: Vec<&Value> = blocks.iter().filter(|block| block["at"].is_string()).collect();
    let [flip, verdict, failure] = records[..] else { panic!("{records:?}") };
    assert_eq!(again::<Flip>(flip), *flip);
    assert_eq!(again::<Verdict>(verdict), *verdict);
    assert_eq!(again::<ExportFailure>(failure), *failure);
    let row = page.lines().find(|line| line.starts_with("| `by` |")).unwrap();
    use FlipOrigin::{Canary, Event, Group, Operator, Recovered, Repair, Rollback};
    for origin in [Event, Operator, Rollback, Canary, Repair, Group, Recovered] {
        let name = serde_json::to_value(origin).unwrap();
        assert!(row.contains(&format!("`{}`", name.as_str().unwrap())), "{name}");
    }
}
