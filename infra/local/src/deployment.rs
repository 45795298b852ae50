//! The settings of one deployed stack.

use cli::laptop;

/// The settings that may differ between two stacks in one emulator.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// The account: its twelve digits, or `test` for 000000000000.
    pub access_key: String,
    pub stack: String,
    /// The stack's bucket. Bucket names are global across accounts.
    pub bucket: String,
    /// More parameters for template.yaml.
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
