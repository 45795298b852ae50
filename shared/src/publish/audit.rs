//! Audits a candidate before every attempt to make it live.

use turntable_core::{
    audit::{self, Evidence, Object, Verdict},
    config::{Checks, Dataset},
    error::Result,
    manifest::{Manifest, is_ahead},
    schema::Policy,
    table::NextTable,
};

use super::{
    commit::next_table,
    evidence::{self, Found},
    retired,
    sql_checks::{Scanned, SqlCheckResults},
    table_state::{TableState, ensure_not_deleting},
    views,
};
use crate::environment::Environment;

/// How much an audit checks.
pub enum Audit {
    /// Checks the objects and their footers, and runs the checks in Athena. Keeps Athena's results for a retry.
    Full(Option<SqlCheckResults>),
    /// Leaves out the files' footers and the checks that run in Athena, because this process has just written the
    /// files, or copied audited files whose ETags had not changed. If `flip` handles the manifest's event first, it runs
    /// the full audit instead.
    ///
    /// Holds the objects that were listed after the table was read. Only the first attempt to flip uses this listing.
    /// Later attempts list the objects again.
    JustWritten(Option<Vec<Object>>),
}

impl Audit {
    /// Returns the checks that have run in Athena, with the number of bytes that each scanned.
    pub fn scanned(&self) -> Vec<Scanned> {
        match self {
            Audit::Full(Some(answers)) => answers.scanned.clone(),
            Audit::Full(None) | Audit::JustWritten(_) => Vec::new(),
        }
    }

    /// Runs the audit. Returns the table that the flip would make, and all reasons against the candidate.
    pub async fn run(
        &mut self,
        env: &Environment,
        dataset: &Dataset,
        candidate: &Manifest,
        loaded: &TableState,
    ) -> Result<(NextTable, Vec<String>)> {
        let listed = match self {
            Audit::Full(answers) => return audited(env, dataset, candidate, loaded, answers).await,
            Audit::JustWritten(listed) => listed,
        };
        retired::release(env, &dataset.paths, &loaded.state.live).await?;
        let objects = match listed.take() {
            Some(objects) => objects,
            None => {
                ensure_not_deleting(env, dataset, &candidate.generation).await?;
                evidence::objects(&env.objects, candidate).await?
            }
        };
        let (found, policy) = (Found { objects, footers: Vec::new() }, policy(dataset, loaded));
        let next = next_table(dataset, loaded, candidate, policy);
        let mut reasons = verdict(env, candidate, loaded, &dataset.checks, policy, &found).reasons();
        reasons.extend(views::against(env, dataset, &next).await?);
        Ok((next, reasons))
    }
}

/// Runs the full audit. Returns the table that the flip would make, and all reasons against the candidate.
///
/// `answers` keeps Athena's results for a retry.
pub(super) async fn audited(
    env: &Environment,
    dataset: &Dataset,
    candidate: &Manifest,
    loaded: &TableState,
    answers: &mut Option<SqlCheckResults>,
) -> Result<(NextTable, Vec<String>)> {
    retired::release(env, &dataset.paths, &loaded.state.live).await?;
    ensure_not_deleting(env, dataset, &candidate.generation).await?;
    let policy = policy(dataset, loaded);
    let next = next_table(dataset, loaded, candidate, policy);
    let Verdict { mut structure, mut content } = judge(env, candidate, loaded, &dataset.checks, policy).await?;
    if is_ahead(candidate.as_of, env.clock.now()) {
        content.push(format!(
            "as_of: the snapshot's time, {}, is in the future: the source's clock is ahead, so correct it and \
             export again",
            candidate.as_of
        ));
    }
    structure.extend(views::against(env, dataset, &next).await?);
    let sound = structure.is_empty();
    let mut reasons = [structure, content].concat();
    if sound {
        // A retry reuses Athena's results, unless another writer has changed the table's format or columns in the
        // meantime.
        let again = answers.take().filter(|answers| answers.is_of(&next));
        let now = match again {
            Some(answers) => answers,
            None => SqlCheckResults::of(env, dataset, candidate, &next).await?,
        };
        reasons.extend(now.reasons.iter().cloned());
        *answers = Some(now);
    } else if audit::has_sql_checks(&dataset.checks) {
        reasons.push("checks in Athena: not run, because of the failures above".into());
    }
    Ok((next, reasons))
}

/// Returns which changes to the table's columns the flip may make. A merge owns all columns in its table. If somebody
/// has changed them, the flip restores them, because an opt-out must not wait for an operator.
fn policy(dataset: &Dataset, loaded: &TableState) -> Policy {
    if dataset.is_inbox() && loaded.state.live_is_merge { Policy::Any } else { dataset.schema }
}

/// Reads the candidate's objects and footers, and returns the verdict on them. Runs no checks in Athena.
pub(super) async fn judge(
    env: &Environment,
    candidate: &Manifest,
    loaded: &TableState,
    checks: &Checks,
    policy: Policy,
) -> Result<Verdict> {
    let found = evidence::gather(&env.objects, candidate).await?;
    Ok(verdict(env, candidate, loaded, checks, policy, &found))
}

/// Returns the verdict on evidence that has already been collected. Sends no request.
fn verdict(
    env: &Environment,
    candidate: &Manifest,
    loaded: &TableState,
    checks: &Checks,
    policy: Policy,
    found: &Found,
) -> Verdict {
    let (columns, keys) = (loaded.columns(), loaded.partition_keys());
    audit::verdict(&Evidence {
        now: env.clock.now(),
        manifest: candidate,
        objects: &found.objects,
        footers: &found.footers,
        table: columns.as_deref(),
        partition_keys: keys.as_deref(),
        policy,
        live_rows: loaded.published().map(|live| live.rows),
        checks,
    })
}
