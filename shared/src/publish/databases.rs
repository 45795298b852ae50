//! Finds the databases where tables have been published, including those that datasets.toml no longer names.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use turntable_core::{
    config::Config,
    error::{Kind, Result},
    layout::{Location, TableName, TablePaths},
    record::PublishedTable,
};

use super::retired;
use crate::environment::Environment;

/// The maximum number of folders that are checked at the same time.
const MAX_CONCURRENT_FOLDERS: usize = 16;

/// Returns the databases that datasets.toml names, and those that are named in the records of all folders next to the
/// datasets' folders or in the records of all retired tables. Makes one request per 1,000 folders and one per record.
pub(super) async fn on_record(env: &Environment, config: &Config) -> Result<BTreeSet<String>> {
    let mut databases: BTreeSet<String> = config.databases().into_iter().map(str::to_owned).collect();
    let parents: BTreeSet<Location> =
        config.datasets().filter_map(|dataset| dataset.paths.location().parent()).collect();
    let mut folders = BTreeSet::new();
    for parent in parents {
        folders.extend(env.objects.folders(&parent).await?);
    }
    let found = stream::iter(folders)
        .map(|folder| in_folder(env, folder))
        .buffered(MAX_CONCURRENT_FOLDERS)
        .try_collect::<Vec<_>>()
        .await?;
    databases.extend(found.into_iter().flatten());
    databases.extend(retired::all(env, config).await?.into_iter().map(|found| found.record.database));
    Ok(databases)
}

async fn in_folder(env: &Environment, folder: Location) -> Result<Vec<String>> {
    let found: Option<PublishedTable> = match env.record(&TablePaths::at(folder).table()).await {
        // The object is not one of Turntable's records.
        Err(error) if error.kind() == Kind::Corrupt => None,
        found => found?,
    };
    let Some(found) = found else { return Ok(Vec::new()) };
    let earlier = found.renamed.iter().filter_map(|renamed| renamed.from.parse::<TableName>().ok());
    Ok(earlier.map(|name| name.database).chain([found.database]).collect())
}
