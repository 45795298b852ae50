//! Athena's part of an audit: the candidate as a table of its own, the questions on it, and the table gone again.

use futures::future::join_all;
use serde::Serialize;
use tracing::warn;

use crate::environment::World;
use turntable_core::{
    audit::{self, Question},
    config::Dataset,
    error::{Kind, Result},
    layout::{self, TableName},
    manifest::Manifest,
    table::{AuditTable, NextTable},
};

/// What a check has cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scanned {
    pub check: String,
    /// Bytes.
    pub scanned: u64,
}

/// Athena's answers about a candidate.
#[derive(Debug)]
pub struct Asked {
    /// What was asked about: files, format and columns.
    published: NextTable,
    pub reasons: Vec<String>,
    pub scanned: Vec<Scanned>,
}

/// How often a table is dropped that does not go. What is left then, sweep finds.
const DROPS: usize = 3;

impl Asked {
    /// Asks everything at once, on a table that exists only meanwhile. `published` is the table after the flip.
    pub async fn of(world: &World, dataset: &Dataset, candidate: &Manifest, published: &NextTable) -> Result<Asked> {
        let table = TableName {
            database: dataset.table.database.clone(),
            table: layout::audit_table(&dataset.name, world.clock.ulid()),
        };
        let (questions, mut reasons) = audit::questions(&dataset.checks, candidate, &table);
        let mut scanned = Vec::new();
        if !questions.is_empty() {
            let audit = AuditTable { name: table.clone(), generation: candidate.generation, published };
            // Nobody else makes a table of this name: a conflict is the echo of our own attempt.
            let created = world.catalog.create_audit_table(&audit).await;
            let answers = match created {
                Ok(_) => Ok(ask_all(world, &table.database, &questions).await),
                Err(error) => Err(error),
            };
            drop_table(world, &table).await;
            for answer in answers? {
                let answer = answer?;
                reasons.extend(answer.reason);
                scanned.extend(answer.scanned);
            }
        }
        Ok(Asked { published: published.clone(), reasons, scanned })
    }

    /// Whether the answers are about this table.
    pub fn is_of(&self, published: &NextTable) -> bool {
        self.published.reads_like(published)
    }
}

pub struct Answer {
    pub reason: Option<String>,
    /// `None` where the query failed: Athena does not charge for it.
    pub scanned: Option<Scanned>,
}

/// Waits for all, so that the table is not dropped under one that still runs.
async fn ask_all(world: &World, database: &str, questions: &[Question]) -> Vec<Result<Answer>> {
    join_all(questions.iter().map(|question| ask(world, database, question))).await
}

pub async fn ask(world: &World, database: &str, question: &Question) -> Result<Answer> {
    match world.query.run(database, &question.sql).await {
        Ok(answered) => Ok(Answer {
            reason: question.reason(&answered.rows),
            scanned: Some(Scanned { check: question.check.clone(), scanned: answered.scanned }),
        }),
        Err(error) if error.kind() == Kind::Input => {
            Ok(Answer { reason: Some(question.failed(error.message())), scanned: None })
        }
        Err(error) => Err(error),
    }
}

async fn drop_table(world: &World, table: &TableName) {
    for _ in 0..DROPS {
        match world.catalog.delete(table).await {
            Ok(()) => return,
            Err(error) => warn!(table = %table, error = error.report(), "audit table not dropped yet"),
        }
    }
    warn!(table = %table, "audit table left for sweep");
}
