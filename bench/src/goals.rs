//! The goals: ratios of figures within one run, so that they mean the same on every machine.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::figures::{Figures, rounded};

#[derive(Debug, Serialize)]
pub struct Goal {
    pub goal: &'static str,
    pub found: f64,
    pub limit: f64,
    pub met: bool,
}

/// The direction of a goal.
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

use Limit::{AtLeast, AtMost};

type Section = BTreeMap<String, Figures>;

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let met = if self.met { "met" } else { "missed" };
        write!(f, "{:<76}{:>9.2}{:>9.2}  {met}", self.goal, self.found, self.limit)
    }
}

/// Returns the goals whose contenders ran.
pub fn goals(large: &Section, small: &Section, files: &Section, mariadb: &Section, levels: &Section) -> Vec<Goal> {
    let wall = |section: &Section, name: &str| section.get(name).map(|figures| figures.wall_s[1]);
    let least = |section: &Section, names: [&str; 2], of: fn(&Figures) -> f64| {
        names.iter().filter_map(|name| section.get(*name)).map(of).min_by(f64::total_cmp)
    };
    let fastest = |section: &Section, names: [&str; 2]| least(section, names, |figures| figures.wall_s[1]);
    let ratio = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
    let bytes = |section: &Section, name: &str| section.get(name).map(|figures| figures.bytes as f64);
    let smallest = least(large, ["duckdb_1", "duckdb_2"], |figures| figures.bytes as f64);
    let found = [
        (
            "PostgreSQL: ours, one connection ÷ psql's COPY",
            ratio(wall(large, "ours_1"), wall(large, "psql_copy")),
            AtMost(0.95),
        ),
        (
            "PostgreSQL: DuckDB's best ÷ ours, one connection",
            ratio(fastest(large, ["duckdb_1", "duckdb_2"]), wall(large, "ours_1")),
            AtLeast(1.5),
        ),
        (
            "MariaDB: ours, one connection ÷ mariadb --quick",
            ratio(wall(mariadb, "mariadb_ours"), wall(mariadb, "mariadb_client")),
            AtMost(0.5),
        ),
        (
            "MariaDB: ConnectorX's best ÷ ours, one connection",
            ratio(fastest(mariadb, ["mariadb_connectorx_1", "mariadb_connectorx_2"]), wall(mariadb, "mariadb_ours")),
            AtLeast(1.2),
        ),
        ("bytes: ours ÷ DuckDB's", ratio(bytes(large, "ours_1"), smallest), AtMost(1.0)),
        ("bytes: ours at level 3 ÷ DuckDB's", ratio(bytes(levels, "level_3"), smallest), AtMost(1.0)),
        (
            "PostgreSQL: DuckDB's best ÷ ours at level 3",
            ratio(fastest(large, ["duckdb_1", "duckdb_2"]), wall(levels, "level_3")),
            AtLeast(1.0),
        ),
        ("MB: ours, four connections to S3", large.get("ours_4_s3").map(|figures| figures.rss_mb), AtMost(512.0)),
        (
            "a small table, S3 on both sides: awswrangler ÷ ours",
            ratio(wall(small, "awswrangler"), wall(small, "ours_1_s3")),
            AtLeast(20.0),
        ),
        (
            "one CSV object: DataFusion ÷ ours",
            ratio(wall(files, "csv_datafusion"), wall(files, "csv_ours")),
            AtLeast(1.0),
        ),
    ];
    let goals = found.into_iter().filter_map(|(goal, found, limit)| {
        let (found, (limit, met)) = (
            rounded(found?),
            match limit {
                AtMost(limit) => (limit, found? <= limit),
                AtLeast(limit) => (limit, found? >= limit),
            },
        );
        Some(Goal { goal, found, limit, met })
    });
    goals.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(contenders: &[(&str, f64)]) -> Section {
        let figures = |wall_s: f64| Figures {
            wall_s: [wall_s; 3],
            cpu_s: 1.0,
            rss_mb: 100.0 * wall_s,
            bytes: (wall_s * 1000.0) as u64,
            files: 1,
            pressure: None,
        };
        contenders.iter().map(|(name, wall_s)| ((*name).to_owned(), figures(*wall_s))).collect()
    }

    #[test]
    fn goals_take_the_best_of_a_peer_and_leave_out_what_did_not_run() {
        let large =
            section(&[("ours_1", 2.0), ("psql_copy", 2.0), ("duckdb_1", 4.0), ("duckdb_2", 3.0), ("ours_4_s3", 5.0)]);
        let mariadb = section(&[("mariadb_ours", 2.0), ("mariadb_connectorx_1", 2.2)]);
        let none = section(&[]);
        let found: Vec<(f64, bool)> =
            goals(&large, &none, &none, &mariadb, &none).iter().map(|goal| (goal.found, goal.met)).collect();
        // psql's COPY, DuckDB's best, ConnectorX's best, DuckDB's smallest, memory.
        assert_eq!(found, [(1.0, false), (1.5, true), (1.1, false), (0.667, true), (500.0, true)]);
    }
}
