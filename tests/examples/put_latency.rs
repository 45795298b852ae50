//! Measures how long it takes from a put into a source until its table is live, on the real chain: template.yaml on the
//! emulator, and the compiled functions. Prints a line for each `settle`.
//!
//!     cargo run -p tests --example put_latency        # 100,000 rows, 30 puts without settle, 5 with 5 s
//!
//! The environment variables ROWS, PUTS and SETTLED_PUTS change the numbers. The functions are built with this example's
//! profile: use `--release` for times like those of a release.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use local::{Deployment, Emulator, Stack, Tools};
use serde_json::Value;
use turntable::clock::Clock;

/// How long a put may take before the measurement fails.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the table is read. The times are up to this long too long.
const LOOK: Duration = Duration::from_millis(10);

#[tokio::main]
async fn main() -> Result<()> {
    let (rows, puts, settled) = (number("ROWS", 100_000), number("PUTS", 30), number("SETTLED_PUTS", 5));
    let tools = Tools::prepare().await?;
    let emulator = Emulator::start(&tools).await?;
    println!(
        "{:>8} {:>9} {:>5} {:>8} {:>8} {:>8}   p50 of export, flip",
        "settle", "rows", "puts", "p50", "p99", "max"
    );
    for (account, settle, puts) in [("400000000001", "0s", puts), ("400000000002", "5s", settled)] {
        let stack = deploy(&emulator, account, settle).await?;
        let (took, parts) = measure(&stack, rows, puts).await?;
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| quantile(&took, part));
        println!("{settle:>8} {rows:>9} {puts:>5} {p50:>6.2} s {p99:>6.2} s {max:>6.2} s   {parts}");
    }
    Ok(())
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Deploys a stack with one table, which puts refresh.
async fn deploy(emulator: &Emulator, account: &str, settle: &str) -> Result<Stack> {
    let deployment = Deployment { stack: format!("turntable-{account}"), ..Deployment::in_account(account) };
    let stack = emulator.deploy(&deployment).await?;
    stack.create_database("dmp").await?;
    let datasets = format!(
        "[datasets.users]\ndatabase = \"dmp\"\nlocation = \"s3://{0}/schemas\"\n\
         source = {{ files = {{ location = \"s3://{0}/source/users/\", columns = {{ id = \"bigint\", name = \"string\", \
         points = \"int\", joined = \"date\" }} }} }}\nrefresh = {{ on_put = true, settle = \"{settle}\" }}\n",
        stack.bucket
    );
    stack.put("datasets.toml", datasets).await?;
    Ok(stack)
}

/// Puts the file again and again, each time with other rows, and waits until it is live. Returns how many seconds each
/// took from the end of the put on, and what the functions took. The first put, with the functions' cold starts, doesn't
/// count.
async fn measure(stack: &Stack, rows: u64, puts: u64) -> Result<(Vec<f64>, String)> {
    let (mut live, mut took, mut first) = (None, Vec::new(), 0);
    for round in 0..=puts {
        let csv = csv(rows, round);
        if round == 1 {
            first = Clock::system().now().as_millisecond();
        }
        stack.put("source/users/users.csv", csv).await?;
        let put = Instant::now();
        loop {
            let now = location(stack).await?;
            if now.is_some() && now != live {
                live = now;
                break;
            }
            if put.elapsed() > PATIENCE {
                bail!("put {round} is not live: {:#?}", stack.logs("export", first).await?);
            }
            tokio::time::sleep(LOOK).await;
        }
        if round > 0 {
            took.push(put.elapsed().as_secs_f64());
        }
    }
    let of = async |function: &str| -> Result<f64> {
        let lines = stack.logs(function, first).await?;
        let seconds = |line: &Value| line["fields"]["seconds"].as_f64();
        Ok(quantile(&lines.iter().filter_map(seconds).collect::<Vec<f64>>(), 0.5))
    };
    Ok((took, format!("{:.2} s, {:.2} s", of("export").await?, of("flip").await?)))
}

/// Returns the table's location, or `None` if there is no table.
async fn location(stack: &Stack) -> Result<Option<String>> {
    match stack.glue.get_table().database_name("dmp").name("users").send().await {
        Ok(answer) => Ok(answer.table.and_then(|table| table.storage_descriptor?.location)),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_entity_not_found_exception()) => Ok(None),
        Err(error) => Err(error).context("cannot read the Glue table"),
    }
}

fn csv(rows: u64, round: u64) -> String {
    let mut csv = String::from("id,name,points,joined\n");
    for id in 1..=rows {
        let points = if id % 7 == 0 { String::new() } else { (id * 3).to_string() };
        csv += &format!("{id},user {id:06} of {round},{points},2024-{:02}-{:02}\n", 1 + id % 12, 1 + id % 28);
    }
    csv
}

/// Returns the quantile of these times: the smallest that is at least as long as this part of all.
fn quantile(times: &[f64], part: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times.get(((times.len() as f64 * part).ceil() as usize).saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
