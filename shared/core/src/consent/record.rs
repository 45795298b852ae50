//! One consent record, and the rule that decides which of two counts.

use std::str::FromStr;

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
