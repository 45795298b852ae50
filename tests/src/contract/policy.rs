//! The bucket policy: the statement `WriteOnce` in template.yaml, which prevents everyone from overwriting a
//! generation.

use std::{sync::Arc, time::Duration};

use aws_sdk_s3::error::ProvideErrorMetadata;
use bytes::Bytes;
use serde_json::json;
use turntable::layout::Location;

use super::{Subject, clauses};

clauses! {
    denies_a_put_without_a_condition
    denies_a_copy_without_a_condition
    allows_conditional_puts_copies_and_uploads
}

/// How many times to check whether the policy has taken effect, and the pause between two checks.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// Sets the policy, and returns the folder of a generation for the clause to use.
async fn protected(subject: &Subject, name: &str) -> Location {
    let partition = if subject.region.starts_with("cn-") { "aws-cn" } else { "aws" };
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "WriteOnce",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": format!("arn:{partition}:s3:::{}/policy/*/blue-??????????????????????????/*part-?????.parquet", subject.bucket),
            "Condition": { "Null": { "s3:if-none-match": "true" }, "Bool": { "s3:ObjectCreationOperation": "true" } },
        }],
    });
    let s3 = subject.s3();
    s3.put_bucket_policy().bucket(&subject.bucket).policy(policy.to_string()).send().await.expect("PutBucketPolicy");
    subject.folder("policy").folder(name).folder("blue-01J00000000000000000000000")
}

/// "Enforce conditional writes on Amazon S3 buckets",
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html>.
async fn denies_a_put_without_a_condition(subject: Arc<Subject>) {
    let at = protected(&subject, "put").await;
    for attempt in 0..ATTEMPTS {
        let put = subject.s3().put_object().bucket(&at.bucket).key(at.key(&format!("part-{attempt:05}.parquet")).key);
        match put.body(Bytes::from("x").into()).send().await {
            Err(error) => return assert_eq!(error.code(), Some("AccessDenied"), "PutObject without If-None-Match"),
            Ok(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    panic!("PutObject without If-None-Match is not denied");
}

async fn denies_a_copy_without_a_condition(subject: Arc<Subject>) {
    let at = protected(&subject, "copy").await;
    let from = subject.folder("policy").key("from");
    subject.objects.put(&from, "x".into()).await.unwrap();
    for attempt in 0..ATTEMPTS {
        let to = at.key(&format!("part-{attempt:05}.parquet"));
        let copy = subject.s3().copy_object().copy_source(format!("{}/{}", from.bucket, from.key));
        match copy.bucket(to.bucket).key(to.key).send().await {
            Err(error) => return assert_eq!(error.code(), Some("AccessDenied"), "CopyObject without If-None-Match"),
            Ok(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    panic!("CopyObject without If-None-Match is not denied");
}

/// The parts of an upload are sent without a condition. The policy exempts them by `s3:ObjectCreationOperation`.
async fn allows_conditional_puts_copies_and_uploads(subject: Arc<Subject>) {
    let at = protected(&subject, "conditional").await;
    let objects = &subject.objects;
    let put = at.key("part-00000.parquet");
    objects.put_new(&put, "first".into()).await.unwrap();
    let etag = objects.head(&put).await.unwrap().unwrap().etag;
    objects.copy(&put, &etag, &at.key("part-00001.parquet")).await.unwrap();
    let mut upload = objects.upload(&at.key("part-00002.parquet")).await.unwrap();
    upload.write(Bytes::from(vec![0; 9 << 20])).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(objects.list(&at, None).await.unwrap().len(), 3);
}
