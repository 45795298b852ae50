//! Tables that an audit has registered for its questions to Athena, and that it died before it dropped.

use aws_sdk_glue::types::Table;
use jiff::{SignedDuration, Timestamp};

use crate::{error::Result, name::TableName, world::World};

/// What an audit's tables are called, and the parameter that marks them as ours.
const PREFIX: &str = "turntable_audit_";
const MARK: &str = "turntable.audit";

/// No audit lives that long.
const AUDIT: SignedDuration = SignedDuration::from_hours(1);

/// The leftovers in a database.
pub async fn leftover_audit_tables(world: &World, database: &str, now: Timestamp) -> Result<Vec<TableName>> {
    let tables = world.catalog.tables(database, PREFIX).await?;
    let left = tables.into_iter().filter(|table| is_left(table, now));
    Ok(left.map(|table| TableName { database: database.into(), table: table.name }).collect())
}

fn is_left(table: &Table, now: Timestamp) -> bool {
    let marked = table.parameters().is_some_and(|parameters| parameters.contains_key(MARK));
    let made = table.create_time().and_then(|time| Timestamp::from_second(time.secs()).ok());
    marked && table.name.starts_with(PREFIX) && made.is_some_and(|made| now.duration_since(made) > AUDIT)
}
