//! Finds tables that no dataset publishes any more, in databases that datasets.toml no longer names.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use turntable_core::{
    config::Config,
    error::Result,
    layout::{Location, TableName, TablePaths},
    record::PublishedTable,
};

use super::condition::{Condition, Topic};
use crate::{
    catalog,
    environment::Environment,
    publish::{identity, retired},
};

/// The maximum number of folders that are checked at the same time.
const MAX_CONCURRENT_FOLDERS: usize = 16;

/// Returns a condition for each table that still reads a published generation and is in a database that no dataset
/// names. The configured databases need no search, because their tables are listed anyway.
///
/// Finds the tables through the records `_table.json` in the folders next to the datasets' folders. Makes one request
/// per 1,000 folders, one per folder that belongs to no dataset, and one per record found.
pub(super) async fn in_other_databases(env: &Environment, config: &Config) -> Result<Vec<Condition>> {
    let own: BTreeSet<&Location> = config.known().map(|dataset| dataset.paths.location()).collect();
    let databases = config.databases();
    let parents: BTreeSet<Location> = own.iter().filter_map(|location| location.parent()).collect();
    let folders = stream::iter(parents)
        .map(|parent| async move { env.objects.folders(&parent).await })
        .buffered(MAX_CONCURRENT_FOLDERS)
        .try_collect::<Vec<_>>()
        .await?;
    let others = folders.into_iter().flatten().filter(|folder| !own.contains(folder));
    let found = stream::iter(others.collect::<Vec<_>>())
        .map(|folder| table_in(env, &databases, folder))
        .buffered(MAX_CONCURRENT_FOLDERS)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

async fn table_in(env: &Environment, databases: &BTreeSet<&str>, folder: Location) -> Result<Option<Condition>> {
    let name = folder.prefix.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if name.starts_with(['_', '.']) {
        return Ok(None);
    }
    let paths = TablePaths::at(folder.clone());
    // Another stack's tables are that stack's concern. A record that can't be read isn't Turntable's, or contains no
    // information.
    let Ok(Some(found)) = env.record::<PublishedTable>(&paths.table()).await else { return Ok(None) };
    if databases.contains(found.database.as_str())
        || identity::other_stack(env, &paths).await?.is_some()
        || retired::is_decided(env, &paths).await?
    {
        return Ok(None);
    }
    let table = TableName { database: found.database, table: found.table };
    let version = match env.catalog.table(&table).await {
        Ok(Some(version)) => version,
        Ok(None) => return Ok(None),
        Err(error) => {
            let message = format!(
                "{table} was published in {folder}, but no dataset in datasets.toml publishes it any more, and it can't be \
                 read: {}. Add its database to GlueDatabases, or delete the folder if the table is gone",
                error.report()
            );
            return Ok(Some(Condition::new(Topic::RetiredTable, table, message)));
        }
    };
    let reads = version.place().and_then(|at| TablePaths::of_generation(&at)).filter(|(of, _)| *of == paths);
    Ok(reads.map(|(_, generation)| {
        let message = catalog::retired_message(&table, &generation);
        Condition::new(Topic::RetiredTable, table, message)
    }))
}
