//! Opt-outs that arrive all at once, drops that leave the inbox, and keys of other types.

use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::optout::{OPTOUTS, OUT, start, unprotected};

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_500_drops_is_folded_into_few_refreshes_and_all_are_in() {
    const DROPS: u64 = 500;
    let chain = start(&unprotected(OPTOUTS)).await;
    chain.drop("warm.csv", "0,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.next("optouts", None).await;
    let began = Instant::now();
    let put = |person: u64| {
        let chain = &chain;
        async move {
            let csv = format!("user_id,state,occurred_at\n{person},opted_out,2026-01-01T00:00:00Z\n");
            chain.put(&format!("inbox/optouts/{person}.csv"), csv).await
        }
    };
    stream::iter((1..=DROPS).map(put)).buffer_unordered(32).try_collect::<()>().await.unwrap();
    let took = began.elapsed();
    chain.until_number(OUT, DROPS + 1).await;
    let visible = began.elapsed();
    let generations = chain.keys("schemas/optouts/_manifests/").await.len();
    println!("{DROPS} drops put in {took:?}, all visible after {visible:?}, by {generations} generations");
    assert!(generations < 40, "{generations} generations for {DROPS} drops");
    chain.until("the queue to be empty", async || (chain.waiting_nudges().await == 0).then_some(())).await;
    assert_eq!(chain.number(OUT).await, DROPS + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_refreshes_at_once_take_in_the_drops_of_both() {
    const ROUNDS: u64 = 10;
    let chain = start(&unprotected(OPTOUTS)).await;
    chain.drop("warm.csv", "0,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.next("optouts", None).await;
    let request = json!({ "dataset": "optouts" });
    let drop_and_refresh = async |person: u64| {
        chain.drop(&format!("{person}.csv"), &format!("{person},opted_out,2026-01-01T00:00:00Z\n")).await;
        chain.ask("optout", &request).await
    };
    for round in 0..ROUNDS {
        let (one, other) = tokio::join!(drop_and_refresh(2 * round + 1), drop_and_refresh(2 * round + 2));
        for answer in [one, other] {
            assert!(answer["outcome"] == "swapped" || answer["outcome"] == "already_live", "{answer}");
        }
        // A refresh's answer covers everything that was in the inbox when the refresh was requested.
        assert_eq!(chain.number(OUT).await, 2 * round + 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drops_leave_the_inbox_after_the_drain() {
    let chain = start(&format!("{}retain = {{ drain = \"2s\" }}\n", unprotected(OPTOUTS))).await;
    chain.drop("1.csv", "1,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.next("optouts", None).await;
    for person in 2..=3 {
        chain.drop(&format!("{person}.csv"), &format!("{person},opted_out,2026-01-01T00:00:00Z\n")).await;
        chain.until_number(OUT, person).await;
    }
    let inbox = async || chain.keys("inbox/optouts/").await;
    let sweep = |dry_run: bool| json!({ "dataset": "optouts", "dry_run": dry_run });
    chain
        .until("a sweep that may archive three drops", async || {
            let planned = chain.ask("sweep", &sweep(true)).await;
            assert_eq!(inbox().await.len(), 3);
            (planned["archived"][0]["objects"] == 3).then_some(())
        })
        .await;
    let swept = chain.ask("sweep", &sweep(false)).await;
    assert_eq!(swept["archived"][0]["objects"], 3, "{swept}");
    assert_eq!(inbox().await, ["inbox/optouts/_published.json"]);
    let archived = chain.keys("_archive/inbox/optouts/").await;
    assert!(archived.len() == 3 && archived.iter().all(|key| key.ends_with(".csv")), "{archived:?}");
    assert_eq!(chain.number(OUT).await, 3);
    // Archived and later drops all count, and a drop that is put back changes nothing.
    chain.drop("4.csv", "4,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.until_number(OUT, 4).await;
    let old = chain.get(&archived[0]).await.unwrap();
    chain.put("inbox/optouts/again.csv", old).await.unwrap();
    let again = chain.ask("optout", &json!({ "dataset": "optouts" })).await;
    assert_eq!(again["rows"], 4, "{again}");
}

const KEYS: &str = r#"
[datasets.by_int]
source = { inbox = { location = "s3://${BUCKET}/inbox/int", key = "id", columns = { id = "int" } } }

[datasets.by_uuid]
source = { inbox = { location = "s3://${BUCKET}/inbox/uuid", key = "person", columns = { person = "string" } } }

[datasets.by_both]
source = { inbox = { location = "s3://${BUCKET}/inbox/both", key = ["tenant", "id"], columns = { tenant = "string", id = "bigint" }, buckets = 4 } }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_type_and_of_several_columns_are_published() {
    const UUID: &str = "0b0fd9a2-6f0c-4b7e-9d39-2f4f1b6a7c11";
    let chain = start(KEYS).await;
    let rest = "opted_out,2026-01-01T00:00:00Z";
    for (inbox, csv) in [
        ("int", format!("id,state,occurred_at\n-2147483648,{rest}\n7,{rest}\n2147483648,{rest}\n")),
        ("uuid", format!("person,state,occurred_at\n{UUID},{rest}\n利用者,{rest}\n")),
        ("both", format!("id,tenant,state,occurred_at\n7,a,{rest}\n7,b,{rest}\n-1,\"a,b\",{rest}\n")),
    ] {
        chain.put(&format!("inbox/{inbox}/a.csv"), csv).await.unwrap();
    }
    for (sql, expected) in [
        ("SELECT min(id), max(id), count(*) FROM dmp.by_int_active".to_owned(), vec!["-2147483648", "7", "2"]),
        (format!("SELECT state, count(*) FROM dmp.by_uuid WHERE person = '{UUID}' GROUP BY 1"), vec!["opted_out", "1"]),
        ("SELECT count(*) FROM dmp.by_uuid WHERE person = '利用者'".into(), vec!["1"]),
        ("SELECT min(tenant), count(*) FROM dmp.by_both WHERE id = 7".into(), vec!["a", "2"]),
        ("SELECT tenant FROM dmp.by_both_active WHERE id = -1".into(), vec!["a,b"]),
    ] {
        let table =
            ["by_int_active", "by_uuid_active", "by_both_active"].into_iter().find(|name| sql.contains(&name[..6]));
        chain.until("the view", async || chain.table(table?).await).await;
        let row = chain.query(&sql).await;
        assert_eq!(row.iter().map(|value| value.as_deref().unwrap_or("null")).collect::<Vec<_>>(), expected, "{sql}");
    }
    chain.put("inbox/both/b.csv", "id,tenant,state,occurred_at\n7,b,opted_in,2026-01-02T00:00:00Z\n").await.unwrap();
    chain.until_number("SELECT count(*) FROM dmp.by_both_active", 2).await;
    assert_eq!(chain.number("SELECT count(*) FROM dmp.by_both_active WHERE id = 7 AND tenant = 'a'").await, 1);
    assert_eq!(chain.keys("inbox/int/_rejected/").await.len(), 1);
}
