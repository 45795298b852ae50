//! Clients for services beyond the ports, for the clauses about queries and policies.

use std::sync::Arc;

use cli::aws::SdkConfig;
use turntable::{
    aws::{
        athena::Athena,
        glue::{Glue, GlueCatalog},
    },
    port::{Catalog, Query},
};

/// AWS, or emulators of all services that the suite needs.
pub struct Cloud {
    pub catalog: Arc<dyn Catalog>,
    pub queries: Arc<dyn Query>,
    pub s3: aws_sdk_s3::Client,
}

impl Cloud {
    /// Creates the clients. `athena` is the configuration for Athena, and `output` is the folder for query results.
    pub fn new(aws: &SdkConfig, athena: &SdkConfig, workgroup: &str, output: String) -> Cloud {
        Cloud {
            catalog: Arc::new(GlueCatalog(Arc::new(Glue::new(aws)))),
            queries: Arc::new(Athena::new(athena, workgroup.into(), Some(output))),
            s3: aws_sdk_s3::Client::new(aws),
        }
    }
}
