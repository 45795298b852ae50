//! The identity of a table's folder: which table is published in it, and under which name.
//!
//! The record `_table.json` is read only while the dataset's table doesn't read from the folder, so that a flip of a
//! table that Turntable publishes costs no request.

use jiff::SignedDuration;
use turntable_core::{
    config::Dataset,
    decision::Live,
    error::{Error, Kind, Result},
    layout::{Location, TableName, TablePaths},
    record::{self, Dropped, PublishedTable},
};

use crate::environment::{self, Environment};

/// Fails as `Config` if another table is published in the dataset's folder and still reads from it: the dataset's
/// `database` or `table` was changed. The old table would keep its last rows for ever, and sweep would delete its
/// files.
pub async fn check(env: &Environment, dataset: &Dataset, live: &Live) -> Result<()> {
    if matches!(live, Live::Managed(_)) {
        return Ok(());
    }
    let found: Option<PublishedTable> = env.record(&dataset.paths.table()).await?;
    let Some(found) = found else { return Ok(()) };
    let name = TableName { database: found.database, table: found.table };
    if name == dataset.table {
        return Ok(());
    }
    let other = env.catalog.table(&name).await?;
    let location = other.and_then(|table| table.place());
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

/// Returns the stack that publishes the table in a folder, if it is not this stack. `None` also if this stack is unknown.
pub async fn other_stack(env: &Environment, paths: &TablePaths) -> Result<Option<String>> {
    let found: Option<PublishedTable> = env.record(&paths.table()).await?;
    Ok(found.and_then(|found| other_than_this(&found)))
}

fn other_than_this(found: &PublishedTable) -> Option<String> {
    let own = environment::optional("STACK")?;
    found.stack.clone().filter(|stack| *stack != own)
}

/// How long after its drain a table that was dropped is still looked for, in case somebody made it again.
const FORGET_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// Returns the locations that tables with earlier names read. A rename may have kept such a table, or may still be in
/// progress, and its database may no longer be configured. What such a table read until it was dropped counts for
/// `drain`.
pub async fn read_by_earlier_names(
    env: &Environment,
    paths: &TablePaths,
    drain: SignedDuration,
) -> Result<Vec<Location>> {
    let found: Option<PublishedTable> = env.record(&paths.table()).await?;
    let mut locations = Vec::new();
    for renamed in found.map(|found| found.renamed).unwrap_or_default() {
        let Ok(name) = renamed.from.parse::<TableName>() else { continue };
        // The database of a table that is gone for longer need not be readable any more.
        let is_gone = |dropped: &Dropped| env.clock.now().duration_since(dropped.at) > drain + FORGET_AFTER;
        if renamed.dropped.as_ref().is_some_and(is_gone) {
            continue;
        }
        let table = env.catalog.table(&name).await?;
        locations.extend(table.and_then(|table| table.place()));
        let is_draining = |dropped: &Dropped| env.clock.now().duration_since(dropped.at) < drain;
        locations.extend(renamed.dropped.filter(is_draining).map(|dropped| dropped.location));
    }
    Ok(locations)
}

/// Returns the message about another stack that publishes the dataset's table.
pub fn other_stack_message(dataset: &Dataset, other: &str) -> String {
    format!(
        "{}: the stack {other} publishes this table too, and each stack would undo the other's flips: remove the dataset \
         from one of them, then delete {}",
        dataset.table,
        dataset.paths.table()
    )
}

/// Writes the record of the table that is published in the dataset's folder, if it is missing, invalid or says something
/// else. The table must currently read from the folder. Leaves another stack's record alone, and returns that stack as
/// [`other_stack`] does.
pub async fn write(env: &Environment, dataset: &Dataset) -> Result<Option<String>> {
    let key = dataset.paths.table();
    let found: Option<PublishedTable> = match env.record(&key).await {
        Err(error) if error.kind() == Kind::Corrupt => None,
        found => found?,
    };
    let own = environment::optional("STACK");
    if let Some(found) = found.as_ref().filter(|found| found.stack.is_some() && found.stack != own) {
        return Ok(other_than_this(found));
    }
    let table = PublishedTable {
        database: dataset.table.database.clone(),
        table: dataset.table.table.clone(),
        dataset: dataset.name.clone(),
        group: dataset.group.as_ref().map(|group| group.name.clone()),
        stack: own,
        renamed: found.as_ref().map(|found| found.renamed.clone()).unwrap_or_default(),
    };
    if found.as_ref() != Some(&table) {
        env.objects.put(&key, record::to_json(&table).into()).await?;
    }
    Ok(None)
}
