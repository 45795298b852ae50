//! Handles operators' requests for one dataset: rollback, hold and release.

use tracing::warn;

use super::{
    attempts::Attempts,
    audit::judge,
    commit::{commit, next_table},
    manifests::manifest,
    report::{Cause, FlipReport, Outcome},
    table_state::{self, TableState, ensure_not_deleting},
    views,
};
use crate::environment::Environment;
use turntable_core::{
    config::{Checks, Dataset, Source},
    decision::{self, Live},
    error::{Error, Result},
    layout::Generation,
    port::Update,
    record::{self, Flip, FlipOrigin, Hold},
    table::TableChange,
};

/// Flips the table back to the generation that was live before the current one, or to `wanted`.
///
/// Audits the generation's structure again, and rejects the generation if it is damaged. Fails if sweep has deleted it.
/// A hold doesn't prevent a rollback, because an operator requests both. Once a rollback has returned, no event from an
/// export that started earlier undoes it.
///
/// A rollback is idempotent: if the request is repeated after a lost response or a crash, the table stays where the
/// rollback put it.
pub async fn rollback(
    env: &Environment,
    dataset: &Dataset,
    wanted: Option<Generation>,
    reason: Option<String>,
) -> Result<FlipReport> {
    if matches!(dataset.source, Source::Inbox(_)) {
        return Err(Error::input(format!(
            "datasets.{}: an inbox dataset can't be rolled back, because a published opt-out stays published; to \
             change one, put a new drop into the inbox",
            dataset.name
        )));
    }
    ensure_not_filtered(dataset, "rolled back")?;
    let cause = Cause { by: FlipOrigin::Rollback, why: reason, request_id: env.request_id() };
    let mut attempts = Attempts::on(&dataset.table);
    loop {
        attempts.begin()?;
        let live = table_state::live(env, dataset).await?;
        let oldest = wanted.into_iter().chain(live.generation()).min_by_key(|generation| generation.ulid);
        let oldest = oldest.ok_or_else(|| {
            Error::input(format!(
                "{}: no managed generation is live, so there is nothing to roll back: invoke flip with a generation",
                dataset.table
            ))
        })?;
        let loaded = TableState::at(env, dataset, &oldest).await?;
        // If an earlier attempt died before it wrote its flip record, `recover` writes the record. Without the record,
        // nothing shows that the table was rolled back.
        if loaded.recover(env, dataset).await?.is_some() {
            continue;
        }
        let target = decision::rollback(&dataset.paths, &loaded.state, wanted)?;
        if loaded.state.live == Live::Managed(target) {
            if !adopt(env, dataset, &loaded, target, &cause).await? {
                continue;
            }
            let reasons = match wanted {
                Some(_) => Vec::new(),
                None => {
                    vec![format!("the last rollback already went to {target}: name a generation to go to another one")]
                }
            };
            // An earlier rollback to this generation may have died before it fenced the table.
            if decision::is_rolled_back(&loaded.state) && !fence(env, dataset).await? {
                return Err(may_be_undone(dataset, &target));
            }
            return Ok(FlipReport::unchanged(Outcome::AlreadyLive, &loaded.state.live, reasons));
        }
        ensure_not_deleting(env, dataset, &target).await?;
        let candidate = manifest(env, dataset, &target).await?.ok_or_else(|| {
            Error::input(format!(
                "{}: no such manifest, because {target} was swept or never complete; `status` lists the \
                 generations that exist",
                dataset.paths.manifest(&target)
            ))
        })?;
        let structure_only = Checks::default();
        let policy = dataset.schema.back();
        let input = next_table(dataset, &loaded, &candidate, policy);
        let mut reasons = judge(env, &candidate, &loaded, &structure_only, policy).await?.reasons();
        reasons.extend(views::against(env, dataset, &input).await?);
        if !reasons.is_empty() {
            return Ok(FlipReport::unchanged(Outcome::Rejected, &loaded.state.live, reasons));
        }
        if let Some(swapped) = commit(env, dataset, &candidate, loaded, input, &cause).await? {
            // Without the fence, a flip that loaded its state before the record was written could undo the rollback.
            if !swapped.recorded || !fence(env, dataset).await? {
                return Err(may_be_undone(dataset, &target));
            }
            return Ok(swapped.ended);
        }
    }
}

/// Fails if the dataset is a filtered table, which must follow the opt-outs.
fn ensure_not_filtered(dataset: &Dataset, what: &str) -> Result<()> {
    let Some(of) = &dataset.filters else { return Ok(()) };
    let name = &dataset.name;
    Err(Error::input(format!(
        "{name}: a filtered table can't be {what}, because people who opted out would be in it: roll back or hold {:?}, \
         then invoke export with {{\"dataset\":{name:?}}}; or take the rights on the table from its readers",
        of.dataset
    )))
}

fn may_be_undone(dataset: &Dataset, target: &Generation) -> Error {
    Error::conflict(format!(
        "{}: the table was rolled back to {target}, but an export that was already running may still undo it: set a \
         hold, or check the status",
        dataset.table
    ))
}

/// If something outside Turntable brought the live generation back, records that an operator wants it to stay, so that
/// no repair moves the table away.
///
/// Returns `false` if the table has changed since it was loaded: reload and retry.
pub(super) async fn adopt(
    env: &Environment,
    dataset: &Dataset,
    loaded: &TableState,
    live: Generation,
    cause: &Cause,
) -> Result<bool> {
    if !loaded.state.was_live(&live) {
        return Ok(true);
    }
    let recovered = loaded.recover(env, dataset).await?;
    let Some((last_ulid, last)) = recovered.or_else(|| loaded.last_flip()).filter(|(_, last)| last.to != live) else {
        return Ok(true);
    };
    let ulid = record::later(env.clock.ulid(), [last_ulid]);
    // The loaded records may include a flip that was made after the table was read, and such a flip is not drift. If
    // there was one, this update fails.
    let Some(table) = loaded.table.as_ref().filter(|table| table.token.is_some()) else { return Ok(true) };
    let sent = env.catalog.update(table, &TableChange::default()).await?;
    if sent != Update::Done {
        return Ok(false);
    }
    let flip = Flip {
        dataset: dataset.name.clone(),
        at: env.clock.now(),
        from: Some(dataset.paths.generation(&last.to)),
        to: live,
        by: cause.by,
        why: cause.why.clone(),
        canary: None,
        adopted: None,
        request_id: cause.request_id.clone(),
    };
    env.objects.put_new(&dataset.paths.flip(ulid), record::to_json(&flip).into()).await?;
    // After this fence, a repair that loaded its state before the record was written has a stale `VersionId`.
    if fence(env, dataset).await? {
        return Ok(true);
    }
    Err(Error::conflict(format!(
        "{}: {live} is live, but a repair that was already running may still undo it: send the same request again",
        dataset.table
    )))
}

/// Writes a hold and fences the table. Once this has returned, only a rollback can flip the table until the hold is
/// released. Exports continue.
pub async fn hold(env: &Environment, dataset: &Dataset, reason: String) -> Result<()> {
    ensure_not_filtered(dataset, "held")?;
    let hold = Hold { at: env.clock.now(), reason, released: false, request_id: env.request_id() };
    env.objects.put(&dataset.paths.hold(), record::to_json(&hold).into()).await?;
    if fence(env, dataset).await? {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "{}: the hold is written, but a flip that was already running may still go through: send the hold again",
        dataset.table
    )))
}

/// Releases the hold. The hold's object stays, marked as released.
pub async fn release(env: &Environment, dataset: &Dataset, reason: Option<String>) -> Result<()> {
    let reason = reason.unwrap_or_default();
    let released = Hold { at: env.clock.now(), reason, released: true, request_id: env.request_id() };
    env.objects.put(&dataset.paths.hold(), record::to_json(&released).into()).await
}

/// Fences the table: gives it a new `VersionId` and changes nothing else.
///
/// A flip that loaded its state before the caller's last write then fails its version check, reloads, and sees that
/// write. Returns `false` if no attempt succeeded. A table that does not exist needs no fence.
async fn fence(env: &Environment, dataset: &Dataset) -> Result<bool> {
    let mut attempts = Attempts::on(&dataset.table);
    while attempts.begin().is_ok() {
        let Some(table) = env.catalog.table(&dataset.table).await? else { return Ok(true) };
        if table.token.is_none() {
            return Ok(true);
        }
        match env.catalog.update(&table, &TableChange::default()).await {
            Ok(Update::Done) => return Ok(true),
            Ok(Update::Conflict) => {}
            Err(error) => warn!(dataset = dataset.name, error = error.report(), "table not fenced yet"),
        }
    }
    Ok(false)
}
