//! Converts errors from AWS into errors that tell the operator what to do.

use aws_sdk_s3::error::{DisplayErrorContext, SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use turntable_core::error::{Error, Kind};

/// Converts an error from an AWS call. `action` is the name of the call, and `on` is the resource that it was made on.
pub fn fault<E, R>(action: &str, on: &str, error: SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let code = error.code().unwrap_or_default().to_owned();
    let (kind, what) = match code.as_str() {
        "AccessDenied" | "AccessDeniedException" => {
            (Kind::Config, format!("{action} on {on} is not allowed: allow this action in the function's role"))
        }
        "NoSuchBucket" => (Kind::Config, format!("{action} on {on} failed: the bucket does not exist: create it")),
        "InvalidInputException" | "ResourceNumberLimitExceededException" => (
            Kind::Config,
            format!("{action} on {on} was refused: fix the setting, or raise the quota, that the cause names"),
        ),
        _ => (Kind::Unavailable, format!("{action} on {on} failed: invoke the function again")),
    };
    Error::new(kind, what).caused_by(Cause(DisplayErrorContext(error).to_string()))
}

/// An SDK error and its causes as one line of text. The SDK's own types print their causes only in debug form.
#[derive(Debug)]
struct Cause(String);

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}
