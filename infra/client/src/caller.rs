//! Finds out whose credentials sign the requests:
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>.

use anyhow::{Context, Result};
use aws_config::SdkConfig;

use crate::{
    query_api,
    signed::{Service, Signed},
};

const SERVICE: Service = Service { name: "STS", host: "sts", endpoint: "AWS_ENDPOINT_URL_STS" };

/// Returns the ARN of the user or the role's session. The request needs no permission.
pub async fn arn(config: &SdkConfig) -> Result<String> {
    let form = "Action=GetCallerIdentity&Version=2011-06-15";
    let found = query_api::call(&Signed::new(config, SERVICE)?, form, &["Arn"]).await?;
    found.into_iter().next().map(|(_, arn)| arn).context("STS returned no ARN")
}
