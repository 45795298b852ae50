//! Reads the outputs of a CloudFormation stack:
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html>.

use std::collections::BTreeMap;

use anyhow::Result;
use aws_config::SdkConfig;

use crate::{
    lambda::named,
    query_api,
    signed::{Service, Signed},
};

const SERVICE: Service =
    Service { name: "CloudFormation", host: "cloudformation", endpoint: "AWS_ENDPOINT_URL_CLOUDFORMATION" };

const KEY: &str = "OutputKey";
const VALUE: &str = "OutputValue";

/// Returns a stack's outputs by name.
pub async fn of(config: &SdkConfig, stack: &str) -> Result<BTreeMap<String, String>> {
    let form = format!("Action=DescribeStacks&Version=2010-05-15&StackName={}", named(stack)?);
    let texts = query_api::call(&Signed::new(config, SERVICE)?, &form, &[KEY, VALUE]).await?;
    Ok(paired(texts))
}

/// Pairs the keys with the values. Each output has one of both, in either order.
fn paired(texts: Vec<(&'static str, String)>) -> BTreeMap<String, String> {
    let pair = |two: &[(&'static str, String)]| match two {
        [(KEY, key), (VALUE, value)] | [(VALUE, value), (KEY, key)] => Some((key.clone(), value.clone())),
        _ => None,
    };
    texts.chunks(2).filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_paired_in_either_order() {
        let texts = [(KEY, "Bucket"), (VALUE, "lake"), (VALUE, "turntable-flip"), (KEY, "FlipFunctionName")];
        let outputs = paired(texts.map(|(name, text)| (name, text.to_owned())).to_vec());
        assert_eq!((outputs["Bucket"].as_str(), outputs["FlipFunctionName"].as_str()), ("lake", "turntable-flip"));
    }
}
