//! Checks the buckets' settings, and records the findings for `status`, whose role can't read the settings.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use turntable_core::{
    bucket_settings::{BucketUse, Finding, Setting, Severity, findings},
    config::{Config, Place, Source},
    error::Result,
    layout::Key,
    record,
};

use crate::environment::Environment;

/// The content of `_stacks/STACK/buckets.json`: the faults that the last sweep found in the buckets' settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buckets {
    pub at: Timestamp,
    pub faults: Vec<BucketFault>,
}

/// A fault in a bucket's settings. There is at most one per bucket and subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketFault {
    pub bucket: String,
    pub subject: Subject,
    pub message: String,
    /// When a sweep first found the fault.
    pub since: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The settings can't be read.
    Unreadable,
    /// The bucket doesn't send its events to EventBridge.
    Notifications,
    /// The bucket keeps old versions, and with them deleted rows.
    Versioning,
    /// A lifecycle rule deletes what only sweep may delete.
    Lifecycle,
    /// A lifecycle rule is missing.
    MissingRule,
}

/// The maximum number of findings about one bucket and subject that a message lists.
const MAX_LISTED_FINDINGS: usize = 3;

/// Checks the buckets that contain tables, inboxes or datasets.toml. A setting that sweep isn't allowed to read is also
/// a fault. `before` is what the previous sweep found.
pub async fn look(env: &Environment, config: &Config, before: Option<&Buckets>) -> Buckets {
    let at = env.clock.now();
    let Place::S3(datasets) = &env.datasets else { return Buckets { at, faults: Vec::new() } };
    let mut buckets = BTreeSet::from([datasets.bucket.as_str()]);
    for dataset in config.datasets() {
        buckets.insert(&dataset.paths.location().bucket);
        if let Source::Inbox(inbox) = &dataset.source {
            buckets.insert(&inbox.location.bucket);
        }
    }
    let mut faults = Vec::new();
    for bucket in buckets {
        let messages = match env.objects.bucket_settings(bucket).await {
            Ok(settings) => by_subject(&findings(&settings, &BucketUse::of(config, bucket, datasets))),
            Err(error) => BTreeMap::from([(Subject::Unreadable, vec![error.report()])]),
        };
        faults.extend(messages.into_iter().map(|(subject, messages)| BucketFault {
            bucket: bucket.to_owned(),
            subject,
            message: message(bucket, &messages),
            since: before.and_then(|before| before.since(bucket, subject)).unwrap_or(at),
        }));
    }
    Buckets { at, faults }
}

fn by_subject(findings: &[Finding]) -> BTreeMap<Subject, Vec<String>> {
    let mut found = BTreeMap::<Subject, Vec<String>>::new();
    for finding in findings {
        let subject = match (finding.setting, finding.severity) {
            (Setting::Notifications, _) => Subject::Notifications,
            (Setting::Versioning, _) => Subject::Versioning,
            (Setting::Lifecycle, Severity::Fault) => Subject::Lifecycle,
            (Setting::Lifecycle, Severity::Warning) => Subject::MissingRule,
        };
        found.entry(subject).or_default().push(format!("{}: {}", finding.what, finding.todo));
    }
    found
}

fn message(bucket: &str, messages: &[String]) -> String {
    let listed: Vec<&str> = messages.iter().take(MAX_LISTED_FINDINGS).map(String::as_str).collect();
    let more = match messages.len() - listed.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("s3://{bucket}: {}{more}", listed.join("; "))
}

impl Buckets {
    fn since(&self, bucket: &str, subject: Subject) -> Option<Timestamp> {
        self.faults
            .iter()
            .find(|fault| (fault.bucket.as_str(), fault.subject) == (bucket, subject))
            .map(|fault| fault.since)
    }
}

/// Reads what the last sweep found. Returns `None` if no sweep has recorded anything, or if datasets.toml is not in S3.
pub async fn read(env: &Environment) -> Result<Option<Buckets>> {
    match key(env) {
        Some(key) => env.record(&key).await,
        None => Ok(None),
    }
}

/// Records what a sweep found.
pub async fn write(env: &Environment, found: &Buckets) -> Result<()> {
    match key(env) {
        Some(key) => env.objects.put(&key, record::to_json(found).into()).await,
        None => Ok(()),
    }
}

/// Returns the record's key. Each stack has its own record. `None` if datasets.toml is not in S3.
fn key(env: &Environment) -> Option<Key> {
    env.stack_record("buckets.json")
}
