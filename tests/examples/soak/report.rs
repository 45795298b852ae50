//! Prints what a run has shown, and judges whether it has passed.

use std::{cmp::Reverse, collections::BTreeMap, fs, process::ExitCode, time::Duration};

use crate::{lake::DRAIN, processes::Life, readers::Tally};

#[derive(Default)]
pub struct Report {
    pub seconds: Duration,
    pub queries: Tally,
    pub lives: Vec<Life>,
    /// For each reader of the older design: how many queries failed or were wrong, and how many there were in all.
    pub old: Vec<(u64, u64)>,
    /// How often each action was done, and how often each type of error occurred.
    pub done: BTreeMap<String, u64>,
    pub sent: u64,
    pub acknowledged: u64,
    pub visible: u64,
}

/// Events that must have happened at least once for the run to prove anything.
const SOMETIMES: [&str; 6] = [
    "killed",
    "rolled back",
    "generations and orphans swept",
    "export: answered",
    "manifest's event again: answered",
    "drop's event again: answered",
];

impl Report {
    pub fn print(&self) -> ExitCode {
        let queries = &self.queries;
        let old = self.old.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!("{:.0} s, load {}", self.seconds.as_secs_f64(), load.trim());
        println!("correct queries: {:?}", queries.by_question);
        println!("the longest query: {:.1} s", queries.longest.as_secs_f64());
        println!("the older design: {} of {} queries failed or saw a mixture", old.0, old.1);
        self.done.iter().for_each(|(what, times)| println!("  {times:>6}  {what}"));
        println!(
            "resident MB in the first → last third of a process's life, and how many seconds it lived (longest lives):"
        );
        let mut lives: Vec<&Life> = self.lives.iter().collect();
        lives.sort_by_key(|life| Reverse(life.resident.len()));
        for life in lives.iter().take(20) {
            if let Some((first, last)) = life.thirds() {
                println!("  {:<24} {first:>7.1} → {last:>7.1}   {:>4}", life.name, life.resident.len());
            }
        }
        let faults = self.faults(old.0);
        queries.complaints.iter().chain(&faults).for_each(|complaint| println!("WRONG: {complaint}"));
        println!(
            r#"{{"queries":{{"ok":{},"failed":{},"mixed":{}}},"optouts":{{"acknowledged":{},"visible":{},"came_back":{}}},"drops":{{"sent":{},"lost":{}}},"two_directories":{{"failed_or_mixed":{}}}}}"#,
            queries.ok,
            queries.failed,
            queries.mixed,
            self.acknowledged,
            self.visible,
            queries.came_back,
            self.sent,
            self.sent.saturating_sub(self.visible),
            old.0
        );
        if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn faults(&self, old: u64) -> Vec<String> {
        let queries = &self.queries;
        let mut faults = Vec::new();
        let mut must = |is_so: bool, otherwise: String| faults.extend((!is_so).then_some(otherwise));
        must(
            queries.failed + queries.mixed == 0,
            format!("{} queries failed, {} saw a mixture", queries.failed, queries.mixed),
        );
        must(queries.came_back == 0, format!("an opted-out person came back in {} queries", queries.came_back));
        must(self.visible == self.sent, format!("{} of {} people are out", self.visible, self.sent));
        must(old > 0, "the older design did not fail, so the readers would not notice a fault".into());
        let longest = queries.longest.as_secs_f64();
        must(longest < DRAIN, format!("a query of {longest:.1} s is longer than the drain: this machine is too slow"));
        for what in SOMETIMES {
            must(self.done.get(what).is_some_and(|times| *times > 0), format!("this never happened: {what}"));
        }
        for kind in ["Corrupt", "Config", "Rejected"] {
            let errors: Vec<&String> = self.done.keys().filter(|what| what.ends_with(&format!(": {kind}"))).collect();
            must(errors.is_empty(), format!("unexpected errors: {errors:?}"));
        }
        let judged: Vec<&Life> =
            self.lives.iter().filter(|life| life.is_function() && life.thirds().is_some()).collect();
        must(judged.len() >= 3, format!("only {} functions lived long enough to tell whether they grow", judged.len()));
        for life in self.lives.iter().filter(|life| life.grows()) {
            must(false, format!("{} grows: {:?} MB", life.name, life.thirds()));
        }
        faults
    }
}
