//! Kills processes of functions at random, and records how much memory all processes use.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tests::process::{self, Process};
use tokio::time::sleep;

use crate::lake::Lake;

/// Kills a random process of a function every 0.3 to 1.5 seconds until this time, whatever the process is doing.
pub async fn kill(lake: &Lake, until: Instant) {
    while Instant::now() < until {
        sleep(Duration::from_millis(300 + lake.random(1200))).await;
        let functions = functions(lake);
        let Some(victim) = functions.get(lake.random(functions.len() as u64) as usize) else { continue };
        if victim.kill() {
            lake.count("killed", 1);
        }
    }
}

fn functions(lake: &Lake) -> Vec<Process> {
    let mut all = process::having(&format!("AWS_ENDPOINT_URL={}", lake.endpoint));
    all.retain(|process| process.variable("AWS_LAMBDA_FUNCTION_NAME").is_some());
    all
}

/// A process: its name, and its resident memory in MB of 2²⁰ bytes, sampled every second.
#[derive(Debug, Default)]
pub struct Life {
    /// The function's deployed name, or the script of one of the emulator's own processes.
    pub name: String,
    pub resident: Vec<f64>,
}

/// Watches the processes of the functions and of the emulator until the run ends.
pub async fn watch(lake: &Lake) -> Vec<Life> {
    let mut lives: BTreeMap<u32, Life> = BTreeMap::new();
    while !lake.is_over() {
        for process in process::having(&format!("AWS_ENDPOINT_URL={}", lake.endpoint)) {
            let Some(resident) = process.status("VmRSS") else { continue };
            let life = lives.entry(process.id).or_default();
            life.name = process.variable("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|| process.script());
            life.resident.push(resident);
        }
        sleep(Duration::from_secs(1)).await;
    }
    lives.into_values().collect()
}

/// The minimum number of samples, one per second, for judging whether a process grows.
const LEAST: usize = 15;

impl Life {
    /// Returns the means of the first and of the last third of the samples, or `None` if there are too few samples.
    pub fn thirds(&self) -> Option<(f64, f64)> {
        let third = self.resident.len() / 3;
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        (self.resident.len() >= LEAST)
            .then(|| (mean(&self.resident[..third]), mean(&self.resident[self.resident.len() - third..])))
    }

    /// Returns whether this is a function's process whose memory has grown, from the first third to the last, by more
    /// than a quarter plus 16 MB. The reserve that an allocator keeps is smaller than that.
    pub fn grows(&self) -> bool {
        self.is_function() && self.thirds().is_some_and(|(first, last)| last > first * 1.25 + 16.0)
    }

    /// Returns whether this is a function's process. The emulator's own processes grow, because they store what AWS
    /// would.
    pub fn is_function(&self) -> bool {
        self.name.starts_with("turntable-")
    }
}
