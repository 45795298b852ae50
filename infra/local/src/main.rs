//! The command line of `cargo run -p local`.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use local::status::Account;
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
    /// Run this datasets.toml, once, instead of the sample. ${NAME} in it comes from the environment, ${BUCKET} is the
    /// runner's bucket.
    #[arg(long, value_name = "FILE")]
    datasets: Option<PathBuf>,
    /// One JSON object on the last line (`up`: on the first) instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Leave it running until Ctrl-C, with nothing exported yet.
    Up {
        #[command(flatten)]
        options: Options,
    },
    /// Say all that is wrong with a datasets.toml, and show the tables that it makes. Nothing is started or changed.
    Check {
        /// ${NAME} in it comes from the environment.
        file: PathBuf,
    },
    /// Print a datasets.toml that publishes tables of a database.
    NewDataset {
        /// Leave [defaults] out, to append what is printed to a file that has them.
        #[arg(long)]
        append: bool,
        /// postgres://USER:PASSWORD@HOST:PORT/DATABASE, or mysql://…; it is not printed.
        url: String,
        /// Their names, or SCHEMA.NAME.
        #[arg(value_name = "TABLE", required = true)]
        tables: Vec<String>,
    },
    /// Print what Athena says of the tables of the emulator that `up` runs.
    Query {
        /// One statement, such as "SELECT count(*) FROM dmp.users".
        sql: String,
    },
    /// Say how all datasets are: of the emulator that `up` runs, or of an account.
    Status {
        /// The stack's name.
        #[arg(default_value = "turntable")]
        stack: String,
        /// The stack of an account, with the environment's credentials and region.
        #[arg(long)]
        aws: bool,
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
}

/// Set by a signal, as the shell reports it.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { command, options } = Cli::parse();
    let up = matches!(command, Some(Command::Up { .. }));
    let work = async {
        match command {
            None => tell(options).await,
            Some(Command::Up { options }) => {
                local::up::up(options.datasets, options.json).await.map(|()| ExitCode::SUCCESS)
            }
            Some(Command::Check { file }) => check(&file).await,
            Some(Command::NewDataset { append, url, tables }) => new_dataset(append, &url, &tables).await,
            Some(Command::Query { sql }) => {
                print!("{}", local::query::query(&sql).await?);
                Ok(ExitCode::SUCCESS)
            }
            Some(Command::Status { stack, aws, json }) => status(&stack, aws, json).await,
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

async fn check(file: &Path) -> Result<ExitCode> {
    let checked = match local::check::check(file).await {
        Ok(checked) => checked,
        // It has a line for each fault.
        Err(error) => {
            eprintln!("{error:#}");
            return Ok(ExitCode::FAILURE);
        }
    };
    print!("{}", checked.tables);
    for fault in &checked.faults {
        eprintln!("{fault}");
    }
    if checked.faults.is_empty() {
        println!("{}; nothing is wrong", checked.looked_at);
    }
    Ok(if checked.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn new_dataset(append: bool, url: &str, tables: &[String]) -> Result<ExitCode> {
    use local::new_dataset::{entries, new_dataset};
    let found = match append {
        true => entries(url, tables).await?,
        false => new_dataset(url, tables, &std::env::current_dir()?).await?,
    };
    print!("{}", found.text);
    for fault in &found.faults {
        eprintln!("error: {fault}");
    }
    Ok(if found.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn status(stack: &str, aws: bool, json: bool) -> Result<ExitCode> {
    let account = if aws { Account::Aws } else { Account::Emulator };
    let overview = local::status::ask(stack, account).await?;
    if json {
        println!("{}", serde_json::to_string(&overview)?);
    } else {
        print!("{}", local::status::shown(&overview));
    }
    Ok(ExitCode::SUCCESS)
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
