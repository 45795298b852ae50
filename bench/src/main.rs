//! Measures how long it takes to convert a table in PostgreSQL, MariaDB or files to Parquet, with `export`'s code and
//! with the tools that users would pick instead: `cargo run --release -p bench`. Prints one table, and keeps the
//! figures of every run in `target/bench/`.
//!
//! | module | purpose |
//! |---|---|
//! | [`options`] | the command line |
//! | [`sections`] | the sections of the benchmark: the large table, a small one, files, MariaDB, memory |
//! | [`contender`] | the contenders, each as a command in its own process |
//! | [`measure`] | wall-clock time, CPU time and peak memory of a process and its descendants |
//! | [`table`], [`place`], [`store`], [`tools`] | the table and its copies, the servers, the S3 emulator, and the tools (Python packages, JDBC driver) |
//! | [`ours`], [`disk`] | Turntable as a contender, and its object store on disk |
//! | [`peer`], [`pressure`] | exporters of other projects, and what each contender asks of the database server |
//! | [`figures`], [`goals`], [`report`], [`chart`] | medians, goals, the text table, the JSON, the SVG |
//! | [`runs`] | the summaries in bench/runs, and the comparison with them |

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark needs a clock and an environment, which only the pure half must not use"
)]

mod chart;
mod contender;
mod disk;
mod figures;
mod goals;
/// Included by path for the same reason as `postgres`.
#[path = "../../tests/src/mariadb.rs"]
#[allow(dead_code, reason = "only the tests use all of it")]
mod mariadb;
mod measure;
mod options;
mod ours;
mod peer;
mod place;
/// Included by path rather than through a dependency on `tests`, which would build every AWS client of infra/local in
/// release mode. The file needs only the standard library.
#[path = "../../tests/src/postgres.rs"]
#[allow(dead_code, reason = "only the tests use all of it")]
mod postgres;
mod pressure;
mod report;
mod runs;
mod sections;
#[path = "../../tests/src/server.rs"]
mod server;
mod store;
mod table;
mod tools;

use anyhow::Result;
use clap::{Parser, Subcommand};
use options::Options;

#[derive(Parser)]
#[command(about = "From PostgreSQL to Parquet: Turntable compared with the tools you would pick instead")]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    contender: Option<Contender>,
}

/// The hidden subcommand that runs Turntable as a contender.
#[derive(Subcommand)]
enum Contender {
    #[command(hide = true)]
    Ours(ours::Ours),
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.contender {
        Some(Contender::Ours(ours)) => ours.run().await,
        None => sections::run(arguments.options).await,
    }
}
