//! Finds leftover audit tables. An audit creates a table to query its candidate in Athena. If the audit dies before it
//! drops the table, the table is left behind.

use jiff::{SignedDuration, Timestamp};
use ulid::Ulid;

use crate::environment::Environment;
use turntable_core::{
    error::Result,
    layout::{TableName, time_of},
    table::TableVersion,
};

/// The prefix of audit table names.
const PREFIX: &str = "turntable_audit_";
/// The table parameter that marks audit tables as managed.
const MARK: &str = turntable_core::table::AUDIT_PARAMETER;

/// The age from which an audit table counts as left over. No audit takes that long.
const MAX_AUDIT_DURATION: SignedDuration = SignedDuration::from_hours(1);

/// Returns the leftover audit tables in a database.
pub async fn leftover_audit_tables(env: &Environment, database: &str, now: Timestamp) -> Result<Vec<TableName>> {
    let tables = env.catalog.tables(database, PREFIX).await?;
    let left = tables.into_iter().filter(|table| is_left(table, now));
    Ok(left.map(|table| table.name).collect())
}

/// Returns whether a table is left over from an audit. Audit tables are named `turntable_audit_DATASET_ULID`, in lower
/// case as Glue stores names. The ULID shows when the audit started.
fn is_left(table: &TableVersion, now: Timestamp) -> bool {
    let marked = table.parameters.contains_key(MARK);
    let ulid = table.name.table.strip_prefix(PREFIX).and_then(|name| name.rsplit_once('_'));
    let made = ulid.and_then(|(_, ulid)| Ulid::from_string(&ulid.to_uppercase()).ok()).map(time_of);
    marked && made.is_some_and(|made| now.duration_since(made) > MAX_AUDIT_DURATION)
}
