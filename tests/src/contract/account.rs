//! Runs the contract suite in an AWS account. The bucket and the database that it creates are deleted whatever the
//! result.

use aws_sdk_glue::types::DatabaseInput;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use cli::aws::SdkConfig;
use turntable::{
    aws::{
        glue::{Glue, GlueApi},
        s3::S3,
    },
    layout::{Key, Location, TableName},
    port::{MAX_DELETES_PER_REQUEST, Objects},
};

use super::{Cloud, Difference, Report, Subject, judge, subscription::Events};

/// The prefix that every bucket's name must have, so that the suite can never delete another bucket.
pub const PREFIX: &str = "turntable-contract-";

/// The names of a bucket and of a Glue database, which exist only while the suite runs.
pub struct Account {
    aws: SdkConfig,
    bucket: String,
    database: String,
    /// The configuration for Athena, and the workgroup. `None` skips the clauses that need Athena.
    athena: Option<(SdkConfig, String)>,
}

impl Account {
    /// Checks the names without creating anything. The bucket's name must start with [`PREFIX`]; the database has the
    /// same name with `_` instead of `-`.
    pub fn new(aws: SdkConfig, name: &str) -> Result<Account, String> {
        let own = name.strip_prefix(PREFIX).is_some_and(|rest| !rest.is_empty());
        let is_fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !own || !name.chars().all(is_fit) || name.len() > 50 {
            return Err(format!(
                "{name:?}: expected {PREFIX}NAME of lower-case letters, digits and hyphens, 50 characters at most"
            ));
        }
        Ok(Account { aws, bucket: name.into(), database: name.replace('-', "_"), athena: None })
    }

    /// Adds the clauses about queries, policies and events.
    pub fn with_athena(mut self, athena: SdkConfig, workgroup: &str) -> Account {
        self.athena = Some((athena, workgroup.into()));
        self
    }

    /// Creates the bucket and the database, checks every clause, and deletes both. If the bucket or the database
    /// already exists, touches neither.
    pub async fn run(&self, differences: &[Difference]) -> Report {
        if let Err(fault) = self.vacant().await {
            return Report::failed(fault);
        }
        let mut report = match self.make().await {
            Ok(()) => {
                let cloud = self.athena.as_ref();
                let cloud = cloud.map(|(athena, workgroup)| Cloud::new(&self.aws, athena, workgroup, &self.bucket));
                judge(Subject::aws(&self.aws, &self.bucket, &self.database, cloud), differences).await
            }
            Err(fault) => Report::failed(fault),
        };
        report.others.extend(self.delete().await);
        report
    }

    /// Fails if the bucket or the database exists, or if AWS doesn't say whether they do.
    pub async fn vacant(&self) -> Result<(), String> {
        let taken = |what: &str| Err(format!("{what} exists already: choose another name, or delete it with --delete"));
        let bucket = aws_sdk_s3::Client::new(&self.aws).head_bucket().bucket(&self.bucket).send().await;
        match bucket {
            Ok(_) => return taken(&self.bucket),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => {}
            Err(error) => return Err(format!("cannot ask for bucket {}: {error:?}", self.bucket)),
        }
        let database = aws_sdk_glue::Client::new(&self.aws).get_database().name(&self.database).send().await;
        match database {
            Ok(_) => taken(&self.database),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_entity_not_found_exception()) => Ok(()),
            Err(error) => Err(format!("cannot ask for database {}: {error:?}", self.database)),
        }
    }

    async fn make(&self) -> Result<(), String> {
        let region = self.aws.region().map(|region| region.as_ref()).unwrap_or_default();
        // S3 rejects a location constraint in this region, and only here.
        let place = (region != "us-east-1").then(|| {
            let place = BucketLocationConstraint::from(region);
            CreateBucketConfiguration::builder().location_constraint(place).build()
        });
        let bucket = aws_sdk_s3::Client::new(&self.aws).create_bucket().bucket(&self.bucket);
        let made = bucket.set_create_bucket_configuration(place).send().await;
        made.map_err(|error| format!("cannot make bucket {}: {error:?}", self.bucket))?;
        let input = DatabaseInput::builder().name(&self.database).build().expect("the only required field is the name");
        let made = aws_sdk_glue::Client::new(&self.aws).create_database().database_input(input).send().await;
        made.map_err(|error| format!("cannot make database {}: {error:?}", self.database))?;
        Ok(())
    }

    /// Deletes the bucket and the database with their contents, and the rule and the queue for events. Tries every
    /// step, even after a failure, and returns a message about each thing that may be left.
    pub async fn delete(&self) -> Vec<String> {
        let mut left = Vec::new();
        if self.athena.is_some() {
            left.extend(Events::new(&self.aws, &self.bucket).delete().await);
        }
        left.extend(self.empty().await.err());
        let bucket = aws_sdk_s3::Client::new(&self.aws).delete_bucket().bucket(&self.bucket).send().await;
        left.extend(bucket.err().map(|error| format!("bucket {} may be left: {error:?}", self.bucket)));
        left.extend(self.drop_tables().await.err());
        // The tables go first: Glue deletes a database's tables only some time after the database.
        let database = aws_sdk_glue::Client::new(&self.aws).delete_database().name(&self.database).send().await;
        left.extend(database.err().map(|error| format!("database {} may be left: {error:?}", self.database)));
        left
    }

    async fn empty(&self) -> Result<(), String> {
        let told = |error: turntable::error::Error| format!("objects may be left: {}", error.report());
        let (objects, all) = (S3::new(&self.aws), Location { bucket: self.bucket.clone(), prefix: String::new() });
        for upload in objects.uploads(&all).await.map_err(told)? {
            objects.abort_upload(&upload).await.map_err(told)?;
        }
        let keys = objects.list(&all, None).await.map_err(told)?;
        let keys: Vec<Key> = keys.into_iter().map(|entry| entry.key).collect();
        for keys in keys.chunks(MAX_DELETES_PER_REQUEST) {
            objects.delete(keys).await.map_err(told)?;
        }
        Ok(())
    }

    async fn drop_tables(&self) -> Result<(), String> {
        let told = |error: turntable::error::Error| format!("tables may be left: {}", error.report());
        let catalog = Glue::new(&self.aws);
        for table in catalog.tables(&self.database, "").await.map_err(told)? {
            let name = TableName { database: self.database.clone(), table: table.name };
            catalog.delete(&name).await.map_err(told)?;
        }
        Ok(())
    }
}
