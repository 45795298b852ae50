//! A run's report, as a table and as JSON.

use std::{collections::BTreeMap, fmt};

use client::table::{table, thousands};
use serde::Serialize;
use turntable::layout::Generation;

use crate::{
    outcome::{LiveGeneration, Move, OptedOut, Refreshed, Rejected},
    reader::Tally,
    sample,
};

#[derive(Debug, Default)]
pub struct Report {
    /// The generations that went live, in the order of their flips.
    pub builds: Vec<LiveGeneration>,
    pub rejected: Vec<Rejected>,
    /// The flips that an operator requested, in order.
    pub moves: Vec<Move>,
    /// The refresh that a put started, and the one that followed it.
    pub refreshed: Option<Refreshed>,
    pub opted_out: Vec<OptedOut>,
    pub reader: Tally,
    /// Why the run failed; empty if it succeeded.
    pub faults: Vec<String>,
    /// The functions' log lines of a day that failed.
    pub logs: Vec<String>,
}

impl Report {
    pub fn has_failed(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Returns the generations that are live at the end of the run, one per dataset.
    fn live(&self) -> Vec<&LiveGeneration> {
        let built = |build: &LiveGeneration| (build.dataset.clone(), build.generation);
        let moved = |moved: &Move| (moved.dataset.clone(), moved.to);
        let live: BTreeMap<String, Generation> =
            self.builds.iter().map(built).chain(self.moves.iter().map(moved)).collect();
        self.builds.iter().filter(|build| live[&build.dataset] == build.generation).collect()
    }

    /// Returns the report as one JSON object.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Dataset<'a> {
            dataset: &'a str,
            live: Generation,
            rows: u64,
            bytes: u64,
            export_s: f64,
            flip_s: f64,
        }
        #[derive(Serialize)]
        struct Reader {
            ok: u64,
            failed: u64,
            mixed: u64,
        }
        let datasets: Vec<Dataset> = self
            .live()
            .into_iter()
            .map(|build| Dataset {
                dataset: &build.dataset,
                live: build.generation,
                rows: build.rows,
                bytes: build.bytes,
                export_s: round(build.export_s),
                flip_s: round(build.flip_s),
            })
            .collect();
        let reader = Reader { ok: self.reader.ok, failed: self.reader.failed, mixed: self.reader.mixed };
        serde_json::json!({
            "datasets": datasets,
            "reader": reader,
            "rejected": self.rejected,
            "moves": self.moves,
            "opted_out": self.opted_out,
            "refresh": self.refreshed.map(|refreshed| Refreshed {
                on_put_s: round(refreshed.on_put_s),
                after_s: round(refreshed.after_s),
            }),
            "faults": self.faults,
        })
        .to_string()
    }
}

fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEAD: [&str; 8] = ["dataset", "colour", "generation", "rows", "bytes", "export s", "flip s", ""];
        let live = self.live();
        let row = |build: &LiveGeneration| {
            [
                build.dataset.clone(),
                build.generation.colour.to_string(),
                build.generation.to_string(),
                thousands(build.rows),
                thousands(build.bytes),
                format!("{:.2}", build.export_s),
                format!("{:.2}", build.flip_s),
                if live.iter().any(|live| live.generation == build.generation) { "live" } else { "" }.to_owned(),
            ]
        };
        let rows: Vec<[String; 8]> = self.builds.iter().map(row).collect();
        // Aligns numbers to the right.
        let right = std::array::from_fn(|at| (3..7).contains(&at));
        if !rows.is_empty() {
            f.write_str(&table(HEAD, right, &rows))?;
        }
        let has_more = !self.rejected.is_empty() || !self.moves.is_empty() || !self.opted_out.is_empty();
        if has_more && !rows.is_empty() {
            writeln!(f)?;
        }
        for Rejected { candidate, rows, error, .. } in &self.rejected {
            writeln!(f, "rejected  {candidate} of {} rows\n          {error}", thousands(*rows))?;
        }
        for Move { action, from, to, seconds, .. } in &self.moves {
            writeln!(f, "{action:<8}  {from} → {to} in {seconds:.2} s")?;
        }
        if let Some(Refreshed { on_put_s, after_s }) = self.refreshed {
            let (first, second) = (sample::CAMPAIGNS, sample::CAMPAIGN_USERS);
            writeln!(f, "new file  {first} live after {on_put_s:.2} s, {second} {after_s:.2} s later")?;
        }
        for OptedOut { view, before, after, seconds, .. } in &self.opted_out {
            writeln!(
                f,
                "opt-out   {before} row of the user in {view} before the drop, {after} rows {seconds:.2} s after it"
            )?;
        }
        let Tally { ok, failed, mixed, complaints, .. } = &self.reader;
        if has_more || !rows.is_empty() {
            writeln!(f)?;
        }
        writeln!(f, "reader's queries: {} ok, {failed} failed, {mixed} mixed", thousands(*ok))?;
        for complaint in complaints {
            writeln!(f, "  {complaint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(dataset: &str, generation: &str) -> LiveGeneration {
        let generation = generation.parse().unwrap();
        LiveGeneration {
            dataset: dataset.into(),
            generation,
            rows: 100_000,
            bytes: 6_543_210,
            export_s: 1.2345,
            flip_s: 0.05,
        }
    }

    fn report() -> Report {
        let builds = vec![
            build("users", "blue-01JDA00000000000000000000A"),
            build("users", "green-01JDA00000000000000000000B"),
            build("a", "blue-01JDA00000000000000000000C"),
        ];
        Report { builds, reader: Tally { ok: 1234, ..Tally::default() }, ..Report::default() }
    }

    /// Returns a report with a rejected candidate, a rollback and an opt-out.
    fn trouble() -> Report {
        let (blue, green) = (report().builds[0].generation, report().builds[1].generation);
        let rejected = Rejected {
            dataset: "users".into(),
            candidate: "blue-01JDA00000000000000000000D".parse().unwrap(),
            rows: 25_000,
            error: "users: the candidate was rejected".into(),
        };
        let back = Move { dataset: "users".into(), action: "rollback", from: green, to: blue, seconds: 0.0449 };
        let opted_out = OptedOut {
            dataset: "optouts".into(),
            view: "dmp.users_protected".into(),
            before: 1,
            after: 0,
            seconds: 0.2149,
        };
        let refreshed = Some(Refreshed { on_put_s: 1.2345, after_s: 2.3456 });
        Report { rejected: vec![rejected], moves: vec![back], refreshed, opted_out: vec![opted_out], ..report() }
    }

    #[test]
    fn json_has_the_live_generation_of_each_dataset() {
        let json: serde_json::Value = serde_json::from_str(&report().to_json()).unwrap();
        let live = |dataset: &str, generation: &str| {
            serde_json::json!({
                "dataset": dataset, "live": generation, "rows": 100_000, "bytes": 6_543_210, "export_s": 1.235, "flip_s": 0.05,
            })
        };
        let (users, a) = ("green-01JDA00000000000000000000B", "blue-01JDA00000000000000000000C");
        assert_eq!(json["datasets"], serde_json::json!([live("users", users), live("a", a)]));
        assert_eq!(json["reader"], serde_json::json!({ "ok": 1234, "failed": 0, "mixed": 0 }));

        let json: serde_json::Value = serde_json::from_str(&trouble().to_json()).unwrap();
        let back = "blue-01JDA00000000000000000000A";
        assert_eq!(json["datasets"][0], live("users", back), "after a rollback the earlier generation is live");
        assert_eq!(json["moves"][0]["to"], back);
        assert_eq!(json["rejected"][0]["rows"], 25_000);
        assert_eq!(json["refresh"], serde_json::json!({ "on_put_s": 1.235, "after_s": 2.346 }));
        assert_eq!((&json["opted_out"][0]["before"], &json["opted_out"][0]["after"]), (&1.into(), &0.into()));
    }

    #[test]
    fn a_failed_run_shows_its_verdict_and_no_empty_table() {
        let rejected = trouble().rejected;
        let faults = vec!["users is not live: its candidate was rejected".to_owned()];
        let report = Report { rejected, faults, ..Report::default() };
        let expected = "\
rejected  blue-01JDA00000000000000000000D of 25,000 rows
          users: the candidate was rejected

reader's queries: 0 ok, 0 failed, 0 mixed
";
        assert_eq!(report.to_string(), expected);
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["faults"], serde_json::json!(["users is not live: its candidate was rejected"]));
        assert_eq!(json["rejected"][0]["error"], "users: the candidate was rejected");
        assert!(report.has_failed());
    }

    #[test]
    fn table_shows_generations_rejections_and_moves() {
        let expected = "\
dataset  colour  generation                           rows      bytes  export s  flip s
users    blue    blue-01JDA00000000000000000000A   100,000  6,543,210      1.23    0.05  live
users    green   green-01JDA00000000000000000000B  100,000  6,543,210      1.23    0.05
a        blue    blue-01JDA00000000000000000000C   100,000  6,543,210      1.23    0.05  live

rejected  blue-01JDA00000000000000000000D of 25,000 rows
          users: the candidate was rejected
rollback  green-01JDA00000000000000000000B → blue-01JDA00000000000000000000A in 0.04 s
new file  campaigns live after 1.23 s, campaign_users 2.35 s later
opt-out   1 row of the user in dmp.users_protected before the drop, 0 rows 0.21 s after it

reader's queries: 1,234 ok, 0 failed, 0 mixed
";
        assert_eq!(trouble().to_string(), expected);
    }
}
