//! Nightly runs of many datasets: one on an AWS that rejects one request in ten, and one with ten broken datasets.

#![allow(clippy::disallowed_methods, reason = "how many there are is the caller's, and a night takes real time")]

use std::{collections::BTreeMap, fmt::Write, time::Instant};

use local::Emulator;
use serde_json::{Value, json};
use tests::{
    random::count,
    throttle::{Rates, Throttle},
};
use turntable::layout::Generation;

use super::{Chain, emulator, manifest_event, sql, sqs, users};

const COLUMNS: &str = r#"columns = { id = "bigint", name = "string", points = "int", joined = "date" }"#;

/// The environment variable `DATASETS` sets the number of datasets (default 60), and `REFUSED` how many of every
/// hundred requests to a service are rejected (default 10), four fifths of them as throttled. `SEED` decides which
/// requests.
#[tokio::test(flavor = "multi_thread")]
async fn a_night_under_throttling_ends_with_every_dataset_live_once() {
    let (count, refused, seed) = (count("DATASETS", 60), count("REFUSED", 10), count("SEED", 6));
    let rates = Rates { throttled: refused - refused / 5, failed: refused / 5 };
    let throttle = Throttle::new(rates, seed);
    let tools = &emulator().await.tools;
    let behind = Emulator::start_behind(tools, async |endpoint| throttle.before(endpoint).await).await;
    let behind = behind.unwrap_or_else(|error| panic!("{error:#}"));
    let server = sql::start().await;
    sql::run(
        &server.url(),
        "CREATE TABLE users AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 200) i",
    )
    .await;
    let names: Vec<String> = (0..count).map(|at| format!("d{at:05}")).collect();
    let mut entries = String::new();
    for (at, name) in names.iter().enumerate() {
        let source = match at % 20 {
            7 => format!("postgres = {{ url = \"{}\", query = \"SELECT * FROM users\" }}", server.url()),
            _ => format!("files = {{ location = \"s3://${{BUCKET}}/source/{}/\", {COLUMNS} }}", at % 10),
        };
        // Every tenth dataset also runs a check on Athena.
        let checks = if at % 10 == 3 { "checks = { min_rows = 1, unique = [\"id\"] }\n" } else { "" };
        writeln!(entries, "[datasets.{name}]\nsource = {{ {source} }}\n{checks}").unwrap();
    }
    let chain = Chain::on(&behind, &entries, |_| {}).await;
    for at in 0..10 {
        chain.put(&format!("source/{at}/users.csv"), users(100 + at, 1)).await.unwrap();
    }

    let started = Instant::now();
    chain.fire_schedule().await.unwrap();
    let (flips, again) = settled(&chain, count as usize).await;
    println!("{count} datasets live after {:.0} s, {refused} % refused", started.elapsed().as_secs_f64());
    println!("requests of the night, seed {seed}: {:#?}", throttle.counts());

    for name in &names {
        assert_eq!(flips.get(name), Some(&1), "one flip of {name}, SEED={seed}");
        assert!(chain.live(name).await.is_some(), "{name}, SEED={seed}");
    }
    for queue in ["Export", "Flip", "Optout", "Sweep"] {
        let url = &chain.outputs[&format!("{queue}DeadLettersUrl")];
        assert_eq!(sqs::depth(&chain, url).await, (0, 0), "{queue}, SEED={seed}");
    }
    let swept = Instant::now();
    // Sweep skips tables that it can't read, and then fails. Lambda would retry it twice, so the test does.
    let mut answer = chain.answer("sweep", &json!({})).await;
    for _ in 0..2 {
        if answer.is_err() {
            answer = chain.answer("sweep", &json!({})).await;
        }
    }
    let answer = answer.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (&answer["more"], answer["kept"].as_array().map(Vec::len)),
        (&false.into(), Some(names.len())),
        "{answer}"
    );
    println!("swept after {:.1} s; the requests of both: {:#?}", swept.elapsed().as_secs_f64(), throttle.counts());
    for service in ["AWSGlue", "S3 GET", "S3 PUT"] {
        let count = throttle.counts()[service];
        let met = (count.throttled > 0, count.failed > 0);
        assert_eq!(met, (rates.throttled > 0, rates.failed > 0), "{service}: {count:?}");
    }
    println!("{} messages and {again} events came again", chain.lines("export", "export failed").await.len());
}

/// Waits until `tables` tables have a flip and the queue is empty. Returns each table's flips, and how many events were
/// redelivered.
///
/// MiniStack 1.5.33 invokes a function once for an EventBridge event. Lambda retries a failed invocation twice
/// (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>), so this function redelivers
/// events in its place.
async fn settled(chain: &Chain, tables: usize) -> (BTreeMap<String, usize>, usize) {
    let queue = &chain.outputs["ExportQueueUrl"];
    let (started, mut quiet, mut again) = (Instant::now(), (0, 0), 0);
    loop {
        let mut flips: BTreeMap<String, usize> = BTreeMap::new();
        let mut waiting = BTreeMap::new();
        for key in chain.keys("schemas/").await {
            match key.split('/').collect::<Vec<_>>()[..] {
                [_, table, "_flips", _] => *flips.entry(table.to_owned()).or_default() += 1,
                [_, table, "_manifests", name] => drop(waiting.insert(table.to_owned(), name.replace(".json", ""))),
                _ => {}
            }
        }
        waiting.retain(|table, _| !flips.contains_key(table));
        let done = sqs::depth(chain, queue).await == (0, 0);
        if flips.len() >= tables && done {
            return (flips, again);
        }
        // A running flip waits at most a few seconds between attempts. So no flip is running after 30 seconds without a
        // new one.
        quiet = if flips.len() == quiet.0 { (quiet.0, quiet.1 + 1) } else { (flips.len(), 0) };
        if done && quiet.1 == 60 {
            for (table, name) in waiting {
                let event = manifest_event(&chain.paths(&table), &name.parse().expect("a generation"));
                let _ = chain.answer("flip", &event).await;
                again += 1;
            }
            quiet.1 = 0;
        }
        // The limit allows for two redeliveries of a failed message, after one minute and after five.
        assert!(started.elapsed().as_secs() < 420 + tables as u64, "{} of {tables} are live", flips.len());
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

/// The ways in which a dataset can be broken.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Broken {
    Source,
    Audit,
    Table,
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_broken_datasets_delay_no_others_and_each_is_reported_once() {
    let broken: Vec<(String, Broken)> = [(4, Broken::Source), (3, Broken::Audit), (3, Broken::Table)]
        .into_iter()
        .flat_map(|(count, how)| (0..count).map(move |at| (format!("a_{how:?}_{at}").to_lowercase(), how)))
        .collect();
    let good: Vec<String> = (0..10).map(|at| format!("good_{at}")).collect();
    let entry = |name: &str, source: &str, further: &str| {
        let source = format!("source = {{ files = {{ location = \"s3://${{BUCKET}}/{source}/\", {COLUMNS} }} }}");
        format!("[datasets.{name}]\n{source}\n{further}\n")
    };
    let mut entries: String = good.iter().map(|name| entry(name, "good", "")).collect();
    entries.extend(broken.iter().map(|(name, how)| match how {
        Broken::Source => entry(name, "bad", ""),
        Broken::Audit => entry(name, "good", "checks = { min_rows = 1000000 }"),
        Broken::Table => entry(name, "good", "create = false"),
    }));
    let chain = Chain::start(&entries).await;
    chain.put("good/users.csv", users(100, 1)).await.unwrap();
    chain.put("bad/users.csv", "id,name,points,joined\nx,y,z,w\n").await.unwrap();
    chain.ask("export", &json!({})).await;

    // The broken datasets come first in the queue, and the others don't wait a minute for them.
    let started = Instant::now();
    settled(&chain, good.len()).await;
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    let told = async || (rejected(&chain).await.len() >= 3).then_some(());
    chain.until("three rejections", told).await;

    let of = |kinds: &[Broken]| -> Vec<&str> {
        broken.iter().filter(|(_, how)| kinds.contains(how)).map(|(name, _)| name.as_str()).collect()
    };
    // A dataset that `export` can't build gets one log line and one dead letter.
    let failed = chain.lines("export", "export failed").await;
    assert_eq!(failed.len(), 7, "{failed:?}");
    assert_eq!(letters(&chain, "Export").await, of(&[Broken::Source, Broken::Table]));
    // A rejected candidate gets one log line with the reason, and counts once in the metric.
    let lines = chain.lines("flip", "failed").await;
    assert_eq!(
        (lines.len(), rejected(&chain).await),
        (3, of(&[Broken::Audit]).into_iter().map(str::to_owned).collect())
    );
    assert!(lines.iter().all(|line| line["error"].as_str().unwrap().contains("min_rows")), "{lines:?}");
    assert_eq!(letters(&chain, "Flip").await, Vec::<String>::new());

    // A rejection by event isn't an error, so Lambda doesn't retry it.
    let manifest = chain.keys("schemas/a_audit_0/_manifests/").await.remove(0);
    let generation = manifest.rsplit('/').next().unwrap().trim_end_matches(".json").parse::<Generation>().unwrap();
    let told = chain.ask("flip", &manifest_event(&chain.paths("a_audit_0"), &generation)).await;
    assert_eq!(told["outcome"], "rejected", "{told}");
    // An operator's request gets an error.
    let by_hand = json!({ "dataset": "a_audit_0", "generation": generation.to_string() });
    assert_eq!(chain.answer("flip", &by_hand).await.unwrap_err().error_type, "Rejected");

    // Sweep covers all datasets.
    let swept = chain.ask("sweep", &json!({})).await;
    assert_eq!((&swept["more"], swept["kept"].as_array().map(Vec::len)), (&Value::Bool(false), Some(10)), "{swept}");
}

/// Returns the datasets that the metric for rejections counts, sorted, each as often as it is counted.
async fn rejected(chain: &Chain) -> Vec<String> {
    let lines = chain.logs("flip", 0).await.unwrap();
    let counted = lines.iter().filter(|line| line["Rejected"] == 1.0);
    let mut datasets: Vec<String> = counted.map(|line| line["Dataset"].as_str().unwrap().to_owned()).collect();
    datasets.sort();
    datasets
}

/// Returns the datasets of the messages in a function's dead-letter queue, sorted.
async fn letters(chain: &Chain, function: &str) -> Vec<String> {
    let url = &chain.outputs[&format!("{function}DeadLettersUrl")];
    let (mut datasets, request) = (Vec::new(), json!({ "QueueUrl": url, "MaxNumberOfMessages": 10 }));
    loop {
        let answer = sqs::call(chain, "ReceiveMessage", request.clone()).await;
        let Some(messages) = answer["Messages"].as_array().filter(|messages| !messages.is_empty()) else { break };
        for message in messages {
            let body: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
            datasets.push(body["dataset"].as_str().unwrap().to_owned());
        }
    }
    datasets.sort();
    datasets
}
