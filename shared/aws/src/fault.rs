//! Errors of AWS → what an operator can do.

use aws_sdk_s3::error::{DisplayErrorContext, SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use turntable_core::error::{Error, Kind};

/// What an operator can do about a call that AWS did not take.
pub fn fault<E, R>(action: &str, on: &str, error: SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let code = error.code().unwrap_or_default().to_owned();
    let (kind, what) = match code.as_str() {
        "AccessDenied" | "AccessDeniedException" => {
            (Kind::Config, format!("{action} on {on} is not allowed: the function's role needs this action"))
        }
        "NoSuchBucket" => (Kind::Config, format!("{action} on {on}: the bucket does not exist")),
        "InvalidInputException" | "ResourceNumberLimitExceededException" => {
            (Kind::Config, format!("{action} on {on} was refused"))
        }
        _ => (Kind::Unavailable, format!("{action} on {on} failed: run again")),
    };
    Error::new(kind, what).caused_by(Cause(DisplayErrorContext(error).to_string()))
}

/// An SDK's error as one line; the SDK's own types print their cause only in debug form.
#[derive(Debug)]
struct Cause(String);

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}
