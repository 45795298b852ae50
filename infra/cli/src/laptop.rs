//! The emulator that `up` runs: its endpoints, accounts and buckets.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{
    aws::{self, Credentials, SdkConfig},
    workspace,
};

pub const REGION: &str = "us-east-1";

/// The name of the datasets bucket in the stack that `up` deploys.
pub const BUCKET: &str = "turntable-local";

/// Returns the configuration for an emulator endpoint. The access key selects the account: a 12-digit key selects the
/// account with that number, and any other key selects account 000000000000. The emulator checks no signature, so the
/// secret key is always `test`.
pub fn config(access_key: &str, endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new(access_key, "test", None, None, "local");
    aws::config(credentials, REGION, Some(endpoint))
}

/// Returns a configuration for code that needs one but sends no request: nothing listens at its endpoint.
pub fn unreachable() -> SdkConfig {
    config("none", "http://127.0.0.1:1")
}

/// Returns the name of the datasets bucket in the account that `access_key` selects.
pub fn bucket(access_key: &str) -> String {
    format!("turntable-{access_key}")
}

/// Returns the name of the second bucket of an account, which holds the functions' code and query results.
pub fn scratch_bucket(bucket: &str) -> String {
    format!("{bucket}-scratch")
}

/// Returns the path of the file that exists while `up` runs. It holds the environment for `cargo lambda watch`.
pub fn env_file() -> Result<PathBuf> {
    Ok(workspace::target()?.join("local.env"))
}

/// How to reach the emulator that `up` runs.
pub struct Endpoints {
    /// The URL of the endpoint for every service except Athena.
    pub aws: String,
    /// The URL of the Athena endpoint.
    pub athena: String,
    /// The only access key that the emulator accepts.
    pub access_key: String,
}

impl Endpoints {
    /// Returns the configuration for every service except Athena.
    pub fn config(&self) -> SdkConfig {
        config(&self.access_key, &self.aws)
    }

    /// Returns the configuration for Athena.
    pub fn athena_config(&self) -> SdkConfig {
        config(&self.access_key, &self.athena)
    }
}

/// Reads how to reach the running emulator. Fails if `up` isn't running.
pub fn endpoints() -> Result<Endpoints> {
    let text = fs::read_to_string(env_file()?).unwrap_or_default();
    let value = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.map(str::to_owned).context("no emulator is running: start one with `cargo run -p local -- up`")
    };
    Ok(Endpoints {
        aws: value("AWS_ENDPOINT_URL")?,
        athena: value("AWS_ENDPOINT_URL_ATHENA")?,
        access_key: value("AWS_ACCESS_KEY_ID")?,
    })
}
