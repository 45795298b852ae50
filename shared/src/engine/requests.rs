//! Handles requests about engine runs: starts a run, settles it when it has ended, or checks its state.

use turntable_core::{
    config::{Config, Dataset},
    error::Result,
    layout::{Generation, TablePaths},
    record::EngineRun,
};

use super::{
    outcome::{Engines, Outcome},
    pending::{unsettled, unsettled_runs},
    settle, start,
};

/// Starts a run for the dataset. If a run is already pending, checks that run instead, and settles it if it has ended.
pub async fn export(engines: &Engines, dataset: &Dataset) -> Result<Outcome> {
    for pending in unsettled_runs(&engines.env, dataset).await?.into_iter().rev() {
        match settle::pending(engines, dataset, pending).await? {
            // Another invocation has settled this run in the meantime.
            Outcome::Nothing(_) => {}
            // If the run has failed, this attempt only reports it, and the next one starts a new run.
            outcome => return Ok(outcome),
        }
    }
    start::fresh(engines, dataset).await
}

/// Handles an event about the end of a run: requests the run's state from the engine, and settles the run if it is
/// pending.
pub async fn run_ended(engines: &Engines, config: &Config, run: &EngineRun) -> Result<Outcome> {
    let Some(progress) = engines.engine.progress(run).await? else {
        return Ok(Outcome::Nothing("the engine does not know this run".into()));
    };
    let paths = progress.location.as_ref().and_then(TablePaths::of_generation);
    let Some((paths, generation)) = paths else {
        return Ok(Outcome::Nothing("the run is unmanaged: it doesn't write to a generation's location".into()));
    };
    // An account may have several stacks, and each receives the events for all stacks' runs.
    let Ok(dataset) = config.dataset_at(&paths) else {
        return Ok(Outcome::Nothing(format!("no dataset in datasets.toml publishes to {}", paths.location())));
    };
    match unsettled(&engines.env, dataset, &generation).await? {
        Some(pending) => settle::ended(engines, dataset, pending, progress.state).await,
        None => Ok(Outcome::Nothing(format!("{generation} of {} is not pending", dataset.name))),
    }
}

/// Checks a pending run, and settles it if it has ended.
pub async fn check_pending(engines: &Engines, dataset: &Dataset, generation: &Generation) -> Result<Outcome> {
    match unsettled(&engines.env, dataset, generation).await? {
        Some(pending) => settle::pending(engines, dataset, pending).await,
        None => Ok(Outcome::Nothing(format!("{generation} of {} is not pending", dataset.name))),
    }
}
