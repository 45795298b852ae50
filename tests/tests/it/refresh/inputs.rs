//! Refreshes after flips of inputs, in process.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tests::{rig::Rig, wire::wired};
use turntable::{layout::Generation, manifest::Manifest};

use super::support::{handle, queued};

const CHECK: &str = "{\"dataset\":\"sales\",\"inputs\":true}";

/// Creates a rig with the datasets `users`, `prices` and `sales`, which is built from the other two. `more` is added to
/// the entry of `sales`.
fn rig(after: &str, more: &str) -> Rig {
    let rig = Rig::with("");
    let files = |folder: &str| {
        format!(
            "source = {{ files = {{ location = \"s3://lake/{folder}/\", columns = {{ id = \"bigint\", name = \"string\" }} }} }}\n"
        )
    };
    let text = format!(
        "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\nrefresh = \"manual\"\n\
         [datasets.users]\n{}[datasets.prices]\n{}[datasets.sales]\n{}refresh = {after}\n{more}",
        files("in"),
        files("in"),
        files("sales")
    );
    rig.objects.put("s3://lake/datasets.toml", text);
    rig.objects.put("s3://lake/sales/sales.csv", "id,name\n1,n1\n");
    rig
}

const BOTH: &str = "{ after = [\"users\", \"prices\"] }";

async fn build(rig: &Rig, dataset: &str) -> Generation {
    match rig.export_with(rig.env(), json!({ "dataset": dataset })).await.unwrap() {
        export::Answer::Exported(exported) => exported.generation,
        other => panic!("{other:?}"),
    }
}

async fn flip(rig: &Rig, dataset: &str, generation: Generation) {
    rig.ask(json!({ "dataset": dataset, "generation": generation })).await.unwrap();
}

async fn refreshed(rig: &Rig, dataset: &str) -> Generation {
    let generation = build(rig, dataset).await;
    flip(rig, dataset, generation).await;
    generation
}

/// Delivers the event of the last flip record of a dataset. Returns what `export` has queued.
async fn deliver_flip(rig: &Rig, dataset: &str) -> Vec<String> {
    let folder = format!("s3://lake/schemas/{dataset}/_flips/");
    let record = rig.objects.keys().into_iter().filter(|key| key.starts_with(&folder)).max().unwrap();
    let mut event: Value = serde_json::from_str(include_str!("../../../../events/export-flipped.json")).unwrap();
    event["detail"]["bucket"]["name"] = json!("lake");
    event["detail"]["object"]["key"] = json!(record.trim_start_matches("s3://lake/"));
    rig.export_with(rig.env(), event).await.unwrap();
    queued(rig)
}

/// Returns the inputs of the newest generation of `sales`, or `None` if there is none.
fn newest(rig: &Rig) -> Option<Vec<(String, Generation)>> {
    let folder = "s3://lake/schemas/sales/_manifests/";
    let key = rig.objects.keys().into_iter().filter(|key| key.starts_with(folder)).max_by_key(|key| ulid(key))?;
    let json = rig.objects.body(&key).unwrap();
    let manifest: Manifest = serde_json::from_slice(&json).unwrap();
    Some(manifest.inputs.into_iter().collect())
}

fn ulid(key: &str) -> String {
    key.rsplit('-').next().unwrap().to_owned()
}

fn built(rig: &Rig) -> usize {
    rig.objects.keys().iter().filter(|key| key.starts_with("s3://lake/schemas/sales/_manifests/")).count()
}

#[tokio::test]
async fn a_dataset_is_built_once_when_all_inputs_have_flipped_and_lists_them() {
    let rig = rig(BOTH, "");
    let users = refreshed(&rig, "users").await;
    assert_eq!(deliver_flip(&rig, "users").await, [CHECK]);
    assert_eq!((handle(&rig, CHECK).await, built(&rig)), (0, 0), "prices has not flipped yet");
    let prices = refreshed(&rig, "prices").await;
    assert_eq!(deliver_flip(&rig, "prices").await, [CHECK]);
    for _ in 0..2 {
        assert_eq!((handle(&rig, CHECK).await, built(&rig)), (0, 1), "a second copy does nothing");
    }
    assert_eq!(newest(&rig).unwrap(), [("prices".to_owned(), prices), ("users".to_owned(), users)]);
    let users = refreshed(&rig, "users").await;
    assert_eq!(deliver_flip(&rig, "users").await, [CHECK]);
    assert_eq!((handle(&rig, CHECK).await, built(&rig)), (0, 1), "only users has flipped since");
    let status = status(&rig).await;
    assert_eq!(status["refresh"]["waits"], "flips of prices");
    assert_eq!(status["refresh"]["after"], json!(["prices", "users"]));
    let prices = refreshed(&rig, "prices").await;
    assert_eq!((handle(&rig, CHECK).await, built(&rig)), (0, 2));
    assert_eq!(newest(&rig).unwrap(), [("prices".to_owned(), prices), ("users".to_owned(), users)]);
    refreshed(&rig, "sales").await;
    assert_eq!(deliver_flip(&rig, "sales").await.len(), 0, "nothing is built from sales");
}

async fn status(rig: &Rig) -> Value {
    let answer = rig.ask(json!({ "dataset": "sales", "action": "status" })).await.unwrap();
    serde_json::to_value(answer).unwrap()
}

#[tokio::test]
async fn any_input_is_enough_if_the_dataset_says_so() {
    let rig = rig("{ after = [\"users\", \"prices\"], any = true }", "");
    for round in 1..4 {
        refreshed(&rig, ["users", "prices"][round % 2]).await;
        assert_eq!((handle(&rig, CHECK).await, built(&rig)), (0, round));
    }
}

#[tokio::test]
async fn a_rejected_candidate_is_not_built_again_before_the_inputs_flip_again() {
    let rig = rig(BOTH, "checks = { min_rows = 2 }\n");
    refreshed(&rig, "users").await;
    refreshed(&rig, "prices").await;
    assert_eq!((handle(&rig, CHECK).await, built(&rig)), (0, 1));
    assert_eq!((handle(&rig, CHECK).await, built(&rig)), (0, 1));
    assert!(newest(&rig).is_some());
}

#[tokio::test]
async fn a_rollback_of_an_input_builds_nothing_and_marks_what_was_built_from_it_as_outdated() {
    let rig = rig(BOTH, "");
    let old = refreshed(&rig, "users").await;
    let bad = refreshed(&rig, "users").await;
    refreshed(&rig, "prices").await;
    handle(&rig, CHECK).await;
    let sales = newest_generation(&rig);
    flip(&rig, "sales", sales).await;
    assert_eq!(status(&rig).await["built_from"]["users"], json!(bad));
    assert_eq!(rig.attention().await, Vec::<String>::new());
    rig.ask(json!({ "dataset": "users", "action": "rollback", "reason": "wrong" })).await.unwrap();
    for message in deliver_flip(&rig, "users").await {
        handle(&rig, &message).await;
    }
    assert_eq!(built(&rig), 1);
    let outdated = format!(
        "sales: the live generation was built from users {bad}, which was rolled back to {old}. Invoke export with \
         {{\"dataset\":\"sales\"}} to build it again, or roll it back too"
    );
    assert_eq!(rig.attention().await, std::slice::from_ref(&outdated));
    assert_eq!(status(&rig).await["outdated"], json!(outdated));
    refreshed(&rig, "sales").await;
    assert_eq!(rig.attention().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_status_reads_each_input_once() {
    let rig = rig(BOTH, "");
    refreshed(&rig, "users").await;
    refreshed(&rig, "prices").await;
    handle(&rig, CHECK).await;
    flip(&rig, "sales", newest_generation(&rig)).await;
    let wire = Arc::new(super::Noting::default());
    let env = wired(&rig.env(), wire.clone());
    flip::handle(env, json!({ "dataset": "sales", "action": "status" })).await.unwrap();
    let calls = wire.0.lock().unwrap();
    let reads = |table: &str| calls.iter().filter(|call| **call == format!("Table dmp.{table}")).count();
    assert_eq!((reads("users"), reads("prices")), (1, 1), "{calls:?}");
}

fn newest_generation(rig: &Rig) -> Generation {
    let folder = "s3://lake/schemas/sales/_manifests/";
    let key = rig.objects.keys().into_iter().filter(|key| key.starts_with(folder)).max_by_key(|key| ulid(key)).unwrap();
    key.trim_start_matches(folder).trim_end_matches(".json").parse().unwrap()
}

#[tokio::test]
async fn dependants_wait_until_the_canary_of_an_input_has_passed() {
    let rig = rig(BOTH, "");
    refreshed(&rig, "users").await;
    let folder = "s3://lake/schemas/users/_flips/";
    let record = rig.objects.keys().into_iter().find(|key| key.starts_with(folder)).unwrap();
    let mut flip: Value = serde_json::from_slice(&rig.objects.body(&record).unwrap()).unwrap();
    flip["canary"] = json!("pending");
    rig.objects.put(&record, flip.to_string());
    assert_eq!(deliver_flip(&rig, "users").await.len(), 0);
    flip["canary"] = json!("passed");
    rig.objects.put(&record, flip.to_string());
    assert_eq!(deliver_flip(&rig, "users").await, [CHECK]);
}

#[tokio::test]
async fn sweep_makes_up_for_lost_events_but_not_after_an_export_that_failed_for_good() {
    let rig = rig(BOTH, "");
    refreshed(&rig, "users").await;
    refreshed(&rig, "prices").await;
    rig.sweep().await.unwrap();
    assert_eq!(queued(&rig), [CHECK]);
    rig.objects.put("s3://lake/sales/sales.csv", "no such columns\n1\n");
    assert_eq!(handle(&rig, CHECK).await, 0, "it goes to the dead-letter queue");
    assert_eq!((built(&rig), rig.queue.dead()), (0, 1));
    rig.sweep().await.unwrap();
    assert_eq!(queued(&rig), Vec::<String>::new());
    rig.advance(SignedDuration::from_mins(1));
    refreshed(&rig, "users").await;
    rig.sweep().await.unwrap();
    assert_eq!(queued(&rig), [CHECK]);
}

#[tokio::test]
async fn an_engines_run_lists_the_inputs_that_were_live_when_it_began() {
    let rig = rig(BOTH, "");
    let text = String::from_utf8(rig.objects.body("s3://lake/datasets.toml").unwrap().to_vec()).unwrap();
    let (before, _) = text.split_once("[datasets.sales]").unwrap();
    let athena = crate::engines::support::ATHENA;
    rig.objects.put(
        "s3://lake/datasets.toml",
        format!("{before}[datasets.sales]\nsource = {{ {athena} }}\nrefresh = {BOTH}\n"),
    );
    let users = refreshed(&rig, "users").await;
    let prices = refreshed(&rig, "prices").await;
    assert_eq!((handle(&rig, CHECK).await, rig.engine.runs().len()), (0, 1));
    // Both flip again while the query runs.
    refreshed(&rig, "users").await;
    refreshed(&rig, "prices").await;
    assert_eq!((handle(&rig, CHECK).await, rig.engine.runs().len()), (0, 1));
    rig.engine.succeed(0, 3, &[""]).await;
    rig.export_with(rig.env(), crate::engines::support::event_of(&rig, 0)).await.unwrap();
    assert_eq!(newest(&rig).unwrap(), [("prices".to_owned(), prices), ("users".to_owned(), users)]);
    assert_eq!(queued(&rig), [CHECK]);
    assert_eq!((handle(&rig, CHECK).await, rig.engine.runs().len()), (0, 2));
}
