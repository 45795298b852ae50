//! Every store of objects does the same: the emulator's S3 through [`turntable::aws::s3`], and the memory of the
//! in-process tests.

use std::{sync::Arc, time::Duration};

use tests::{conformance::conformance, memory};
use turntable::aws::s3::S3;

use crate::chain::{account, emulator};

#[tokio::test(flavor = "multi_thread")]
async fn s3_does_what_every_store_of_objects_must() {
    let account = account();
    let config = emulator().await.sdk_config(&account);
    let client = aws_sdk_s3::Client::new(&config);
    let bucket = format!("conformance-{account}");
    client.create_bucket().bucket(&bucket).send().await.unwrap();

    conformance(Arc::new(S3::new(&config)), &bucket, "a").await;

    // What is dropped is aborted in the background.
    for _ in 0..50 {
        let left = client.list_multipart_uploads().bucket(&bucket).send().await.unwrap();
        if left.uploads().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("an upload that was aborted, dropped or refused has left parts");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_what_every_store_of_objects_must() {
    let objects = memory::Objects::default();
    objects.put("s3://lake/x", "the bucket exists");
    conformance(Arc::new(objects), "lake", "a").await;
}
