//! Checks the bucket's settings.

use turntable::{
    aws::s3::S3,
    bucket_settings::{BucketSettings, BucketUse, Finding, Setting, findings},
    error::Result,
};

use super::report::{Line, is_denied, one_line};

/// Checks a bucket's settings. `key` is the KMS key that the functions may use, if any.
pub async fn lines(s3: &S3, bucket: &str, usage: &BucketUse, key: Option<&str>) -> Vec<Line> {
    let (events, versioning, lifecycle, encryption) =
        tokio::join!(s3.event_bridge(bucket), s3.versioning(bucket), s3.lifecycle(bucket), s3.encryption(bucket));
    let mut lines = vec![];
    let mut read = Vec::new();
    // A setting that can't be read is assumed to be correct, so that the others can be checked.
    let settings = BucketSettings {
        event_bridge: known(&events, Setting::Notifications, &mut read).unwrap_or(true),
        versioning: known(&versioning, Setting::Versioning, &mut read).unwrap_or_default(),
        lifecycle: known(&lifecycle, Setting::Lifecycle, &mut read).unwrap_or_default(),
    };
    for (setting, error) in [
        (Setting::Notifications, events.err()),
        (Setting::Versioning, versioning.err()),
        (Setting::Lifecycle, lifecycle.err()),
    ] {
        if let Some(error) = error {
            lines.push(unread(check(setting), bucket, &one_line(&error), permission(setting)));
        }
    }
    let found: Vec<Finding> =
        findings(&settings, usage).into_iter().filter(|finding| read.contains(&finding.setting)).collect();
    for setting in read {
        let of_setting: Vec<&Finding> = found.iter().filter(|finding| finding.setting == setting).collect();
        if of_setting.is_empty() {
            lines.push(Line::ok(check(setting), bucket, right(setting)));
        }
        lines.extend(of_setting.into_iter().map(|finding| Line {
            check: check(setting),
            subject: bucket.into(),
            status: finding.severity.into(),
            found: finding.what.clone(),
            todo: finding.todo.clone(),
        }));
    }
    lines.push(match encryption {
        Ok((algorithm, default)) => encryption_line(bucket, &algorithm, default.as_deref(), key),
        Err(error) => unread("bucket-encryption", bucket, &one_line(&error), "s3:GetEncryptionConfiguration"),
    });
    lines
}

fn known<T: Clone>(answer: &Result<T>, setting: Setting, read: &mut Vec<Setting>) -> Option<T> {
    let value = answer.as_ref().ok()?;
    read.push(setting);
    Some(value.clone())
}

fn unread(check: &'static str, bucket: &str, why: &str, permission: &str) -> Line {
    match is_denied(why) {
        true => Line::unread(check, bucket, why, permission),
        false => Line::fault(check, bucket, why, "check the bucket's name and region"),
    }
}

fn encryption_line(bucket: &str, algorithm: &str, default: Option<&str>, allowed: Option<&str>) -> Line {
    const CHECK: &str = "bucket-encryption";
    let id = |key: &str| key.rsplit('/').next().unwrap_or_default().to_owned();
    match (default, allowed) {
        _ if !algorithm.starts_with("aws:kms") => Line::ok(CHECK, bucket, algorithm),
        // The AWS managed key aws/s3 can be used by anyone who may use the bucket, but only within its own account.
        (None, _) => Line::ok(CHECK, bucket, format!("{algorithm} with the account's key aws/s3")),
        (Some(key), Some(allowed)) if id(key) == id(allowed) => {
            Line::ok(CHECK, bucket, format!("{algorithm} with {key}"))
        }
        (Some(key), _) => Line::fault(
            CHECK,
            bucket,
            format!("{algorithm} with {key}, which the functions' roles may not use: every write fails"),
            "deploy with KmsKeyArn set to this key's ARN, or change the bucket's default encryption",
        ),
    }
}

fn check(setting: Setting) -> &'static str {
    match setting {
        Setting::Notifications => "bucket-notifications",
        Setting::Versioning => "bucket-versioning",
        Setting::Lifecycle => "bucket-lifecycle",
    }
}

fn permission(setting: Setting) -> &'static str {
    match setting {
        Setting::Notifications => "s3:GetBucketNotification",
        Setting::Versioning => "s3:GetBucketVersioning",
        Setting::Lifecycle => "s3:GetLifecycleConfiguration",
    }
}

fn right(setting: Setting) -> &'static str {
    match setting {
        Setting::Notifications => "events go to EventBridge",
        Setting::Versioning => "no old versions stay",
        Setting::Lifecycle => "results, archived drops and unfinished uploads expire, tables don't",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Status;

    #[test]
    fn another_kms_key_than_the_functions_is_a_fault() {
        let status = |algorithm, key, allowed| encryption_line("b", algorithm, key, allowed).status;
        let (arn, other) = ("arn:aws:kms:eu-west-1:123456789012:key/a", "arn:aws:kms:eu-west-1:123456789012:key/b");
        assert_eq!(status("AES256", None, None), Status::Ok);
        assert_eq!(status("aws:kms", None, None), Status::Ok);
        assert_eq!(status("aws:kms", Some(arn), Some(arn)), Status::Ok);
        assert_eq!(status("aws:kms:dsse", Some("a"), Some(arn)), Status::Ok);
        assert_eq!(status("aws:kms", Some(other), Some(arn)), Status::Fault);
        assert_eq!(status("aws:kms", Some(arn), None), Status::Fault);
    }
}
