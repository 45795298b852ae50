//! `doctor`: checks a deployed stack and its account before the first export. Starts, writes and changes nothing.
//!
//! | module | checks |
//! |---|---|
//! | `functions` | the functions, their queues, and the account's concurrency |
//! | `datasets`, `sources` | datasets.toml and its locations; secrets, encryption and reachability of the sources |
//! | `bucket` | the bucket's events, versioning, lifecycle rules and encryption |
//! | `workgroups`, `catalog` | Athena's workgroups; Glue's databases and jobs, and Lake Formation |
//! | `clock` | this machine's clock |
//! | [`report`] | prints the result |

mod bucket;
mod catalog;
mod clock;
mod datasets;
mod functions;
pub mod report;
mod sources;
mod workgroups;

use std::time::SystemTime;

use anyhow::Result;
use aws_sdk_sqs::types::QueueAttributeName;
use turntable::{aws::s3::S3, bucket_settings::BucketUse, config::Config, layout::Key};

use self::{
    functions::{Function, Functions},
    report::{Line, Report},
};
use crate::{
    aws::SdkConfig,
    lambda::Lambda,
    place::Place,
    signed::{Refused, Signed},
};

/// Checks a stack and reports the results. Fails only if the checks can't start, for example without credentials.
pub async fn doctor(stack: &str, place: &Place) -> Result<Report> {
    crate::lambda::named(stack)?;
    let lambda = Lambda::new(&place.aws)?;
    let mut lines = vec![clock::line(date(&lambda).await?.as_deref(), SystemTime::now())];
    let Functions { found, lines: functions } = functions::functions(&lambda, stack).await;
    lines.extend(functions);
    let variable = |function: &str, name| found.get(function)?.variable(name);
    let datasets = ["flip", "export"].into_iter().find_map(|function| variable(function, "DATASETS"));
    let Some(at) = datasets.and_then(|uri| uri.parse::<Key>().ok()) else {
        let found = "no function says where datasets.toml is: the bucket, the catalog and the sources are not checked";
        lines.push(Line::fault("datasets-file", stack, found, "fix the functions first, then run doctor again"));
        return Ok(Report { stack: stack.into(), lines });
    };

    let s3 = S3::new(&place.aws);
    let (config, line) = datasets::file(&s3, &at).await;
    lines.push(line);
    let key = queue_key(&place.aws, found.get("export")).await;
    let usage = usage(config.as_ref(), &at);
    // Boxed, because the future is large.
    lines.extend(Box::pin(bucket::lines(&s3, &at.bucket, &usage, key.as_deref())).await);
    let athena = aws_sdk_athena::Client::new(&place.athena);
    let (own, output) = (variable("flip", "ATHENA_WORKGROUP"), variable("flip", "ATHENA_OUTPUT"));
    lines.extend(workgroups::lines(&athena, config.as_ref(), own, output).await);
    if place.has_lake_formation {
        lines.push(catalog::registration(&Signed::new(&place.aws, catalog::SERVICE)?, &at.bucket).await);
    }
    if let Some(config) = &config {
        lines.extend(datasets::locations(config, &at.bucket, variable("optout", "INBOXES")));
        lines.extend(catalog::lines(&aws_sdk_glue::Client::new(&place.aws), config).await);
        let in_vpc = found.get("export").is_some_and(Function::is_in_vpc);
        lines.extend(sources::lines(config, &place.aws, in_vpc).await);
    }
    Ok(Report { stack: stack.into(), lines })
}

/// Returns the `Date` header of an AWS response. Error responses have one too.
async fn date(lambda: &Lambda) -> Result<Option<String>> {
    match lambda.response("/2016-08-19/account-settings/").await {
        Ok(response) => Ok(response.date),
        Err(error) => match error.downcast::<Refused>() {
            Ok(refused) => Ok(refused.date),
            Err(error) => Err(error.context("cannot reach AWS")),
        },
    }
}

/// Returns the KMS key of the stack's queues, which is the key that the functions may use.
async fn queue_key(aws: &SdkConfig, export: Option<&Function>) -> Option<String> {
    let url = export?.variable("QUEUE_URL")?;
    let name = QueueAttributeName::KmsMasterKeyId;
    let asked =
        aws_sdk_sqs::Client::new(aws).get_queue_attributes().queue_url(url).attribute_names(name.clone()).send();
    asked.await.ok()?.attributes?.remove(&name)
}

/// Returns what the stack keeps in its bucket. If the datasets file isn't valid, that is only the file itself.
fn usage(config: Option<&Config>, datasets: &Key) -> BucketUse {
    match config {
        Some(config) => BucketUse::of(config, &datasets.bucket, datasets),
        None => BucketUse { kept: Vec::new(), archives: Vec::new(), results: None },
    }
}
