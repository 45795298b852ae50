//! S3's refusals, in words that say what to do.

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

/// Why S3 did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NoBucket,
    ElsewhereBucket,
    Denied,
    /// No such object, or no such upload.
    Missing,
    /// `If-Match` or `If-None-Match` was not true.
    Precondition,
    /// Another conditional write of the same key was under way.
    Race,
    OutOfRange,
    /// A timeout, an overload, a broken connection. Whether the request was carried out is not known.
    Unavailable,
    /// The request never left: no credentials, no region.
    Setup,
    Other,
}

pub(super) fn refusal<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Refusal {
    match error {
        SdkError::ServiceError(refused) => by_answer(refused.err().code(), refused.raw().status().as_u16()),
        SdkError::ResponseError(_) | SdkError::TimeoutError(_) => Refusal::Unavailable,
        SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() => Refusal::Unavailable,
        _ => Refusal::Setup,
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>. The answer to a HEAD has a status only.
fn by_answer(code: Option<&str>, status: u16) -> Refusal {
    match (code.unwrap_or_default(), status) {
        ("NoSuchBucket", _) => Refusal::NoBucket,
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _) | (_, 301) => {
            Refusal::ElsewhereBucket
        }
        ("SlowDown" | "InternalError" | "ServiceUnavailable" | "RequestTimeout" | "ExpiredToken", _)
        | (_, 429 | 500..) => Refusal::Unavailable,
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

/// The error for an action (its name in the API) on a key or a location.
pub(super) fn fault<E>(action: &str, at: &impl Display, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let (kind, message) = match refusal(&error) {
        Refusal::NoBucket => {
            (Kind::Config, format!("{at}: no such bucket: create it, or correct the location in datasets.toml"))
        }
        Refusal::ElsewhereBucket => {
            (Kind::Config, format!("{at}: the bucket is in another region: deploy where the bucket is"))
        }
        Refusal::Denied => (Kind::Config, denied(action, at)),
        Refusal::Missing | Refusal::Precondition => (Kind::Conflict, port::missing(at).message().to_owned()),
        Refusal::Race => (Kind::Unavailable, format!("{at}: another writer was at it at the same moment: run again")),
        Refusal::OutOfRange => {
            (Kind::Corrupt, format!("{at} is shorter than what was listed: it is not the same object"))
        }
        Refusal::Unavailable => (Kind::Unavailable, format!("{at}: S3 did not answer {action}: run again")),
        Refusal::Setup => (
            Kind::Config,
            format!("{at}: {action} could not be sent: check the credentials, the region and the endpoint"),
        ),
        Refusal::Other => (Kind::Config, format!("{at}: S3 refused {action}: correct what it names")),
    };
    Error::new(kind, message).caused_by(cause(error))
}

/// Without `s3:ListBucket` S3 answers 403 for an object that does not exist, too.
fn denied(action: &str, at: &impl Display) -> String {
    let permission = match action {
        "GetObject" | "HeadObject" => {
            "s3:GetObject (and s3:ListBucket on the bucket: without it a missing object is denied too)"
        }
        "ListObjectsV2" => "s3:ListBucket",
        "DeleteObject" | "DeleteObjects" => "s3:DeleteObject",
        "ListMultipartUploads" => "s3:ListBucketMultipartUploads",
        "AbortMultipartUpload" => "s3:AbortMultipartUpload",
        _ => "s3:PutObject",
    };
    format!("{at}: {action} is denied: allow {permission} in the function's role, the bucket's policy and its KMS key")
}

/// S3's own words where it has answered, and the client's error where it has not.
fn cause<E>(error: SdkError<E, HttpResponse>) -> Box<dyn std::error::Error + Send + Sync>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let request = error.request_id().unwrap_or("unknown").to_owned();
    match error {
        SdkError::ServiceError(refused) => {
            let status = refused.raw().status().as_u16();
            let said = match (refused.err().code(), refused.err().message()) {
                (Some(code), Some(message)) => format!("{code}: {message}"),
                (Some(code), None) => code.to_owned(),
                _ => "no reason given".to_owned(),
            };
            format!("{said} (status {status}, request {request})").into()
        }
        error => error.into_source().unwrap_or_else(|error| error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_to_do() {
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
            // CompleteMultipartUpload says so after it has begun to answer 200.
            (Some("InternalError"), 200, Refusal::Unavailable),
            (Some("PermanentRedirect"), 301, Refusal::ElsewhereBucket),
            (Some("KeyTooLongError"), 400, Refusal::Other),
        ] {
            assert_eq!(by_answer(code, status), expected, "{code:?} {status}");
        }
    }
}
