//! Writes all rows of a source in partition folders.

use std::sync::Arc;

use turntable_core::{
    config,
    error::{Error, Result},
    layout::Location,
    partition::Kind,
    port::Objects,
    schema::Column,
};

use super::{outcome::PartitionedOutcome, pool::Pool, split::Keys};
use crate::{properties::properties, rows::Rows, target::Target};

/// Writes every row from the source under the location, in one folder per combination of `partition_by` values.
/// `columns` are the source's columns, and `table` names the table in error messages. For a source without rows, writes
/// one file without rows, in a folder that the projection finds.
///
/// After a failure or a stop, no upload is left unfinished, as with [`crate::write()`].
#[expect(clippy::too_many_arguments, reason = "its one caller has each argument from another place")]
pub async fn write_until(
    stop: impl Future<Output = ()>,
    objects: &Arc<dyn Objects>,
    location: &Location,
    rows: Rows,
    columns: &[Column],
    partition_by: &[String],
    sizes: config::Parquet,
    table: &str,
) -> Result<PartitionedOutcome> {
    let (keys, by) = keys(&rows, columns, partition_by, table)?;
    let sizes = config::Parquet { row_group_size: sizes.row_group_size.min(sizes.file_size), ..sizes };
    let target = Target::new(
        objects.clone(),
        location.clone(),
        keys.schema.clone(),
        properties(sizes.compression_level)?,
        sizes,
    )?;
    let target = Arc::new(target);
    let mut pool = Pool::new(target.clone(), partition_by.to_vec());
    let ended = tokio::select! {
        biased;
        () = stop => Ok(PartitionedOutcome::Stopped(target.progress())),
        written = pool.fill(rows, keys, &by) => written.map(PartitionedOutcome::All),
    };
    if !matches!(ended, Ok(PartitionedOutcome::All(_))) {
        pool.abort().await;
    }
    ended
}

/// Returns how to split the rows, and the `partition_by` columns with their kinds. Fails if a column is missing or
/// can't be projected, or if no column is left for the files.
fn keys(rows: &Rows, columns: &[Column], partition_by: &[String], table: &str) -> Result<(Keys, Vec<(Column, Kind)>)> {
    let mut at = Vec::new();
    let mut by = Vec::new();
    for name in partition_by {
        let fault = |fault: String| Error::config(format!("{table}: partition_by: {fault}"));
        let Some(found) = columns.iter().position(|column| column.name == *name) else {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            return Err(fault(format!("the source has no column {name:?}; it has {}", names.join(", "))));
        };
        let kind = Kind::of(&columns[found].glue_type).map_err(|why| fault(format!("column {name:?}: {why}")))?;
        at.push((found, kind));
        by.push((columns[found].clone(), kind));
    }
    let rest: Vec<usize> = (0..columns.len()).filter(|n| at.iter().all(|(at, _)| at != n)).collect();
    if rest.is_empty() {
        return Err(Error::config(format!(
            "{table}: partition_by names every column in the source: leave one out, because files need a column"
        )));
    }
    let schema = rows.schema.project(&rest);
    let schema = schema.map_err(|error| {
        Error::corrupt(format!(
            "{table}: the columns {rest:?} are not in the source's schema: this is a bug, please report it"
        ))
        .caused_by(error)
    })?;
    Ok((Keys { at, rest, schema: Arc::new(schema), table: table.into() }, by))
}
