//! The record of the last audit that rejected a candidate, so that `status` can say why the candidate is not live.

use tracing::warn;
use turntable_core::{
    config::Dataset,
    error::Result,
    layout::Generation,
    record::{self, Verdict},
};

use crate::environment::Environment;

/// Returns why a candidate was rejected, or `None` if it wasn't.
pub async fn read(env: &Environment, dataset: &Dataset, generation: &Generation) -> Result<Option<Verdict>> {
    env.record(&dataset.paths.verdict(generation)).await
}

/// Records why a candidate was rejected. A failure is only logged, because the caller reports the reasons anyway.
pub async fn write(env: &Environment, dataset: &Dataset, generation: &Generation, reasons: &[String]) {
    let verdict = Verdict { at: env.clock.now(), reasons: reasons.to_vec() };
    let key = dataset.paths.verdict(generation);
    if let Err(error) = env.objects.put(&key, record::to_json(&verdict).into()).await {
        warn!(dataset = dataset.name, key = %key, error = error.report(), "verdict not recorded");
    }
}
