//! The conditions that need an operator. Each has an ID, a message, and the runbook section that resolves it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A reason why a dataset, an inbox, a table, a bucket or a queue needs an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// `TOPIC:SUBJECT`, such as `held:users`. It stays the same for as long as the condition lasts, even if the message
    /// changes.
    pub id: String,
    /// What happened to what, and what to do next.
    pub message: String,
    /// When the condition started. `None` if no record shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The runbook section that resolves the condition, as `docs/operate.md#SECTION`.
    pub runbook: String,
}

impl Condition {
    pub fn new(topic: Topic, subject: impl std::fmt::Display, message: impl Into<String>) -> Condition {
        Condition {
            id: format!("{}:{subject}", topic.slug()),
            message: message.into(),
            since: None,
            runbook: format!("docs/operate.md#{}", topic.section()),
        }
    }

    pub fn since(self, since: Option<Timestamp>) -> Condition {
        Condition { since, ..self }
    }

    /// Returns whether the condition is about this topic.
    pub fn is(&self, topic: Topic) -> bool {
        self.id.split_once(':').is_some_and(|(slug, _)| slug == topic.slug())
    }
}

/// Declares the topics, each with its name, the prefix of its IDs, and its section in docs/operate.md.
macro_rules! topics {
    ($($(#[$doc:meta])* $name:ident: $slug:literal, $section:literal;)*) => {
        /// What a condition is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Topic {
            $($(#[$doc])* $name,)*
        }

        impl Topic {
            pub const ALL: &[Topic] = &[$(Topic::$name,)*];

            /// Returns the prefix of the IDs.
            pub fn slug(self) -> &'static str {
                match self { $(Topic::$name => $slug,)* }
            }

            /// Returns the anchor of the topic's section in docs/operate.md.
            pub fn section(self) -> &'static str {
                match self { $(Topic::$name => $section,)* }
            }
        }
    };
}

topics! {
    /// Something could not be read, so its state is unknown.
    Unreadable: "unreadable", "what-status-cant-read";
    Drift: "drift", "somebody-else-has-moved-a-table";
    Edited: "edited", "somebody-else-has-edited-a-table";
    /// A dataset's entry in `datasets.toml` has errors.
    BrokenEntry: "broken-entry", "an-entry-of-datasetstoml-has-faults";
    Damaged: "damaged", "files-of-a-live-table-were-lost-or-added";
    DamagedOptouts: "damaged-optouts", "files-of-an-opt-out-table-are-damaged";
    OtherStack: "other-stack", "two-stacks-publish-a-table";
    /// An input has been rolled back since the live generation was built from it.
    Outdated: "outdated", "an-input-was-rolled-back";
    UnfinishedGroup: "unfinished", "a-groups-flip-is-unfinished";
    Held: "held", "a-dataset-is-held";
    Rejected: "rejected", "rejected";
    /// A complete candidate that no flip has tried to make live.
    NotFlipped: "not-flipped", "a-candidate-has-not-flipped";
    ExportFailed: "export-failed", "an-export-failed";
    /// A due time came while the export for an earlier one was still in progress.
    SlowExport: "slow-export", "an-export-takes-longer-than-its-interval";
    Crawler: "crawler", "a-crawler-updates-a-table";
    NoTable: "no-table", "no-table-yet";
    DeadLetters: "dead-letters", "dead-letters";
    UnreadDrops: "unread-drops", "an-opt-out-waits";
    /// No person who opted out has a row in a protected table, so the key is probably wrong.
    MatchNothing: "match-nothing", "opt-outs-match-nobody";
    /// Drops would opt more people back in than `max_returning` allows.
    Returning: "returning", "people-would-come-back";
    RejectedRecords: "rejected-records", "rejected-records";
    StrayObjects: "stray-objects", "objects-in-no-inbox";
    /// An inbox that was published but is no longer configured.
    UnconfiguredInbox: "unconfigured-inbox", "an-inbox-is-no-longer-configured";
    ViewFails: "view-fails", "a-protected-view-was-changed";
    /// A view on a table that no inbox protects any more.
    UnmaintainedView: "unmaintained-view", "a-view-that-no-inbox-maintains";
    BucketNotifications: "bucket-notifications", "the-buckets-settings";
    BucketVersioning: "bucket-versioning", "the-buckets-settings";
    /// A lifecycle rule deletes what only sweep may delete.
    BucketLifecycle: "bucket-lifecycle", "the-buckets-settings";
    BucketMissingRule: "bucket-missing-rule", "the-buckets-settings";
    BucketUnreadable: "bucket-unreadable", "the-buckets-settings";
    /// A table that Turntable doesn't publish and that reads all of a dataset's generations at once.
    OverFolder: "over-folder", "a-table-reads-a-whole-folder";
    /// A folder where the table was published before its dataset's location changed.
    Moved: "moved", "move";
    /// A rename that has created the new table but has not dropped the old one.
    UnfinishedRename: "unfinished-rename", "rename";
    /// A table that no dataset publishes any more.
    RetiredTable: "retired-table", "a-table-that-no-dataset-publishes";
}
