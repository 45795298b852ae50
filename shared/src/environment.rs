//! A function's environment: the ports, the clock, and the location of `datasets.toml`.

use std::{cell::RefCell, sync::Arc};

use serde::de::DeserializeOwned;

use crate::{clock::Clock, invocation::Invocation};
use turntable_aws::{
    athena::Athena,
    glue::{Glue, GlueCatalog},
    role,
    s3::{BucketOwners, S3},
    sqs::SqsDeadLetters,
};
use turntable_core::{
    config::{Config, Place},
    error::{Error, Result},
    layout::{Key, Location},
    port::{Catalog, DeadLetterQueues, Objects, Query},
    record,
};

#[derive(Clone)]
pub struct Environment {
    pub catalog: Arc<dyn Catalog>,
    pub objects: Arc<dyn Objects>,
    pub query: Arc<dyn Query>,
    pub clock: Clock,
    pub datasets: Place,
    /// The folder that contains all inboxes. `None` if unknown. `status` reports objects in it that belong to no inbox.
    pub inboxes: Option<Location>,
    /// The dead-letter queues, for `status`. `None` if the function isn't configured with their URLs.
    pub dead_letters: Option<Arc<dyn DeadLetterQueues>>,
    /// The invocation that is served. `None` outside Lambda, as in tests: then no request needs the operator's alias.
    pub invocation: Option<Arc<Invocation>>,
}

impl Environment {
    /// Returns an environment with AWS clients created from `aws`, and with the other settings from environment
    /// variables. Fails if `DATASETS` is missing or invalid.
    pub fn from_env(aws: &aws_config::SdkConfig) -> Result<Environment> {
        Environment::asking(aws, aws)
    }

    /// Creates the environment as [`Environment::from_env`] does, but runs queries from datasets.toml with the role
    /// that `CHECKS_ROLE` names. That role can't change anything, whatever the queries are.
    pub async fn with_checks_role(aws: &aws_config::SdkConfig) -> Result<Environment> {
        match optional("CHECKS_ROLE") {
            Some(role) => Environment::asking(aws, &role::assume(aws, &role).await),
            None => Environment::from_env(aws),
        }
    }

    fn asking(aws: &aws_config::SdkConfig, checks: &aws_config::SdkConfig) -> Result<Environment> {
        let (own, others) = (optional("BUCKET_OWNER"), optional("BUCKET_OWNERS"));
        let owners = BucketOwners::parse(own.as_deref(), others.as_deref())?;
        Ok(Environment {
            catalog: Arc::new(GlueCatalog(Arc::new(Glue::new(aws)))),
            objects: Arc::new(S3::with_owners(aws, owners)),
            query: Arc::new(Athena::new(
                checks,
                optional("ATHENA_WORKGROUP").unwrap_or_else(|| "primary".into()),
                optional("ATHENA_OUTPUT"),
            )),
            clock: Clock::system(),
            datasets: Place::parse(&required("DATASETS")?)?,
            inboxes: optional("INBOXES").map(|location| location.parse()).transpose()?,
            dead_letters: match optional("DEAD_LETTER_URLS") {
                Some(urls) => Some(Arc::new(SqsDeadLetters::new(aws, &urls)?)),
                None => None,
            },
            invocation: None,
        })
    }

    /// Returns the environment for one invocation.
    pub fn during(self, invocation: Invocation) -> Environment {
        Environment { invocation: Some(Arc::new(invocation)), ..self }
    }

    /// Returns Lambda's ID for the invocation, for the records of decisions. `None` outside Lambda.
    pub fn request_id(&self) -> Option<String> {
        self.invocation.as_ref().map(|invocation| invocation.request_id.clone())
    }

    /// Fails if an operator's request was not sent to the operator's alias. `request` names the request in the error
    /// message.
    pub fn ensure_operator(&self, request: &str) -> Result<()> {
        self.invocation.as_ref().map_or(Ok(()), |invocation| invocation.ensure_operator(request))
    }

    /// Returns the key of one of this stack's own records, in the bucket with datasets.toml. Returns `None` if
    /// datasets.toml is not in S3.
    pub fn stack_record(&self, name: &str) -> Option<Key> {
        let Place::S3(datasets) = &self.datasets else { return None };
        let stack = optional("STACK").unwrap_or_else(|| "default".into());
        Some(Key { bucket: datasets.bucket.clone(), key: format!("_stacks/{stack}/{name}") })
    }

    /// Reads and parses the record at a key. Returns `None` if there is none. Fails with `Corrupt` if it is invalid.
    pub async fn record<T: DeserializeOwned>(&self, at: &Key) -> Result<Option<T>> {
        self.objects.get(at).await?.map(|json| record::from_json(at, &json)).transpose()
    }

    /// Reads and parses `datasets.toml`. Entries that have errors are left out; [`Config::broken`] returns them. Each
    /// invocation reads the file again, so a change applies from the next invocation on.
    pub async fn config(&self) -> Result<Arc<Config>> {
        let missing = |place: &dyn std::fmt::Display| {
            Error::config(format!("{place}: no such file: put datasets.toml there, or set DATASETS to its location"))
        };
        let (name, bytes) = match &self.datasets {
            Place::S3(key) => (key.to_string(), self.objects.get(key).await?.ok_or_else(|| missing(key))?.to_vec()),
            Place::Disk(path) => {
                let read = tokio::fs::read(path).await.map_err(|fault| missing(&path.display()).caused_by(fault));
                (path.display().to_string(), read?)
            }
        };
        let text = String::from_utf8(bytes)
            .map_err(|fault| Error::config(format!("{name} is not valid UTF-8: save it as UTF-8")).caused_by(fault))?;
        parsed(name, text)
    }
}

/// A datasets.toml that was parsed before.
struct Parsed {
    name: String,
    text: String,
    config: Arc<Config>,
}

thread_local! {
    /// The last datasets.toml that this thread has parsed. A warm function reads the file for each event, but the file
    /// seldom changes, and parsing the entries of hundreds of datasets takes longer than most requests.
    static LAST: RefCell<Option<Parsed>> = const { RefCell::new(None) };
}

/// Parses datasets.toml, unless the last one had the same name and text.
fn parsed(name: String, text: String) -> Result<Arc<Config>> {
    let is_same = |last: &&Parsed| last.name == name && last.text == text;
    if let Some(config) = LAST.with_borrow(|last| last.as_ref().filter(is_same).map(|last| last.config.clone())) {
        return Ok(config);
    }
    let config = Arc::new(Config::parse_valid(&name, &text)?);
    LAST.set(Some(Parsed { name, text, config: config.clone() }));
    Ok(config)
}

/// Returns the value of an environment variable that template.yaml sets. Fails if it is missing or empty.
pub fn required(name: &str) -> Result<String> {
    optional(name).ok_or_else(|| {
        Error::config(format!("the environment variable {name} is not set: set it as template.yaml does"))
    })
}

/// Returns the value of an environment variable, or `None` if it is missing or empty.
#[allow(clippy::disallowed_methods, reason = "the only place that reads the environment")]
pub fn optional(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
