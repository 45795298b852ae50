//! [`turntable::aws::s3`] against a real emulator.

use std::{sync::Arc, time::Duration};

use aws_config::BehaviorVersion;
use tests::conformance::conformance;
use turntable::aws::s3::S3;

#[tokio::test(flavor = "multi_thread")]
async fn s3_does_what_every_store_of_objects_must() {
    let Ok(endpoint) = std::env::var("TURNTABLE_TEST_ENDPOINT") else {
        eprintln!("skipped: TURNTABLE_TEST_ENDPOINT names no S3");
        return;
    };
    let credentials = aws_sdk_s3::config::Credentials::for_tests();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region("us-east-1")
        .credentials_provider(credentials)
        .load()
        .await;
    let path_style = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
    let client = aws_sdk_s3::Client::from_conf(path_style);
    let bucket = format!("conformance-{}", std::process::id());
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
