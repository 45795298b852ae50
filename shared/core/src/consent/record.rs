//! One consent record, and the rule that decides which of two counts.

use std::str::FromStr;

/// The state of a person's consent, from the least to the most protective.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConsentState {
    OptedIn,
    OptedOut,
    Withdrawn,
}

impl ConsentState {
    pub const ALL: [ConsentState; 3] = [ConsentState::OptedIn, ConsentState::OptedOut, ConsentState::Withdrawn];

    pub fn as_str(self) -> &'static str {
        match self {
            ConsentState::OptedIn => "opted_in",
            ConsentState::OptedOut => "opted_out",
            ConsentState::Withdrawn => "withdrawn",
        }
    }
}

impl FromStr for ConsentState {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = ConsentState::ALL.into_iter().find(|state| state.as_str() == text);
        known.ok_or("is none of opted_out, withdrawn, opted_in")
    }
}

/// A consent record without its key. The derived order decides which of two records counts: the one with the later
/// time, or with equal times the one with the more protective state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsentRecord {
    /// Microseconds since 1970-01-01 UTC.
    pub occurred_at: i64,
    pub state: ConsentState,
}

/// Returns which of two consent records for the same key counts. The rule is commutative, associative and idempotent.
pub fn later(one: ConsentRecord, other: ConsentRecord) -> ConsentRecord {
    one.max(other)
}

/// The name of the column that contains a record's state.
pub const STATE: &str = "state";
/// The name of the column that contains a record's time.
pub const OCCURRED_AT: &str = "occurred_at";
