//! Runs an audit's checks in Athena: registers the candidate as a temporary table, queries it, and drops it again.

use futures::future::join_all;
use serde::Serialize;
use tracing::warn;

use crate::environment::Environment;
use turntable_core::{
    audit::{self, Question},
    config::Dataset,
    error::{Kind, Result},
    layout::{self, TableName},
    manifest::Manifest,
    table::{AuditTable, NextTable},
};

/// A check and the bytes that it scanned, which determine its cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scanned {
    pub check: String,
    /// Bytes that Athena scanned.
    pub scanned: u64,
}

/// Athena's answers about a candidate.
#[derive(Debug)]
pub struct SqlCheckResults {
    /// The table that the answers are about: its files, format and columns.
    published: NextTable,
    pub reasons: Vec<String>,
    pub scanned: Vec<Scanned>,
}

/// How many times to try `DeleteTable` on the audit table. Sweep deletes a table that is left after that.
const MAX_DROP_ATTEMPTS: usize = 3;

impl SqlCheckResults {
    /// Runs all checks concurrently on a temporary table. `published` is the table that the flip would make.
    pub async fn of(
        env: &Environment,
        dataset: &Dataset,
        candidate: &Manifest,
        published: &NextTable,
    ) -> Result<SqlCheckResults> {
        let table = TableName {
            database: dataset.table.database.clone(),
            table: layout::audit_table(&dataset.name, env.clock.ulid()),
        };
        let (questions, mut reasons) = audit::questions(&dataset.checks, candidate, &table);
        let mut scanned = Vec::new();
        if !questions.is_empty() {
            let audit = AuditTable { name: table.clone(), generation: candidate.generation, published };
            // The name has a new ULID, so a conflict can only come from a retry of this very call.
            let created = env.catalog.create_audit_table(&audit).await;
            let answers = match created {
                Ok(_) => Ok(run_all(env, &table.database, &questions).await),
                Err(error) => Err(error),
            };
            drop_table(env, &table).await;
            for answer in answers? {
                let answer = answer?;
                reasons.extend(answer.reason);
                scanned.extend(answer.scanned);
            }
        }
        Ok(SqlCheckResults { published: published.clone(), reasons, scanned })
    }

    /// Returns whether the answers are about this table.
    pub fn is_of(&self, published: &NextTable) -> bool {
        self.published.reads_like(published)
    }
}

/// The result of one check.
pub struct Answer {
    /// Why the check failed; `None` if it passed.
    pub reason: Option<String>,
    /// `None` if the query failed: Athena does not charge for failed queries.
    pub scanned: Option<Scanned>,
}

/// Runs all checks and waits for every one, so that the table is not dropped under a running query.
async fn run_all(env: &Environment, database: &str, questions: &[Question]) -> Vec<Result<Answer>> {
    join_all(questions.iter().map(|question| ask(env, database, question))).await
}

/// Runs one check. An `Input` error from the query fails the check. Any other error is returned.
pub async fn ask(env: &Environment, database: &str, question: &Question) -> Result<Answer> {
    match env.query.run(database, &question.sql).await {
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

async fn drop_table(env: &Environment, table: &TableName) {
    for _ in 0..MAX_DROP_ATTEMPTS {
        match env.catalog.delete(table).await {
            Ok(()) => return,
            Err(error) => warn!(table = %table, error = error.report(), "audit table not dropped yet"),
        }
    }
    warn!(table = %table, "audit table not dropped, left for sweep");
}
