//! The command line of `cargo run -p local`.

use std::{io, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Turntable on a laptop: deploys template.yaml into an emulator of AWS and runs the daily job for three days, while a
/// reader queries the table without a pause.
#[derive(Parser)]
#[command(name = "local", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
struct Options {
    /// Run this datasets.toml, once, instead of the sample. ${NAME} in it comes from the environment, ${BUCKET} is the
    /// runner's bucket.
    #[arg(long, value_name = "FILE", global = true)]
    datasets: Option<PathBuf>,
    /// One JSON object on the last line (`up`: on the first) instead of text.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Leave it running until Ctrl-C, with nothing exported yet.
    Up,
}

/// Set by a signal, as the shell reports it.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { command, options } = Cli::parse();
    let up = command.is_some();
    let work = async {
        match command {
            None => tell(options).await,
            Some(Command::Up) => local::up::up(options.datasets, options.json).await.map(|()| ExitCode::SUCCESS),
        }
    };
    // Whatever ends first, `work` is dropped with all that it has started.
    let ended = tokio::select! {
        result = work => result,
        result = interrupted() => result.map(|()| if up { ExitCode::SUCCESS } else { INTERRUPTED.into() }),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn tell(options: Options) -> Result<ExitCode> {
    let report = local::run::run(options.datasets).await?;
    if options.json {
        println!("{}", report.to_json());
    } else {
        print!("\n{report}");
    }
    for fault in &report.faults {
        eprintln!("error: {fault}");
    }
    Ok(if report.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Until somebody wants it to end.
async fn interrupted() -> Result<()> {
    let on = |kind| -> io::Result<_> { signal(kind) };
    let (mut interrupt, mut terminate, mut hangup) =
        (on(SignalKind::interrupt())?, on(SignalKind::terminate())?, on(SignalKind::hangup())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
