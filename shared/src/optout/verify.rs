//! Compares the live generation's objects with its manifest. If a lifecycle rule or a person deletes or adds files,
//! Athena returns fewer or more people without an error.

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

/// How the live generation's objects differ from its manifest.
#[derive(Debug, Default)]
pub struct Damage {
    /// A description of each object that is missing, has changed or isn't in the manifest.
    pub found: Vec<String>,
    /// If files are missing or have changed, the manifest of the generation to rebuild from: the newest complete
    /// generation that was live. It contains all drops that were archived, and the inbox still has all drops that it
    /// lacks.
    pub rebuild_from: Option<Manifest>,
}

impl Damage {
    pub fn is_none(&self) -> bool {
        self.found.is_empty()
    }
}

/// Checks the live generation for damage, and reports it in the log and in a metric. Fails with `Corrupt` if files are
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
             protected views fail until this is fixed. Restore the objects, or rebuild the table as \
             docs/opt-outs.md describes: {}",
            dataset.table,
            live.generation,
            found.join("; ")
        ))),
    }
}

/// Returns the manifest of the newest generation that was live and whose files all exist. `None` if there is none.
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
