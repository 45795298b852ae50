//! The command line of `cargo run -p local`.

use std::{io, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Turntable on a laptop: deploys template.yaml into an emulator of AWS and runs the daily job for three days, while a
/// reader queries the table without a pause.
#[derive(Parser)]
#[command(name = "local", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
struct Options {
    /// Run this datasets.toml once instead of the sample. ${NAME} in it comes from the environment; ${BUCKET} is the
    /// runner's bucket.
    #[arg(long, value_name = "FILE")]
    datasets: Option<PathBuf>,
    /// Print one JSON object on the last line (`up`: on the first) instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Keep a stack running until Ctrl-C, with nothing exported yet.
    Up {
        #[command(flatten)]
        options: Options,
    },
    #[command(flatten)]
    Operator(cli::Command),
}

/// The exit code after a signal: 130, with which shells report an interrupt (128 + SIGINT).
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { command, options } = Cli::parse();
    let up = matches!(command, Some(Command::Up { .. }));
    let work = async {
        match command {
            None => run(options).await,
            Some(Command::Up { options }) => {
                local::up::up(options.datasets, options.json).await.map(|()| ExitCode::SUCCESS)
            }
            Some(Command::Operator(command)) => command.run().await,
        }
    };
    // A signal drops `work`, and dropping it ends all child processes.
    let ended = tokio::select! {
        result = work => result,
        result = interrupted() => result.map(|()| if up { ExitCode::SUCCESS } else { INTERRUPTED.into() }),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(options: Options) -> Result<ExitCode> {
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

/// Waits for SIGINT, SIGTERM or SIGHUP.
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
