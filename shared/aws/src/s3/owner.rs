//! Names the account that a bucket must belong to, in every request. If somebody deletes a bucket, another account can
//! create one with its name: S3 then refuses the request instead of reading from or writing to that account.

use std::collections::BTreeMap;

use aws_sdk_s3::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut},
    error::BoxError,
};
use turntable_core::error::{Error, Result};

/// The accounts that own the buckets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BucketOwners {
    /// The account of every bucket that is not in `others`. `None` means that it isn't checked.
    own: Option<String>,
    /// Buckets of other accounts.
    others: BTreeMap<String, String>,
}

impl BucketOwners {
    /// Parses the account of the stack, and `BUCKET=ACCOUNT` for each bucket of another account, separated by commas.
    pub fn parse(own: Option<&str>, others: Option<&str>) -> Result<BucketOwners> {
        let account = |text: &str| {
            let is_account = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
            is_account.then(|| text.to_owned()).ok_or_else(|| {
                Error::config(format!(
                    "{text:?} is not an AWS account: expected 12 digits in BUCKET_OWNER and BucketOwners"
                ))
            })
        };
        let pairs = others.unwrap_or_default().split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (bucket, owner) = pair.split_once('=').ok_or_else(|| {
                Error::config(format!("BucketOwners: expected BUCKET=ACCOUNT, separated by commas, found {pair:?}"))
            })?;
            Ok((bucket.trim().to_owned(), account(owner.trim())?))
        };
        Ok(BucketOwners { own: own.map(account).transpose()?, others: pairs.map(pair).collect::<Result<_>>()? })
    }

    fn of(&self, bucket: &str) -> Option<&str> {
        self.others.get(bucket).or(self.own.as_ref()).map(String::as_str)
    }
}

/// Adds the headers to each request before it is signed.
#[derive(Debug)]
pub(super) struct ExpectOwner(pub BucketOwners);

impl Intercept for ExpectOwner {
    fn name(&self) -> &'static str {
        "ExpectOwner"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let source = request.headers().get("x-amz-copy-source").and_then(|source| source.split('/').next());
        let source = source.and_then(|bucket| self.0.of(bucket)).map(str::to_owned);
        let owner = bucket(request.uri()).and_then(|bucket| self.0.of(bucket)).map(str::to_owned);
        let headers = request.headers_mut();
        for (name, owner) in [("x-amz-expected-bucket-owner", owner), ("x-amz-source-expected-bucket-owner", source)] {
            if let Some(owner) = owner {
                headers.try_insert(name, owner)?;
            }
        }
        Ok(())
    }
}

/// Returns the bucket that a request's address names, as the host's beginning (`BUCKET.s3.…`) or as the path's.
fn bucket(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    match host.split_once(".s3.").or_else(|| host.split_once(".s3-")) {
        Some((bucket, _)) => Some(bucket),
        None => path.split(['/', '?']).next().filter(|bucket| !bucket.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_is_found_in_the_host_or_the_path() {
        for (uri, expected) in [
            ("https://lake.s3.eu-west-1.amazonaws.com/a/b?x=1", Some("lake")),
            ("https://lake.s3-fips.us-east-1.amazonaws.com/a", Some("lake")),
            ("https://s3.eu-west-1.amazonaws.com/with.dots/a", Some("with.dots")),
            ("http://127.0.0.1:4566/lake/a", Some("lake")),
            ("http://127.0.0.1:4566/lake?list-type=2", Some("lake")),
            ("https://lake.s3.eu-west-1.amazonaws.com", Some("lake")),
            ("http://127.0.0.1:4566/", None),
        ] {
            assert_eq!(bucket(uri), expected, "{uri}");
        }
    }

    #[test]
    fn owners_are_read() {
        let owners =
            BucketOwners::parse(Some("111122223333"), Some("theirs=444455556666, more = 777788889999")).unwrap();
        let of = ["lake", "theirs", "more"].map(|bucket| owners.of(bucket));
        assert_eq!(of, [Some("111122223333"), Some("444455556666"), Some("777788889999")]);
        assert_eq!(BucketOwners::parse(None, None).unwrap().of("lake"), None);
        for (own, others) in [(Some("1111"), None), (None, Some("theirs")), (None, Some("theirs=x"))] {
            assert!(BucketOwners::parse(own, others).is_err());
        }
    }
}
