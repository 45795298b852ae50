//! The settings of one deployed stack.

use client::laptop;

/// The settings that may differ between two stacks in one emulator.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// The access key that selects the account: twelve digits, or `test` for account 000000000000.
    pub access_key: String,
    pub stack: String,
    /// The name of the stack's bucket. Bucket names are global: no two accounts can have the same.
    pub bucket: String,
    /// Parameters for template.yaml besides those that every deployment sets.
    pub parameters: Vec<(String, String)>,
}

impl Deployment {
    /// Returns the settings for the stack `turntable` in an account, with the account's own bucket.
    pub fn in_account(access_key: &str) -> Self {
        Self {
            access_key: access_key.into(),
            stack: "turntable".into(),
            bucket: laptop::bucket(access_key),
            parameters: Vec::new(),
        }
    }

    pub(crate) fn scratch(&self) -> String {
        laptop::scratch_bucket(&self.bucket)
    }
}
