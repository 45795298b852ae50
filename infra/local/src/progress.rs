//! Prints progress to standard error, with the seconds since the first line. Results go to standard output.

use std::{sync::OnceLock, time::Instant};

/// Prints one line of progress.
pub fn say(text: impl std::fmt::Display) {
    static START: OnceLock<Instant> = OnceLock::new();
    let seconds = START.get_or_init(Instant::now).elapsed().as_secs_f64();
    eprintln!("{seconds:6.1} s  {text}");
}
