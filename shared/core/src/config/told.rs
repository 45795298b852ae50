//! What tests of the configuration share.

use crate::{
    config::{Config, without_positions},
    error::Kind,
};

pub const DEFAULTS: &str = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n";

/// A line for each fault, as `datasets.toml: path: what is wrong`.
pub fn faults(text: &str) -> String {
    let error = Config::parse("datasets.toml", text).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    without_positions(error.message())
}
