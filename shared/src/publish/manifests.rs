//! Reads and writes manifests.

use turntable_core::{
    config::Dataset,
    error::{Error, Result},
    layout::{Generation, Location, TablePaths},
    manifest::Manifest,
    port::Put,
};

use crate::environment::Environment;

/// Reads a generation's manifest. Returns `None` if there is none.
///
/// Fails with `Corrupt` if the manifest names another location. It may name another dataset, because a dataset keeps
/// its generations if its name in datasets.toml changes but its table doesn't.
pub async fn manifest(env: &Environment, dataset: &Dataset, generation: &Generation) -> Result<Option<Manifest>> {
    let key = dataset.paths.manifest(generation);
    match env.objects.get(&key).await? {
        None => Ok(None),
        Some(json) => {
            let manifest = Manifest::from_json(&key, generation, &json)?;
            if manifest.location != dataset.paths.generation(generation) {
                return Err(Error::corrupt(format!(
                    "{key} names location {}, so it was not written for this folder: leave it for inspection and invoke \
                     export again",
                    manifest.location
                )));
            }
            Ok(Some(manifest))
        }
    }
}

/// Reads the manifest of the generation at a location, which may belong to any table. Returns `None` if this isn't a
/// generation's location, or if there is no manifest.
pub(super) async fn manifest_at(env: &Environment, location: &Location) -> Result<Option<Manifest>> {
    let Some((paths, generation)) = TablePaths::of_generation(location) else { return Ok(None) };
    let key = paths.manifest(&generation);
    env.objects.get(&key).await?.map(|json| Manifest::from_json(&key, &generation, &json)).transpose()
}

/// Reads the manifest of a generation that a request names. Fails with `Input` if there is none.
pub(super) async fn candidate(env: &Environment, dataset: &Dataset, generation: &Generation) -> Result<Manifest> {
    manifest(env, dataset, generation).await?.ok_or_else(|| {
        Error::input(format!(
            "{}: no such manifest, so the generation does not exist; `status` lists the generations that do",
            dataset.paths.manifest(generation)
        ))
    })
}

/// Writes a generation's manifest, unless it already exists. The manifest makes the generation complete, so it must be
/// written after all files.
///
/// Returns `false` if the manifest already exists: another run has the same name, or another invocation has settled
/// this run.
pub async fn complete(env: &Environment, dataset: &Dataset, manifest: &Manifest) -> Result<bool> {
    let key = dataset.paths.manifest(&manifest.generation);
    Ok(env.objects.put_new(&key, manifest.to_json().into()).await? == Put::Created)
}

/// Like [`complete`], for a run whose name no other run shares. Fails with `Corrupt` if the manifest already exists.
pub async fn complete_new(env: &Environment, dataset: &Dataset, manifest: &Manifest) -> Result<()> {
    if complete(env, dataset, manifest).await? {
        return Ok(());
    }
    let key = dataset.paths.manifest(&manifest.generation);
    Err(Error::corrupt(format!(
        "{key} already exists, so another run wrote this generation: invoke the function again to write a new one"
    )))
}
