//! Generations that Athena and Glue build: what came of it, in the log, the metrics and the answer.

use std::time::Duration;

use serde_json::json;
use tracing::{error, info};
use turntable::{
    answer::Engaged,
    config::{Config, Dataset},
    engine::{self, Engines, Outcome},
    error::{Error, Result},
    layout::Generation,
    metric::{Metric, emit},
    record::{Pending, Run},
};

use crate::{Answer, Export, exported};

/// A request for a generation: a run is started, unless one is pending.
pub async fn export(export: &Export, dataset: &Dataset) -> Result<Answer> {
    told(export, engine::export(&engines(export), dataset).await?).await
}

/// The event of a run's end.
pub async fn ended(export: &Export, config: &Config, run: &Run) -> Result<Answer> {
    told(export, engine::heard(&engines(export), config, run).await?).await
}

/// A run that may have ended, and nobody has said so.
pub async fn pending(export: &Export, dataset: &Dataset, generation: &Generation) -> Result<Answer> {
    told(export, engine::nudged(&engines(export), dataset, generation).await?).await
}

fn engines(export: &Export) -> Engines {
    Engines { world: export.world.clone(), engine: export.engine.clone() }
}

async fn told(export: &Export, outcome: Outcome) -> Result<Answer> {
    let world = &export.world;
    let of = |pending: Pending, outcome| Engaged {
        dataset: Some(pending.dataset),
        generation: Some(pending.generation),
        outcome,
        run: pending.run,
        as_of: Some(pending.as_of),
        reason: None,
    };
    let engaged = match outcome {
        Outcome::Complete(manifest) => {
            let took = world.clock.now().duration_since(manifest.as_of);
            let took = Duration::try_from(took).unwrap_or_default();
            return Ok(Answer::Exported(exported(world, manifest, took)));
        }
        Outcome::Started(pending) => of(pending, "started"),
        Outcome::Running(pending) => of(pending, "running"),
        Outcome::Failed(pending, why) => {
            failed(export, &pending, &why).await?;
            engine::failed(world, &pending, &why).await?;
            Engaged { reason: Some(why.report()), ..of(pending, "failed") }
        }
        Outcome::Nothing(why) => {
            Engaged { dataset: None, generation: None, outcome: "nothing", run: None, as_of: None, reason: Some(why) }
        }
    };
    if engaged.outcome != "failed" {
        info!(
            dataset = engaged.dataset,
            outcome = engaged.outcome,
            run = engaged.run,
            of = engaged.generation.map(|generation| generation.to_string()),
            reason = engaged.reason,
            "engine"
        );
    }
    Ok(Answer::Engaged(engaged))
}

/// An error in the log, a metric, and a dead letter: whoever sends it back to the queue starts a run anew.
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
    emit(export.world.clock.now(), dataset, &[(Metric::EngineFailed, 1.0)]);
    export.queue.bury(&json!({ "dataset": dataset }).to_string(), why).await
}
