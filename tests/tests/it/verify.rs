//! A live table is compared with what was published: edits of the table and of its files are reported, and repaired if the
//! dataset says so.

use jiff::SignedDuration;
use serde_json::json;
use tests::{
    catalog::{Fault, Op},
    rig::Rig,
};
use turntable::{aws::glue, layout::Generation, publish::Outcome};

const REPAIR: &str = "on_drift = \"repair\"\n";

/// Creates a rig whose table has gone live once.
async fn live(more: &str) -> (Rig, Generation) {
    let rig = Rig::with(more);
    let generation = rig.export().await;
    rig.deliver(&generation).await.unwrap();
    (rig, generation)
}

/// Changes the type of `id`, drops `name` and adds a column, as a crawler or a person might.
fn edit_columns(rig: &Rig) {
    rig.edit_table(|table| {
        let columns = table.storage_descriptor.as_mut().unwrap().columns.as_mut().unwrap();
        columns[0].r#type = Some("string".into());
        columns.pop();
        columns.push(aws_sdk_glue::types::Column::builder().name("extra").r#type("int").build().unwrap());
    });
}

const EDITS: &str = "columns: \"id\" is bigint in the files and string in the table; columns: \"extra\" int is not in \
                     the files; columns: \"name\" string is missing from the table";

#[tokio::test]
async fn edited_columns_are_reported_and_the_next_flip_restores_them() {
    let (rig, generation) = live("").await;
    assert_eq!(rig.deliver_change().await.unwrap().reasons, [""; 0]);
    edit_columns(&rig);
    let seen = rig.deliver_change().await.unwrap();
    assert_eq!(seen.outcome, Outcome::Status);
    assert!(seen.reasons[0].contains("the table differs from its live generation"), "{:?}", seen.reasons);
    let status = rig.ask(json!({ "dataset": "users", "action": "status" })).await.unwrap().status.unwrap();
    assert_eq!(status.edited.as_ref(), Some(&seen.reasons[0]));
    assert_eq!(rig.attention().await, seen.reasons);
    assert_eq!(rig.columns(), ["id string", "extra int"], "on_drift is report");

    let next = rig.export().await;
    let flipped = rig.deliver(&next).await.unwrap();
    assert_eq!((flipped.outcome, rig.columns()), (Outcome::Committed, vec!["id bigint".into(), "name string".into()]));
    assert_eq!(rig.attention().await, [""; 0]);
    assert_ne!(next, generation);
}

#[tokio::test]
async fn repair_restores_the_whole_table_in_place() {
    let (rig, generation) = live(REPAIR).await;
    edit_columns(&rig);
    let seen = rig.deliver_change().await.unwrap();
    assert_eq!(seen.outcome, Outcome::Committed, "{:?}", seen.reasons);
    assert_eq!((rig.columns(), rig.live()), (vec!["id bigint".into(), "name string".into()], Some(generation)));
    assert_eq!(rig.deliver_change().await.unwrap().outcome, Outcome::Status);
    assert_eq!(rig.records(), 1, "nothing was flipped");

    // Nothing is repaired under a hold.
    rig.ask(json!({ "dataset": "users", "action": "hold", "reason": "we are editing it" })).await.unwrap();
    edit_columns(&rig);
    let held = rig.deliver_change().await.unwrap();
    assert_eq!((held.outcome, rig.columns()), (Outcome::Held, vec!["id string".into(), "extra int".into()]));
    rig.ask(json!({ "dataset": "users", "action": "release" })).await.unwrap();
    let swept = rig.sweep().await.unwrap();
    assert!(swept.notes.iter().any(|note| note.contains(EDITS) && note.ends_with("; repaired")), "{:?}", swept.notes);
    assert_eq!(rig.columns(), ["id bigint", "name string"]);
}

#[tokio::test]
async fn operator_restores_an_edited_table_by_naming_its_live_generation() {
    let (rig, generation) = live("").await;
    edit_columns(&rig);
    let answer = rig.flip(&generation).await.unwrap();
    assert_eq!(answer.outcome, Outcome::AlreadyLive);
    assert!(answer.reasons.iter().all(|reason| reason.starts_with("restored: columns: ")), "{:?}", answer.reasons);
    assert_eq!(rig.columns(), ["id bigint", "name string"]);
    assert_eq!(rig.flip(&generation).await.unwrap().reasons, [""; 0]);
}

#[tokio::test]
async fn rollback_is_not_rejected_because_of_edited_columns() {
    let (rig, first) = live("schema = \"strict\"\n").await;
    let second = rig.export().await;
    rig.deliver(&second).await.unwrap();
    edit_columns(&rig);
    let back = rig.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap();
    assert_eq!((back.outcome, rig.live()), (Outcome::Committed, Some(first)), "{:?}", back.reasons);
    assert_eq!(rig.columns(), ["id bigint", "name string"]);
}

#[tokio::test]
async fn narrowed_projection_and_a_foreign_serde_path_are_reported_and_repaired() {
    let rig = Rig::with("");
    rig.configure("id = \"bigint\", n = \"int\"", &format!("partition_by = [\"n\"]\n{REPAIR}"));
    let generation = rig.export_csv("id,n\n1,1\n2,2\n3,9\n").await;
    rig.deliver(&generation).await.unwrap();
    let before = rig.catalog.get(&rig.table).unwrap();
    rig.edit_table(|table| {
        table.parameters.as_mut().unwrap().insert("projection.n.range".into(), "1,2".into());
        let serde = table.storage_descriptor.as_mut().unwrap().serde_info.as_mut().unwrap();
        serde.parameters.as_mut().unwrap().insert("path".into(), "s3://lake/old".into());
    });
    let seen = rig.deliver_change().await.unwrap();
    assert_eq!(seen.outcome, Outcome::Committed, "{:?}", seen.reasons);
    assert!(seen.reasons[0].contains("projection.n.range is \"1,2\", but the flip set \"1,9\""), "{:?}", seen.reasons);
    assert!(seen.reasons[0].contains("the SerDe parameter path"), "{:?}", seen.reasons);
    assert_eq!(glue::unchanged(&rig.catalog.get(&rig.table).unwrap()), glue::unchanged(&before));
}

#[tokio::test]
async fn serde_of_another_format_is_reported_and_restored() {
    let json = |table: &mut aws_sdk_glue::types::TableInput| {
        let storage = table.storage_descriptor.as_mut().unwrap();
        storage.serde_info.as_mut().unwrap().serialization_library = Some("org.openx.data.jsonserde.JsonSerDe".into());
        storage.input_format = Some("org.apache.hadoop.mapred.TextInputFormat".into());
    };
    let (rig, _) = live(REPAIR).await;
    let before = rig.catalog.get(&rig.table).unwrap();
    rig.edit_table(json);
    let seen = rig.deliver_change().await.unwrap();
    assert_eq!(seen.outcome, Outcome::Committed, "{:?}", seen.reasons);
    assert!(seen.reasons[0].contains("the SerDe is org.openx.data.jsonserde.JsonSerDe"), "{:?}", seen.reasons);
    assert_eq!(glue::unchanged(&rig.catalog.get(&rig.table).unwrap()), glue::unchanged(&before));

    // Without `repair`, the next flip or an operator's request restores the table.
    let (rig, first) = live("").await;
    rig.edit_table(json);
    assert!(rig.attention().await[0].contains("JsonSerDe"));
    assert_eq!(rig.flip(&first).await.unwrap().outcome, Outcome::AlreadyLive);
    assert_eq!(rig.attention().await, [""; 0]);
    rig.edit_table(json);
    let next = rig.export().await;
    assert_eq!(rig.deliver(&next).await.unwrap().outcome, Outcome::Committed);
    assert_eq!(rig.attention().await, [""; 0]);
}

#[tokio::test]
async fn edited_type_of_a_partition_key_is_restored_once() {
    for repair in [true, false] {
        let rig = Rig::with("");
        let more = if repair { REPAIR } else { "" };
        rig.configure("id = \"bigint\", n = \"int\"", &format!("partition_by = [\"n\"]\n{more}"));
        let generation = rig.export_csv("id,n\n1,1\n2,2\n").await;
        rig.deliver(&generation).await.unwrap();
        rig.edit_table(|table| table.partition_keys.as_mut().unwrap()[0].r#type = Some("string".into()));
        if repair {
            assert_eq!(rig.deliver_change().await.unwrap().outcome, Outcome::Committed);
        } else {
            let next = rig.export().await;
            assert_eq!(rig.deliver(&next).await.unwrap().outcome, Outcome::Committed, "an edit rejects no flip");
        }
        assert_eq!(rig.catalog.get(&rig.table).unwrap().partition_keys()[0].r#type(), Some("int"));
        let version = rig.catalog.get(&rig.table).unwrap().version_id;
        assert_eq!(rig.deliver_change().await.unwrap().outcome, Outcome::Status);
        assert_eq!(rig.catalog.get(&rig.table).unwrap().version_id, version, "the repair's own event changes nothing");
    }
}

#[tokio::test]
async fn table_that_turns_into_a_managed_one_elsewhere_is_drift_and_is_repaired() {
    let (rig, generation) = live(REPAIR).await;
    rig.edit_table(|table| {
        table.table_type = Some("MANAGED_TABLE".into());
        table.storage_descriptor.as_mut().unwrap().location = Some("s3://lake/spark/users/".into());
    });
    let repaired = rig.deliver_change().await.unwrap();
    assert_eq!((repaired.outcome, rig.live()), (Outcome::Committed, Some(generation)), "{:?}", repaired.reasons);
}

#[tokio::test]
async fn lost_files_do_not_bring_back_what_an_operator_rolled_back() {
    let (rig, first) = live(REPAIR).await;
    let bad = rig.export().await;
    rig.deliver(&bad).await.unwrap();
    rig.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap();
    rig.files(&first).iter().for_each(|key| rig.objects.delete(key));
    let swept = rig.sweep().await.unwrap();
    assert!(swept.notes[0].contains("no complete generation is left that the table"), "{:?}", swept.notes);
    assert_eq!(rig.live(), Some(first), "{bad} is known to be bad");
}

#[tokio::test]
async fn candidate_from_before_a_rollback_needs_no_attention() {
    let (rig, _) = live("").await;
    let bad = rig.export().await;
    let late = rig.export().await;
    rig.deliver(&bad).await.unwrap();
    rig.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap();
    assert_eq!(rig.deliver(&late).await.unwrap().outcome, Outcome::Stale);
    rig.advance(SignedDuration::from_mins(31));
    assert_eq!(rig.attention().await, [""; 0], "{late} has the bad rows too");
}

#[tokio::test]
async fn database_that_can_not_be_listed_deletes_nothing_and_is_told() {
    let (rig, first) = live("retain = { generations = 0, drain = \"0s\" }\n").await;
    let second = rig.export().await;
    rig.deliver(&second).await.unwrap();
    rig.advance(SignedDuration::from_hours(24));
    rig.catalog.on(Op::Tables, rig.catalog.calls(Op::Tables) + 1, Fault::Fail);
    let refused = rig.sweep().await.unwrap_err();
    assert!(refused.report().contains("it is unknown which tables in dmp read its files"), "{}", refused.report());
    assert_eq!(rig.files(&first).len(), 1);
    rig.sweep().await.unwrap();
    assert_eq!(rig.files(&first).len(), 0);
}

#[tokio::test]
async fn lost_files_are_reported_and_the_table_goes_back_to_a_complete_generation_if_it_may() {
    for repair in [false, true] {
        let (rig, first) = live(if repair { REPAIR } else { "" }).await;
        let second = rig.export().await;
        rig.deliver(&second).await.unwrap();
        rig.files(&second).iter().for_each(|key| rig.objects.delete(key));
        let attention = rig.attention().await;
        assert_eq!(attention.len(), 1, "{attention:?}");
        assert!(attention[0].contains("readers miss rows, without an error: objects: part-00000.parquet is missing"));

        let swept = rig.sweep().await.unwrap();
        assert!(swept.notes[0].starts_with(&attention[0]), "{:?}", swept.notes);
        assert_eq!(
            (swept.notes[0].ends_with("; repaired"), rig.live()),
            (repair, Some(if repair { first } else { second }))
        );
        if repair {
            assert_eq!(rig.attention().await, [""; 0]);
            assert!(rig.sweep().await.unwrap().notes.iter().all(|note| !note.contains("objects:")));
            let next = rig.export().await;
            assert_eq!(rig.deliver(&next).await.unwrap().outcome, Outcome::Committed);
        } else {
            // The request that the message names: the next export.
            let next = rig.export().await;
            rig.deliver(&next).await.unwrap();
            assert_eq!(rig.attention().await, [""; 0]);
        }
    }
}

#[tokio::test]
async fn file_that_somebody_adds_is_reported_and_moves_nothing() {
    let (rig, first) = live(REPAIR).await;
    let second = rig.export().await;
    rig.deliver(&second).await.unwrap();
    let foreign = rig.paths.generation(&second).key("zz.parquet").to_string();
    rig.objects.put(&foreign, "rows that nobody published");
    let swept = rig.sweep().await.unwrap();
    assert!(
        swept.notes[0].contains("readers get rows that nobody published: objects: zz.parquet is not in the manifest")
    );
    assert_eq!(rig.live(), Some(second), "{first}");
    assert_eq!(rig.attention().await.len(), 1);
    rig.objects.delete(&foreign);
    assert_eq!(rig.attention().await, [""; 0]);
}

#[tokio::test]
async fn without_a_complete_generation_nothing_is_moved_and_the_note_says_so() {
    let (rig, only) = live(REPAIR).await;
    rig.files(&only).iter().for_each(|key| rig.objects.delete(key));
    let swept = rig.sweep().await.unwrap();
    assert!(swept.notes[0].contains("no complete generation is left that the table"), "{:?}", swept.notes);
    assert_eq!(rig.live(), Some(only));
}

#[tokio::test]
async fn rejected_candidate_tells_why_until_another_goes_live() {
    let (rig, live) = live("checks = { min_rows = 2 }\n").await;
    let bad = rig.export_csv("id,name\n1,a\n").await;
    assert_eq!(rig.attention().await, [""; 0], "its flip is still to come");
    assert_eq!(rig.deliver(&bad).await.unwrap().outcome, Outcome::Rejected);
    let attention = rig.attention().await;
    assert!(attention[0].contains(&format!("users: {bad} was rejected, ")), "{attention:?}");
    assert!(attention[0].contains("expected at least 2, found 1"), "{attention:?}");
    assert_eq!((attention.len(), rig.live()), (1, Some(live)));
    rig.source(3);
    let good = rig.export().await;
    rig.deliver(&good).await.unwrap();
    assert_eq!(rig.attention().await, [""; 0]);

    // Sweep deletes the verdict together with its candidate.
    rig.advance(SignedDuration::from_hours(24 * 30));
    let (verdict, sweep) = (rig.paths.verdict(&bad).to_string(), rig.sweep().await.unwrap());
    assert!(rig.objects.body(&verdict).is_none(), "{sweep:?}");
}

#[tokio::test]
async fn candidate_whose_event_was_lost_needs_attention_after_a_while() {
    let (rig, _) = live("").await;
    let waits = rig.export().await;
    assert_eq!(rig.attention().await, [""; 0]);
    rig.advance(SignedDuration::from_mins(31));
    let attention = rig.attention().await;
    assert!(
        attention[0].contains(&format!("{waits} is complete, but no flip has tried to make it live")),
        "{attention:?}"
    );
    rig.flip(&waits).await.unwrap();
    assert_eq!(rig.attention().await, [""; 0]);
}

#[tokio::test]
async fn failed_export_needs_attention_until_one_succeeds() {
    let (rig, _) = live("").await;
    rig.objects.put("s3://lake/in/users.csv", "id,name\nno number,a\n");
    rig.export_with(rig.env(), json!({ "dataset": "users" })).await.unwrap_err();
    let attention = rig.attention().await;
    assert_eq!(attention.len(), 1, "{attention:?}");
    assert!(attention[0].starts_with("users: the export failed at ") && attention[0].contains("invoke export with"));
    rig.source(3);
    let good = rig.export().await;
    rig.deliver(&good).await.unwrap();
    assert_eq!(rig.attention().await, [""; 0]);
}

#[tokio::test]
async fn rollback_of_the_first_generation_says_that_there_is_none_before_it() {
    let (rig, first) = live("").await;
    let refused = rig.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap_err();
    assert!(
        refused.message().contains(&format!("{first} is the first generation of the table")),
        "{}",
        refused.message()
    );
}

#[tokio::test]
async fn generation_from_the_future_is_refused_and_one_that_is_live_blocks_nothing() {
    let (rig, first) = live("").await;
    // Simulates what a release without this check could leave: a live generation whose `as_of` is ten days from now.
    let key = rig.paths.manifest(&first).to_string();
    let mut manifest: serde_json::Value = serde_json::from_slice(&rig.objects.body(&key).unwrap()).unwrap();
    let ahead = rig.now().checked_add(SignedDuration::from_hours(240)).unwrap();
    manifest["as_of"] = json!(ahead);
    rig.objects.put(&key, manifest.to_string());
    let status = turntable::flip::status_of_all(&rig.env()).await.unwrap();
    assert!(status.datasets[0].age_seconds.unwrap() >= 0, "an alarm on the age can ring");

    let candidate = rig.export().await;
    let key = rig.paths.manifest(&candidate).to_string();
    let mut manifest: serde_json::Value = serde_json::from_slice(&rig.objects.body(&key).unwrap()).unwrap();
    let as_of = std::mem::replace(&mut manifest["as_of"], json!(ahead));
    rig.objects.put(&key, manifest.to_string());
    let refused = rig.flip(&candidate).await.unwrap_err();
    assert!(refused.message().contains("the source's clock is ahead"), "{}", refused.message());

    manifest["as_of"] = as_of;
    rig.objects.put(&key, manifest.to_string());
    assert_eq!(rig.flip(&candidate).await.unwrap().outcome, Outcome::Committed, "live is not fresher for ever");
}
