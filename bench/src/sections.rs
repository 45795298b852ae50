//! Runs the sections of the benchmark in interleaved rounds. Each contender runs once per round, and each round starts
//! with the contender that came second in the previous one.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{
    contender::{Build, Contender, Engine, Format, Left},
    figures::{Measured, Outcome},
    mariadb::Mariadb,
    measure::{self, Run},
    options::{Options, Section},
    peer::{Database, Peer},
    place::{Place, connected, script},
    postgres::Postgres,
    pressure::Watch,
    report::{self, Report},
    runs,
    store::Store,
    table,
    tools::Tools,
};

const LARGE: [Contender; 18] = [
    Contender::PySpark(1),
    Contender::PySpark(4),
    Contender::AwsWrangler,
    Contender::Adbc,
    Contender::PsqlDuckdb,
    Contender::Ours(1),
    Contender::Ours(4),
    Contender::OursS3(1),
    Contender::OursS3(4),
    Contender::PsqlCopy,
    Contender::EncodeOnly,
    Contender::Ours(2),
    Contender::Peer(Peer::DuckDb(1), Database::Postgres),
    Contender::Peer(Peer::DuckDb(2), Database::Postgres),
    Contender::Peer(Peer::ConnectorX(1), Database::Postgres),
    Contender::Peer(Peer::ConnectorX(2), Database::Postgres),
    Contender::Peer(Peer::Rivet(1), Database::Postgres),
    Contender::Peer(Peer::Rivet(2), Database::Postgres),
];
const SMALL: [Contender; 7] = [
    Contender::PySpark(1),
    Contender::AwsWrangler,
    Contender::Adbc,
    Contender::PsqlDuckdb,
    Contender::Ours(1),
    Contender::OursS3(1),
    Contender::PsqlCopy,
];
const FILES: [Contender; 9] = [
    Contender::Files(Engine::Ours, Format::Csv),
    Contender::Files(Engine::DuckDb, Format::Csv),
    Contender::Files(Engine::DataFusion, Format::Csv),
    Contender::Files(Engine::Ours, Format::Json),
    Contender::Files(Engine::DuckDb, Format::Json),
    Contender::Files(Engine::DataFusion, Format::Json),
    Contender::Files(Engine::Ours, Format::Parquet),
    Contender::Files(Engine::DuckDb, Format::Parquet),
    Contender::Files(Engine::DataFusion, Format::Parquet),
];
/// Without rivet, which sets a variable that only MySQL has (`max_execution_time`).
const MARIADB: [Contender; 8] = [
    Contender::MariadbDuckdb,
    Contender::OursMariadb(1),
    Contender::OursMariadb(2),
    Contender::MariadbClient,
    Contender::Peer(Peer::DuckDb(1), Database::Mariadb),
    Contender::Peer(Peer::DuckDb(2), Database::Mariadb),
    Contender::Peer(Peer::ConnectorX(1), Database::Mariadb),
    Contender::Peer(Peer::ConnectorX(2), Database::Mariadb),
];
const LEVELS: [Contender; 5] =
    [Contender::Level(1), Contender::Level(2), Contender::Level(3), Contender::Level(6), Contender::Level(9)];
const MEMORY: [Contender; 2] = [Contender::Ours(1), Contender::Ours(4)];
const SMALL_ROWS: u64 = 100_000;

/// PostgreSQL settings for filling the tables without a write-ahead log, which would take up as much disk space as the
/// tables.
const SERVER_SETTINGS: [&str; 5] = [
    "shared_buffers=512MB",
    "maintenance_work_mem=512MB",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=1GB",
];

struct Bench {
    options: Options,
    place: Place,
    measured: Vec<Measured>,
}

pub async fn run(options: Options) -> Result<()> {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
    let tools = Tools::prepare()?;
    let work = tools.folder.join("work");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    eprintln!("bench: starting PostgreSQL and MiniStack");
    let store = Store::start(&tools)?;
    let server = Postgres::start_with(&SERVER_SETTINGS);
    let place = Place { tools, server, mariadb: None, store, baseline: options.baseline.clone(), work };
    let mut bench = Bench { options, place, measured: Vec::new() };
    let ran = bench.sections().await;
    let _ = fs::remove_dir_all(&bench.place.work);
    ran?;

    let versions = versions(&bench.place)?;
    let report = Report::new(bench.options.rows, load, versions, &bench.measured);
    let raw = report::keep(&bench.place.tools.folder, &report, &bench.measured)?;
    println!("{}", report.text());
    println!("every run: {}", raw.display());
    if let Some(chart) = &bench.options.chart {
        fs::write(chart, crate::chart::svg(&report)).with_context(|| format!("cannot write {}", chart.display()))?;
    }
    if bench.options.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    if !report.equal {
        bail!("the contenders wrote different rows: {}", report.unequal.join("; "));
    }
    if bench.options.record {
        println!("recorded: {}", runs::record(&report)?.display());
    }
    match &bench.options.against {
        Some(folder) => runs::compare(&report, folder),
        None => Ok(()),
    }
}

impl Bench {
    async fn sections(&mut self) -> Result<()> {
        let Options { rows, rounds, .. } = self.options;
        let has = |section| self.options.sections.contains(&section);
        let (large, small, files, memory) =
            (has(Section::Large), has(Section::Small), has(Section::Files), has(Section::Memory));
        let (mariadb, levels) = (has(Section::Mariadb), has(Section::Levels));
        let (first, third) = (rows / 11, rows * 3);
        if large || files || mariadb || memory || levels {
            self.make("users", rows).await?;
        }
        if large {
            self.rounds("large", &LARGE, "users", rows, rounds).await?;
        }
        if levels {
            self.rounds("levels", &LEVELS, "users", rows, rounds).await?;
        }
        if files {
            self.make_files()?;
            self.rounds("files", &FILES, "users", rows, rounds).await?;
        }
        if mariadb {
            eprintln!("bench: copying the table users to MariaDB");
            let server = Mariadb::start_with(&["--local-infile=1"]);
            table::copy_to_mariadb(&self.place.server.url(), &server, "users", &self.place.work).await?;
            self.place.mariadb = Some(server);
            self.rounds("mariadb", &MARIADB, "users", rows, rounds).await?;
            self.place.mariadb = None;
        }
        if small {
            self.make("small", SMALL_ROWS.min(rows)).await?;
            self.rounds("small", &SMALL, "small", SMALL_ROWS.min(rows), rounds).await?;
        }
        if memory {
            self.make("few", first).await?;
            self.rounds("memory", &MEMORY, "few", first, 1).await?;
            self.rounds("memory", &MEMORY, "users", rows, 1).await?;
            self.make("many", third).await?;
            self.rounds("memory", &MEMORY, "many", third, 1).await?;
        }
        Ok(())
    }

    async fn make(&self, name: &str, rows: u64) -> Result<()> {
        eprintln!("bench: creating the table {name} with {rows} rows");
        table::make(&self.place.server.url(), name, rows).await
    }

    /// Writes the table `users` as one file in each format.
    fn make_files(&self) -> Result<()> {
        for format in [Format::Csv, Format::Json, Format::Parquet] {
            let file = format.file(&self.place);
            let folder = file.parent().context("the file has no folder")?;
            fs::create_dir_all(folder)?;
            let psql = |copy: String| {
                let mut psql = Command::new("psql");
                psql.args(["-qc", &copy]).stdout(fs::File::create(&file)?);
                connected(&mut psql, &self.place);
                anyhow::Ok(psql)
            };
            let mut command = match format {
                Format::Csv => psql(table::to_csv("users"))?,
                Format::Json => psql(table::to_json("users"))?,
                Format::Parquet => {
                    let rows = self.options.rows;
                    Contender::PsqlDuckdb.command(&self.place, Build::Current, "users", rows)?.0
                }
            };
            run_unmeasured(&mut command)?;
            if format == Format::Parquet {
                fs::rename(self.place.work.join("out/part.parquet"), file)?;
            }
        }
        Ok(())
    }

    async fn rounds(&mut self, section: &str, all: &[Contender], table: &str, rows: u64, rounds: usize) -> Result<()> {
        let wanted = |contender: &&Contender| match contender {
            Contender::PySpark(_) if self.place.tools.driver.is_none() => false,
            _ => self.options.only.is_empty() || self.options.only.contains(&contender.name()),
        };
        let contenders = all.iter().filter(wanted);
        let mut contenders: Vec<(Contender, Build)> = contenders
            .flat_map(|contender| contender.builds(&self.place).iter().map(|build| (*contender, *build)))
            .collect();
        if contenders.is_empty() {
            return Ok(());
        }
        // An unmeasured run warms the caches, so that the first contender has no disadvantage.
        let reader = if section == "mariadb" { Contender::MariadbClient } else { Contender::PsqlCopy };
        let (warm, _) = reader.command(&self.place, Build::Current, table, rows)?;
        measure::run(warm, &self.place.work.join("log"))?;
        for round in 1..=rounds {
            for contender in &contenders {
                let measured = self.once(section, *contender, table, rows, round).await?;
                let (name, run) = (&measured.contender, measured.run);
                eprintln!(
                    "bench: {section} {round}/{rounds} {name}: {:.2} s, {:.2} s CPU, {:.0} MB",
                    run.wall_s, run.cpu_s, run.rss_mb
                );
                self.measured.push(measured);
            }
            contenders.rotate_left(1);
        }
        Ok(())
    }

    async fn once(
        &self,
        section: &str,
        (contender, build): (Contender, Build),
        table: &str,
        rows: u64,
        round: usize,
    ) -> Result<Measured> {
        let name = build.name(contender);
        let (command, left) = contender.command(&self.place, build, table, rows)?;
        let watch = self.watch(section, table).await?;
        let log = self.place.work.join("log");
        let mut run = tokio::task::block_in_place(|| measure::run(command, &log)).with_context(|| name.clone())?;
        let pressure = match watch {
            Some(watch) => Some(watch.end().await?),
            None => None,
        };
        if contender == Contender::EncodeOnly {
            #[derive(Deserialize)]
            struct Phase {
                wall_s: f64,
                cpu_s: f64,
            }
            let Phase { wall_s, cpu_s } = serde_json::from_slice(&fs::read(self.place.work.join("phase"))?)?;
            run = Run { wall_s, cpu_s, ..run };
        }
        let result = match left {
            Left::Nothing => None,
            Left::Disk(folder) => Some(self.result(&folder.to_string_lossy())?),
            Left::S3(prefix) => Some(self.result(&prefix)?),
        };
        Ok(Measured { section: section.into(), contender: name, rows, round, run, pressure, result })
    }

    /// Starts to observe the server that the section's contenders read.
    async fn watch(&self, section: &str, table: &str) -> Result<Option<Watch>> {
        match section {
            "large" | "small" | "levels" => Ok(Some(Watch::postgres(&self.place.server.url(), table).await?)),
            // MySQL has other tables for what is observed.
            "mariadb" if !self.place.mariadb()?.is_mysql() => {
                Ok(Some(Watch::mariadb(&self.place.mariadb()?.url()).await?))
            }
            _ => Ok(None),
        }
    }

    fn result(&self, place: &str) -> Result<Outcome> {
        let mut command = Command::new(&self.place.tools.python);
        command.arg(script("result.py")).arg(place);
        connected(&mut command, &self.place);
        Ok(serde_json::from_slice(&stdout_of(&mut command)?)?)
    }
}

/// Runs the command to its end, without measuring it.
fn run_unmeasured(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status()?;
    if !status.success() {
        bail!("{:?} failed ({status})", command.get_program());
    }
    Ok(())
}

fn stdout_of(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{:?} failed ({})", command.get_program(), output.status);
    }
    Ok(output.stdout)
}

/// Returns the name and version of each tool.
fn versions(place: &Place) -> Result<Vec<String>> {
    let script = "import importlib.metadata as m, sys\nprint('Python', sys.version.split()[0])\n\
        for n in 'adbc-driver-postgresql awswrangler datafusion duckdb ministack pandas pg8000 pyarrow pyspark'.split():\n    print(n, m.version(n))";
    let build = if cfg!(debug_assertions) { " (a development build)" } else { "" };
    let mut lines = vec![format!("turntable {}{build}", env!("CARGO_PKG_VERSION"))];
    lines.extend(place.baseline.iter().map(|program| format!("baseline {}", program.display())));
    let peers = "import importlib.metadata as m\n\
        for n in 'connectorx duckdb duckdb-ext-mysql duckdb-ext-postgres rivet-cli'.split():\n    print('peers:', n, m.version(n))";
    for command in [
        Command::new(&place.tools.python).args(["-c", script]),
        Command::new(&place.tools.peers).args(["-c", peers]),
        Command::new("psql").args(["-Atc", "SELECT 'PostgreSQL ' || current_setting('server_version')"]),
        Command::new("psql").arg("--version"),
    ] {
        connected(command, place);
        lines.extend(String::from_utf8_lossy(&stdout_of(command)?).lines().map(str::to_owned));
    }
    if let Some(driver) = &place.tools.driver {
        let java = Command::new("java").arg("-version").output()?;
        lines.extend(String::from_utf8_lossy(&java.stderr).lines().next().map(str::to_owned));
        lines.extend(driver.file_stem().map(|name| format!("JDBC driver {}", name.to_string_lossy())));
    }
    Ok(lines)
}
