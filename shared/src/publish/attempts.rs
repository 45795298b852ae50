//! Limits the retry loops around conditional writes: load, try, and start again if another writer was first.

use std::fmt::Display;

use turntable_core::error::{Error, Result};

/// Counts the attempts of one operation. Each lost race means that another writer succeeded, so only few are lost in a
/// row.
pub struct Attempts {
    on: String,
    made: u32,
    max: u32,
}

impl Attempts {
    /// Allows eight attempts. `on` names what the writers compete for, for the error message.
    pub fn on(on: impl Display) -> Attempts {
        Attempts { on: on.to_string(), made: 0, max: 8 }
    }

    pub fn at_most(self, max: u32) -> Attempts {
        Attempts { max, ..self }
    }

    /// Starts the next attempt. Fails as `Conflict` if there have been `max` already.
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

    /// Returns how many attempts lost their race before the current attempt.
    pub fn lost(&self) -> u32 {
        self.made.saturating_sub(1)
    }
}
