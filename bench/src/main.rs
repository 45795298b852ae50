//! `cargo run --release -p bench`: how long a table takes from PostgreSQL to Parquet, by `export`'s own path and by what a
//! user would pick instead. One table on stdout, every run in `target/bench/`.
//!
//! | module | |
//! |---|---|
//! | [`sections`] | what is measured: the large table, a small one, files, memory |
//! | [`contender`] | who competes, as the command of a process of its own |
//! | [`measure`] | wall clock, processor time and peak memory of a process and all that it starts |
//! | [`table`], [`store`], [`tools`] | the table, the S3, and the Python packages and the JDBC driver |
//! | [`ours`], [`disk`] | the contender that is ours, and its objects on disk |
//! | [`report`], [`chart`] | medians, the table, the JSON, the SVG |

#![allow(clippy::disallowed_methods, reason = "a benchmark has a clock and an environment; the pure half has not")]

mod chart;
mod contender;
mod disk;
mod measure;
mod ours;
/// Of the standard library only. A dependency on `tests` would build every AWS client of infra/local in release.
#[path = "../../tests/src/postgres.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod postgres;
mod report;
mod sections;
#[path = "../../tests/src/server.rs"]
mod server;
mod store;
mod table;
mod tools;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "From PostgreSQL to Parquet: Turntable next to what you would pick instead")]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    contender: Option<Contender>,
}

#[derive(clap::Args, Clone)]
pub struct Options {
    /// Rows of the large table
    #[arg(long, default_value_t = 3_300_000)]
    rows: u64,
    /// How often everybody runs; who runs first moves on with each round
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only these contenders, such as ours_1,psql_copy
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these sections
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = sections::Section::ALL)]
    sections: Vec<sections::Section>,
    /// One JSON object on the last line
    #[arg(long)]
    json: bool,
    /// Writes the chart of the large table there
    #[arg(long)]
    chart: Option<std::path::PathBuf>,
}

/// What the processes of our own contenders are started with.
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
