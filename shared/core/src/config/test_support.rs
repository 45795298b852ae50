//! Helpers for configuration tests.

use crate::{config::Config, error::Kind};

pub const DEFAULTS: &str = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n";

/// Parses a `datasets.toml` that has errors. Returns one line for each: `datasets.toml: key.path: message`.
pub fn faults(text: &str) -> String {
    let error = Config::parse("datasets.toml", text).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    without_positions(error.message())
}

/// Removes the positions from an error that [`Config::parse`] returned: each line becomes `file: key.path: message`.
pub fn without_positions(message: &str) -> String {
    let line = |line: &str| {
        let mut parts = line.splitn(4, ':');
        let (file, rest) = (parts.next().unwrap_or_default(), parts.nth(2).unwrap_or_default());
        format!("{file}:{rest}")
    };
    message.lines().map(line).collect::<Vec<_>>().join("\n")
}
