//! Converts errors from S3 into errors that tell the operator what to do.

use std::fmt::Display;

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use turntable_core::{
    error::{Error, Kind},
    port,
};

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NoBucket,
    ElsewhereBucket,
    Denied,
    /// The object or the multipart upload does not exist.
    Missing,
    /// `If-Match` or `If-None-Match` failed.
    Precondition,
    /// Another conditional write to the same key was in progress.
    Race,
    OutOfRange,
    /// A timeout, an overload or a broken connection. S3 may or may not have executed the request.
    Unavailable,
    /// The request was never sent, for example for lack of credentials or a region.
    Setup,
    Other,
}

pub(super) fn refusal<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Refusal {
    match error {
        SdkError::ServiceError(refused) => by_response(refused.err().code(), refused.raw().status().as_u16()),
        SdkError::ResponseError(_) | SdkError::TimeoutError(_) => Refusal::Unavailable,
        SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() => Refusal::Unavailable,
        _ => Refusal::Setup,
    }
}

/// Classifies a response by its error code and status
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>). A response to HEAD has only a status.
fn by_response(code: Option<&str>, status: u16) -> Refusal {
    match (code.unwrap_or_default(), status) {
        ("NoSuchBucket", _) => Refusal::NoBucket,
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _) | (_, 301) => {
            Refusal::ElsewhereBucket
        }
        ("SlowDown" | "InternalError" | "ServiceUnavailable" | "RequestTimeout" | "ExpiredToken", _)
        | (_, 429 | 500..) => Refusal::Unavailable,
        // KMS's own errors pass through S3 with the prefix "KMS.".
        (code, _) if code.contains("Throttl") || code.ends_with("LimitExceededException") => Refusal::Unavailable,
        ("ConditionalRequestConflict", _) => Refusal::Race,
        (_, 412) => Refusal::Precondition,
        (_, 403) => Refusal::Denied,
        (_, 404) => Refusal::Missing,
        (_, 416) => Refusal::OutOfRange,
        _ => Refusal::Other,
    }
}

pub(super) fn is_missing<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    refusal(error) == Refusal::Missing
}

/// Converts an error from S3. `action` is the API's name for the call, and `at` is the key or location that it
/// concerned.
pub(super) fn fault<E>(action: &str, at: &impl Display, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let (kind, message) = match refusal(&error) {
        Refusal::NoBucket => {
            (Kind::Config, format!("{at}: no such bucket: create it, or correct the location in datasets.toml"))
        }
        Refusal::ElsewhereBucket => {
            (Kind::Config, format!("{at}: the bucket is in another region: deploy Turntable in the bucket's region"))
        }
        Refusal::Denied => (Kind::Config, denied(action, at)),
        Refusal::Missing | Refusal::Precondition => (Kind::Conflict, port::missing(at).message().to_owned()),
        Refusal::Race => (
            Kind::Unavailable,
            format!("{at}: another writer wrote this object at the same time: invoke the function again"),
        ),
        Refusal::OutOfRange => (
            Kind::Corrupt,
            format!("{at} is shorter than when it was listed, so it has been replaced: invoke the function again"),
        ),
        Refusal::Unavailable => {
            (Kind::Unavailable, format!("{at}: S3 did not respond to {action}: invoke the function again"))
        }
        Refusal::Setup => (
            Kind::Config,
            format!("{at}: {action} could not be sent: check the credentials, the region and the endpoint"),
        ),
        Refusal::Other => (Kind::Config, format!("{at}: S3 refused {action}: fix the problem that the cause names")),
    };
    Error::new(kind, message).caused_by(cause(error))
}

/// Returns the message for a denied action. Without `s3:ListBucket`, S3 responds with 403 for a missing object too.
fn denied(action: &str, at: &impl Display) -> String {
    let permission = match action {
        "GetObject" | "HeadObject" => {
            "s3:GetObject (and s3:ListBucket on the bucket, because S3 denies a missing object without it)"
        }
        "ListObjectsV2" => "s3:ListBucket",
        "DeleteObject" | "DeleteObjects" => "s3:DeleteObject",
        "ListMultipartUploads" => "s3:ListBucketMultipartUploads",
        "AbortMultipartUpload" => "s3:AbortMultipartUpload",
        "GetBucketNotificationConfiguration" => "s3:GetBucketNotification",
        "GetBucketVersioning" => "s3:GetBucketVersioning",
        "GetBucketLifecycleConfiguration" => "s3:GetLifecycleConfiguration",
        "GetBucketEncryption" => "s3:GetEncryptionConfiguration",
        _ => "s3:PutObject",
    };
    format!("{at}: {action} is denied: allow {permission} in the function's role, the bucket's policy and its KMS key")
}

/// Returns S3's error code, message, status and request ID if it responded, and the client's error otherwise.
fn cause<E>(error: SdkError<E, HttpResponse>) -> Box<dyn std::error::Error + Send + Sync>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let request = error.request_id().unwrap_or("unknown").to_owned();
    match error {
        SdkError::ServiceError(refused) => {
            let status = refused.raw().status().as_u16();
            let text = match (refused.err().code(), refused.err().message()) {
                (Some(code), Some(message)) => format!("{code}: {message}"),
                (Some(code), None) => code.to_owned(),
                _ => "no reason given".to_owned(),
            };
            format!("{text} (status {status}, request {request})").into()
        }
        error => error.into_source().unwrap_or_else(|error| error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_codes_map_to_refusals() {
        for (code, status, expected) in [
            (Some("NoSuchBucket"), 404, Refusal::NoBucket),
            (Some("NoSuchKey"), 404, Refusal::Missing),
            (Some("NoSuchUpload"), 404, Refusal::Missing),
            (None, 404, Refusal::Missing),
            (Some("AccessDenied"), 403, Refusal::Denied),
            (None, 403, Refusal::Denied),
            (Some("PreconditionFailed"), 412, Refusal::Precondition),
            (Some("ConditionalRequestConflict"), 409, Refusal::Race),
            (Some("SlowDown"), 503, Refusal::Unavailable),
            (Some("RequestTimeout"), 400, Refusal::Unavailable),
            (Some("KMS.ThrottlingException"), 400, Refusal::Unavailable),
            (Some("InvalidObjectState"), 403, Refusal::Denied),
            (Some("InvalidRequest"), 400, Refusal::Other),
            // CompleteMultipartUpload may respond with this error after status 200.
            (Some("InternalError"), 200, Refusal::Unavailable),
            (Some("PermanentRedirect"), 301, Refusal::ElsewhereBucket),
            (Some("KeyTooLongError"), 400, Refusal::Other),
        ] {
            assert_eq!(by_response(code, status), expected, "{code:?} {status}");
        }
    }
}
