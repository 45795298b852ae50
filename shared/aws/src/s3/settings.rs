//! Reads a bucket's settings.

use aws_sdk_s3::types::{BucketVersioningStatus, ExpirationStatus, LifecycleRule as Rule};
use turntable_core::{
    bucket_settings::{BucketSettings, LifecycleRule, Versioning},
    error::Result,
};

use super::{
    client::S3,
    fault::{Refusal, fault, refusal},
};

impl S3 {
    /// Reads the settings that [`turntable_core::bucket_settings`] checks. Sends three requests.
    pub async fn bucket_settings(&self, bucket: &str) -> Result<BucketSettings> {
        let (event_bridge, versioning, lifecycle) =
            futures::try_join!(self.event_bridge(bucket), self.versioning(bucket), self.lifecycle(bucket))?;
        Ok(BucketSettings { event_bridge, versioning, lifecycle })
    }

    /// Returns whether S3 sends the bucket's events to EventBridge.
    pub async fn event_bridge(&self, bucket: &str) -> Result<bool> {
        let sent = self.client.get_bucket_notification_configuration().bucket(bucket).send().await;
        let answer = sent.map_err(|error| fault("GetBucketNotificationConfiguration", &name(bucket), error))?;
        Ok(answer.event_bridge_configuration.is_some())
    }

    pub async fn versioning(&self, bucket: &str) -> Result<Versioning> {
        let sent = self.client.get_bucket_versioning().bucket(bucket).send().await;
        let answer = sent.map_err(|error| fault("GetBucketVersioning", &name(bucket), error))?;
        Ok(match answer.status {
            Some(BucketVersioningStatus::Suspended) => Versioning::Suspended,
            Some(_) => Versioning::Enabled,
            None => Versioning::Off,
        })
    }

    /// Returns the enabled lifecycle rules.
    pub async fn lifecycle(&self, bucket: &str) -> Result<Vec<LifecycleRule>> {
        match self.client.get_bucket_lifecycle_configuration().bucket(bucket).send().await {
            Ok(answer) => Ok(answer
                .rules
                .unwrap_or_default()
                .into_iter()
                .filter(|rule| rule.status == ExpirationStatus::Enabled)
                .map(lifecycle_rule)
                .collect()),
            // S3 returns NoSuchLifecycleConfiguration if the bucket has no rules.
            Err(error) if refusal(&error) == Refusal::Missing => Ok(Vec::new()),
            Err(error) => Err(fault("GetBucketLifecycleConfiguration", &name(bucket), error)),
        }
    }

    /// Returns the algorithm that encrypts new objects (`AES256`, `aws:kms` or `aws:kms:dsse`), and the KMS key if the
    /// bucket specifies one.
    pub async fn encryption(&self, bucket: &str) -> Result<(String, Option<String>)> {
        let sent = self.client.get_bucket_encryption().bucket(bucket).send().await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) if refusal(&error) == Refusal::Missing => return Ok(("AES256".into(), None)),
            Err(error) => return Err(fault("GetBucketEncryption", &name(bucket), error)),
        };
        let rules = answer.server_side_encryption_configuration.map(|found| found.rules).unwrap_or_default();
        let default = rules.into_iter().find_map(|rule| rule.apply_server_side_encryption_by_default);
        Ok(match default {
            Some(found) => (found.sse_algorithm.as_str().to_owned(), found.kms_master_key_id),
            None => ("AES256".into(), None),
        })
    }
}

fn name(bucket: &str) -> String {
    format!("s3://{bucket}")
}

/// Converts a lifecycle rule from the SDK's type. Its prefix and tags are in the rule itself, in its filter, or in the
/// filter's `And`.
fn lifecycle_rule(rule: Rule) -> LifecycleRule {
    #[expect(deprecated, reason = "rules from before 2018 have their prefix here, and S3 still returns them")]
    let old = rule.prefix;
    let filter = rule.filter.as_ref();
    let and = filter.and_then(|filter| filter.and.as_ref());
    let prefixes = [old.as_deref(), filter.and_then(|by| by.prefix()), and.and_then(|by| by.prefix())];
    let prefix = prefixes.into_iter().flatten().find(|prefix| !prefix.is_empty()).map(str::to_owned);
    let sizes = [
        filter.and_then(|by| by.object_size_greater_than),
        filter.and_then(|by| by.object_size_less_than),
        and.and_then(|by| by.object_size_greater_than),
        and.and_then(|by| by.object_size_less_than),
    ];
    let by_tag = filter.is_some_and(|by| by.tag.is_some()) || and.is_some_and(|by| !by.tags().is_empty());
    let expires = rule.expiration.is_some_and(|after| after.days.is_some() || after.date.is_some());
    let old_versions = rule.noncurrent_version_expiration;
    let classes = rule.transitions.unwrap_or_default().into_iter().filter_map(|to| to.storage_class);
    LifecycleRule {
        id: rule.id.unwrap_or_default(),
        prefix: prefix.unwrap_or_default(),
        by_tag,
        by_size: sizes.iter().any(Option::is_some),
        expires,
        moves_to: classes.map(|class| class.as_str().to_owned()).collect(),
        // With `NewerNoncurrentVersions`, S3 keeps that many noncurrent versions of each object for ever.
        expires_noncurrent: old_versions.is_some_and(|after| after.newer_noncurrent_versions.unwrap_or(0) == 0),
        aborts_uploads: rule.abort_incomplete_multipart_upload.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{
        LifecycleExpiration, LifecycleRuleAndOperator, LifecycleRuleFilter, NoncurrentVersionExpiration, Tag,
        Transition, TransitionStorageClass,
    };

    use super::*;

    fn rule(filter: LifecycleRuleFilter) -> LifecycleRule {
        let expiration = LifecycleExpiration::builder().days(1).build();
        let rule = Rule::builder().id("x").filter(filter).expiration(expiration).status(ExpirationStatus::Enabled);
        lifecycle_rule(rule.build().unwrap())
    }

    #[test]
    fn prefix_and_tags_are_found_where_s3_puts_them() {
        let expected = LifecycleRule { id: "x".into(), prefix: "a/".into(), expires: true, ..LifecycleRule::default() };
        let filter = || LifecycleRuleFilter::builder();
        assert_eq!(rule(filter().prefix("a/").build()), expected);
        let tag = || Tag::builder().key("k").value("v").build().unwrap();
        let by_tag = LifecycleRule { by_tag: true, ..expected.clone() };
        let and = LifecycleRuleAndOperator::builder().prefix("a/").tags(tag()).build();
        assert_eq!(rule(filter().and(and).build()), by_tag);
        assert_eq!(rule(filter().tag(tag()).build()), LifecycleRule { prefix: String::new(), ..by_tag });
        let by_size = LifecycleRule { prefix: String::new(), by_size: true, ..expected };
        assert_eq!(rule(filter().object_size_greater_than(1).build()), by_size);
    }

    #[test]
    fn kept_noncurrent_versions_are_not_expired() {
        let rule = |newer| {
            let old = NoncurrentVersionExpiration::builder().noncurrent_days(1).set_newer_noncurrent_versions(newer);
            let class = Transition::builder().days(1).storage_class(TransitionStorageClass::Glacier).build();
            let rule = Rule::builder().status(ExpirationStatus::Enabled).transitions(class);
            lifecycle_rule(rule.noncurrent_version_expiration(old.build()).build().unwrap())
        };
        assert!(rule(None).expires_noncurrent);
        assert!(!rule(Some(1)).expires_noncurrent);
        assert_eq!(rule(None).moves_to, ["GLACIER"]);
    }
}
