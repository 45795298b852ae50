//! Identifies the table that is published in a folder, and its name.
//!
//! The record `_table.json` is read only while the dataset's table doesn't read from the folder, so that a flip of a
//! table that Turntable publishes costs no request.

use jiff::SignedDuration;
use turntable_core::{
    config::Dataset,
    decision::Live,
    error::{Error, Kind, Result},
    layout::{Location, TableName, TablePaths},
    record::{self, Dropped, OldTable, PublishedTable},
};

use super::retired;
use crate::environment::{self, Environment};

/// Fails with `Config` if another table was published in the dataset's folder and still reads from it, because the
/// dataset's `database` or `table` was changed. The old table would keep its last rows forever, and sweep would delete
/// its files. Once an operator has requested the rename, the new table may flip before the old one is dropped: the new
/// table may have existed before, with older rows.
pub async fn check(env: &Environment, dataset: &Dataset, live: &Live) -> Result<()> {
    if matches!(live, Live::Managed(_)) {
        return Ok(());
    }
    let found: Option<PublishedTable> = env.record(&dataset.paths.table()).await?;
    let Some(found) = found else { return Ok(()) };
    let name = found.name();
    if name == dataset.table || found.is_renaming(&name, &dataset.table) {
        return Ok(());
    }
    let other = env.catalog.table(&name).await?;
    let location = other.and_then(|table| table.place());
    let reads_here = location.is_some_and(|at| at.overlaps(dataset.paths.location()));
    if !reads_here {
        return Ok(());
    }
    Err(Error::config(format!(
        "datasets.{} publishes {}, but {name} is the table that was published in {} and still reads from there: it would keep \
         its last rows for ever. To rename it, invoke flip with \
         {{\"dataset\":{:?},\"action\":\"rename\",\"from\":\"{name}\",\"table\":\"drop\",\"reason\":\"…\"}} while GlueDatabases \
         still lists its database; otherwise set database and table back",
        dataset.name,
        dataset.table,
        dataset.paths.location(),
        dataset.name
    )))
}

/// Returns the other stack that publishes the table in a folder. `None` if no other stack does, or if it isn't known
/// which stack this one is.
pub async fn other_stack(env: &Environment, paths: &TablePaths) -> Result<Option<String>> {
    let found: Option<PublishedTable> = env.record(&paths.table()).await?;
    Ok(found.and_then(|found| other_than_this(&found)))
}

fn other_than_this(found: &PublishedTable) -> Option<String> {
    let own = environment::optional("STACK")?;
    found.stack.clone().filter(|stack| *stack != own)
}

/// How long to keep checking for a dropped table after its drain, in case somebody creates it again.
const FORGET_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// Returns the locations of the tables with the dataset's earlier names. A rename may have kept its old table or may
/// still be in progress, and the old table's database may no longer be configured. After an old table is dropped, its
/// location is included until `drain` has passed.
pub async fn read_by_earlier_names(
    env: &Environment,
    paths: &TablePaths,
    drain: SignedDuration,
) -> Result<Vec<Location>> {
    let found: Option<PublishedTable> = env.record(&paths.table()).await?;
    let mut locations = Vec::new();
    for renamed in found.map(|found| found.renamed).unwrap_or_default() {
        let Ok(name) = renamed.from.parse::<TableName>() else { continue };
        // If a table has been gone for longer, its database doesn't have to be readable any more.
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

/// Returns the folder of a generation that was published elsewhere in the bucket. The functions can't read other
/// buckets.
fn folder_elsewhere(dataset: &Dataset, location: &Location) -> Option<Location> {
    let folder = TablePaths::of_generation(location)?.0.location().clone();
    (folder != *dataset.paths.location() && folder.bucket == dataset.paths.location().bucket).then_some(folder)
}

/// The information in `_table.json` about a dataset's folder, for `status`.
#[derive(Debug, Default)]
pub struct Standing {
    /// See [`other_stack`].
    pub other_stack: Option<String>,
    /// The folders where the table was published before and about which nobody has decided.
    pub left: Vec<Location>,
    /// The table's earlier names whose tables still exist although a rename should have dropped them.
    pub renaming: Vec<TableName>,
}

/// Returns the information in the record of the dataset's folder, and the earlier folders of its table that still
/// exist.
pub async fn standing(env: &Environment, dataset: &Dataset, live: &Live) -> Result<Standing> {
    let found: Option<PublishedTable> = env.record(&dataset.paths.table()).await?;
    let other_stack = found.as_ref().and_then(other_than_this);
    let renaming = match &found {
        Some(found) => unfinished_renames(env, dataset, found).await?,
        None => Vec::new(),
    };
    let mut folders = found.map(|found| found.moved_from).unwrap_or_default();
    if let Live::Unmanaged(location) = live {
        let here = folder_elsewhere(dataset, location);
        folders.extend(here.filter(|folder| !folders.contains(folder)));
    }
    let mut left = Vec::new();
    for folder in folders.into_iter().filter(|folder| folder != dataset.paths.location()) {
        let published: Option<PublishedTable> = env.record(&TablePaths::at(folder.clone()).table()).await?;
        let is_own = published.is_some_and(|published| published.name() == dataset.table);
        let decided = retired::read(env, &folder).await?.is_some_and(|found| !found.record.released);
        if is_own && !decided {
            left.push(folder);
        }
    }
    Ok(Standing { other_stack, left, renaming })
}

/// Returns the table's earlier names whose tables still read from the folder although a rename within the folder should
/// have dropped them.
async fn unfinished_renames(env: &Environment, dataset: &Dataset, found: &PublishedTable) -> Result<Vec<TableName>> {
    let mut unfinished = Vec::new();
    for renamed in &found.renamed {
        let is_old = |dropped: &Dropped| env.clock.now().duration_since(dropped.at) > FORGET_AFTER;
        let is_over = renamed.dropped.as_ref().is_some_and(is_old);
        if is_over || renamed.old_table != OldTable::Drop || renamed.to != dataset.table.to_string() {
            continue;
        }
        let Ok(name) = renamed.from.parse::<TableName>() else { continue };
        let table = env.catalog.table(&name).await?;
        let reads = |at: Location| at.overlaps(dataset.paths.location());
        if name != dataset.table && table.and_then(|table| table.place()).is_some_and(reads) {
            unfinished.push(name);
        }
    }
    Ok(unfinished)
}

/// Returns the message about a rename that has created the new table but has not dropped the old one.
pub fn unfinished_message(dataset: &Dataset, old: &TableName) -> String {
    format!(
        "{}: its rename from {old} is unfinished, so both tables are there: invoke flip with \
         {{\"dataset\":{:?},\"action\":\"rename\",\"from\":\"{old}\",\"table\":\"drop\",\"reason\":\"…\"}}, whose error says \
         what is in the way",
        dataset.table, dataset.name
    )
}

/// Returns the message about a folder that the dataset's table has left, or will leave with its next flip.
pub fn left_message(dataset: &Dataset, folder: &Location) -> String {
    let from = folder.parent().map_or_else(String::new, |parent| parent.to_string());
    format!(
        "{}: datasets.{} has another location now, and nothing sweeps {folder}: invoke flip with \
         {{\"dataset\":{:?},\"action\":\"move\",\"from\":\"{from}\",\"reason\":\"…\"}}",
        dataset.table, dataset.name, dataset.name
    )
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

/// Writes the record of the table that is published in the dataset's folder, if the record is missing, invalid or
/// outdated. The table must currently read from the folder. Doesn't replace another stack's record, but returns that
/// stack, as [`other_stack`] does.
///
/// `before` is the table's location before it was in this folder. If Turntable has published the table there, in
/// another folder, the record names that folder too.
pub async fn write(env: &Environment, dataset: &Dataset, before: Option<&Location>) -> Result<Option<String>> {
    let key = dataset.paths.table();
    let found: Option<PublishedTable> = match env.record(&key).await {
        Err(error) if error.kind() == Kind::Corrupt => None,
        found => found?,
    };
    let own = environment::optional("STACK");
    if let Some(found) = found.as_ref().filter(|found| found.stack.is_some() && found.stack != own) {
        return Ok(other_than_this(found));
    }
    let mut moved_from = found.as_ref().map(|found| found.moved_from.clone()).unwrap_or_default();
    let left = before.and_then(|before| folder_elsewhere(dataset, before));
    moved_from.extend(left.filter(|left| !moved_from.contains(left)));
    let table = PublishedTable {
        database: dataset.table.database.clone(),
        table: dataset.table.table.clone(),
        dataset: dataset.name.clone(),
        group: dataset.group.as_ref().map(|group| group.name.clone()),
        stack: own,
        renamed: found.as_ref().map(|found| found.renamed.clone()).unwrap_or_default(),
        moved_from,
    };
    if found.as_ref() != Some(&table) {
        env.objects.put(&key, record::to_json(&table).into()).await?;
    }
    Ok(None)
}
