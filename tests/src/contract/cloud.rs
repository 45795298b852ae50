//! Clients for services beyond the ports, for the clauses about queries, policies and events.

use std::sync::Arc;

use cli::aws::SdkConfig;
use turntable::{
    aws::{
        athena::Athena,
        glue::{Glue, GlueCatalog},
    },
    port::{Catalog, Query},
};

use super::subscription::Events;

/// AWS, or emulators of all services that the suite needs.
pub struct Cloud {
    pub catalog: Arc<dyn Catalog>,
    pub queries: Arc<dyn Query>,
    pub s3: aws_sdk_s3::Client,
    pub events: Events,
    /// Athena's workgroup.
    pub workgroup: String,
}

impl Cloud {
    /// Creates the clients. `athena` is the configuration for Athena. `bucket` receives the query results. The rule and
    /// the queue for events have the same name as the bucket.
    pub fn new(aws: &SdkConfig, athena: &SdkConfig, workgroup: &str, bucket: &str) -> Cloud {
        let output = format!("s3://{bucket}/_athena/");
        Cloud {
            catalog: Arc::new(GlueCatalog(Arc::new(Glue::new(aws)))),
            queries: Arc::new(Athena::new(athena, workgroup.into(), Some(output))),
            s3: aws_sdk_s3::Client::new(aws),
            events: Events::new(aws, bucket),
            workgroup: workgroup.into(),
        }
    }
}
