//! Limits the retry loops around conditional writes: load, try to write, and start again if another writer was first.

use std::fmt::Display;

use turntable_core::error::{Error, Result};

/// Counts the attempts of one operation, and limits their number. An attempt loses a race only if another writer
/// succeeds, so an operation is unlikely to lose many races in a row.
pub struct Attempts {
    on: String,
    made: u32,
    max: u32,
}

impl Attempts {
    /// Returns a counter that allows eight attempts. `on` names what the writers compete for, for the error message.
    pub fn on(on: impl Display) -> Attempts {
        Attempts { on: on.to_string(), made: 0, max: 8 }
    }

    /// Allows `max` attempts instead.
    pub fn at_most(self, max: u32) -> Attempts {
        Attempts { max, ..self }
    }

    /// Starts the next attempt. Fails with `Conflict` if the allowed number of attempts has been made.
    pub fn begin(&mut self) -> Result<()> {
        if self.made == self.max {
            return Err(Error::conflict(format!(
                "{}: lost the race to other writers {} times: invoke the function again",
                self.on, self.max
            )));
        }
        self.made += 1;
        Ok(())
    }

    /// Returns the number of attempts before the current one. All of them lost a race.
    pub fn lost(&self) -> u32 {
        self.made.saturating_sub(1)
    }
}
