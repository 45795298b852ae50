//! Runs the real chain under constant reads, writes and kill -9: `just soak SECONDS`.
//!
//! It deploys template.yaml on the emulator, with the compiled functions and the Athena endpoint. Eight readers query
//! counts, the extraction without opted-out people, and every row. Each answer must match exactly one generation
//! ([`oracle`]). A ninth reader lists the live generation's files and reads them seconds later, as a long query does.
//! Meanwhile, a day is exported every second, people opt out twice a second ([`writers`]), operators roll back, sweeps
//! delete, and events arrive late and repeatedly. Functions are killed during the first three fifths of the time
//! ([`processes`]); the rest of the time shows whether the memory of the surviving processes grows. The older design
//! with two directories runs at the same time ([`two_directories`]) and must fail, which proves that the readers notice
//! faults.
//!
//! The last line is one JSON object. The environment variable `SEED` repeats the random choices of a run, though not
//! its timing.

mod lake;
mod oracle;
mod processes;
mod readers;
mod report;
mod two_directories;
mod writers;

use std::{
    env,
    process::ExitCode,
    sync::atomic::Ordering,
    time::{Duration, Instant, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use futures::future::join_all;
use lake::Lake;
use local::{Emulator, Tools, progress::say};
use oracle::Question;
use readers::Tally;
use report::Report;

const READERS: usize = 8;
/// How many readers query the older design's table.
const OLD_READERS: usize = 2;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let seconds = env::args().nth(1).context("how many seconds?")?.parse().context("seconds are a whole number")?;
    let seed = env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.map_or_else(|| UNIX_EPOCH.elapsed().map(|since| since.as_micros() as u64), Ok)?;
    say(format_args!("SEED={seed}"));
    let tools = Tools::prepare().await?;
    let emulator = Emulator::start(&tools).await?;
    let lake = Lake::deploy(&emulator, seed).await?;
    two_directories::create(&lake).await?;
    let mut report = soak(&lake, Duration::from_secs(seconds)).await?;
    settle(&lake, &mut report).await?;
    Ok(report.print())
}

async fn soak(lake: &Lake, time: Duration) -> Result<Report> {
    say(format_args!("soaking for {} s", time.as_secs()));
    let start = Instant::now();
    let changes = async {
        tokio::try_join!(
            writers::exports(lake),
            writers::all_exports(lake),
            writers::opt_outs(lake),
            writers::rollbacks(lake),
            writers::sweeps(lake),
            writers::duplicates(lake),
            two_directories::write(lake),
        )
    };
    let end = async {
        tokio::time::sleep(time).await;
        lake.end();
    };
    let (changed, (), (), lives, tallies, late, old) = tokio::join!(
        changes,
        end,
        processes::kill(lake, start + time * 3 / 5),
        processes::watch(lake),
        join_all((0..READERS).map(|number| readers::read(lake, number))),
        readers::read_late(lake),
        join_all((0..OLD_READERS).map(|_| two_directories::read(lake))),
    );
    changed?;
    let queries = tallies.into_iter().fold(late, Tally::add);
    Ok(Report { seconds: start.elapsed(), queries, lives, old, ..Report::default() })
}

/// Waits until a refresh acknowledges the last drop, then checks the tables' contents.
async fn settle(lake: &Lake, report: &mut Report) -> Result<()> {
    say("settling");
    lake.until("a refresh after the last drop", async || {
        lake.refresh().await;
        lake.acknowledged.load(Ordering::SeqCst) == lake.sent.load(Ordering::SeqCst)
    })
    .await?;
    let out = lake.rows("SELECT user_id FROM dmp.optouts WHERE state <> 'opted_in'").await?;
    report.visible = out.len() as u64;
    (report.sent, report.acknowledged) = (lake.sent.load(Ordering::SeqCst), lake.acknowledged.load(Ordering::SeqCst));
    for question in Question::ALL {
        if !matches!(question.judge(&lake.rows(question.sql()).await?, report.sent), oracle::Seen::Whole) {
            report.queries.mixed += 1;
            report.queries.complain(format!("the answer to {question:?} is wrong at the end"));
        }
    }
    report.done = lake.done();
    Ok(())
}
