//! Lists the tables of the configured databases, to find out which of them read published files.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use turntable_core::{
    config::{Config, Dataset},
    error::Result,
    layout::{Location, TablePaths},
    table::TableVersion,
};

use crate::environment::Environment;

/// The maximum number of databases that are listed at the same time.
const MAX_CONCURRENT_DATABASES: usize = 4;

/// Returns the tables of every database that datasets.toml names. This takes one request per 100 tables.
pub async fn tables(env: &Environment, config: &Config) -> Result<Vec<TableVersion>> {
    let databases: BTreeSet<&str> = config.datasets().map(|dataset| dataset.table.database.as_str()).collect();
    let listed = databases.into_iter().map(|database| env.catalog.tables(database, "")).collect::<Vec<_>>();
    let listed: Vec<Vec<TableVersion>> = stream::iter(listed).buffered(MAX_CONCURRENT_DATABASES).try_collect().await?;
    Ok(listed.into_iter().flatten().collect())
}

/// Returns a message for each table that reads a published generation, although no dataset publishes it any more: the
/// dataset was removed from datasets.toml, or its `table` or `location` was changed.
pub fn retired(config: &Config, tables: &[TableVersion]) -> Vec<String> {
    let datasets: Vec<&Dataset> = config.datasets().collect();
    let message = |table: &TableVersion| {
        let location: Location = table.location.as_deref()?.parse().ok()?;
        let (paths, generation) = TablePaths::of_generation(&location)?;
        let is_configured = datasets.iter().any(|dataset| dataset.table == table.name || dataset.paths == paths);
        (!is_configured && !table.is_audit()).then(|| {
            format!(
                "{}: the table reads {generation}, which Turntable published, but no dataset in datasets.toml publishes it \
                 any more: its rows stay as they are for ever. Configure the dataset again; or drop the table, then \
                 delete {}",
                table.name,
                paths.location()
            )
        })
    };
    tables.iter().filter_map(message).collect()
}
