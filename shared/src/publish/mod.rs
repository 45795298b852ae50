//! Makes a generation live: load → decide → audit → one `UpdateTable` → record → canary.

mod canary;
mod commit;
mod drift;
mod evidence;
pub mod group;
mod operator;
mod sql_checks;
mod statistics;
mod table_state;

use serde::{Deserialize, Serialize};

pub use drift::{Drift, detect_and_repair, detect_drift, drift_suspected};
pub use operator::{hold, release, rollback};
pub use sql_checks::Scanned;
pub use table_state::{TableHead, TableState, flips, live, live_to_follow, partition_keys};

use commit::Committed;
pub(crate) use commit::{commit, next_table};
use sql_checks::SqlCheckResults;

use crate::environment::Environment;
use turntable_core::{
    audit::{self, Evidence, Verdict},
    config::{Checks, Dataset},
    decision::{self, Decision, Live, Trigger},
    error::{Error, Result},
    layout::Generation,
    manifest::Manifest,
    record::FlipOrigin,
    schema::Policy,
    table::NextTable,
};

pub use table_state::{ensure_not_deleting, flippable_location, hold as held};

/// How a request to flip ended. All outcomes are expected; anything unexpected is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    #[serde(rename = "swapped")]
    Committed,
    AlreadyLive,
    /// The candidate must not replace live: for example, it is not fresher, or it has been live before.
    Stale,
    /// The audit or the canary failed.
    Rejected,
    /// An operator's hold prevents the flip.
    Held,
    /// The dataset's `min_interval` has not elapsed, or other members of its group have no manifest yet.
    Waiting,
    /// The request flips nothing.
    Status,
}

/// An outcome, and the generation or location that is live afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlipReport {
    pub outcome: Outcome,
    pub live: Live,
    /// What was live before, if this request changed it.
    pub previous: Option<Live>,
    pub reasons: Vec<String>,
    /// The checks that ran in Athena, with the bytes that each scanned.
    pub checks: Vec<Scanned>,
}

impl FlipReport {
    fn unchanged(outcome: Outcome, live: &Live, reasons: Vec<String>) -> FlipReport {
        FlipReport { outcome, live: live.clone(), previous: None, reasons, checks: Vec::new() }
    }
}

/// Who or what caused a flip and why, for its flip record.
#[derive(Debug, Clone)]
pub struct Cause {
    pub by: FlipOrigin,
    pub why: Option<String>,
}

/// Reads a generation's manifest, or returns `None` if there is none.
///
/// Fails as `Corrupt` if the manifest names another dataset or location.
pub async fn manifest(env: &Environment, dataset: &Dataset, generation: &Generation) -> Result<Option<Manifest>> {
    let key = dataset.paths.manifest(generation);
    match env.objects.get(&key).await? {
        None => Ok(None),
        Some(json) => {
            let manifest = Manifest::from_json(&key, generation, &json)?;
            if manifest.dataset != dataset.name || manifest.location != dataset.paths.generation(generation) {
                return Err(Error::corrupt(format!(
                    "{key} names dataset {:?} at {}: it was not written for {:?}",
                    manifest.dataset, manifest.location, dataset.name
                )));
            }
            Ok(Some(manifest))
        }
    }
}

/// How many times a flip that lost a race reloads and retries. Each lost race means that another writer succeeded.
const ATTEMPTS: usize = 8;

/// Makes a complete generation live, if the decision and the audit allow it.
pub async fn flip(env: &Environment, dataset: &Dataset, generation: Generation, who: Trigger) -> Result<FlipReport> {
    let candidate = candidate(env, dataset, &generation).await?;
    if let Some(run) = &candidate.group {
        let live = table_state::live(env, dataset).await?;
        let why =
            format!("{generation} was exported with group {}, which the dataset has left: run export again", run.group);
        return Ok(FlipReport::unchanged(Outcome::Stale, &live, vec![why]));
    }
    let cause = Cause { by: if who == Trigger::Event { FlipOrigin::Event } else { FlipOrigin::Operator }, why: None };
    let mut asked: Option<SqlCheckResults> = None;
    for _ in 0..ATTEMPTS {
        let loaded = TableState::at(env, dataset, &generation).await?;
        let unchanged = |outcome, reasons| Ok(FlipReport::unchanged(outcome, &loaded.state.live, reasons));
        match decision::flip(&dataset.paths, &candidate, &loaded.state, who)? {
            Decision::AlreadyLive => {
                let ended = FlipReport::unchanged(Outcome::AlreadyLive, &loaded.state.live, Vec::new());
                if who == Trigger::Operator && !operator::adopt(env, dataset, &loaded, generation, &cause).await? {
                    continue;
                }
                let last = loaded.recover(env, dataset).await?.or_else(|| loaded.last_flip());
                return match last.filter(|(_, flip)| flip.to == generation) {
                    Some(flip) => canary::settle(env, dataset, &candidate, flip, ended).await,
                    None => Ok(ended),
                };
            }
            Decision::Held(hold) => return unchanged(Outcome::Held, vec![hold.reason]),
            Decision::Stale(why) => return unchanged(Outcome::Stale, vec![why]),
            Decision::Flip => {}
        }
        let (input, reasons) = audited(env, dataset, &candidate, &loaded, &mut asked).await?;
        let checks = asked.as_ref().map(|asked| asked.scanned.clone()).unwrap_or_default();
        if !reasons.is_empty() {
            return Ok(FlipReport { checks, ..FlipReport::unchanged(Outcome::Rejected, &loaded.state.live, reasons) });
        }
        if let Some(Committed { ended, ulid, flip, .. }) =
            commit(env, dataset, &candidate, loaded, input, &cause).await?
        {
            return canary::settle(env, dataset, &candidate, (ulid, flip), FlipReport { checks, ..ended }).await;
        }
    }
    Err(busy(dataset))
}

/// Returns the manifest of a generation that a request named. Fails as `Input` if there is none.
async fn candidate(env: &Environment, dataset: &Dataset, generation: &Generation) -> Result<Manifest> {
    manifest(env, dataset, generation).await?.ok_or_else(|| {
        Error::input(format!(
            "{}: no such manifest, so the generation does not exist; `status` lists the generations that do",
            dataset.paths.manifest(generation)
        ))
    })
}

/// Runs the whole audit. Returns the table input that the flip would send, and every reason against it.
///
/// `asked` keeps Athena's answers for a retry.
async fn audited(
    env: &Environment,
    dataset: &Dataset,
    candidate: &Manifest,
    loaded: &TableState,
    asked: &mut Option<SqlCheckResults>,
) -> Result<(NextTable, Vec<String>)> {
    ensure_not_deleting(env, dataset, &candidate.generation).await?;
    let input = next_table(dataset, loaded, candidate, dataset.schema);
    let Verdict { structure, content } = judge(env, candidate, loaded, &dataset.checks, dataset.schema).await?;
    let sound = structure.is_empty();
    let mut reasons = [structure, content].concat();
    if sound {
        // Each retry reuses Athena's answers, unless another writer has changed the table that would be published.
        let again = asked.take().filter(|asked| asked.is_of(&input));
        let now = match again {
            Some(asked) => asked,
            None => SqlCheckResults::of(env, dataset, candidate, &input).await?,
        };
        reasons.extend(now.reasons.iter().cloned());
        *asked = Some(now);
    } else if audit::has_sql_checks(&dataset.checks) {
        reasons.push("unique, sql: not run, because of the failures above".into());
    }
    Ok((input, reasons))
}

/// Returns the error of a request that lost every race for the table.
fn busy(dataset: &Dataset) -> Error {
    Error::conflict(format!("{}: lost the race for the table {ATTEMPTS} times: send the request again", dataset.table))
}

/// Audits the candidate's objects and footers. Returns every reason against it that needs no query.
async fn judge(
    env: &Environment,
    candidate: &Manifest,
    loaded: &TableState,
    checks: &Checks,
    policy: Policy,
) -> Result<Verdict> {
    let found = evidence::gather(&env.objects, candidate).await?;
    let columns = loaded.table.as_ref().map(|table| table.columns.as_slice());
    Ok(audit::verdict(&Evidence {
        now: env.clock.now(),
        manifest: candidate,
        objects: &found.objects,
        footers: &found.footers,
        table: columns,
        partition_keys: loaded.table.as_ref().map(|table| table.partition_keys.as_slice()),
        policy,
        live_rows: loaded.live_manifest.as_ref().map(|live| live.rows),
        checks,
    }))
}
