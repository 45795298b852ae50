//! Measures the memory that a function's processes use.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tests::process;
use tokio::task::JoinHandle;

/// Watches the peak memory of one function's processes.
pub struct Peak {
    stop: Arc<AtomicBool>,
    task: JoinHandle<f64>,
}

impl Peak {
    /// Starts to watch the function with this deployed name. Resets the peaks that its processes have reached so far.
    pub fn of(function: &str) -> Peak {
        let (stop, wanted) = (Arc::new(AtomicBool::new(false)), format!("AWS_LAMBDA_FUNCTION_NAME={function}"));
        let stopped = stop.clone();
        process::having(&wanted).iter().for_each(process::Process::forget_peak);
        let task = tokio::spawn(async move {
            let mut peak: f64 = 0.0;
            loop {
                let last = stopped.load(Ordering::Relaxed);
                peak =
                    process::having(&wanted).iter().filter_map(|process| process.status("VmHWM")).fold(peak, f64::max);
                if last {
                    return peak;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Peak { stop, task }
    }

    /// Stops watching, and returns the highest peak of resident memory of any process, in MB of 2²⁰ bytes.
    pub async fn stop(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap_or(f64::NAN)
    }
}
