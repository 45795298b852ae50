//! Commits a flip: sends its one `UpdateTable` (or `CreateTable`), and writes its record.

use tracing::warn;
use ulid::Ulid;

use super::{
    adoption,
    attempts::Attempts,
    identity,
    report::{Cause, FlipReport, Outcome},
    table_state::{TableState, pending_canary},
    views,
};
use crate::environment::Environment;
use turntable_core::{
    config::Dataset,
    decision::Live,
    error::Result,
    history::{self, Settled},
    layout::Generation,
    manifest::Manifest,
    port::Update,
    record::{self, Flip, FlipOrigin, RevertIntent},
    schema::Policy,
    table::{NewTable, NextTable, TableChange},
};

/// A committed flip.
pub struct Committed {
    pub ended: FlipReport,
    /// The ULID of the flip record.
    pub ulid: Ulid,
    pub flip: Flip,
    /// Whether the flip record was written.
    pub recorded: bool,
}

/// Returns the update that makes the candidate live, based on the table as it was loaded; or the table to create, if
/// there is none.
pub fn next_table(dataset: &Dataset, loaded: &TableState, candidate: &Manifest, policy: Policy) -> NextTable {
    let (location, partitions) = (candidate.location.clone(), candidate.partitions.clone());
    match &loaded.table {
        Some(table) => {
            let now = loaded.columns().unwrap_or_default();
            let columns = Some(policy.published(&now, &candidate.columns));
            let change = TableChange { location: Some(location), columns, partitions };
            NextTable::Update { table: Box::new(table.clone()), change }
        }
        None => {
            let (name, columns) = (dataset.table.clone(), candidate.columns.clone());
            NextTable::Create(NewTable { name, columns, location, partitions })
        }
    }
}

/// Sends `next`, which [`next_table`] returned for the candidate, and writes the flip record. If the record can't be
/// written, the flip still counts as committed.
///
/// Returns `None` if another writer was first: reload and retry.
pub async fn commit(
    env: &Environment,
    dataset: &Dataset,
    candidate: &Manifest,
    loaded: TableState,
    next: NextTable,
    cause: &Cause,
) -> Result<Option<Committed>> {
    // Before a flip replaces a generation, it ensures that this generation has a flip record (invariant 4).
    let recovered = loaded.recover(env, dataset).await?.map(|(ulid, _)| ulid);
    let ulid = record::later(
        env.clock.ulid(),
        loaded.flips.last().copied().into_iter().chain(recovered).chain([candidate.generation.ulid]),
    );
    // Events need no intent record: an event never brings back a generation that has been live before.
    if cause.by != FlipOrigin::Event {
        let returned = RevertIntent {
            flip: ulid,
            to: candidate.generation,
            by: cause.by,
            why: cause.why.clone(),
            request_id: cause.request_id.clone(),
        };
        env.objects.put_new(&dataset.paths.revert_intent(ulid), record::to_json(&returned).into()).await?;
    }
    let adopted = adoption::of_flip(&loaded, &next);
    views::before(env, dataset, &next).await?;
    let sent = match &next {
        NextTable::Update { table, change } => {
            // Without a token, the update could overwrite another writer's update unnoticed.
            table.token()?;
            env.catalog.update(table, change).await
        }
        NextTable::Create(table) => env.catalog.create(table).await,
    };
    let previous = if matches!(sent, Ok(Update::Done)) {
        loaded.state.live
    } else {
        // The SDK retries by itself, so a conflict or an error may be the response to a retry after the first attempt
        // was committed.
        let now = load_unchanged(env, dataset, &candidate.generation).await?;
        let recorded = now.flips.last() != loaded.flips.last();
        match history::settled(&candidate.generation, loaded.state.live, &now.state, recorded) {
            Settled::NotLive => return sent.map(|_| None),
            Settled::OnRecord => return Ok(None),
            Settled::Replaced(previous) => previous,
        }
    };
    let flip = Flip {
        dataset: dataset.name.clone(),
        at: env.clock.now(),
        from: previous.location(&dataset.paths),
        to: candidate.generation,
        by: cause.by,
        why: cause.why.clone(),
        canary: if matches!(cause.by, FlipOrigin::Event | FlipOrigin::Operator) {
            pending_canary(dataset)
        } else {
            None
        },
        adopted,
        request_id: cause.request_id.clone(),
    };
    let key = dataset.paths.flip(ulid);
    let written = env.objects.put_new(&key, record::to_json(&flip).into()).await;
    if let Err(error) = &written {
        // The flip isn't undone. The next invocation finds that the live generation has no record, and writes one.
        warn!(dataset = dataset.name, key = %key, error = error.report(), "flip record not written");
    }
    if !matches!(previous, Live::Managed(_))
        && let Err(error) = identity::write(env, dataset, previous.location(&dataset.paths).as_ref()).await
    {
        // The next sweep writes it.
        warn!(dataset = dataset.name, error = error.report(), "the table's record was not written");
    }
    let live = Live::Managed(candidate.generation);
    let ended = FlipReport {
        outcome: Outcome::Committed,
        live,
        previous: Some(previous),
        reasons: views::after(env, dataset).await.into_iter().collect(),
        checks: Vec::new(),
    };
    Ok(Some(Committed { ended, ulid, flip, recorded: written.is_ok() }))
}

/// Loads the table's state, and starts again if the table changed while its state was loaded.
///
/// Otherwise, the records could include a flip that was made after the table was read. Then the candidate would seem to
/// have replaced that flip's target, and a flip that never happened would be recorded.
async fn load_unchanged(env: &Environment, dataset: &Dataset, candidate: &Generation) -> Result<TableState> {
    let mut attempts = Attempts::on(&dataset.table);
    loop {
        attempts.begin()?;
        let loaded = TableState::at(env, dataset, candidate).await?;
        if loaded.is_current(env, dataset).await? {
            return Ok(loaded);
        }
    }
}
