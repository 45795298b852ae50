//! Handles requests about engine runs, and reports their outcomes in the log, the metrics and the answer.

use std::time::Duration;

use serde_json::json;
use tracing::{error, info};
use turntable_core::{
    config::{Config, Dataset},
    error::{Error, Result},
    layout::Generation,
    record::{EngineRun, Pending},
};

use super::{
    answer::{Answer, EngineOutcome, EngineResponse},
    environment::Export,
    report::exported,
};
use crate::{
    engine::{self, Engines, Outcome},
    metric::{Metric, emit},
};

/// Starts an engine run for a new generation, unless one is pending.
pub async fn export(export: &Export, dataset: &Dataset) -> Result<Answer> {
    // Boxed, because the future is large. So are the two below.
    report(export, Box::pin(engine::export(&engines(export), dataset)).await?).await
}

/// Settles a run after an event has reported its end.
pub async fn ended(export: &Export, config: &Config, run: &EngineRun) -> Result<Answer> {
    report(export, Box::pin(engine::run_ended(&engines(export), config, run)).await?).await
}

/// Checks a pending run, whose end event may have been lost, and settles it if it has ended.
pub async fn pending(export: &Export, dataset: &Dataset, generation: &Generation) -> Result<Answer> {
    report(export, Box::pin(engine::check_pending(&engines(export), dataset, generation)).await?).await
}

fn engines(export: &Export) -> Engines {
    Engines { env: export.env.clone(), engine: export.engine.clone() }
}

/// Reports the outcome in the log and the metrics. If the run failed, also writes its failed record. Returns the
/// answer.
async fn report(export: &Export, outcome: Outcome) -> Result<Answer> {
    let env = &export.env;
    let of = |pending: Pending, outcome| EngineResponse {
        dataset: Some(pending.dataset),
        generation: Some(pending.generation),
        outcome,
        run: pending.run,
        as_of: Some(pending.as_of),
        reason: None,
    };
    let response = match outcome {
        Outcome::Complete(manifest) => {
            let took = env.clock.now().duration_since(manifest.as_of);
            let took = Duration::try_from(took).unwrap_or_default();
            return Ok(Answer::Exported(exported(env, manifest, took)));
        }
        Outcome::Started(pending) => of(pending, EngineOutcome::Started),
        Outcome::Running(pending) => of(pending, EngineOutcome::Running),
        Outcome::Failed(pending, why) => {
            failed(export, &pending, &why).await?;
            engine::failed(env, &pending, &why).await?;
            EngineResponse { reason: Some(why.report()), ..of(pending, EngineOutcome::Failed) }
        }
        Outcome::Nothing(why) => EngineResponse {
            dataset: None,
            generation: None,
            outcome: EngineOutcome::Nothing,
            run: None,
            as_of: None,
            reason: Some(why),
        },
    };
    if response.outcome != EngineOutcome::Failed {
        info!(
            dataset = response.dataset,
            outcome = response.outcome.as_str(),
            run = response.run,
            of = response.generation.map(|generation| generation.to_string()),
            reason = response.reason,
            "engine"
        );
    }
    Ok(Answer::EngineResponse(response))
}

/// Reports a failed run: logs an error, emits a metric, and sends a message to the dead-letter queue. If an operator
/// moves that message back to `export`'s queue, a new run starts.
async fn failed(export: &Export, pending: &Pending, why: &Error) -> Result<()> {
    let dataset = &pending.dataset;
    error!(
        dataset,
        of = %pending.generation,
        run = pending.run,
        kind = why.kind().as_str(),
        error = why.report(),
        "engine failed"
    );
    emit(export.env.clock.now(), dataset, &[(Metric::EngineFailed, 1.0)]);
    export.queue.dead_letter(&json!({ "dataset": dataset }).to_string(), why).await
}
