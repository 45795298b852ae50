//! Drops that used to be lost silently: archived under another location, in a file that contradicts itself, or in a
//! folder that is no inbox.

use serde_json::json;
use tests::optouts::drops::parquet;

use super::{
    Chain, USERS,
    optout::{OPTOUTS, OUT, start, unprotected},
};

async fn conditions(chain: &Chain) -> Vec<String> {
    let answer = chain.ask("flip", &json!({ "action": "status" })).await;
    let conditions = answer["conditions"].as_array().unwrap_or_else(|| panic!("{answer}"));
    conditions.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn opt_outs_that_were_archived_under_another_location_survive_the_old_datasets_file() {
    let before = format!("{}retain = {{ drain = \"1s\" }}\n", unprotected(OPTOUTS));
    let chain = start(&before).await;
    chain.drop("first.csv", "7,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.next("optouts", None).await;
    chain.ask("sweep", &json!({ "dataset": "optouts" })).await;

    chain.datasets(&format!("{before}location = \"s3://${{BUCKET}}/moved\"\n")).await;
    chain.ask("optout", &json!({ "dataset": "optouts" })).await;
    chain.drop("second.csv", "8,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.until_number(OUT, 2).await;
    chain
        .until("the archive", async || {
            chain.ask("sweep", &json!({ "dataset": "optouts" })).await;
            chain.keys("_archive/").await.iter().any(|key| key.ends_with("/second.csv")).then_some(())
        })
        .await;

    chain.datasets(&before).await;
    // Whether the request succeeds or is refused, nobody who opted out comes back.
    let answer = chain.answer("optout", &json!({ "dataset": "optouts" })).await;
    assert_eq!(chain.number(OUT).await, 2, "{answer:?}");
    chain.drop("third.csv", "9,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.until_number(OUT, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_contradicts_itself_and_drop_in_no_inbox_are_set_aside_and_reported() {
    let chain = start(&unprotected(OPTOUTS)).await;
    let mut file = parquet(0..60);
    // Thrift's compact protocol: num_rows is an i64, 60 in zigzag; the next field is a list with one struct.
    let at = file.windows(4).position(|bytes| *bytes == [0x16, 0x78, 0x19, 0x1C]).unwrap();
    file[at + 1] = 0;
    chain.put("inbox/optouts/a.parquet", file).await.unwrap();
    chain.put("inbox/optouts/b.parquet", parquet(0..3)).await.unwrap();
    chain.until("the good drop", async || chain.live("optouts").await).await;
    let rejects = async || chain.keys("inbox/optouts/_rejected/").await.pop();
    let reject = chain.until("the reject", rejects).await;
    let text = String::from_utf8(chain.get(&reject).await.unwrap()).unwrap();
    assert!(text.contains("contradicts itself: its footer says 0 rows, its row groups 60"), "{text}");
    assert_eq!(chain.number("SELECT count(*) FROM dmp.optouts").await, 3);

    let csv = "user_id,state,occurred_at\n8,opted_out,2026-01-01T00:00:00Z\n";
    chain.put("inbox/optout/c.csv", csv).await.unwrap();
    let metric = async || {
        let lines = chain.logs("optout", 0).await.unwrap();
        lines.iter().any(|line| line["RejectedRecords"] == 1.0 && line["Dataset"] != "optouts").then_some(())
    };
    chain.until("the metric behind the alarm", metric).await;
    assert_eq!(conditions(&chain).await, ["stray-objects:inbox/optout/", "rejected-records:optouts"]);
    // The event becomes a dead letter after three tries, which take more than an hour.
    assert_eq!(chain.waiting_nudges().await, 1, "the event is not acknowledged");

    // Drops in an inbox that was removed from the file aren't lost silently either.
    chain.datasets(USERS).await;
    let found = conditions(&chain).await;
    assert!(found.contains(&"stray-objects:inbox/optouts/".to_owned()), "{found:?}");
}
