//! Known differences between the emulators and AWS. The clauses cite AWS's documentation.

use super::Difference;

/// Known differences between MiniStack 1.5.33 and AWS. Each `source` is a file in MiniStack's Python package.
pub const MINISTACK: &[Difference] = &[
    Difference {
        clause: "copies_nothing_over_what_is_there",
        shows: "left: \"f2c67381db28fa11c59fe7a6df0f2587\"",
        source: "services/s3.py: CopyObject looks at the conditions on its source only, and overwrites",
    },
    Difference {
        clause: "begins_at_version_0",
        shows: "left: \"1\"",
        source: "services/glue.py, _create_table: VersionId is \"1\"",
    },
    Difference {
        clause: "archives_no_version_that_is_skipped",
        shows: "Unknown Glue action: GetTableVersions",
        source: "services/glue.py: no GetTableVersions, and no versions",
    },
    Difference {
        clause: "replaces_the_whole_table",
        shows: "left: \"kept by nobody\"",
        source: "services/glue.py, _update_table: merges what is named into what is there",
    },
    Difference {
        clause: "folds_names_to_lower_case",
        shows: "no table folded",
        source: "services/glue.py, _create_table: the name is stored as it is given",
    },
    Difference {
        clause: "keeps_retention",
        shows: "after CreateTable\n  left: 0\n right: 30",
        source: "services/glue.py, _create_table: Retention is dropped",
    },
    Difference {
        clause: "keeps_the_times_of_access_and_analysis",
        shows: "None)\n right: (Some(2023-11-14T22:13:20Z), Some(2023-11-14T22:13:21Z))",
        source: "services/glue.py, _create_table: LastAccessTime is now, LastAnalyzedTime is dropped",
    },
    Difference {
        clause: "denies_a_put_without_a_condition",
        shows: "PutObject without If-None-Match is not denied",
        source: "services/s3.py: the policy of a bucket is not applied to its own account",
    },
    Difference {
        clause: "denies_a_copy_without_a_condition",
        shows: "CopyObject without If-None-Match is not denied",
        source: "services/s3.py: the policy of a bucket is not applied to its own account",
    },
];

/// Known differences between moto 5.2.5 and AWS. Each `source` is a file in moto's Python package.
pub const MOTO: &[Difference] = &[
    Difference {
        clause: "keeps_a_newline_in_a_name",
        shows: "newline/a\\nb is missing, or has changed",
        source: "s3/urls.py: the pattern of a key matches no newline, and the answer is 404",
    },
    Difference {
        clause: "copies_only_what_is_unchanged",
        shows: "`Result::unwrap_err()` on an `Ok` value",
        source: "s3/responses.py: x-amz-copy-source-if-match is not looked at",
    },
    Difference {
        clause: "copies_nothing_over_what_is_there",
        shows: "left: \"f2c67381db28fa11c59fe7a6df0f2587\"",
        source: "s3/responses.py: CopyObject does not look at If-None-Match, and overwrites",
    },
    Difference {
        clause: "updates_the_version_that_was_read",
        shows: "left: Done\n right: Conflict",
        source: "glue/responses.py, update_table: VersionId is not looked at",
    },
    Difference {
        clause: "updates_once_in_a_race",
        shows: "have updated it\n  left: 8\n right: 1",
        source: "glue/responses.py, update_table: VersionId is not looked at",
    },
    Difference {
        clause: "begins_at_version_0",
        shows: "left: \"1\"",
        source: "glue/models.py, FakeTable: the first version is 1",
    },
    Difference {
        clause: "archives_no_version_that_is_skipped",
        shows: "versions of the table\n  left: 2\n right: 1",
        source: "glue/responses.py, update_table: SkipArchive is not looked at",
    },
    Difference {
        clause: "folds_names_to_lower_case",
        shows: "no table folded",
        source: "glue/models.py, create_table: the name is stored as it is given",
    },
];
