//! Filtered tables on the whole chain: each drop removes the person from the table, and nothing brings an older
//! generation back.

use std::time::Instant;

use local::engines::create_workgroup;
use serde_json::{Value, json};
use turntable::{layout::Location, record::FlipOrigin};

use super::{Chain, USERS, generation, optout::OPTOUTS, users};

const COUNT: &str = "SELECT count(*) FROM dmp.users_filtered";

/// Deploys a stack with users 1 to 20, none of whom has opted out, and their filtered table.
async fn start() -> Chain {
    let optouts = OPTOUTS.replace("users = \"id\"", "users = { column = \"id\", as = \"table\", workgroup = \"etl\" }");
    let parameters = [("OptoutSchedule", "rate(1 day)"), ("EngineWorkgroups", "etl")];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let chain =
        Chain::deploy(&format!("{USERS}{optouts}"), |deployment| deployment.parameters.extend(parameters)).await;
    create_workgroup(&chain, "etl").await.unwrap();
    let chain = chain.enforced().await;
    chain.put("source/users/users.csv", users(20, 1)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    chain.next("users", None).await;
    assert_eq!(chain.live("users_filtered").await, None, "there is no list of opt-outs yet");
    chain.ask("optout", &json!({})).await;
    chain.until_number(COUNT, 20).await;
    chain
}

impl Chain {
    /// Moves a table to another location, as somebody outside the stack does.
    async fn move_to(&self, table: &str, location: &Location) {
        let found = self.table(table).await.unwrap();
        let mut input = turntable::aws::glue::unchanged(&found);
        input.storage_descriptor.as_mut().unwrap().location = Some(location.to_string());
        self.glue.update_table().database_name("dmp").table_input(input).send().await.unwrap();
    }

    async fn refused(&self, function: &str, request: Value) -> String {
        let refused = self.answer(function, &request).await.unwrap_err();
        format!("{}: {}", refused.error_type, refused.error_message)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_leave_the_filtered_table_with_their_drop_and_nothing_but_a_record_brings_them_back() {
    let chain = start().await;
    let everybody = chain.live("users_filtered").await.unwrap();
    let older = chain.paths("users_filtered").parse_generation(&everybody).unwrap();

    let put = Instant::now();
    chain.drop("out.csv", "7,opted_out,2026-01-01T00:00:00Z\n8,withdrawn,2026-01-01T00:00:00Z\n").await;
    chain.until_number(COUNT, 18).await;
    println!("{} ms from the put of a drop to the filtered table", put.elapsed().as_millis());
    assert_eq!(chain.number(&format!("{COUNT} WHERE id IN (7, 8)")).await, 0);

    // After the next export of the users, they are still out.
    let before = chain.live("users").await;
    chain.put("source/users/users.csv", users(30, 2)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    chain.next("users", before.as_ref()).await;
    chain.until_number(COUNT, 28).await;
    assert_eq!(chain.number(&format!("{COUNT} WHERE id IN (7, 8)")).await, 0);

    // Nobody brings back the generation with everybody: no request, no late event and no move by hand.
    let of = |more: Value| {
        let mut request = json!({ "dataset": "users_filtered", "reason": "r" });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    for what in [json!({ "action": "rollback" }), json!({ "action": "rollback", "generation": older })] {
        let refused = chain.refused("flip", of(what)).await;
        assert!(refused.starts_with("Input: users_filtered: a filtered table can't be rolled back"), "{refused}");
    }
    let held = chain.refused("flip", of(json!({ "action": "hold" }))).await;
    assert!(held.starts_with("Input: users_filtered: a filtered table can't be held"), "{held}");
    let now = chain.live("users_filtered").await;
    let forced = chain.ask("flip", &json!({ "dataset": "users_filtered", "generation": older })).await;
    assert_eq!(forced["outcome"], "stale", "{forced}");
    assert!(forced["reasons"][0].as_str().unwrap().contains("invoke export"), "{forced}");
    assert_eq!(chain.live("users_filtered").await, now);

    chain.move_to("users_filtered", &everybody).await;
    assert_eq!(chain.number(COUNT).await, 20);
    let kept = chain.ask("flip", &json!({ "dataset": "users_filtered", "generation": older })).await;
    assert_eq!(kept["outcome"], "stale", "the request doesn't adopt it: {kept}");
    let mut event: Value = serde_json::from_str(include_str!("../../../../events/flip-glue.json")).unwrap();
    event["detail"]["tableName"] = "users_filtered".into();
    let repaired = chain.ask("flip", &event).await;
    assert_eq!(repaired["outcome"], "swapped", "{repaired}");
    assert_eq!(chain.number(COUNT).await, 28);

    // If its files are lost, it stays empty, and isn't repaired with an older generation.
    for key in chain.keys(&now.as_ref().unwrap().prefix).await {
        chain.s3.delete_object().bucket(&chain.bucket).key(&key).send().await.unwrap();
    }
    let swept = chain.ask("sweep", &json!({ "dataset": "users_filtered" })).await;
    assert!(swept["notes"].to_string().contains("may have people who opted out in between"), "{swept}");
    assert_eq!(chain.live("users_filtered").await, now);
    let started = chain.ask("export", &json!({ "dataset": "users_filtered" })).await;
    assert_eq!(chain.next("users_filtered", now.as_ref()).await, generation(&started));
    assert_eq!(chain.number(COUNT).await, 28);

    chain.drop("back.csv", "7,opted_in,2026-01-02T00:00:00Z\n").await;
    chain.until_number(COUNT, 29).await;
    assert_eq!(chain.number(&format!("{COUNT} WHERE id IN (7, 8)")).await, 1);
    let flips = chain.ask("flip", &json!({ "dataset": "users_filtered", "action": "status" })).await;
    assert_eq!(flips["last_flip"]["by"], serde_json::to_value(FlipOrigin::Event).unwrap(), "{flips}");
}

#[tokio::test(flavor = "multi_thread")]
async fn filtered_table_is_built_only_from_the_right_view_and_may_become_empty() {
    let chain = start().await;
    chain.drop("out.csv", "7,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.until_number(COUNT, 19).await;
    let live = chain.live("users_filtered").await;
    let export = json!({ "dataset": "users_filtered" });
    // The statements return no row, which `try_query` reports as an error.
    for change in [
        "DROP VIEW dmp.users_protected",
        "CREATE VIEW dmp.users_protected AS SELECT * FROM dmp.users",
        "CREATE OR REPLACE VIEW dmp.users_protected AS SELECT * FROM dmp.users WHERE id <> 8",
    ] {
        let _ = chain.try_query(change).await;
        let refused = chain.refused("export", export.clone()).await;
        assert!(
            refused.starts_with("Unavailable: users_filtered: the view dmp.users_protected is missing or"),
            "{refused}"
        );
        assert_eq!((chain.live("users_filtered").await, chain.number(COUNT).await), (live.clone(), 19), "{change}");
    }
    let status = chain.ask("flip", &json!({ "action": "status" })).await;
    assert!(status["attention"].to_string().contains("users_filtered: the export failed"), "{status}");
    chain.ask("optout", &json!({})).await;
    let started = chain.ask("export", &export).await;
    assert_eq!(chain.next("users_filtered", live.as_ref()).await, generation(&started));
    assert_eq!(chain.number(COUNT).await, 19);

    // UNLOAD writes no file for an empty result, and the last people must not stay in the table for that.
    let all: String = (1..=20).map(|id| format!("{id},opted_out,2026-01-02T00:00:00Z\n")).collect();
    chain.drop("all.csv", &all).await;
    chain.until_number(COUNT, 0).await;
    chain.ask("sweep", &json!({})).await;
    let status = chain.ask("flip", &json!({ "action": "status" })).await;
    assert_eq!(status["attention"], json!([]), "{status}");
    chain.drop("back.csv", "9,opted_in,2026-01-03T00:00:00Z\n").await;
    chain.until_number(COUNT, 1).await;
}
