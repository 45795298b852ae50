//! Lists the tables in the configured databases, to find out which of them read published files.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use turntable_core::{
    config::{Config, Dataset},
    error::{Error, Result},
    layout::{Generation, Location, TableName, TablePaths},
    table::TableVersion,
};

use crate::{
    environment::Environment,
    publish::{identity, retired},
};

/// The tables in some databases, and the databases whose tables could not be listed.
#[derive(Debug, Default)]
pub struct Tables {
    pub listed: Vec<Reader>,
    pub failed: BTreeMap<String, Error>,
}

/// A table, and all locations that Athena reads for it. Audits' temporary tables are left out.
#[derive(Debug, Clone)]
pub struct Reader {
    pub name: TableName,
    pub locations: Vec<Location>,
}

/// The maximum number of databases that are listed at the same time.
const MAX_CONCURRENT_DATABASES: usize = 4;

/// Lists the tables in all databases that datasets.toml names. This takes one request per 100 tables.
pub async fn tables(env: &Environment, config: &Config) -> Tables {
    let databases = config.databases();
    let listed =
        databases.into_iter().map(|database| async move { (database.to_owned(), in_database(env, database).await) });
    let listed: Vec<_> = stream::iter(listed.collect::<Vec<_>>()).buffered(MAX_CONCURRENT_DATABASES).collect().await;
    let mut tables = Tables::default();
    for (database, readers) in listed {
        match readers {
            Ok(readers) => tables.listed.extend(readers),
            Err(error) => drop(tables.failed.insert(database, error)),
        }
    }
    tables
}

/// Lists the tables in one database.
pub async fn in_database(env: &Environment, database: &str) -> Result<Vec<Reader>> {
    let tables = env.catalog.tables(database, "").await?;
    Ok(tables.iter().filter(|table| !table.is_audit()).map(Reader::of).collect())
}

impl Reader {
    fn of(table: &TableVersion) -> Reader {
        let locations = table.place().into_iter().chain(table.template_folder()).collect();
        Reader { name: table.name.clone(), locations }
    }
}

/// Returns the tables that still read a published generation although no dataset publishes them any more, each with a
/// message. This happens if the dataset was removed from datasets.toml, or if its `table` or `location` was changed.
/// Leaves out tables that another stack publishes.
pub async fn retired(env: &Environment, config: &Config, tables: &[Reader]) -> Result<Vec<(TableName, String)>> {
    let datasets: Vec<&Dataset> = config.known().collect();
    let mut messages = Vec::new();
    for table in tables {
        let Some((paths, generation)) = table.locations.iter().find_map(TablePaths::of_generation) else { continue };
        let is_configured = |dataset: &&Dataset| dataset.table == table.name || dataset.paths == paths;
        if datasets.iter().any(is_configured)
            || identity::other_stack(env, &paths).await?.is_some()
            || retired::is_decided(env, &paths).await?
        {
            continue;
        }
        let in_folder = |reader: &Reader| reader.locations.iter().any(|at| at.overlaps(paths.location()));
        let is_renamed = |dataset: &&&Dataset| {
            !dataset.is_inbox() && tables.iter().any(|reader| reader.name == dataset.table && in_folder(reader))
        };
        // After a rename has created the new table, that table reads the old folder until the next flip.
        let message = match datasets.iter().find(is_renamed) {
            Some(dataset) => identity::unfinished_message(dataset, &table.name),
            None => retired_message(&table.name, &generation),
        };
        messages.push((table.name.clone(), message));
    }
    Ok(messages)
}

/// Returns the message about a table that no dataset publishes any more.
pub fn retired_message(table: &TableName, generation: &Generation) -> String {
    format!(
        "{table}: the table reads {generation}, which Turntable published, but no dataset in datasets.toml publishes it any \
         more: its rows stay as they are for ever. Configure the dataset again, or invoke flip with \
         {{\"dataset\":\"{table}\",\"action\":\"retire\",\"table\":\"keep\",\"reason\":\"…\"}}; \"drop\" drops the table"
    )
}

/// Returns the tables that read a dataset's whole folder, each with a message. Queries on such a table return the rows
/// of all generations at once. Sweep deletes no generation in the folder, because it can't tell which ones the table's
/// readers need.
pub fn over_folders(config: &Config, tables: &[Reader]) -> Vec<(TableName, String)> {
    let message = |table: &Reader| {
        let read = |dataset: &&Dataset| {
            let (folder, own) = (dataset.paths.location(), dataset.table == table.name);
            !own && table.locations.iter().any(|at| at.bucket == folder.bucket && folder.prefix.starts_with(&at.prefix))
        };
        let datasets: Vec<&str> = config.datasets().filter(read).map(|dataset| dataset.name.as_str()).collect();
        (!datasets.is_empty()).then(|| {
            let message = format!(
                "{}: the table reads the whole folder of {}, so its queries return the rows of every generation at once, \
                 and sweep deletes no generation there: set the table's location to a separate folder, or drop the table",
                table.name,
                datasets.join(", ")
            );
            (table.name.clone(), message)
        })
    };
    tables.iter().filter_map(message).collect()
}
