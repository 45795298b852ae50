//! What a function's processes take of the memory.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

/// Watches the processes of one function.
pub struct Peak {
    stop: Arc<AtomicBool>,
    task: JoinHandle<f64>,
}

impl Peak {
    /// `function` is the deployed name.
    pub fn of(function: &str) -> Peak {
        let (stop, wanted) = (Arc::new(AtomicBool::new(false)), format!("AWS_LAMBDA_FUNCTION_NAME={function}"));
        let stopped = stop.clone();
        processes(&wanted).iter().for_each(|process| {
            // The kernel's way of beginning anew with VmHWM: proc(5).
            let _ = fs::write(format!("{process}/clear_refs"), "5");
        });
        let task = tokio::spawn(async move {
            let mut peak: f64 = 0.0;
            loop {
                let last = stopped.load(Ordering::Relaxed);
                peak = processes(&wanted).iter().filter_map(|process| resident(process)).fold(peak, f64::max);
                if last {
                    return peak;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Peak { stop, task }
    }

    /// MB of 2²⁰ bytes: the largest that one process had resident.
    pub async fn stop(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap_or(f64::NAN)
    }
}

fn processes(wanted: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path().display().to_string());
    let is_wanted = |process: &String| {
        let environment = fs::read(format!("{process}/environ")).unwrap_or_default();
        let is_function = fs::read_to_string(format!("{process}/comm")).is_ok_and(|name| name.trim() == "bootstrap");
        is_function && environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    all.filter(is_wanted).collect()
}

fn resident(process: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
}
