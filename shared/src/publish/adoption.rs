//! Adoption: the first flip of a table that Turntable didn't create. Predicts what the flip would change, and describes
//! what it has changed.

use std::{collections::BTreeSet, error::Error as _};

use turntable_core::{
    adoption::Adoption,
    config::Dataset,
    decision::{self, Live},
    error::{Kind, Result},
    layout::Location,
    partition::{Kind as Projected, Partition},
    schema::Column,
    table::{NextTable, TableChange, TableVersion},
};

use super::{
    column_statistics,
    table_state::{TableState, flips, is_elsewhere, live_of},
    views,
};
use crate::environment::Environment;

/// Returns what the flip changes in the table, if the flip adopts it. Returns `None` for any other flip.
pub(super) fn of_flip(loaded: &TableState, next: &NextTable) -> Option<Adoption> {
    let NextTable::Update { table, change } = next else { return None };
    (is_elsewhere(&loaded.state.live) && loaded.flips.is_empty()).then(|| Adoption::of(table, change))
}

/// What a dataset's next flip would do with the table that already exists under the dataset's table name.
#[derive(Debug)]
pub enum FirstFlip {
    TakesOver(Box<TakeOver>),
    /// Turntable publishes the table, and the audit would reject every candidate, for these reasons.
    Rejects(Vec<String>),
    /// The flip would refuse the table, or reject every candidate, for these reasons.
    Refused(Vec<String>),
}

/// What the first flip would change in the table that it adopts.
#[derive(Debug)]
pub struct TakeOver {
    pub from: Location,
    pub adoption: Adoption,
    /// The columns whose statistics in Glue describe the old files, or why these columns are unknown.
    pub statistics: Result<Vec<String>>,
    pub crawler: Option<String>,
}

/// Returns what the first flip would do. Changes nothing. Returns `None` if there is no table, or if Turntable has
/// already published it and would not reject `files`, the columns that the source has now, including the partition
/// columns. `files` is `None` if they are unknown.
pub async fn first_flip(env: &Environment, dataset: &Dataset, files: Option<&[Column]>) -> Result<Option<FirstFlip>> {
    let Some(table) = env.catalog.table(&dataset.table).await? else { return Ok(None) };
    let live = match live_of(env, dataset, Some(&table)).await {
        Ok(live) => live,
        Err(error) => return refused(error),
    };
    if let (Live::Managed(_), Some(files), false) = (&live, files, dataset.is_inbox()) {
        let read: Vec<Column> =
            files.iter().filter(|column| !dataset.partition_by.contains(&column.name)).cloned().collect();
        let against = against(dataset, &table, &read);
        return Ok((!against.is_empty()).then_some(FirstFlip::Rejects(against)));
    }
    let Live::Unmanaged(from) = &live else { return Ok(None) };
    if !is_elsewhere(&live) || !flips(env, dataset, None).await?.is_empty() {
        return Ok(None);
    }
    let next = dataset.paths.generation(&decision::next(&dataset.paths, &live, env.clock.ulid()));
    if let Err(error) = decision::beside(&live, &next) {
        return refused(error);
    }
    let mut change = TableChange::location(&next);
    if let Some(files) = files {
        let (keys, columns): (Vec<Column>, Vec<Column>) =
            files.iter().cloned().partition(|column| dataset.partition_by.contains(&column.name));
        let against = against(dataset, &table, &columns);
        if !against.is_empty() {
            return Ok(Some(FirstFlip::Refused(against)));
        }
        change.columns = Some(dataset.schema.published(&table.columns, &columns));
        change.partitions = keys.into_iter().filter_map(unread).collect();
        let next = NextTable::Update { table: Box::new(table.clone()), change: change.clone() };
        let against = views::against(env, dataset, &next).await?;
        if !against.is_empty() {
            return Ok(Some(FirstFlip::Refused(against)));
        }
    }
    Ok(Some(FirstFlip::TakesOver(Box::new(TakeOver {
        from: from.clone(),
        adoption: Adoption::of(&table, &change),
        statistics: statistics(env, &table).await,
        crawler: table.crawler.clone(),
    }))))
}

/// Returns those differences between `columns` and the table's columns that the dataset's policy doesn't allow.
fn against(dataset: &Dataset, table: &TableVersion, columns: &[Column]) -> Vec<String> {
    let against = dataset.schema.against(&table.columns, columns);
    against.into_iter().map(|why| format!("{}: {why}", dataset.table)).collect()
}

/// Converts an error to [`FirstFlip::Refused`] if it means that the table is refused. Returns any other error
/// unchanged. An error with a cause comes from a call to AWS, so it is no refusal.
fn refused(error: turntable_core::error::Error) -> Result<Option<FirstFlip>> {
    match error.kind() {
        Kind::Config | Kind::Conflict if error.source().is_none() => {
            Ok(Some(FirstFlip::Refused(vec![error.message().to_owned()])))
        }
        _ => Err(error),
    }
}

/// Returns the partition without its values, because these are known only after an export. Returns `None` if the column
/// can't be projected.
fn unread(key: Column) -> Option<Partition> {
    let kind = Projected::of(&key.glue_type).ok()?;
    Partition::of(key, kind, &BTreeSet::new()).ok()
}

async fn statistics(env: &Environment, table: &TableVersion) -> Result<Vec<String>> {
    Ok(column_statistics::of(env, table).await?.into_iter().map(|found| found.column).collect())
}
