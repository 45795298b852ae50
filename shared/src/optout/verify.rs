//! Compares the objects of the live generation with its manifest. A lifecycle rule or a person may delete or add files,
//! and Athena would return fewer or more people without an error.

use tracing::{error, warn};
use turntable_core::{
    config::{Dataset, Inbox},
    error::{Error, Kind, Result},
    history::once_live,
    layout::Generation,
    manifest::Manifest,
    verify::FileDifferences,
};
use ulid::Ulid;

use crate::{
    environment::Environment,
    metric::{Metric, emit},
    publish::{self, published},
};

/// How the objects of the live generation differ from its manifest.
#[derive(Debug, Default)]
pub struct Damage {
    /// Each object that is missing, has changed or is not in the manifest.
    pub found: Vec<String>,
    /// The manifest of the generation to rebuild from, if files are missing or have changed: the newest complete one
    /// that was live. It contains every drop that was archived, and the inbox still has all drops that it lacks.
    pub rebuild_from: Option<Manifest>,
}

impl Damage {
    pub fn is_none(&self) -> bool {
        self.found.is_empty()
    }
}

/// Looks for damage to the live generation, and reports it in the log and in a metric. Fails as `Corrupt` if files are
/// lost and no complete generation is left to rebuild from.
pub async fn live(env: &Environment, dataset: &Dataset, inbox: &Inbox, live: &Manifest) -> Result<Damage> {
    let FileDifferences { found, lost } = publish::verify::files(env, live).await?;
    if found.is_empty() {
        return Ok(Damage::default());
    }
    error!(dataset = dataset.name, generation = %live.generation, ?found, "the live opt-outs are damaged");
    emit(env.clock.now(), &dataset.name, &[(Metric::DamagedLive, found.len() as f64)]);
    if !lost {
        return Ok(Damage { found, rebuild_from: None });
    }
    match newest_complete(env, dataset, inbox, live.generation).await? {
        Some(rebuild_from) => {
            warn!(dataset = dataset.name, from = %rebuild_from.generation, "rebuilding the live opt-outs");
            Ok(Damage { found, rebuild_from: Some(rebuild_from) })
        }
        None => Err(Error::corrupt(format!(
            "{}: files of the live generation {} are lost, and no complete generation is left to rebuild it from: \
             protected views fail until they are restored. Restore the objects, or rebuild the table as \
             docs/opt-outs.md describes: {}",
            dataset.table,
            live.generation,
            found.join("; ")
        ))),
    }
}

/// Returns the manifest of the newest generation that was live and whose files all exist.
async fn newest_complete(
    env: &Environment,
    dataset: &Dataset,
    inbox: &Inbox,
    damaged: Generation,
) -> Result<Option<Manifest>> {
    let recorded = publish::flips(env, dataset, Some(Ulid::nil())).await?;
    for generation in once_live(&recorded).into_iter().filter(|generation| *generation != damaged) {
        match published::generation(env, inbox, &dataset.paths.generation(&generation)).await {
            Ok((manifest, _)) => return Ok(Some(manifest)),
            // Sweep has deleted this generation, or it is damaged too.
            Err(error) if error.kind() == Kind::Corrupt => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
