//! Checks a bucket's settings: whether its events arrive, whether lifecycle rules affect what only sweep may delete,
//! and whether deleted rows stay in old versions.

use serde::{Deserialize, Serialize};

use crate::{
    config::{Config, Source},
    layout::{Key, Location},
    optout::archive::archive_of,
};

/// A bucket's settings, as S3 returns them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BucketSettings {
    /// Whether S3 sends the bucket's events to EventBridge.
    pub event_bridge: bool,
    pub versioning: Versioning,
    pub lifecycle: Vec<LifecycleRule>,
}

/// Whether a bucket keeps old versions of its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Versioning {
    /// Versioning was never enabled.
    #[default]
    Off,
    Enabled,
    /// No new versions are kept, but existing ones remain.
    Suspended,
}

/// An enabled lifecycle rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LifecycleRule {
    pub id: String,
    /// The rule applies to keys with this prefix. Empty means all keys.
    pub prefix: String,
    /// Whether the rule applies only to objects with certain tags. Turntable's objects have no tags.
    pub by_tag: bool,
    /// Whether the rule applies only to objects of a certain size.
    pub by_size: bool,
    /// Whether the rule deletes current objects.
    pub expires: bool,
    /// The storage classes that the rule moves current objects to.
    pub moves_to: Vec<String>,
    /// Whether the rule deletes all noncurrent versions after some time.
    pub expires_noncurrent: bool,
    /// Whether the rule aborts unfinished uploads.
    pub aborts_uploads: bool,
}

/// What Turntable keeps in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketUse {
    /// The folders and objects that no lifecycle rule may expire or archive.
    pub kept: Vec<Kept>,
    /// The folders for archived drops, which a lifecycle rule should expire.
    pub archives: Vec<String>,
    /// The folder for query results, which a lifecycle rule should expire. `None` if this isn't the stack's bucket.
    pub results: Option<String>,
}

/// A folder or an object that no lifecycle rule may expire or archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The prefix of its keys.
    pub prefix: String,
    /// Its name in messages, such as `the table dmp.users`.
    pub name: String,
    /// Whether it is an inbox. Applications put objects into it, and these may have tags.
    pub is_inbox: bool,
}

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Turntable works, but not as it should.
    Warning,
    /// Turntable can't work, or data is lost.
    Fault,
}

/// The kind of setting that a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    Notifications,
    Versioning,
    Lifecycle,
}

/// A setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub setting: Setting,
    pub severity: Severity,
    /// What is wrong, and the consequence.
    pub what: String,
    /// What to do about it.
    pub todo: String,
}

/// The folder in the stack's bucket for the results of the functions' queries.
const RESULTS: &str = "_athena/";

/// The storage classes whose objects Athena can't read without a restore.
/// <https://docs.aws.amazon.com/athena/latest/ug/restored-glacier-objects.html>
const ARCHIVE_CLASSES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

impl BucketUse {
    /// Returns what the datasets keep in a bucket. `datasets` is the key of the datasets file, which is in the stack's
    /// bucket.
    pub fn of(config: &Config, bucket: &str, datasets: &Key) -> BucketUse {
        let mut kept = Vec::new();
        let mut archives = Vec::new();
        let mut keep = |at: &Location, name: String, is_inbox| {
            if at.bucket == bucket && kept.iter().all(|known: &Kept| known.prefix != at.prefix) {
                kept.push(Kept { prefix: at.prefix.clone(), name, is_inbox });
            }
        };
        for dataset in config.datasets() {
            keep(dataset.paths.location(), format!("the table {}", dataset.table), false);
            if let Some(group) = config.group_of(dataset) {
                keep(&group.name.folder(), "the records of groups".into(), false);
            }
            if let Source::Inbox(inbox) = &dataset.source {
                keep(&inbox.location, format!("the inbox of {}", dataset.name), true);
                if inbox.location.bucket == bucket {
                    archives.push(archive_of(&inbox.location).prefix);
                }
            }
        }
        let is_stacks = datasets.bucket == bucket;
        if is_stacks {
            kept.push(Kept { prefix: datasets.key.clone(), name: "the datasets file".into(), is_inbox: false });
        }
        BucketUse { kept, archives, results: is_stacks.then(|| RESULTS.into()) }
    }
}

/// Returns everything that is wrong with a bucket's settings, or an empty list if nothing is.
pub fn findings(settings: &BucketSettings, usage: &BucketUse) -> Vec<Finding> {
    let mut found = Vec::new();
    if !settings.event_bridge {
        found.push(Finding {
            setting: Setting::Notifications,
            severity: Severity::Fault,
            what:
                "S3 doesn't send the bucket's events to EventBridge: no manifest starts a flip, and drops wait for the \
                   schedule"
                    .into(),
            todo: "add EventBridgeConfiguration to the bucket's notifications".into(),
        });
    }
    found.extend(versioning(settings, usage));
    found.extend(settings.lifecycle.iter().flat_map(|rule| usage.kept.iter().filter_map(|kept| harm(rule, kept))));
    found.extend(missing_rules(settings, usage));
    found
}

fn versioning(settings: &BucketSettings, usage: &BucketUse) -> Option<Finding> {
    let what = match settings.versioning {
        Versioning::Off => return None,
        Versioning::Enabled => "versioning is enabled",
        Versioning::Suspended => "versioning is suspended, and versions from before still exist",
    };
    let folders = usage.kept.iter().map(|kept| &kept.prefix).chain(&usage.archives);
    let expires = |folder: &str| settings.lifecycle.iter().any(|rule| rule.expires_noncurrent && rule.covers(folder));
    let kept: Vec<&str> = folders.map(String::as_str).filter(|folder| !expires(folder)).collect();
    (!kept.is_empty()).then(|| Finding {
        setting: Setting::Versioning,
        severity: Severity::Warning,
        what: format!(
            "{what}, and no lifecycle rule expires the noncurrent versions in {}: they keep the rows of people who opted \
             out, and the bytes of every swept generation",
            named(&kept)
        ),
        todo: "add a rule with NoncurrentVersionExpiration for the whole bucket".into(),
    })
}

/// Returns a finding if the rule may delete the objects in `kept` or move them to an archive storage class. Otherwise
/// returns `None`.
fn harm(rule: &LifecycleRule, kept: &Kept) -> Option<Finding> {
    if !rule.reaches(kept) {
        return None;
    }
    let archive = rule.moves_to.iter().find(|class| ARCHIVE_CLASSES.contains(&class.as_str()));
    let does = match archive {
        _ if rule.expires => "deletes objects".into(),
        Some(class) => format!("moves objects to {class}, where nothing can read them"),
        None => return None,
    };
    Some(Finding {
        setting: Setting::Lifecycle,
        severity: Severity::Fault,
        what: format!(
            "the lifecycle rule {:?} applies to {} ({}) and {does}",
            rule.id,
            kept.name,
            named(&[&kept.prefix])
        ),
        todo: "limit the rule to another prefix: only sweep may delete there".into(),
    })
}

fn missing_rules(settings: &BucketSettings, usage: &BucketUse) -> Vec<Finding> {
    let missing = |what: String, todo: &str| Finding {
        setting: Setting::Lifecycle,
        severity: Severity::Warning,
        what,
        todo: todo.into(),
    };
    let expires = |folder: &str| settings.lifecycle.iter().any(|rule| rule.expires && rule.covers(folder));
    let mut found = Vec::new();
    let archives: Vec<&str> = usage.archives.iter().map(String::as_str).filter(|folder| !expires(folder)).collect();
    if !archives.is_empty() {
        let what = format!("no lifecycle rule expires the archived drops in {}, which name people", named(&archives));
        found.push(missing(what, "add a rule that expires _archive/ after some days"));
    }
    if let Some(results) = usage.results.as_deref().filter(|results| !expires(results)) {
        let what = format!("no lifecycle rule expires the results of queries in {results}");
        found.push(missing(what, "add a rule that expires _athena/ after one day"));
    }
    let aborts = |folder: &str| settings.lifecycle.iter().any(|rule| rule.aborts_uploads && rule.covers(folder));
    if usage.kept.iter().any(|kept| !kept.is_inbox && kept.prefix.ends_with('/') && !aborts(&kept.prefix)) {
        let what =
            "no lifecycle rule aborts unfinished uploads: their parts cost money, and no listing shows them".into();
        found.push(missing(what, "add a rule with AbortIncompleteMultipartUpload after one day"));
    }
    found
}

impl LifecycleRule {
    /// Returns whether the rule applies to all of Turntable's objects in a folder.
    fn covers(&self, folder: &str) -> bool {
        !self.by_tag && !self.by_size && folder.starts_with(&self.prefix)
    }

    /// Returns whether the rule may apply to some objects in a folder.
    fn reaches(&self, kept: &Kept) -> bool {
        let overlaps = kept.prefix.starts_with(&self.prefix) || self.prefix.starts_with(&kept.prefix);
        overlaps && (!self.by_tag || kept.is_inbox)
    }
}

/// Returns a list of folders for a message. The empty prefix becomes `the whole bucket`.
fn named(folders: &[&str]) -> String {
    let names: Vec<&str> =
        folders.iter().map(|folder| if folder.is_empty() { "the whole bucket" } else { folder }).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATASETS: &str = r#"
        [defaults]
        database = "dmp"
        location = "s3://lake/schemas"

        [datasets.users.source.files]
        location = "s3://lake/source/users"
        format = "csv"

        [datasets.optouts.source.inbox]
        location = "s3://lake/inbox/optouts"
        key = ["user_id"]
    "#;

    fn usage() -> BucketUse {
        let config = Config::parse("datasets.toml", DATASETS).unwrap();
        BucketUse::of(&config, "lake", &"s3://lake/datasets.toml".parse().unwrap())
    }

    fn rule(id: &str, prefix: &str) -> LifecycleRule {
        LifecycleRule { id: id.into(), prefix: prefix.into(), ..LifecycleRule::default() }
    }

    /// Returns the settings that template.yaml gives the bucket.
    fn right() -> BucketSettings {
        BucketSettings {
            event_bridge: true,
            versioning: Versioning::Off,
            lifecycle: vec![
                LifecycleRule { expires: true, ..rule("results", "_athena/") },
                LifecycleRule { expires: true, ..rule("archive", "_archive/") },
                LifecycleRule { aborts_uploads: true, ..rule("uploads", "") },
            ],
        }
    }

    fn found(change: impl FnOnce(&mut BucketSettings)) -> Vec<(Setting, Severity, String)> {
        let mut settings = right();
        change(&mut settings);
        findings(&settings, &usage()).into_iter().map(|one| (one.setting, one.severity, one.what)).collect()
    }

    fn one(change: impl FnOnce(&mut BucketSettings)) -> (Setting, Severity, String) {
        let mut all = found(change);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn nothing_is_wrong_with_the_templates_settings() {
        assert_eq!(found(|_| {}), []);
    }

    #[test]
    fn folders_are_those_of_the_bucket() {
        let prefixes: Vec<String> = usage().kept.into_iter().map(|kept| kept.prefix).collect();
        assert_eq!(prefixes, ["schemas/optouts/", "inbox/optouts/", "schemas/users/", "datasets.toml"]);
        assert_eq!(usage().archives, ["_archive/inbox/optouts/"]);
        let config = Config::parse("datasets.toml", DATASETS).unwrap();
        let other = BucketUse::of(&config, "other", &"s3://lake/datasets.toml".parse().unwrap());
        assert_eq!(other, BucketUse { kept: vec![], archives: vec![], results: None });
    }

    #[test]
    fn lost_events_are_a_fault() {
        let (setting, severity, _) = one(|settings| settings.event_bridge = false);
        assert_eq!((setting, severity), (Setting::Notifications, Severity::Fault));
    }

    #[test]
    fn old_versions_need_a_rule_for_every_folder() {
        let noncurrent = |prefix| LifecycleRule { expires_noncurrent: true, ..rule("old", prefix) };
        for versioning in [Versioning::Enabled, Versioning::Suspended] {
            let (setting, severity, _) = one(|settings| settings.versioning = versioning);
            assert_eq!((setting, severity), (Setting::Versioning, Severity::Warning));
            let (_, _, what) = one(|settings| {
                settings.versioning = versioning;
                settings.lifecycle.push(noncurrent("schemas/"));
            });
            assert!(what.contains(" in inbox/optouts/, datasets.toml, _archive/inbox/optouts/: "), "{what}");
            let by_tag = LifecycleRule { by_tag: true, ..noncurrent("") };
            one(|settings| {
                settings.versioning = versioning;
                settings.lifecycle.push(by_tag);
            });
            let none = found(|settings| {
                settings.versioning = versioning;
                settings.lifecycle.push(noncurrent(""));
            });
            assert_eq!(none, []);
        }
    }

    #[test]
    fn rule_that_deletes_or_archives_is_a_fault_for_each_folder_that_it_reaches() {
        let expires = |prefix| LifecycleRule { expires: true, ..rule("x", prefix) };
        for (prefix, expected) in
            [("", 4), ("schemas/", 2), ("schemas/users/blue-", 1), ("inbox", 1), ("data", 1), ("tmp/", 0)]
        {
            let all = found(|settings| settings.lifecycle.push(expires(prefix)));
            assert_eq!(all.len(), expected, "{prefix:?}: {all:?}");
            assert!(all.iter().all(|one| (one.0, one.1) == (Setting::Lifecycle, Severity::Fault)));
        }
        let moves = |class: &str| LifecycleRule { moves_to: vec![class.into()], ..rule("x", "schemas/users/") };
        assert_eq!(found(|settings| settings.lifecycle.push(moves("STANDARD_IA"))), []);
        let (_, _, what) = one(|settings| settings.lifecycle.push(moves("DEEP_ARCHIVE")));
        assert_eq!(
            what,
            "the lifecycle rule \"x\" applies to the table dmp.users (schemas/users/) and moves objects to DEEP_ARCHIVE, \
             where nothing can read them"
        );
    }

    #[test]
    fn rule_by_tag_reaches_inboxes_only() {
        let by_tag = LifecycleRule { by_tag: true, expires: true, ..rule("x", "") };
        let (_, _, what) = one(|settings| settings.lifecycle.push(by_tag));
        assert_eq!(
            what,
            "the lifecycle rule \"x\" applies to the inbox of optouts (inbox/optouts/) and deletes objects"
        );
    }

    #[test]
    fn missing_rules_are_warnings() {
        let all = found(|settings| settings.lifecycle.clear());
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(all.iter().all(|one| (one.0, one.1) == (Setting::Lifecycle, Severity::Warning)));
    }
}
