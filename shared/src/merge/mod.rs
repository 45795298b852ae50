//! The opt-out merge: many drops and the live table → the next table, with one row per key.
//!
//! A hash of the key assigns each row to a bucket. A bucket is one file, sorted by key. A refresh reads and rewrites
//! the buckets that its records fall into, and copies the others on the server. So its cost grows with the change and
//! not with the table. [`later`] alone decides the effect of a record, so the order of drops and their repetition make
//! no difference.

pub mod archive;
pub mod bucket;
#[cfg(feature = "aws")]
mod build;
pub mod consumed;
#[cfg(feature = "aws")]
mod draft;
#[cfg(feature = "aws")]
mod file;
pub mod key;
#[cfg(feature = "arrow")]
pub mod pile;
#[cfg(feature = "aws")]
mod refresh;
pub mod run;
#[cfg(feature = "aws")]
pub mod view;
#[cfg(feature = "aws")]
pub mod views;

use std::str::FromStr;

#[cfg(feature = "aws")]
pub use file::columns;
#[cfg(feature = "aws")]
pub use refresh::{Ask, Refreshed, Took, refresh};

/// The state of a person's consent, from the least to the most protective.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    OptedIn,
    OptedOut,
    Withdrawn,
}

impl State {
    pub const ALL: [State; 3] = [State::OptedIn, State::OptedOut, State::Withdrawn];

    pub fn as_str(self) -> &'static str {
        match self {
            State::OptedIn => "opted_in",
            State::OptedOut => "opted_out",
            State::Withdrawn => "withdrawn",
        }
    }
}

impl FromStr for State {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = State::ALL.into_iter().find(|state| state.as_str() == text);
        known.ok_or("is none of opted_out, withdrawn, opted_in")
    }
}

/// A consent record without its key. The derived order is the rule that decides between two records: the later time
/// wins, and at the same time the more protective state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word {
    /// Microseconds since 1970.
    pub occurred_at: i64,
    pub state: State,
}

/// Returns the consent record that wins of two about the same key. Commutative, associative and idempotent.
pub fn later(one: Word, other: Word) -> Word {
    one.max(other)
}

/// The names of the columns besides the key's.
pub const STATE: &str = "state";
pub const OCCURRED_AT: &str = "occurred_at";
