//! The retry loop of everything that writes on a condition: load, try, and start again if another writer was first.

use std::fmt::Display;

use turntable_core::error::{Error, Result};

/// The attempts of one operation. Each lost race means that another writer succeeded, so few of them follow one another.
pub struct Attempts {
    on: String,
    made: u32,
    max: u32,
}

impl Attempts {
    /// Allows eight attempts. `on` is what the writers compete for, for the error.
    pub fn on(on: impl Display) -> Attempts {
        Attempts { on: on.to_string(), made: 0, max: 8 }
    }

    pub fn at_most(self, max: u32) -> Attempts {
        Attempts { max, ..self }
    }

    /// Begins the next attempt. Fails as `Conflict` after the last.
    pub fn begin(&mut self) -> Result<()> {
        if self.made == self.max {
            return Err(Error::conflict(format!("{}: lost the race {} times: run again", self.on, self.max)));
        }
        self.made += 1;
        Ok(())
    }

    /// Returns how many attempts lost their race before the current one.
    pub fn lost(&self) -> u32 {
        self.made.saturating_sub(1)
    }
}
