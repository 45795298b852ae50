//! The identity of a table's folder: which table is published in it, and under which name.
//!
//! The record `_table.json` is read only while the dataset's table doesn't read from the folder, so that a flip of a
//! table that Turntable publishes costs no request.

use turntable_core::{
    config::Dataset,
    decision::Live,
    error::{Error, Result},
    layout::{Location, TableName},
    record::{self, PublishedTable},
};

use crate::environment::{self, Environment};

/// Reads the record of the table that is published in the dataset's folder. `None` if there is none.
async fn read(env: &Environment, dataset: &Dataset) -> Result<Option<PublishedTable>> {
    let key = dataset.paths.table();
    env.objects.get(&key).await?.map(|json| record::from_json(&key, &json)).transpose()
}

/// Fails as `Config` if another table is published in the dataset's folder and still reads from it: the dataset's
/// `database` or `table` was changed. The old table would keep its last rows for ever, and sweep would delete its
/// files.
pub async fn check(env: &Environment, dataset: &Dataset, live: &Live) -> Result<()> {
    if matches!(live, Live::Managed(_)) {
        return Ok(());
    }
    let Some(found) = read(env, dataset).await? else { return Ok(()) };
    let name = TableName { database: found.database, table: found.table };
    if name == dataset.table {
        return Ok(());
    }
    let other = env.catalog.table(&name).await?;
    let location = other.and_then(|table| table.location).and_then(|at| at.parse::<Location>().ok());
    let reads_here = location.is_some_and(|at| at.overlaps(dataset.paths.location()));
    if !reads_here {
        return Ok(());
    }
    Err(Error::config(format!(
        "datasets.{} publishes {}, but {} is the table that was published in {} and still reads from there: it would keep \
         its last rows for ever. Set database and table back; or give this dataset another location, move the readers to \
         the new table, and drop {} then, while GlueDatabases still lists its database",
        dataset.name,
        dataset.table,
        name,
        dataset.paths.location(),
        name
    )))
}

/// Returns a message if another stack's record says that it publishes the dataset's table.
pub async fn other_stack(env: &Environment, dataset: &Dataset) -> Result<Option<String>> {
    let (Some(own), Some(found)) = (environment::optional("STACK"), read(env, dataset).await?) else { return Ok(None) };
    let Some(other) = found.stack.filter(|other| *other != own) else { return Ok(None) };
    Ok(Some(format!(
        "{}: the stack {other} publishes this table too, and each stack would undo the other's flips: remove the dataset \
         from one of them, then delete {}",
        dataset.table,
        dataset.paths.table()
    )))
}

/// Writes the record of the table that is published in the dataset's folder, if it is missing or says something else.
/// The table must currently read from the folder. Leaves another stack's record alone.
pub async fn write(env: &Environment, dataset: &Dataset) -> Result<()> {
    let found = read(env, dataset).await.ok().flatten();
    let table = PublishedTable {
        database: dataset.table.database.clone(),
        table: dataset.table.table.clone(),
        dataset: dataset.name.clone(),
        group: dataset.group.as_ref().map(|group| group.name.clone()),
        stack: environment::optional("STACK"),
    };
    let of_other_stack = found.as_ref().is_some_and(|found| found.stack.is_some() && found.stack != table.stack);
    if of_other_stack || found.as_ref() == Some(&table) {
        return Ok(());
    }
    env.objects.put(&dataset.paths.table(), record::to_json(&table).into()).await
}
