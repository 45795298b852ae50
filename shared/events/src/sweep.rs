//! Parses events into requests to `sweep`.

use serde::Deserialize;
use serde_json::Value;
use turntable_core::error::Result;

use crate::event::{by_hand, is_scheduled};

/// A request to `sweep`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// The dataset to sweep. `None` means all datasets.
    #[serde(default)]
    pub dataset: Option<String>,
    /// If true, reports what would be deleted, but deletes nothing.
    #[serde(default)]
    pub dry_run: bool,
}

impl Sweep {
    pub fn parse(event: &Value) -> Result<Sweep> {
        if is_scheduled(event) {
            return Ok(Sweep { dataset: None, dry_run: false });
        }
        by_hand(event, "{} or {\"dataset\": NAME, \"dry_run\"?: true}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn error_says_what_was_expected() {
        let sweep = |event: Value| Sweep::parse(&event).unwrap_err().report();
        assert_eq!(
            sweep(json!({"dryrun": true})),
            "invalid request: expected {} or {\"dataset\": NAME, \"dry_run\"?: true}: unknown field `dryrun`, expected `dataset` or `dry_run`"
        );
    }
}
