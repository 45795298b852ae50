//! The measurements on a database server.

use serde::Serialize;

/// The load that one run of a contender puts on the server.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Pressure {
    /// The longest statement, in seconds.
    pub statement_s: f64,
    /// The longest transaction, in seconds.
    pub transaction_s: f64,
    /// How old, in seconds, the oldest row version was that VACUUM (MariaDB: purge) had to keep for the contender.
    pub horizon_s: f64,
    /// The rows that the server read for the contender.
    pub rows: u64,
    /// How often the server looked up a page in its buffers.
    pub buffers: u64,
}

/// One look at the contender's connections: the age in seconds of the oldest of each, or 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    pub statement_s: f64,
    pub transaction_s: f64,
    pub horizon_s: f64,
}

/// The server's counters so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    pub rows: u64,
    pub buffers: u64,
}

impl Pressure {
    pub fn add(&mut self, sample: Sample) {
        self.statement_s = self.statement_s.max(sample.statement_s);
        // MariaDB doesn't list the transaction of a statement that is its own.
        self.transaction_s = self.transaction_s.max(sample.transaction_s).max(sample.statement_s);
        self.horizon_s = self.horizon_s.max(sample.horizon_s);
    }

    pub fn count(&mut self, before: Counters, after: Counters) {
        self.rows = after.rows.saturating_sub(before.rows);
        self.buffers = after.buffers.saturating_sub(before.buffers);
    }
}
