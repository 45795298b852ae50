//! Reads and deletes Glue's column statistics, which query planners such as Athena's use. An `UpdateTable` keeps them,
//! so after a flip they describe the previous files until they are computed again.
//!
//! A flip that adopts a table deletes them as its last step, after the canary has passed. After every other flip, the
//! next sweep deletes them, so that a flip makes no more requests than it needs.

use jiff::Timestamp;
use tracing::{info, warn};
use turntable_core::{
    config::Dataset,
    error::{Error, Result},
    port::ColumnStatistics,
    record::Flip,
    table::TableVersion,
};

use crate::environment::Environment;

/// Returns the statistics for the table's columns, including partition keys.
pub async fn of(env: &Environment, table: &TableVersion) -> Result<Vec<ColumnStatistics>> {
    let columns = table.columns.iter().chain(&table.partition_keys).map(|column| column.name.clone());
    env.catalog.column_statistics(&table.name, &columns.collect::<Vec<_>>()).await
}

/// Deletes all statistics for a table that a flip has just adopted. Returns a message about the deletion or its
/// failure, or `None` if there was nothing to delete.
pub(super) async fn after_adoption(env: &Environment, dataset: &Dataset) -> Option<String> {
    let deleted = async {
        match env.catalog.table(&dataset.table).await? {
            Some(table) => delete(env, &table, None).await,
            None => Ok(Vec::new()),
        }
    };
    match deleted.await {
        Ok(columns) if columns.is_empty() => None,
        Ok(columns) => {
            info!(dataset = dataset.name, ?columns, "column statistics deleted");
            Some(format!("deleted Glue's column statistics, which described the old files: {}", columns.join(", ")))
        }
        Err(error) => Some(failed(dataset, &error)),
    }
}

/// Deletes the statistics that were computed before `last`, the flip to the live generation. Returns a message if the
/// deletion fails.
pub async fn delete_old(env: &Environment, dataset: &Dataset, table: &TableVersion, last: &Flip) -> Option<String> {
    match delete(env, table, Some(last.at)).await {
        Ok(columns) if columns.is_empty() => None,
        Ok(columns) => {
            info!(dataset = dataset.name, ?columns, "column statistics deleted");
            None
        }
        Err(error) => Some(failed(dataset, &error)),
    }
}

/// Deletes the statistics that were computed before `before`, or all statistics if it is `None`. Returns the columns'
/// names.
async fn delete(env: &Environment, table: &TableVersion, before: Option<Timestamp>) -> Result<Vec<String>> {
    let mut columns = Vec::new();
    for found in of(env, table).await? {
        if before.is_none_or(|before| found.analyzed_at < before) {
            env.catalog.delete_column_statistics(&table.name, &found.column).await?;
            columns.push(found.column);
        }
    }
    Ok(columns)
}

fn failed(dataset: &Dataset, error: &Error) -> String {
    warn!(dataset = dataset.name, error = error.report(), "column statistics not deleted");
    format!(
        "{}: Glue's column statistics describe other files and could not be deleted, so queries may be planned badly: {}. \
         Delete them with `aws glue delete-column-statistics-for-table`",
        dataset.table,
        error.report()
    )
}
