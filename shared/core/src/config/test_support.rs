//! Helpers for the tests of the configuration.

use crate::{
    config::{Config, without_positions},
    error::Kind,
};

pub const DEFAULTS: &str = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n";

/// Parses a faulty text. Returns one line for each fault: `datasets.toml: path: message`.
pub fn faults(text: &str) -> String {
    let error = Config::parse("datasets.toml", text).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    without_positions(error.message())
}
