//! Determines which generations of a dataset's inputs are live, and whether the dataset must be built again.

use turntable_core::{
    config::Dataset,
    due::{Inputs, is_due_after},
    error::Result,
    layout::{Location, TablePaths},
    manifest::Manifest,
};

use crate::{environment::Environment, publish};

/// Returns the live generations of the dataset's inputs. Makes one request for each input.
pub async fn live(env: &Environment, dataset: &Dataset) -> Result<Inputs> {
    let mut live = Inputs::new();
    for input in dataset.refresh.iter().flat_map(|refresh| refresh.inputs()) {
        let table = env.catalog.table(&input.table).await?;
        let location: Option<Location> = table.and_then(|table| table.location?.parse().ok());
        let generation = location.and_then(|location| input.paths.parse_generation(&location));
        live.extend(generation.map(|generation| (input.dataset.clone(), generation)));
    }
    Ok(live)
}

/// Returns the inputs from which the dataset's newest complete generation was built. Empty if there is no generation.
/// Makes two requests.
pub async fn built(env: &Environment, dataset: &Dataset) -> Result<Inputs> {
    Ok(newest(env, dataset).await?.map(|manifest| manifest.inputs).unwrap_or_default())
}

/// Returns the manifest of the dataset's newest complete generation, whether that is live or not. `None` if there is
/// none. Makes two requests.
pub async fn newest(env: &Environment, dataset: &Dataset) -> Result<Option<Manifest>> {
    let manifests = env.objects.list(&dataset.paths.manifests(), None).await?;
    let complete = manifests.iter().filter_map(|entry| TablePaths::parse_manifest(&entry.key));
    let Some((_, newest)) = complete.max_by_key(|(_, generation)| generation.ulid) else { return Ok(None) };
    publish::manifest(env, dataset, &newest).await
}

/// Returns whether the dataset must be built again, because its inputs have flipped since its newest generation was
/// built.
pub async fn is_due(env: &Environment, dataset: &Dataset) -> Result<bool> {
    let Some(refresh) = dataset.refresh.as_ref().filter(|refresh| !refresh.after.is_empty()) else { return Ok(false) };
    let (built, live) = futures::try_join!(built(env, dataset), live(env, dataset))?;
    // Without all opt-out tables there is no view to build a filtered table from.
    if dataset.filters.is_some() && live.len() < refresh.inputs().len() {
        return Ok(false);
    }
    Ok(is_due_after(refresh, &built, &live))
}
