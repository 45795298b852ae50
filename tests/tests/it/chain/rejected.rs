//! Every check on the real chain, with data that passes it and data that fails it, while a reader queries.

#![allow(clippy::disallowed_methods, reason = "a source is as fresh as the real clock says")]

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use local::reader::Reader;
use serde_json::{Value, json};
use tests::cases::{self, CASES, COLUMNS};
use turntable::{layout::Location, status::Overview};

use super::{Chain, generation, table};

#[tokio::test(flavor = "multi_thread")]
async fn each_check_lets_the_good_pass_and_no_reader_ever_sees_the_bad() {
    let entry = |(at, case): (usize, &cases::Case)| {
        let location = format!("s3://${{BUCKET}}/source/case{at}.csv");
        let source = format!("source = {{ files = {{ location = \"{location}\", columns = {{ {COLUMNS} }} }} }}");
        format!("[datasets.case{at}]\n{source}\nchecks = {{ {} }}\n", case.checks)
    };
    let chain = Chain::start(&CASES.iter().enumerate().map(entry).collect::<String>()).await;
    let source = |at: usize| format!("source/case{at}.csv");
    let names: Vec<String> = (0..CASES.len()).map(|at| format!("case{at}")).collect();

    for (at, case) in CASES.iter().enumerate() {
        chain.put(&source(at), cases::at(case.good, Timestamp::now())).await.unwrap();
    }
    chain.ask("export", &json!({})).await;
    let mut good = Vec::new();
    for name in &names {
        let live = chain.next(name, None).await;
        good.push(chain.paths(name).generation(&live));
    }

    let reader = Reader::start(&chain.stack);
    names.iter().for_each(|name| reader.add(&table(name)));
    let mut bad = Vec::new();
    for (at, case) in CASES.iter().enumerate() {
        chain.put(&source(at), cases::at(case.bad, Timestamp::now())).await.unwrap();
        bad.push(generation(&chain.ask("export", &json!({ "dataset": names[at] })).await));
    }
    for (at, case) in CASES.iter().enumerate() {
        let what = format!("{} to be rejected", names[at]);
        let fields = chain.until(&what, async || rejected(&chain, &names[at]).await).await;
        assert_eq!(fields["error"], told(&names[at], &good[at], case), "{}", case.checks);
    }
    let tally = reader.finish().await.unwrap();

    assert_eq!((tally.failed, tally.mixed), (0, 0), "{:?}", tally.complaints);
    let seen: BTreeSet<String> = tally.seen.into_keys().map(|(_, folder)| folder).collect();
    assert_eq!(seen, good.iter().map(Location::to_string).collect());
    for ((name, good), bad) in names.iter().zip(&good).zip(&bad) {
        assert_eq!(chain.live(name).await.as_ref(), Some(good));
        let kept = chain.paths(name).generation(bad).key("part-00000.parquet").key;
        assert_eq!(chain.keys(&kept).await, std::slice::from_ref(&kept), "the candidate is kept for inspection");
    }
    let overview = chain.ask("flip", &json!({ "action": "status" })).await;
    let overview: Overview = serde_json::from_value(overview).unwrap();
    for (one, (name, bad)) in overview.datasets.iter().zip(names.iter().zip(&bad).collect::<BTreeMap<_, _>>()) {
        assert_eq!((&one.dataset, one.waits), (name, Some(*bad)), "{one:?}");
    }
    assert_eq!((overview.datasets.len(), overview.attention.len()), (names.len(), names.len()));
}

/// Returns what `flip` logged about the dataset's rejected candidate, or `None` if it hasn't logged that yet.
async fn rejected(chain: &Chain, dataset: &str) -> Option<Value> {
    let begins = format!("{dataset}: the candidate was rejected");
    let mine = |fields: &Value| fields["error"].as_str().is_some_and(|error| error.starts_with(&begins));
    chain.lines("flip", "failed").await.into_iter().find(mine)
}

fn told(dataset: &str, live: &Location, case: &cases::Case) -> String {
    let live = live.to_string();
    let live = live.trim_end_matches('/').rsplit('/').next().unwrap();
    format!("{dataset}: the candidate was rejected, and {live} stays live: {}", case.reasons.join("; "))
}
