//! Where a stack is: in the emulator that `up` runs, or in AWS.

use anyhow::{Result, anyhow};

use crate::{aws::SdkConfig, laptop};

/// Which account the stack is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// The emulator that `up` runs.
    Emulator,
    /// The AWS account that the environment's credentials belong to.
    Aws,
}

/// How to reach an account.
pub struct Place {
    /// The configuration for every service but Athena.
    pub aws: SdkConfig,
    pub athena: SdkConfig,
    /// Whether the account has Lake Formation, which the emulator lacks.
    pub has_lake_formation: bool,
}

impl Place {
    /// Fails if the emulator isn't running.
    pub async fn of(account: Account) -> Result<Place> {
        Ok(match account {
            Account::Aws => {
                let aws = turntable::lambda::aws().await;
                Place { athena: aws.clone(), aws, has_lake_formation: true }
            }
            Account::Emulator => {
                let endpoints = laptop::endpoints();
                let endpoints = endpoints.map_err(|error| anyhow!("{error}, or pass --aws for a stack in AWS"))?;
                Place { aws: endpoints.config(), athena: endpoints.athena_config(), has_lake_formation: false }
            }
        })
    }
}
