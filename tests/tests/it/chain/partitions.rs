//! Projected partitions on the real chain: a reader counts all of them while the table flips back and forth.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::json;

use super::{Chain, generation, table};

const PARTITIONS: u64 = 1_000;
const FLIPS: usize = 50;

const ORDERS: &str = r#"
[datasets.orders]
source = { files = { location = "s3://${BUCKET}/source/orders/", columns = { id = "bigint", dt = "date", shop = "int", kind = "string" } } }
partition_by = ["dt", "shop", "kind"]
"#;

/// Returns CSV with `rows` rows in each of 1,000 partitions: 5 days, 100 shops, 2 kinds. Neighbouring rows are in
/// different partitions.
fn orders(rows: u64) -> String {
    let row = |id: u64| {
        let at = id * 617 % PARTITIONS;
        let kind = if at.is_multiple_of(2) { "web" } else { "shop" };
        format!("{id},2024-02-{:02},{},{kind}\n", 25 + at / 100 % 5, at / 2 % 50 + 100 * (at / 500))
    };
    format!("id,dt,shop,kind\n{}", (0..rows * PARTITIONS).map(row).collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_a_thousand_partitions_sees_only_whole_generations() {
    let chain = Chain::start(ORDERS).await;
    let mut generations = Vec::new();
    let mut before = None;
    for rows in [1, 2] {
        chain.put("source/orders/orders.csv", orders(rows)).await.unwrap();
        let exported = chain.ask("export", &json!({ "dataset": "orders" })).await;
        assert_eq!((&exported["rows"], &exported["files"]), (&json!(rows * PARTITIONS), &json!(PARTITIONS)));
        let next = chain.next("orders", before.as_ref()).await;
        assert_eq!(next, generation(&exported));
        before = Some(chain.paths("orders").generation(&next));
        generations.push((next, rows));
    }

    // Each answer comes from one generation: all partitions, with the same number of rows.
    let sql = "SELECT count(*), min(rows), max(rows), sum(rows) FROM \
               (SELECT dt, shop, kind, count(*) AS rows FROM dmp.orders GROUP BY dt, shop, kind)";
    let (done, both_seen) = (AtomicBool::new(false), AtomicBool::new(false));
    let reader = async {
        let mut seen = BTreeMap::new();
        loop {
            let last = done.load(Ordering::SeqCst);
            let row: Vec<u64> =
                chain.query(sql).await.into_iter().map(|cell| cell.unwrap_or_default().parse().unwrap()).collect();
            let rows = row[1];
            assert_eq!(row, [PARTITIONS, rows, rows, rows * PARTITIONS]);
            *seen.entry(rows).or_insert(0_u64) += 1;
            both_seen.store(seen.len() == 2, Ordering::SeqCst);
            if last {
                return seen;
            }
        }
    };
    let writer = async {
        // On a busy machine, the reader needs more flips to meet both generations. The last flip is to the second one.
        for flip in 0..20 * FLIPS {
            if flip >= FLIPS && flip.is_multiple_of(2) && both_seen.load(Ordering::SeqCst) {
                break;
            }
            let (to, _) = generations[flip % 2];
            let request = json!({ "dataset": "orders", "action": "rollback", "generation": to });
            let answer = chain.ask("flip", &request).await;
            assert_eq!(answer["outcome"], "swapped", "{answer}");
        }
        done.store(true, Ordering::SeqCst);
    };
    let (seen, ()) = tokio::join!(reader, writer);
    println!("at least {FLIPS} flips of {PARTITIONS} partitions under {seen:?} queries of so many rows a partition");
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [1, 2], "queries during the flips");
    // The endpoint prunes partitions by the projection, which has each column's type.
    let one = chain
        .query("SELECT count(*) FROM dmp.orders WHERE dt = DATE '2024-02-29' AND shop >= 100 AND kind = 'web'")
        .await;
    assert_eq!(one, [Some("100".into())]);
    assert_eq!(chain.table(&table("orders").table).await.unwrap().partition_keys().len(), 3);
}
