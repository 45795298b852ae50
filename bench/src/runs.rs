//! Summaries of earlier runs, kept in bench/runs by date and machine, and the comparison with them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{report::Report, tools};

/// How much worse a ratio may be than in the recorded run.
const TOLERANCE: f64 = 1.2;
/// The contenders whose time is compared, as a ratio to the time of [`UNIT`].
const COMPARED: [&str; 2] = ["ours_1", "ours_2"];
const UNIT: &str = "psql_copy";

/// Writes the summary, and returns its path.
pub fn record(report: &Report) -> Result<PathBuf> {
    let machine = report.machine.split(',').next().unwrap_or_default().replace('×', "x").to_lowercase();
    let words: Vec<&str> = machine.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let file = tools::file("runs").join(format!("{}-{}.json", report.date, words.join("-")));
    fs::write(&file, serde_json::to_string_pretty(report)? + "\n")?;
    Ok(file)
}

/// Fails if this run's ratios are worse than the newest recorded ones.
pub fn compare(report: &Report, folder: &Path) -> Result<()> {
    let cores = report.machine.split(' ').next().unwrap_or_default();
    let (file, recorded) = newest(folder, cores)?;
    let now = serde_json::to_value(report)?;
    let mut worse = Vec::new();
    for name in COMPARED {
        let [before, after] = [&recorded, &now].map(|report| ratio(report, name));
        let (Some(before), Some(after)) = (before, after) else {
            bail!("{name} and {UNIT} must be both in {} and in this run", file.display());
        };
        println!("{name} ÷ {UNIT}: {after:.2}, in {} {before:.2}", file.display());
        if after > before * TOLERANCE {
            worse.push(format!("{name} takes {after:.2} of the time of {UNIT}, and took {before:.2}"));
        }
    }
    match worse.is_empty() {
        true => Ok(()),
        false => bail!("slower than in {}: {}", file.display(), worse.join("; ")),
    }
}

/// Returns the newest summary of a machine with as many cores, or of any if there is none. Names begin with the date.
fn newest(folder: &Path, cores: &str) -> Result<(PathBuf, Value)> {
    let files = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut found = None;
    for file in files.into_iter().rev() {
        let summary: Value = serde_json::from_slice(&fs::read(&file)?).with_context(|| file.display().to_string())?;
        if ratio(&summary, UNIT).is_none() {
            continue;
        }
        let has_as_many = summary["machine"].as_str().is_some_and(|machine| machine.split(' ').next() == Some(cores));
        if has_as_many {
            return Ok((file, summary));
        }
        found = found.or(Some((file, summary)));
    }
    found.with_context(|| format!("{}: no summary of a run with {UNIT}: make one with --record", folder.display()))
}

/// Returns the contender's time divided by that of [`UNIT`].
fn ratio(report: &Value, name: &str) -> Option<f64> {
    let median = |name: &str| report["contenders"][name]["wall_s"][1].as_f64();
    Some(median(name)? / median(UNIT)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{figures::Measured, measure::Run};

    fn report(ours: f64, psql: f64) -> Report {
        let one = |contender: &str, wall_s: f64| Measured {
            section: "large".into(),
            contender: contender.into(),
            rows: 3,
            round: 1,
            run: Run { wall_s, cpu_s: 1.0, rss_mb: 1.0 },
            pressure: None,
            result: None,
        };
        Report::new(3, String::new(), Vec::new(), &[one("ours_1", ours), one("ours_2", ours), one("psql_copy", psql)])
    }

    #[test]
    fn a_ratio_that_is_a_fifth_worse_than_the_newest_with_as_many_cores_fails() {
        let folder = std::env::temp_dir().join(format!("turntable-runs-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let cores = std::thread::available_parallelism().unwrap();
        let keep = |name: &str, machine: String, ours: f64| {
            let wall = |median: f64| json!({ "wall_s": [median, median, median] });
            let contenders = json!({ "ours_1": wall(ours), "ours_2": wall(ours), "psql_copy": wall(1.0) });
            let text = json!({ "machine": machine, "contenders": contenders }).to_string();
            fs::write(folder.join(name), text).unwrap();
        };
        assert!(compare(&report(1.0, 1.0), &folder).is_err());
        keep("2026-01-03-other.json", "999 × X".into(), 0.1);
        keep("2026-01-02-this.json", format!("{cores} × X"), 1.0);
        keep("2026-01-01-this.json", format!("{cores} × X"), 5.0);
        // The ratio counts, not the time.
        compare(&report(11.9, 10.0), &folder).unwrap();
        let error = compare(&report(12.1, 10.0), &folder).unwrap_err().to_string();
        assert!(error.contains("ours_1 takes 1.21 of the time of psql_copy, and took 1.00"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
