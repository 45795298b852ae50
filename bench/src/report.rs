//! Summarises the runs: medians, one text table, one JSON object.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::{
    contender::BASELINE,
    figures::{Figures, Measured, rounded},
    goals::{self, Goal},
    pressure::Pressure,
};

#[derive(Serialize)]
pub struct Report {
    pub rows: u64,
    /// The large table's figures, by contender.
    pub contenders: BTreeMap<String, Figures>,
    /// Whether all contenders wrote the same rows in every section.
    pub equal: bool,
    /// The small table's figures, by contender.
    pub small: BTreeMap<String, Figures>,
    /// The figures for files as sources, by contender.
    pub files: BTreeMap<String, Figures>,
    /// The figures for the table in MariaDB, by contender.
    pub mariadb: BTreeMap<String, Figures>,
    /// The figures for the large table at several levels of ZSTD.
    pub levels: BTreeMap<String, Figures>,
    /// The figures for tables of three sizes, by `CONTENDER:ROWS`.
    pub memory: BTreeMap<String, Figures>,
    /// The figures of this build divided by the baseline's, by `SECTION CONTENDER`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub baseline: BTreeMap<String, Ratios>,
    /// Descriptions of the rows that differ or are missing; empty if `equal`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unequal: Vec<String>,
    /// The goals, as ratios of figures within this run.
    pub goals: Vec<Goal>,
    pub date: String,
    pub machine: String,
    /// The machine's load over 1, 5 and 15 minutes when the run began.
    pub load: String,
    pub versions: Vec<String>,
}

/// The figures of this build, divided by those of the baseline.
#[derive(Debug, Clone, Serialize)]
pub struct Ratios {
    /// The ratio of the medians.
    pub wall_s: f64,
    pub cpu_s: f64,
    pub rss_mb: f64,
    pub bytes: f64,
}

impl Report {
    pub fn new(rows: u64, load: String, versions: Vec<String>, measured: &[Measured]) -> Report {
        let unequal = unequal(measured);
        let section = |name: &str| {
            let mut by_key: BTreeMap<String, Vec<&Measured>> = BTreeMap::new();
            for one in measured.iter().filter(|one| one.section == name) {
                let key = match name {
                    "memory" => format!("{}:{}", one.contender, one.rows),
                    _ => one.contender.clone(),
                };
                by_key.entry(key).or_default().push(one);
            }
            by_key.into_iter().map(|(key, runs)| (key, Figures::of(&runs))).collect()
        };
        let [contenders, small, files, mariadb, levels, memory] = SECTIONS.map(section);
        let figures = SECTIONS.iter().zip([&contenders, &small, &files, &mariadb, &levels, &memory]);
        let baseline = figures.flat_map(|(name, figures)| ratios(name, figures)).collect();
        let goals = goals::goals(&contenders, &small, &files, &mariadb, &levels);
        Report {
            rows,
            contenders,
            equal: unequal.is_empty(),
            small,
            files,
            mariadb,
            levels,
            memory,
            baseline,
            unequal,
            goals,
            date: Timestamp::now().strftime("%Y-%m-%d").to_string(),
            machine: machine(),
            load,
            versions,
        }
    }

    /// Returns the text table, with one part per section.
    pub fn text(&self) -> String {
        let mut text = format!("{}, load {}\n{}\n", self.machine, self.load, self.versions.join(", "));
        let head = ["", "wall s: median (min–max)", "", "CPU s", "peak MB", "bytes", "files"];
        let [name, wall, times, cpu, peak, bytes, files] = head;
        for (title, section, unit) in [
            (format!("{} rows, 22 columns", self.rows), &self.contenders, "pyspark_1"),
            ("a small table, from the start of the process".into(), &self.small, "awswrangler"),
            ("files".into(), &self.files, ""),
            ("MariaDB".into(), &self.mariadb, "mariadb_duckdb"),
            ("levels of ZSTD".into(), &self.levels, "level_1"),
            ("memory, by rows".into(), &self.memory, ""),
        ] {
            if section.is_empty() {
                continue;
            }
            let _ = writeln!(text, "\n{title}");
            let _ = writeln!(text, "{name:<28}{wall:>28}{times:>8}{cpu:>9}{peak:>9}{bytes:>15}{files:>7}");
            let unit = section.get(unit).map(|figures| figures.wall_s[1]);
            let mut rows: Vec<_> = section.iter().collect();
            rows.sort_by(|a, b| b.1.wall_s[1].total_cmp(&a.1.wall_s[1]));
            for (name, Figures { wall_s: [least, median, most], cpu_s, rss_mb, bytes, files, .. }) in rows {
                let wall = format!("{median:.2} ({least:.2}–{most:.2})");
                let times = unit.map(|unit| format!("{:.1} ×", unit / median)).unwrap_or_default();
                let _ = writeln!(text, "{name:<28}{wall:>28}{times:>8}{cpu_s:>9.2}{rss_mb:>9.0}{bytes:>15}{files:>7}");
            }
        }
        for (title, section) in [("PostgreSQL", &self.contenders), ("MariaDB", &self.mariadb)] {
            let observed = section.iter().filter_map(|(name, figures)| Some((name, figures.pressure?)));
            let mut observed: Vec<_> = observed.collect();
            if observed.is_empty() {
                continue;
            }
            observed.sort_by(|a, b| b.1.transaction_s.total_cmp(&a.1.transaction_s));
            let _ = writeln!(text, "\nwhat each asks of {title}: longest statement, longest transaction, held horizon");
            let _ = writeln!(
                text,
                "{:<28}{:>12}{:>14}{:>10}{:>12}{:>10}",
                "", "statement s", "transaction s", "horizon s", "rows", "buffers"
            );
            for (name, Pressure { statement_s, transaction_s, horizon_s, rows, buffers }) in observed {
                let _ = writeln!(
                    text,
                    "{name:<28}{statement_s:>12.2}{transaction_s:>14.2}{horizon_s:>10.2}{rows:>12}{buffers:>10}"
                );
            }
        }
        if !self.goals.is_empty() {
            let _ = writeln!(text, "\ngoals");
            for goal in &self.goals {
                let _ = writeln!(text, "{goal}");
            }
        }
        if !self.baseline.is_empty() {
            let _ = writeln!(text, "\nthis build ÷ the baseline");
            let _ = writeln!(text, "{:<36}{:>8}{:>8}{:>9}{:>8}", "", "wall", "CPU", "peak MB", "bytes");
            for (name, Ratios { wall_s, cpu_s, rss_mb, bytes }) in &self.baseline {
                let _ = writeln!(text, "{name:<36}{wall_s:>8.2}{cpu_s:>8.2}{rss_mb:>9.2}{bytes:>8.3}");
            }
        }
        let _ = write!(text, "\nequal: {}", self.equal);
        text
    }
}

/// The names of the sections, as [`Measured`] has them.
const SECTIONS: [&str; 6] = ["large", "small", "files", "mariadb", "levels", "memory"];

/// Returns the ratios of a section's contenders that ran with both builds.
fn ratios(section: &str, figures: &BTreeMap<String, Figures>) -> Vec<(String, Ratios)> {
    let pairs = figures.iter().filter_map(|(name, before)| {
        let name = name.contains(BASELINE).then(|| name.replace(BASELINE, ""))?;
        let after = figures.get(&name)?;
        let ratio = |after: f64, before: f64| if before > 0.0 { rounded(after / before) } else { 1.0 };
        let ratios = Ratios {
            wall_s: ratio(after.wall_s[1], before.wall_s[1]),
            cpu_s: ratio(after.cpu_s, before.cpu_s),
            rss_mb: ratio(after.rss_mb, before.rss_mb),
            bytes: ratio(after.bytes as f64, before.bytes as f64),
        };
        Some((format!("{section} {name}"), ratios))
    });
    pairs.collect()
}

/// Compares each result with the first result for the same number of rows, and returns the differences.
fn unequal(measured: &[Measured]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut first: BTreeMap<u64, &Measured> = BTreeMap::new();
    for one in measured {
        let Some(result) = &one.result else { continue };
        let Measured { section, contender, rows, round, .. } = one;
        let other = *first.entry(*rows).or_insert(one);
        let Some(expected) = &other.result else { continue };
        let who = || format!("{section} {contender} (round {round}) and {} {}", other.section, other.contender);
        if result.rows != *rows {
            faults.push(format!("{section} {contender} wrote {} of {rows} rows", result.rows));
        } else if result.columns != expected.columns {
            let differ: Vec<&str> = result
                .columns
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(name, digest)| expected.columns.get(name) != Some(digest))
                .map(|(name, _)| name.as_str())
                .collect();
            faults.push(format!("{} differ in {}", who(), differ.join(", ")));
        } else if result.all != expected.all {
            faults.push(format!("{} differ in how values are combined into rows", who()));
        }
    }
    faults
}

/// Writes the report and every run to a new JSON file in `folder`, and returns its path.
pub fn keep(folder: &Path, report: &Report, measured: &[Measured]) -> Result<PathBuf> {
    let file = folder.join(format!("{}.json", Timestamp::now().strftime("%Y%m%dT%H%M%SZ")));
    fs::write(&file, serde_json::to_string_pretty(&json!({ "report": report, "runs": measured }))?)?;
    Ok(file)
}

/// Returns a description of the machine: cores, processor model, memory, kernel.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_once(':'));
        line.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let kilobytes: f64 = after(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0.0);
    let model = after(&read("/proc/cpuinfo"), "model name");
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} × {model}, {:.0} GB, Linux {}", kilobytes / 1048576.0, kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{figures::Outcome, measure::Run};

    fn one(contender: &str, wall_s: f64, digest: &str) -> Measured {
        let result =
            Outcome { files: 1, bytes: 10, rows: 3, all: json!(digest), columns: json!({ "id": 1, "name": digest }) };
        let run = Run { wall_s, cpu_s: wall_s, rss_mb: wall_s };
        Measured {
            section: "large".into(),
            contender: contender.into(),
            rows: 3,
            round: 1,
            run,
            pressure: None,
            result: Some(result),
        }
    }

    #[test]
    fn report_has_medians_and_differences() {
        let runs = [one("a", 3.0, "x"), one("a", 1.0, "x"), one("a", 2.0, "x"), one("b", 1.0, "x"), one("b", 2.0, "x")];
        let report = Report::new(3, String::new(), Vec::new(), &runs);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["contenders"]["a"]["wall_s"], json!([1.0, 2.0, 3.0]));
        assert_eq!(json["contenders"]["a"]["rss_mb"], json!(3.0));
        assert_eq!(json["contenders"]["b"]["wall_s"], json!([1.0, 1.5, 2.0]));
        assert_eq!(json["equal"], json!(true));

        let report = Report::new(3, String::new(), Vec::new(), &[one("a", 1.0, "x"), one("b", 1.0, "y")]);
        assert_eq!(
            (report.equal, report.unequal),
            (false, vec!["large b (round 1) and large a differ in name".into()])
        );
        let report = Report::new(3, String::new(), Vec::new(), &[one("a", 3.0, "x"), one("a@baseline", 2.0, "x")]);
        let ratios = serde_json::to_value(&report).unwrap()["baseline"].clone();
        assert_eq!(ratios, json!({ "large a": { "wall_s": 1.5, "cpu_s": 1.5, "rss_mb": 1.5, "bytes": 1.0 } }));
        assert!(report.text().contains("this build ÷ the baseline"));
        let mut swapped = one("b", 1.0, "x");
        swapped.result.as_mut().unwrap().all = json!("y");
        assert!(!Report::new(3, String::new(), Vec::new(), &[one("a", 1.0, "x"), swapped]).equal);
        let mut short = one("b", 1.0, "x");
        short.result.as_mut().unwrap().rows = 2;
        assert!(!Report::new(3, String::new(), Vec::new(), &[short]).equal);
    }
}
