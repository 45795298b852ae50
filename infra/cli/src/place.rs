//! Where a stack is: on this machine, or in AWS.

use anyhow::Result;

use crate::{
    aws::{self, SdkConfig},
    laptop,
};

/// How to reach an account.
pub struct Place {
    /// The configuration for all services except Athena.
    pub aws: SdkConfig,
    pub athena: SdkConfig,
    /// Whether the account has Lake Formation, which the emulator lacks.
    pub has_lake_formation: bool,
}

impl Place {
    /// Returns the account that the user's credentials or the given profile belong to.
    pub async fn in_aws(profile: Option<&str>, region: Option<&str>) -> Place {
        let aws = aws::loaded(profile, region).await;
        Place { athena: aws.clone(), aws, has_lake_formation: true }
    }

    /// Returns a local stack's account. Fails if the stack isn't up.
    pub fn local(stack: &str) -> Result<Place> {
        let endpoints = laptop::endpoints(stack)?;
        Ok(Place { aws: endpoints.config(), athena: endpoints.athena_config(), has_lake_formation: false })
    }
}
