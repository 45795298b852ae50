//! The benchmark's command-line options.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Args, Clone)]
pub struct Options {
    /// Rows of the large table
    #[arg(long, default_value_t = 3_300_000)]
    pub rows: u64,
    /// Runs per contender; each round starts with a different contender
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Runs only these contenders, such as ours_1,psql_copy
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// The program `bench` of another build, for example of an earlier commit. Each of Turntable's contenders also runs
    /// with it in every round, as NAME@baseline
    #[arg(long)]
    pub baseline: Option<PathBuf>,
    /// Runs only these sections
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Section::ALL)]
    pub sections: Vec<Section>,
    /// Keeps the summary in the repository, as bench/runs/DATE-MACHINE.json
    #[arg(long)]
    pub record: bool,
    /// Fails if Turntable's time divided by that of psql_copy is 20 % worse than in the newest summary in this folder
    #[arg(long)]
    pub against: Option<PathBuf>,
    /// Prints one JSON object on the last line
    #[arg(long)]
    pub json: bool,
    /// Writes the chart of the large table to this file
    #[arg(long)]
    pub chart: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Section {
    /// The large table, with all contenders
    Large,
    /// 100,000 rows, including the start of the process
    Small,
    /// CSV, NDJSON and Parquet sources
    Files,
    /// The large table in MariaDB
    Mariadb,
    /// The large table at several levels of ZSTD
    Levels,
    /// Memory by table size: 1/11, 1 and 3 times the rows
    Memory,
}

impl Section {
    pub const ALL: [Section; 6] =
        [Section::Large, Section::Small, Section::Files, Section::Mariadb, Section::Levels, Section::Memory];
}
