//! One consent record, and the rule that decides which of two counts.

use std::str::FromStr;

/// What somebody has said, from the least to the most protective.
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

/// A record without its key. The derived order is the rule: the later time, and at the same time the more
/// protective state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word {
    /// Microseconds since 1970.
    pub occurred_at: i64,
    pub state: State,
}

/// Which of two words about one key counts. Commutative, associative and idempotent.
pub fn later(one: Word, other: Word) -> Word {
    one.max(other)
}

/// The names of the columns beside the key's.
pub const STATE: &str = "state";
pub const OCCURRED_AT: &str = "occurred_at";
