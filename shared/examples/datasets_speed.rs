//! Measures how long it takes to parse `datasets.toml`, which happens on every event.
//!
//!     cargo run --release -p turntable --example datasets_speed

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "it measures time, and may fail by a panic")]

use std::{fmt::Write, time::Instant};

use turntable::config::Config;

fn main() {
    for count in [10, 500, 10_000] {
        let mut text = String::from("[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n");
        for at in 0..count {
            let query = "SELECT id, name, points, joined FROM users";
            let source = format!("{{ postgres = {{ secret = \"dmp/replica\", query = \"{query}\" }} }}");
            let checks = "{ min_rows = 1, max_shrink = 0.2, not_null = [\"id\"] }";
            writeln!(text, "[datasets.d{at:05}]\nsource = {source}\nchecks = {checks}").expect("infallible");
        }
        let mut took: Vec<f64> = (0..9)
            .map(|_| {
                let started = Instant::now();
                let config = Config::parse("datasets.toml", &text).expect("valid datasets.toml");
                let seconds = started.elapsed().as_secs_f64();
                assert_eq!(config.datasets().count(), count);
                seconds
            })
            .collect();
        took.sort_by(f64::total_cmp);
        let (kb, ms) = (text.len() / 1000, 1000.0 * took[took.len() / 2]);
        println!("{count} datasets, {kb} kB: {ms:.1} ms (median of {})", took.len());
    }
}
