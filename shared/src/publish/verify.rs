//! Verifies a live table: compares the table and its files with its live generation's manifest.

use tracing::warn;
use turntable_core::{
    config::Dataset,
    error::Result,
    layout::Generation,
    manifest::Manifest,
    port::Update,
    table::{NextTable, TableChange, TableVersion},
    verify::{FileDifferences, published_columns, table_differences},
};

use super::{evidence, views};
use crate::environment::Environment;

/// Returns how a table differs from its live generation's manifest, apart from its location and its files.
pub(super) fn edits(table: Option<&TableVersion>, live: Option<&Manifest>) -> Vec<String> {
    table.zip(live).map(|(table, live)| table_differences(table, live)).unwrap_or_default()
}

/// Sends one `UpdateTable` that sets the table's columns, projection and format to those of its live generation.
/// Returns `false` if another writer was first.
pub(super) async fn restore(
    env: &Environment,
    dataset: &Dataset,
    table: &TableVersion,
    live: &Manifest,
) -> Result<bool> {
    table.token()?;
    let columns = published_columns(&table.columns, live);
    let change = TableChange {
        location: Some(live.location.clone()),
        columns: Some(columns),
        partitions: live.partitions.clone(),
    };
    views::before(env, dataset, &NextTable::Update { table: Box::new(table.clone()), change: change.clone() }).await?;
    let sent = env.catalog.update(table, &change).await;
    if !matches!(sent, Ok(Update::Done)) {
        // The response may have been lost, or a retry may have conflicted with its own first attempt. Only the table
        // shows whether the update was made.
        let now = env.catalog.table(&dataset.table).await?;
        if !now.is_some_and(|now| is_at(&now, live) && table_differences(&now, live).is_empty()) {
            return sent.map(|_| false);
        }
    }
    if let Some(message) = views::after(env, dataset).await {
        warn!(dataset = dataset.name, message, "view not restored");
    }
    Ok(true)
}

/// Returns whether the table is at this generation's location.
pub(super) fn is_at(table: &TableVersion, live: &Manifest) -> bool {
    table.place().as_ref() == Some(&live.location)
}

/// The messages about differences between a table and its live generation. `None` means no difference.
#[derive(Debug, Default)]
pub struct Differences {
    pub edited: Option<String>,
    pub damaged: Option<String>,
}

/// Compares a table and its files with its live generation's manifest. Makes one listing and changes nothing.
pub async fn verify(
    env: &Environment,
    dataset: &Dataset,
    table: Option<&TableVersion>,
    live: Option<&Manifest>,
) -> Result<Differences> {
    let Some(live) = live else { return Ok(Differences::default()) };
    let (edits, files) = (edits(table, Some(live)), files(env, live).await?);
    Ok(Differences {
        edited: (!edits.is_empty()).then(|| edited(dataset, &edits)),
        damaged: (!files.found.is_empty()).then(|| damaged(dataset, live.generation, &files)),
    })
}

/// Returns the message about a table that somebody has edited.
pub(super) fn edited(dataset: &Dataset, found: &[String]) -> String {
    format!(
        "{}: the table differs from its live generation, so readers may get errors or wrong rows: {}. Something outside \
         Turntable changed it: the next flip restores it, and so does a flip request for the live generation",
        dataset.table,
        found.join("; ")
    )
}

/// Compares a live generation's files with its manifest. Makes one listing.
pub async fn files(env: &Environment, live: &Manifest) -> Result<FileDifferences> {
    Ok(FileDifferences::of(live, &evidence::objects(&env.objects, live).await?))
}

/// Returns the message about files that were lost, changed or added.
pub(super) fn damaged(dataset: &Dataset, live: Generation, files: &FileDifferences) -> String {
    let (effect, way_out) = match files.lost {
        true => ("readers miss rows, without an error", "roll back to a complete generation, or export again"),
        false => ("readers get rows that nobody published", "delete the objects, or export again"),
    };
    format!(
        "{}: the files of the live generation {live} are not those that were published, so {effect}: {}. To fix it, \
         {way_out}",
        dataset.table,
        shortened(&files.found)
    )
}

/// The maximum number of files that a message names.
const MAX_NAMED: usize = 5;

pub(super) fn shortened(found: &[String]) -> String {
    let named = found.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join("; ");
    match found.len().saturating_sub(MAX_NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}
