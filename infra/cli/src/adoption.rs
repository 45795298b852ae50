//! Reads from the catalog which tables the first flips would take over, and describes what they would change.

use std::{path::Path, sync::Arc};

use aws_config::SdkConfig;
use turntable::{
    aws::{
        athena::Athena,
        glue::{Glue, GlueCatalog},
        s3::S3,
    },
    clock::Clock,
    config::{Dataset, Place},
    environment::Environment,
    publish::adoption::{FirstFlip, TakeOver},
};

/// Returns an environment that reads an account's catalog and bucket. `file` is the path to the datasets.toml.
pub fn environment(aws: &SdkConfig, file: &Path) -> Environment {
    Environment {
        catalog: Arc::new(GlueCatalog(Arc::new(Glue::new(aws)))),
        objects: Arc::new(S3::new(aws)),
        query: Arc::new(Athena::new(aws, "primary".into(), None)),
        clock: Clock::system(),
        datasets: Place::Disk(file.to_owned()),
        inboxes: None,
        dead_letters: None,
        invocation: None,
    }
}

/// Describes what the dataset's first flip does with its table, for the end of the dataset's section in the output.
pub fn shown(dataset: &Dataset, first: &FirstFlip) -> String {
    let mut lines = match first {
        FirstFlip::Rejects(_) => vec![format!("{} is live, and every candidate would be rejected", dataset.table)],
        FirstFlip::Refused(_) => vec![format!("{} exists, and no flip can take it over", dataset.table)],
        FirstFlip::TakesOver(table) => taken_over(dataset, table),
    };
    lines.push(String::new());
    lines.into_iter().map(|line| format!("  {line}").trim_end().to_owned() + "\n").collect()
}

fn taken_over(dataset: &Dataset, table: &TakeOver) -> Vec<String> {
    let TakeOver { from, adoption, statistics, crawler } = table;
    let mut lines = vec![
        format!("{} exists, and the first flip takes it over:", dataset.table),
        format!("  location: {from} → {}COLOUR-ULID/", dataset.paths.location()),
    ];
    if !dataset.trusts(from) {
        lines.push(format!(
            "  waits until you set adopt = \"{from}\" in the dataset, or invoke flip with the generation"
        ));
    }
    if !adoption.removed.is_empty() {
        lines.push(format!("  removes these parameters: {}", adoption.removed.join(", ")));
    }
    lines.extend(adoption.changed.iter().map(|change| format!("  changes: {change}")));
    match statistics {
        Ok(columns) if columns.is_empty() => {}
        Ok(columns) => lines.push(format!("  deletes the column statistics of {}", columns.join(", "))),
        Err(error) => lines.push(format!("  column statistics could not be read: {}", error.report())),
    }
    if let Some(crawler) = crawler {
        lines.push(format!(
            "  the Glue crawler {crawler:?} updates the table and would undo this: exclude the table from it first"
        ));
    }
    lines
}
