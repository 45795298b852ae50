//! Tables that an audit has registered for its questions to Athena, and that it died before it dropped.

use jiff::{SignedDuration, Timestamp};
use ulid::Ulid;

use crate::environment::World;
use turntable_core::{
    error::Result,
    layout::{TableName, time_of},
    table::TableVersion,
};

/// What an audit's tables are called, and the parameter that marks them as ours.
const PREFIX: &str = "turntable_audit_";
const MARK: &str = turntable_core::table::AUDIT_PARAMETER;

/// No audit lives that long.
const AUDIT: SignedDuration = SignedDuration::from_hours(1);

/// The leftovers in a database.
pub async fn leftover_audit_tables(world: &World, database: &str, now: Timestamp) -> Result<Vec<TableName>> {
    let tables = world.catalog.tables(database, PREFIX).await?;
    let left = tables.into_iter().filter(|table| is_left(table, now));
    Ok(left.map(|table| table.name).collect())
}

/// `turntable_audit_DATASET_ULID`, in lower case, as Glue has it: the ULID is the audit's.
fn is_left(table: &TableVersion, now: Timestamp) -> bool {
    let marked = table.parameters.contains_key(MARK);
    let ulid = table.name.table.strip_prefix(PREFIX).and_then(|name| name.rsplit_once('_'));
    let made = ulid.and_then(|(_, ulid)| Ulid::from_string(&ulid.to_uppercase()).ok()).map(time_of);
    marked && made.is_some_and(|made| now.duration_since(made) > AUDIT)
}
