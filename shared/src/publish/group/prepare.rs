//! Prepares a group's flip before any table moves: loads each member's state, decides about it, and runs the full
//! audit.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    environment::Environment,
    publish::{
        audit::audited,
        sql_checks::{Scanned, SqlCheckResults},
        table_state::TableState,
        verify,
    },
};
use turntable_core::{
    config::Dataset,
    decision::{self, Decision, Live, Trigger},
    error::{Error, Result},
    layout::Location,
    manifest::Manifest,
    table::NextTable,
};

/// The maximum number of members whose state is loaded, or whose candidates are audited, concurrently.
const MAX_CONCURRENT_MEMBERS: usize = 8;

/// A member with its candidate, the loaded state of its table, and the decision about it.
pub struct Prepared<'a> {
    dataset: &'a Dataset,
    candidate: Manifest,
    loaded: TableState,
    decision: Decision,
}

impl Prepared<'_> {
    /// Returns the member's name and the decision about its candidate.
    pub fn decision(&self) -> (&str, Decision) {
        (&self.dataset.name, self.decision.clone())
    }

    /// Returns the member's name and its table's current location.
    pub fn at(&self) -> (String, Option<Location>) {
        (self.dataset.name.clone(), self.loaded.state.live.location(&self.dataset.paths))
    }
}

/// Everything that is needed to move a member's table to its candidate.
pub struct Ready {
    pub candidate: Manifest,
    pub loaded: TableState,
    pub input: NextTable,
}

/// Loads the state of each candidate's table, and decides whether the candidate may go live.
pub async fn all<'a>(
    env: &Environment,
    candidates: &[(&'a Dataset, Manifest)],
    who: Trigger,
) -> Result<Vec<Prepared<'a>>> {
    let one = |(dataset, candidate): &(&'a Dataset, Manifest)| prepare_one(env, dataset, candidate.clone(), who);
    stream::iter(candidates.iter().map(one).collect::<Vec<_>>()).buffered(MAX_CONCURRENT_MEMBERS).try_collect().await
}

async fn prepare_one<'a>(
    env: &Environment,
    dataset: &'a Dataset,
    candidate: Manifest,
    who: Trigger,
) -> Result<Prepared<'a>> {
    let loaded = TableState::at(env, dataset, &candidate.generation).await?;
    let decision = decision::flip(&dataset.paths, &candidate, &loaded.state, who)
        .map_err(|error| Error::new(error.kind(), format!("{}: {}", dataset.name, error.message())))?;
    Ok(Prepared { dataset, candidate, loaded, decision })
}

/// Returns what was live for each member when its state was loaded, by dataset.
pub fn live(prepared: &[Prepared<'_>]) -> BTreeMap<String, Live> {
    prepared.iter().map(|one| (one.dataset.name.clone(), one.loaded.state.live.clone())).collect()
}

/// Restores the tables that somebody has edited: gives each the columns, projection and format of its live generation.
/// Returns one message for each edit that was undone.
pub async fn restore_edits(env: &Environment, prepared: &[Prepared<'_>]) -> Result<Vec<String>> {
    let mut restored = Vec::new();
    for Prepared { dataset, loaded, .. } in prepared {
        let edits = verify::edits(loaded.table.as_ref(), loaded.live_manifest.as_ref());
        let (Some(table), Some(live)) = (&loaded.table, &loaded.live_manifest) else { continue };
        if !edits.is_empty() && verify::restore(env, dataset, table, live).await? {
            restored.extend(edits.iter().map(|edit| format!("{}: restored: {edit}", dataset.name)));
        }
    }
    Ok(restored)
}

/// The verdict on all members' candidates.
pub enum GroupAudit {
    /// All candidates passed. Has the table that the flip would make for each member, in the order of the members, or
    /// `None` if the member's candidate is already live.
    Passed(Vec<Option<NextTable>>),
    /// At least one candidate failed. Has all reasons against all candidates.
    Rejected(Vec<String>),
}

/// Audits all members' candidates, except those that are already live. `asked` keeps Athena's results, by dataset, so
/// that a retry can reuse them.
pub async fn audit(
    env: &Environment,
    prepared: &[Prepared<'_>],
    asked: &mut BTreeMap<String, SqlCheckResults>,
) -> Result<GroupAudit> {
    let mut audits = Vec::new();
    for one in prepared {
        audits.push(audit_one(env, one, asked.remove(&one.dataset.name)));
    }
    let all: Vec<Audited> = stream::iter(audits).buffered(MAX_CONCURRENT_MEMBERS).try_collect().await?;
    let (mut inputs, mut against) = (Vec::new(), Vec::new());
    for (one, (input, reasons, answers)) in prepared.iter().zip(all) {
        let name = &one.dataset.name;
        asked.extend(answers.map(|answers| (name.clone(), answers)));
        against.extend(reasons.into_iter().map(|reason| format!("{name}: {reason}")));
        inputs.push(input);
    }
    Ok(if against.is_empty() { GroupAudit::Passed(inputs) } else { GroupAudit::Rejected(against) })
}

/// The table that the flip would make, the reasons against the candidate, and Athena's results.
type Audited = (Option<NextTable>, Vec<String>, Option<SqlCheckResults>);

async fn audit_one(env: &Environment, prepared: &Prepared<'_>, mut asked: Option<SqlCheckResults>) -> Result<Audited> {
    let Prepared { dataset, candidate, loaded, decision } = prepared;
    if *decision == Decision::AlreadyLive {
        return Ok((None, Vec::new(), asked));
    }
    let (input, reasons) = audited(env, dataset, candidate, loaded, &mut asked).await?;
    Ok((Some(input), reasons, asked))
}

/// Returns the checks that ran in Athena, each named `DATASET: CHECK`.
pub fn scanned(asked: &BTreeMap<String, SqlCheckResults>) -> Vec<Scanned> {
    let of = |(name, asked): (&String, &SqlCheckResults)| {
        let named = |scanned: &Scanned| Scanned { check: format!("{name}: {}", scanned.check), ..*scanned };
        asked.scanned.iter().map(named).collect::<Vec<_>>()
    };
    asked.iter().flat_map(of).collect()
}

/// Returns everything that is needed to move each table, by dataset. Leaves out members whose candidates are already
/// live.
pub fn ready(prepared: Vec<Prepared<'_>>, inputs: Vec<Option<NextTable>>) -> BTreeMap<String, Ready> {
    let both = prepared.into_iter().zip(inputs);
    let ready = both.filter_map(|(Prepared { dataset, candidate, loaded, .. }, input)| {
        Some((dataset.name.clone(), Ready { candidate, loaded, input: input? }))
    });
    ready.collect()
}
