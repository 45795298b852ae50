//! The figures of one contender: the medians of its runs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{measure::Run, pressure::Pressure};

/// One run of one contender, as stored in the JSON file.
#[derive(Serialize)]
pub struct Measured {
    pub section: String,
    pub contender: String,
    pub rows: u64,
    pub round: usize,
    #[serde(flatten)]
    pub run: Run,
    /// The load that the run put on the database server. `None` if the run reads files.
    pub pressure: Option<Pressure>,
    /// The contents of the files, as read by contenders/result.py. `None` if the contender writes no files.
    pub result: Option<Outcome>,
}

/// The output of contenders/result.py: the size and the digests of the files that a contender wrote.
#[derive(Serialize, Deserialize)]
pub struct Outcome {
    pub files: u64,
    pub bytes: u64,
    pub rows: u64,
    /// A digest of all rows, which doesn't depend on their order.
    pub all: Value,
    /// A digest of each column, by name.
    pub columns: Value,
}

#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Wall-clock seconds: the minimum, the median and the maximum of all runs.
    pub wall_s: [f64; 3],
    /// CPU seconds: the median of all runs.
    pub cpu_s: f64,
    /// Peak memory: the maximum of all runs, in MB of 2²⁰ bytes.
    pub rss_mb: f64,
    /// The total size of the files that the last run wrote.
    pub bytes: u64,
    pub files: u64,
    /// The load that the contender puts on the server: the medians of all runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

impl Figures {
    pub fn of(runs: &[&Measured]) -> Figures {
        let of = |value: fn(&Measured) -> f64| median(runs.iter().map(|run| value(run)).collect());
        let result = runs.iter().rev().find_map(|run| run.result.as_ref());
        Figures {
            wall_s: of(|one| one.run.wall_s),
            cpu_s: of(|one| one.run.cpu_s)[1],
            rss_mb: rounded(runs.iter().map(|one| one.run.rss_mb).fold(0.0, f64::max)),
            bytes: result.map_or(0, |result| result.bytes),
            files: result.map_or(0, |result| result.files),
            pressure: pressure(runs),
        }
    }
}

/// Returns the medians of what the runs asked of the server, or `None` if they read files.
fn pressure(runs: &[&Measured]) -> Option<Pressure> {
    let all: Vec<Pressure> = runs.iter().filter_map(|run| run.pressure).collect();
    if all.is_empty() {
        return None;
    }
    let of = |value: fn(&Pressure) -> f64| median(all.iter().map(value).collect())[1];
    Some(Pressure {
        statement_s: of(|one| one.statement_s),
        transaction_s: of(|one| one.transaction_s),
        horizon_s: of(|one| one.horizon_s),
        rows: of(|one| one.rows as f64) as u64,
        buffers: of(|one| one.buffers as f64) as u64,
    })
}

/// Returns the minimum, the median and the maximum of at least one value.
fn median(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let value = match values.len() % 2 {
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    };
    [values[0], value, values[values.len() - 1]].map(rounded)
}

/// Rounds to a thousandth.
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
