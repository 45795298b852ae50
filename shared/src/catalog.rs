//! Lists the tables of the configured databases, to find out which of them read published files.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use turntable_core::{
    config::{Config, Dataset},
    error::{Error, Result},
    layout::{Location, TableName, TablePaths},
    table::TableVersion,
};

use crate::{
    environment::Environment,
    publish::{identity, retired},
};

/// The tables of some databases, and the databases whose tables could not be listed.
#[derive(Debug, Default)]
pub struct Tables {
    pub listed: Vec<Reader>,
    pub failed: BTreeMap<String, Error>,
}

/// A table, and every location that Athena reads for it. Audits' temporary tables are left out.
#[derive(Debug, Clone)]
pub struct Reader {
    pub name: TableName,
    pub locations: Vec<Location>,
}

/// The maximum number of databases that are listed at the same time.
const MAX_CONCURRENT_DATABASES: usize = 4;

/// Lists the tables of every database that datasets.toml names. This takes one request per 100 tables.
pub async fn tables(env: &Environment, config: &Config) -> Tables {
    let databases = config.datasets().map(|dataset| dataset.table.database.clone()).collect::<BTreeSet<_>>();
    let listed = databases.into_iter().map(|database| async move {
        let readers = in_database(env, &database).await;
        (database, readers)
    });
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

/// Lists the tables of one database.
pub async fn in_database(env: &Environment, database: &str) -> Result<Vec<Reader>> {
    let tables = env.catalog.tables(database, "").await?;
    Ok(tables.iter().filter(|table| !table.is_audit()).map(Reader::of).collect())
}

impl Reader {
    fn of(table: &TableVersion) -> Reader {
        let location = table.location.as_deref().and_then(|location| location.parse().ok());
        let locations = location.into_iter().chain(table.template_folder()).collect();
        Reader { name: table.name.clone(), locations }
    }
}

/// Returns a message for each table that reads a published generation, although no dataset publishes it any more: the
/// dataset was removed from datasets.toml, or its `table` or `location` was changed. Leaves out tables that another stack
/// publishes.
pub async fn retired(env: &Environment, config: &Config, tables: &[Reader]) -> Result<Vec<String>> {
    let datasets: Vec<&Dataset> = config.datasets().collect();
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
        messages.push(format!(
            "{0}: the table reads {generation}, which Turntable published, but no dataset in datasets.toml publishes it any \
             more: its rows stay as they are for ever. Configure the dataset again, or invoke flip with \
             {{\"dataset\":\"{0}\",\"action\":\"retire\",\"table\":\"keep\",\"reason\":\"…\"}}; \"drop\" drops the table",
            table.name
        ));
    }
    Ok(messages)
}
