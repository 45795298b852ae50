//! Opt-outs, from the put of a drop to the query that sees it: S3 event → EventBridge → queue → optout.

use std::time::{Duration, Instant};

use local::Deployment;
use serde_json::{Value, json};

use super::{Chain, USERS, sqs, users};

pub const OPTOUTS: &str = r#"
[datasets.optouts]
source = { inbox = { location = "s3://${BUCKET}/inbox/optouts", key = "user_id", columns = { user_id = "bigint" } } }
protects = { users = "id" }
"#;

/// Removes `protects` from the dataset's entry, for a stack without users.
pub fn unprotected(datasets: &str) -> String {
    datasets.replace("protects = { users = \"id\" }\n", "")
}

/// Deploys a stack whose optout schedule never fires, so that drops are merged only because of their events.
pub async fn start(datasets: &str) -> Chain {
    Chain::deploy(datasets, |deployment: &mut Deployment| {
        deployment.parameters.push(("OptoutSchedule".into(), "rate(1 day)".into()));
    })
    .await
}

impl Chain {
    pub async fn drop(&self, name: &str, records: &str) {
        let csv = format!("user_id,state,occurred_at\n{records}");
        self.put(&format!("inbox/optouts/{name}"), csv).await.unwrap();
    }

    pub async fn number(&self, sql: &str) -> u64 {
        let row = self.query(sql).await;
        row[0].as_deref().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{sql}: {row:?}"))
    }

    /// Waits until a query returns this number. The table may be created meanwhile; any other failure is a panic.
    pub async fn until_number(&self, sql: &str, expected: u64) {
        let found = async || match self.try_query(sql).await {
            Err(error) if error.to_string().contains("TABLE_NOT_FOUND") => None,
            Err(error) => panic!("{sql}: {error:#}"),
            Ok(row) => (row[0].as_deref() == Some(expected.to_string().as_str())).then_some(()),
        };
        self.until(&format!("{expected} of {sql}"), found).await;
    }

    /// Returns how many messages in optout's queue are waiting or in flight.
    pub async fn waiting_nudges(&self) -> u64 {
        let (waiting, in_flight) = sqs::depth(self, &self.outputs["OptoutQueueUrl"]).await;
        waiting + in_flight
    }
}

pub const OUT: &str = "SELECT count(*) FROM dmp.optouts WHERE state <> 'opted_in'";
const ACTIVE: &str = "SELECT count(*) FROM dmp.optouts_active";
const PROTECTED: &str = "SELECT count(*) FROM dmp.users_protected";

/// The drops that would bring them back wait for an operator's request.
#[tokio::test(flavor = "multi_thread")]
async fn people_beyond_max_returning_come_back_only_by_a_request() {
    let inbox = OPTOUTS.replace("key = ", "max_returning = 1, key = ");
    let chain = start(&format!("{USERS}{inbox}")).await;
    chain.put("source/users/users.csv", users(100, 1)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    chain.next("users", None).await;
    let records = |state: &str, month: u8, ids: &[u8]| -> String {
        ids.iter().map(|id| format!("{id},{state},2026-{month:02}-01T00:00:00Z\n")).collect()
    };
    chain.drop("a.csv", &records("opted_out", 1, &[1, 2, 3])).await;
    chain.until_number(OUT, 3).await;
    chain.drop("b.csv", &records("opted_in", 2, &[1, 2])).await;
    let told = async || {
        let status = chain.ask("flip", &json!({ "action": "status" })).await;
        status["attention"].to_string().contains("would bring back 2 people").then_some(())
    };
    chain.until("the condition", told).await;
    assert_eq!(chain.number(OUT).await, 3);
    // Whoever may only invoke the functions themselves, as events do, decides nothing.
    let request = json!({ "dataset": "optouts", "max_returning": 2 });
    let rollback = json!({ "dataset": "users", "action": "rollback", "reason": "r" });
    for (function, request) in [("optout", &request), ("flip", &rollback)] {
        let deployed = &chain.functions[function];
        let refused = chain.lambda.invoke(deployed, request).await.unwrap().unwrap_err();
        assert_eq!(refused.error_type, "Input", "{refused}");
        assert!(refused.error_message.contains(&format!("invoke {deployed}:operator,")), "{refused}");
    }
    assert_eq!(chain.number(OUT).await, 3);
    chain.ask("optout", &request).await;
    chain.until_number(OUT, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_drop_opts_a_person_out_and_a_later_record_opts_them_in() {
    let chain = start(&format!("{USERS}{OPTOUTS}")).await;
    chain.put("source/users/users.csv", users(100, 1)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    chain.next("users", None).await;

    chain.drop("first.csv", "7,opted_out,2026-01-01T00:00:00Z\n8,withdrawn,2026-01-01T00:00:00Z\n").await;
    let first = chain.next("optouts", None).await;
    assert_eq!(chain.number(OUT).await, 2);
    chain.until("the views", async || chain.table("users_protected").await).await;
    assert_eq!((chain.number(ACTIVE).await, chain.number(PROTECTED).await), (2, 98));
    assert_eq!(chain.number(&format!("{PROTECTED} WHERE id IN (7, 8)")).await, 0);

    chain.drop("back.csv", "7,opted_in,2026-01-02T00:00:00Z\n").await;
    chain.until_number(OUT, 1).await;
    assert_eq!((chain.number(ACTIVE).await, chain.number(PROTECTED).await), (1, 99));
    assert_eq!(chain.number(&format!("{PROTECTED} WHERE id = 7")).await, 1);
    // A late, older record changes nothing, although its drop is read.
    chain.drop("late.csv", "7,withdrawn,2025-12-31T00:00:00Z\n9,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.until_number(OUT, 2).await;
    assert_eq!(chain.number(&format!("{PROTECTED} WHERE id = 7")).await, 1);

    chain.drop("bad.csv", "10,opted_out,2026-01-01T00:00:00Z\nsecret-value,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.until_number(OUT, 3).await;
    let rejected = chain.keys("inbox/optouts/_rejected/").await;
    assert_eq!(rejected.len(), 1, "{rejected:?}");
    let text = String::from_utf8(chain.get(&rejected[0]).await.unwrap()).unwrap();
    assert!(!text.contains("secret-value"), "{text}");
    let file: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&file["drop"], &file["rejected"]), (&json!("bad.csv"), &json!(1)));
    assert_eq!(file["records"], json!([{ "line": 3, "reason": "user_id is not a whole number in the type's range" }]));

    // Checks the metrics behind the alarms.
    chain
        .until("the metrics of the refresh", async || {
            let lines = chain.logs("optout", 0).await.unwrap();
            let line = lines.iter().find(|line| line["RejectedRecords"] == 1.0)?;
            assert_eq!((&line["Stack"], &line["Dataset"]), (&json!(chain.name), &json!("optouts")));
            (0.0..60.0).contains(&line["OptoutLag"].as_f64()?).then_some(())
        })
        .await;

    let rollback = json!({ "dataset": "optouts", "action": "rollback" });
    let refused = chain.answer("flip", &rollback).await.unwrap_err();
    assert_eq!(refused.error_type, "Input", "{refused}");

    // Sweep keeps the live generation, draining generations, and the base of the next merge.
    chain.ask("sweep", &json!({ "dataset": "optouts" })).await;
    assert!(!chain.keys(&format!("schemas/optouts/{first}/")).await.is_empty(), "drained for an hour");
    chain.drop("after.csv", "11,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.until_number(OUT, 4).await;

    // A held drop has a lag too, and rejects aren't counted twice.
    let hold = json!({ "dataset": "optouts", "action": "hold", "reason": "under review" });
    chain.ask("flip", &hold).await;
    chain.drop("held.csv", "12,opted_out,2026-01-01T00:00:00Z\n").await;
    let lag = async || {
        let lines = chain.logs("optout", 0).await.unwrap();
        lines.into_iter().find(|line| line["OptoutLag"].is_number() && line["RejectedRecords"].is_null())
    };
    chain.until("the lag of what is held", lag).await;
    assert_eq!(chain.number(OUT).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_put_to_the_query() {
    const DROPS: usize = 10;
    let chain = start(&unprotected(OPTOUTS)).await;
    chain.drop("warm.csv", "0,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.next("optouts", None).await;
    let mut took = Vec::new();
    for person in 1..=DROPS {
        chain.drop(&format!("{person}.csv"), &format!("{person},opted_out,2026-01-01T00:00:00Z\n")).await;
        let put = Instant::now();
        let sql = format!("SELECT count(*) FROM dmp.optouts WHERE user_id = {person}");
        while chain.number(&sql).await == 0 {
            assert!(put.elapsed() < Duration::from_secs(30), "{:#?}", chain.all_logs().await);
        }
        took.push(put.elapsed());
    }
    took.sort();
    let handler = chain.lines("optout", "refreshed").await;
    let swapped = handler.iter().filter(|line| line["outcome"] == "Swapped");
    let mut seconds: Vec<f64> = swapped.filter_map(|line| line["seconds"].as_f64()).collect();
    seconds.sort_by(f64::total_cmp);
    println!("put → visible: p50 {:?}, worst {:?}, all {took:?}", took[DROPS / 2], took[DROPS - 1]);
    println!("of which the handler, in seconds: {seconds:?}");
}
