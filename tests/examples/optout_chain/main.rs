//! Measures opt-outs on the real chain: template.yaml on the emulator, the compiled functions, and the Athena endpoint.
//!
//!     cargo run -p tests --example optout_chain -- latency   # put → first query that sees it; 1 M rows, 200 drops
//!     cargo run -p tests --example optout_chain -- buckets   # 10,000 records, 1 or all buckets; 100 k, 1 M, 10 M rows
//!     cargo run -p tests --example optout_chain -- guard     # what a view's count of files costs a query; 1 M rows, 1 M people
//!     cargo run -p tests --example optout_chain -- memory    # the function's peak at 10 M rows; drops of 5 M records
//!
//! The environment variables ROWS and DROPS change the numbers for `latency`. The functions are built with this
//! example's profile: use `--release`.

mod process;

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use cli::athena;
use jiff::Timestamp;
use local::{Deployment, Emulator, Stack, Tools};
use process::Peak;
use serde_json::{Value, json};
use tests::optouts::drops;
use turntable::consent::bucket;

#[tokio::main]
async fn main() -> Result<()> {
    let tools = Tools::prepare().await?;
    let emulator = Emulator::start(&tools).await?;
    match std::env::args().nth(1).as_deref() {
        Some("latency") => latency(&emulator, number("ROWS", 1_000_000), number("DROPS", 200)).await,
        Some("buckets") => buckets(&emulator).await,
        Some("guard") => guard(&emulator, number("ROWS", 1_000_000)).await,
        Some("memory") => memory(&emulator).await,
        _ => bail!("expected latency, buckets, guard or memory"),
    }
}

fn now() -> Timestamp {
    turntable::clock::Clock::system().now()
}

fn number(name: &str, usual: i64) -> i64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Deploys a stack with one inbox dataset. `more` is appended to the inbox's options in datasets.toml.
async fn deploy(emulator: &Emulator, account: &str, more: &str) -> Result<Stack> {
    let mut deployment = Deployment { stack: format!("turntable-{account}"), ..Deployment::in_account(account) };
    // The schedule never fires during the run, so drops are merged only because of their events.
    deployment.parameters.push(("OptoutSchedule".into(), "rate(1 day)".into()));
    let stack = emulator.deploy(&deployment).await?;
    stack.create_database("dmp").await?;
    let datasets = format!(
        "[datasets.optouts]\ndatabase = \"dmp\"\nlocation = \"s3://{0}/schemas\"\n\
         source = {{ inbox = {{ location = \"s3://{0}/inbox/optouts\", key = \"user_id\", \
         columns = {{ user_id = \"bigint\" }}{more} }} }}\n",
        stack.bucket
    );
    stack.put("datasets.toml", datasets).await?;
    Ok(stack)
}

/// Requests a refresh. The event for the drop may have started one already.
async fn refresh(stack: &Stack) -> Result<Value> {
    Ok(stack.invoke("optout", &json!({ "dataset": "optouts" })).await??)
}

/// Puts drops for these people, at most five million in each. After each drop, waits until the table has everybody up
/// to the drop's last person. The table must already have the people before `people`.
async fn fill(stack: &Stack, people: Range<i64>) -> Result<()> {
    for start in people.clone().step_by(5_000_000) {
        let some = start..(start + 5_000_000).min(people.end);
        stack.put(&format!("inbox/optouts/{start}.parquet"), drops::parquet(some.clone())).await?;
        let since = Instant::now();
        while count(stack, "1 = 1").await.unwrap_or(0) < some.end {
            if since.elapsed() > Duration::from_secs(300) {
                bail!("{:#?}", stack.logs("optout", 0).await?);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

async fn count(stack: &Stack, condition: &str) -> Result<i64> {
    let output = format!("s3://{}/athena/", stack.scratch);
    let sql = format!("SELECT count(*) FROM dmp.optouts WHERE {condition}");
    let row = athena::first_row(&stack.athena, &output, &sql).await?;
    row[0].as_deref().context("no count")?.parse().context("no number")
}

fn csv(ids: impl Iterator<Item = i64>, state: &str, second: i64) -> String {
    let time = Timestamp::from_second(1_790_000_000 + second).unwrap_or_default();
    let lines: String = ids.map(|id| format!("{id},{state},{time}\n")).collect();
    format!("user_id,state,occurred_at\n{lines}")
}

/// Formats the 50th percentile, the 99th percentile and the maximum of times in seconds, as milliseconds.
fn spread(mut all: Vec<f64>) -> String {
    all.sort_by(f64::total_cmp);
    let at = |part: f64| all.get(((all.len() as f64 * part).ceil() as usize).saturating_sub(1)).copied().unwrap_or(0.0);
    format!("p50 {:>6.0}   p99 {:>6.0}   worst {:>6.0} ms", at(0.5) * 1e3, at(0.99) * 1e3, at(1.0) * 1e3)
}

async fn latency(emulator: &Emulator, rows: i64, drops: i64) -> Result<()> {
    const RECORDS: i64 = 1000;
    let stack = deploy(emulator, "200000000001", "").await?;
    fill(&stack, 0..rows).await?;
    for warm in -3..0 {
        stack.put(&format!("inbox/optouts/warm{warm}.csv"), csv(0..1, "opted_out", warm)).await?;
        refresh(&stack).await?;
    }
    let first = now().as_millisecond();
    let (mut seen, mut queries) = (Vec::new(), 0);
    for drop in 0..drops {
        // The query looks only for the last person of the drop, whom the table doesn't have yet.
        let ids = (0..RECORDS - 1).map(|n| (n * 7919 + drop) % rows).chain([rows + drop]);
        stack.put(&format!("inbox/optouts/{drop:04}.csv"), csv(ids, "withdrawn", drop)).await?;
        let put = Instant::now();
        let sql = format!("user_id = {}", rows + drop);
        while count(&stack, &sql).await? == 0 {
            queries += 1;
            if put.elapsed() > Duration::from_secs(60) {
                bail!("{:#?}", stack.logs("optout", first).await?);
            }
        }
        seen.push(put.elapsed().as_secs_f64());
    }
    let asked: Vec<f64> = {
        let mut asked = Vec::new();
        for _ in 0..20 {
            let began = Instant::now();
            count(&stack, "user_id = -1").await?;
            asked.push(began.elapsed().as_secs_f64());
        }
        asked
    };
    let lines = stack.logs("optout", first).await?;
    let lines: Vec<&Value> = lines.iter().filter(|line| line["fields"]["outcome"] == "Swapped").collect();
    let of = |name: &str| lines.iter().filter_map(|line| line["fields"][name].as_f64()).collect::<Vec<f64>>();
    let rest = match lines.len() == seen.len() {
        true => seen.iter().zip(of("seconds")).map(|(seen, handler)| seen - handler).collect(),
        false => Vec::new(),
    };
    println!("{drops} drops of {RECORDS} records on {rows} rows; {} refreshes, {queries} queries in vain", lines.len());
    println!("put → visible          {}", spread(seen));
    println!("the handler            {}", spread(of("seconds")));
    for part in ["look", "read", "merge", "audit", "flip"] {
        println!("  {part:<20} {}", spread(of(part)));
    }
    println!("event, queue, polling  {}", spread(rest));
    println!("  of which one query   {}", spread(asked));
    Ok(())
}

async fn buckets(emulator: &Emulator) -> Result<()> {
    const BUCKETS: u32 = 64;
    const RECORDS: usize = 10_000;
    const TURNS: i64 = 5;
    println!("{:>12} {:>8} {:>10} {:>12} {:>10} {:>10}", "rows", "MB", "buckets", "handler ms", "merge ms", "peak MB");
    for (account, rows) in [("200000000002", 100_000), ("200000000003", 1_000_000), ("200000000004", 10_000_000)] {
        let stack = deploy(emulator, account, &format!(", buckets = {BUCKETS}")).await?;
        fill(&stack, 0..rows).await?;
        for touched in [1, BUCKETS] {
            let key = |id: &i64| (*id as u64 ^ 1 << 63).to_be_bytes();
            let people = || (0..rows * 100).filter(|id| touched == BUCKETS || bucket::of(&key(id), BUCKETS) == 0);
            let step = if touched == BUCKETS { (rows as usize / RECORDS).max(1) } else { 1 };
            let since = now().as_millisecond();
            let peak = Peak::of(&stack.functions["optout"]);
            for turn in 0..TURNS {
                let second = turn + 10 * i64::from(touched);
                let name = format!("inbox/optouts/{touched}-{turn}.csv");
                stack.put(&name, csv(people().step_by(step).take(RECORDS), "withdrawn", second)).await?;
                let latest = Timestamp::from_second(1_790_000_000 + second)?;
                let latest = format!("to_unixtime(occurred_at) = {}", latest.as_second());
                while count(&stack, &latest).await? == 0 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            let peak = peak.stop().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let lines = stack.logs("optout", since).await?;
            let of = |name: &str| {
                let swapped = lines.iter().filter(|line| line["fields"]["outcome"] == "Swapped");
                let mut all: Vec<f64> = swapped.filter_map(|line| line["fields"][name].as_f64()).collect();
                all.sort_by(f64::total_cmp);
                all.get(all.len() / 2).copied().unwrap_or(f64::NAN) * 1e3
            };
            let (size, all, merge) = (megabytes(&stack).await?, of("seconds"), of("merge"));
            println!("{rows:>12} {size:>8.1} {touched:>10} {all:>12.0} {merge:>10.0} {peak:>10.0}");
        }
    }
    Ok(())
}

/// Compares queries of a protected view with the same queries without the view's count of the opt-out table's files. The
/// two kinds take turns, so that both meet the same load.
async fn guard(emulator: &Emulator, rows: i64) -> Result<()> {
    const QUERIES: usize = 30;
    let stack = deploy(emulator, "200000000006", ", buckets = 16").await?;
    let datasets = String::from_utf8(stack.get("datasets.toml").await?.to_vec())?;
    let users = format!(
        "protects = {{ users = \"id\" }}\n[datasets.users]\ndatabase = \"dmp\"\nlocation = \"s3://{0}/schemas\"\n\
         source = {{ files = {{ location = \"s3://{0}/source/users/\", columns = {{ id = \"bigint\" }} }} }}\n",
        stack.bucket
    );
    stack.put("datasets.toml", format!("{datasets}{users}")).await?;
    let ids: String = (0..rows).map(|id| format!("{}\n", id * 2)).collect();
    stack.put("source/users/users.csv", format!("id\n{ids}")).await?;
    stack.invoke("export", &json!({ "dataset": "users" })).await??;
    fill(&stack, 0..rows).await?;
    refresh(&stack).await?;
    let plain = "SELECT count(*) FROM dmp.users t WHERE NOT EXISTS (SELECT 1 FROM dmp.optouts o WHERE o.user_id = t.id \
                 AND o.state <> 'opted_in')";
    let output = format!("s3://{}/athena/", stack.scratch);
    let (mut guarded, mut unguarded) = (Vec::new(), Vec::new());
    for _ in 0..QUERIES {
        for (sql, took) in [("SELECT count(*) FROM dmp.users_protected", &mut guarded), (plain, &mut unguarded)] {
            let began = Instant::now();
            let row = athena::first_row(&stack.athena, &output, sql).await?;
            took.push(began.elapsed().as_secs_f64());
            if row[0].as_deref() != Some(&(rows - rows / 2).to_string()) {
                bail!("{sql}: {row:?}");
            }
        }
    }
    let median = |all: &[f64]| {
        let mut all = all.to_vec();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    println!("{QUERIES} queries each on {rows} rows, with {rows} people out in 16 files");
    println!("with the count     {}", spread(guarded.clone()));
    println!("without            {}", spread(unguarded.clone()));
    println!("ratio of the p50   {:.2}", median(&guarded) / median(&unguarded));
    Ok(())
}

/// Returns the size of the newest generation in MB of 10⁶ bytes.
async fn megabytes(stack: &Stack) -> Result<f64> {
    let prefix = "schemas/optouts/_manifests/";
    let listed = stack.s3.list_objects_v2().bucket(&stack.bucket).prefix(prefix).send().await?;
    let of = |key: &str| key.rsplit('-').next().map(str::to_owned);
    let newest = listed.contents().iter().filter_map(|object| object.key()).max_by_key(|key| of(key));
    let manifest: Value = serde_json::from_slice(&stack.get(newest.context("no manifest")?).await?)?;
    Ok(manifest["bytes"].as_f64().context("no bytes")? / 1e6)
}

async fn memory(emulator: &Emulator) -> Result<()> {
    let stack = deploy(emulator, "200000000005", "").await?;
    let function = &stack.functions["optout"];
    for (what, people) in [("5 M new records", 0..5_000_000), ("5 M more, 10 M rows", 5_000_000..10_000_000)] {
        let (peak, began) = (Peak::of(function), Instant::now());
        fill(&stack, people).await?;
        println!("{what:<28} {:>6.0} MB peak, visible after {:.1} s", peak.stop().await, began.elapsed().as_secs_f64());
    }
    for (what, name, drop) in [
        ("1,000 records", "small.csv", csv((0..1000).map(|n| n * 9973), "withdrawn", 1).into_bytes()),
        ("5 M records that change, CSV", "large.csv", csv((0..5_000_000).map(|n| n * 2), "withdrawn", 2).into_bytes()),
    ] {
        let (peak, began) = (Peak::of(function), Instant::now());
        stack.put(&format!("inbox/optouts/{name}"), drop).await?;
        while refresh(&stack).await?["outcome"] != "already_live" {}
        println!("{what:<28} {:>6.0} MB peak, live after {:.1} s", peak.stop().await, began.elapsed().as_secs_f64());
    }
    Ok(())
}
