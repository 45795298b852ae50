//! Runs an audit's checks in Athena (`unique`, `sql`, and `fresh` with `ignore_after`): creates a temporary table for
//! the candidate, queries that table, and drops it again.

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

/// A check that ran in Athena, and the number of bytes that it scanned, which determines its cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scanned {
    pub check: String,
    /// The number of bytes that Athena scanned.
    pub scanned: u64,
}

/// The results of a candidate's checks in Athena.
#[derive(Debug)]
pub struct SqlCheckResults {
    /// The table that the flip would make. The results apply to its files, format and columns.
    published: NextTable,
    /// Why checks failed. Empty if all passed.
    pub reasons: Vec<String>,
    pub scanned: Vec<Scanned>,
}

/// The maximum number of `DeleteTable` calls for an audit table. If all of them fail, the table is left for sweep.
const MAX_DROP_ATTEMPTS: usize = 3;

impl SqlCheckResults {
    /// Runs all checks concurrently on a temporary table with the files, format and columns of `published`, the table
    /// that the flip would make. Creates no table if there is nothing to run.
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
        let (questions, mut reasons) = audit::questions(&dataset.checks, candidate, &table, env.clock.now());
        let mut scanned = Vec::new();
        if !questions.is_empty() {
            let audit = AuditTable { name: table.clone(), generation: candidate.generation, published };
            // The name has a new ULID, so a conflict can only mean that this call's own first attempt created the
            // table.
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

    /// Returns whether these results also apply to `published`, because Athena would read the same files, in the same
    /// format and with the same columns.
    pub fn is_of(&self, published: &NextTable) -> bool {
        self.published.reads_like(published)
    }
}

/// The result of one check.
pub struct Answer {
    /// Why the check failed. `None` if it passed.
    pub reason: Option<String>,
    /// The bytes scanned. `None` if the query failed, because Athena doesn't charge for failed queries.
    pub scanned: Option<Scanned>,
}

/// Runs all checks and waits for all of them even if one fails, so that the table isn't dropped while a query runs.
async fn run_all(env: &Environment, database: &str, questions: &[Question]) -> Vec<Result<Answer>> {
    join_all(questions.iter().map(|question| ask(env, database, question))).await
}

/// Runs one check. If the error's kind is `Input`, the query itself is at fault, and the check fails. Any other error
/// is returned.
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

/// Drops the audit table. Failures are only logged.
async fn drop_table(env: &Environment, table: &TableName) {
    for _ in 0..MAX_DROP_ATTEMPTS {
        match env.catalog.delete(table).await {
            Ok(()) => return,
            Err(error) => warn!(table = %table, error = error.report(), "audit table not dropped yet"),
        }
    }
    warn!(table = %table, "audit table not dropped, left for sweep");
}
