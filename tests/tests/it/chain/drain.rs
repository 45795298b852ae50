//! A query that started before a flip can read all its files, as long as `drain` is longer than the query.

use aws_sdk_s3::primitives::ByteStream;
use serde_json::json;
use turntable::{layout::Generation, manifest::Manifest};

use super::{Chain, generation};

/// How many flips happen while the reader reads; each replaces the live generation.
const FLIPS: usize = 50;

/// Two datasets with several files each, which differ only in their drain. No generation is kept for a rollback.
const DATASETS: &str = r#"
[datasets.patient]
source = { files = { location = "s3://${BUCKET}/source/users.csv", columns = { id = "bigint", token = "string" } } }
parquet = { file_mb = 1, row_group_mb = 1 }
retain = { generations = 0, drain = "1h" }

[datasets.hasty]
source = { files = { location = "s3://${BUCKET}/source/users.csv", columns = { id = "bigint", token = "string" } } }
parquet = { file_mb = 1, row_group_mb = 1 }
retain = { generations = 0, drain = "0s" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_long_query_outlives_fifty_flips_and_sweeps_exactly_if_drain_is_longer() {
    let chain = Chain::start(DATASETS).await;
    chain.put("source/users.csv", tokens(120_000)).await.unwrap();
    let (patient, hasty) = tokio::join!(long_query(&chain, "patient"), long_query(&chain, "hasty"));
    assert_eq!(patient, Ok(()), "drain is an hour");
    assert!(hasty.is_err_and(|missing| missing.contains("NoSuchKey")), "the test proves nothing");
}

/// Does what a long query does: reads one file of the live generation and, after [`FLIPS`] flips with a sweep after
/// each, the other files.
async fn long_query(chain: &Chain, dataset: &str) -> Result<(), String> {
    let export = json!({ "dataset": dataset });
    let first = generation(&chain.ask("export", &export).await);
    let paths = chain.paths(dataset);
    assert_eq!(chain.next(dataset, None).await, first);
    let manifest =
        Manifest::from_json(&paths.manifest(&first), &first, &read(chain, &paths.manifest(&first).key).await?);
    let files = manifest.unwrap().files;
    assert!(files.len() > 1, "a long query needs several files");
    let (now, later) = files.split_at(1);
    read(chain, &paths.generation(&first).key(&now[0].key).key).await?;

    let mut live = first;
    let mut deleted = 0;
    for _ in 0..FLIPS {
        let next = generation(&chain.ask("export", &export).await);
        assert_eq!(chain.next(dataset, Some(&paths.generation(&live))).await, next);
        live = next;
        deleted += sweep(chain, dataset, &live).await;
    }
    // With a drain of an hour, no sweep deletes anything. Without a drain, each sweep deletes the generation that was
    // just replaced, or leaves it to the next sweep if the flip's record isn't written yet.
    assert!(if dataset == "hasty" { deleted >= FLIPS - 1 } else { deleted == 0 }, "{deleted} generations were swept");
    for file in later {
        read(chain, &paths.generation(&first).key(&file.key).key).await?;
    }
    Ok(())
}

/// Runs a sweep, checks that it spares the live generation, and returns how many generations it deleted.
async fn sweep(chain: &Chain, dataset: &str, live: &Generation) -> usize {
    let swept = chain.ask("sweep", &json!({ "dataset": dataset })).await;
    let items = swept["deleted"].as_array().unwrap();
    assert!(items.iter().all(|item| !item["location"].as_str().unwrap().contains(&live.to_string())), "{swept}");
    items.len()
}

async fn read(chain: &Chain, key: &str) -> Result<Vec<u8>, String> {
    let object = chain.s3.get_object().bucket(&chain.bucket).key(key).send().await;
    let body: ByteStream = object.map_err(|error| format!("{:?}", error.into_service_error()))?.body;
    Ok(body.collect().await.map_err(|error| error.to_string())?.to_vec())
}

/// Returns CSV with `rows` rows of pseudo-random tokens, which hardly compress.
fn tokens(rows: u64) -> String {
    let mut csv = String::from("id,token\n");
    let mut token: u64 = 1;
    for id in 0..rows {
        token = token.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        csv += &format!("{id},{token:016x}{:016x}\n", token.rotate_left(23) ^ id);
    }
    csv
}
