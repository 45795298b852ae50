//! The S3 client.

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_sdk_s3::{Client, config::Builder};
use tokio::sync::Semaphore;

use super::owner::{BucketOwners, ExpectOwner};

/// The maximum number of parts in flight to S3, over all uploads. It limits the memory that uploads use.
pub(super) const PARTS_IN_FLIGHT: usize = 4;

/// The [`turntable_core::port::Objects`] port on S3. Clones share the limit on parts in flight.
#[derive(Clone)]
pub struct S3 {
    pub(super) client: Client,
    /// One permit per part in flight.
    pub(super) parts: Arc<Semaphore>,
}

impl S3 {
    /// Creates the client. If an endpoint URL is configured (`AWS_ENDPOINT_URL`), addresses buckets by path, because
    /// `bucket.127.0.0.1` isn't a valid host.
    pub fn new(config: &SdkConfig) -> Self {
        S3::with_owners(config, BucketOwners::default())
    }

    /// Like [`S3::new`], but each request names the account that its bucket must belong to.
    pub fn with_owners(config: &SdkConfig, owners: BucketOwners) -> Self {
        let path_style = config.endpoint_url().is_some();
        let config = Builder::from(config).force_path_style(path_style).interceptor(ExpectOwner(owners)).build();
        Self { client: Client::from_conf(config), parts: Arc::new(Semaphore::new(PARTS_IN_FLIGHT)) }
    }
}
