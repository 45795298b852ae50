//! Reads what a group's record says about one member.

use std::collections::BTreeMap;

use jiff::Timestamp;
use turntable_core::{config::Dataset, error::Result, group::Record, layout::Generation};

use super::store;
use crate::environment::Environment;

/// Reads the record of a dataset's group. Returns `None` if the dataset has no group.
pub async fn record(env: &Environment, dataset: &Dataset) -> Result<Option<Record>> {
    let Some(group) = &dataset.group else { return Ok(None) };
    Ok(Some(store::read(env, group).await?.record))
}

/// Returns the dataset's generations that its group's record names now or has named before. They are still needed,
/// because readers may read them. The value is the time when the record stopped naming the generation, or `None` if it
/// still names it. Returns an empty map for a dataset without a group.
pub async fn named(env: &Environment, dataset: &Dataset) -> Result<BTreeMap<Generation, Option<Timestamp>>> {
    let record = record(env, dataset).await?;
    Ok(record.map(|record| record.named(&dataset.name, &dataset.paths)).unwrap_or_default())
}

/// Returns why a member's drift must not be repaired, or `None` if it may be repaired.
///
/// A repair moves the table back to `last`, the target of its last flip. It must wait while a flip of the group is in
/// flight. It must not happen if the group's record names another generation as live, because then the table would no
/// longer match the other members.
pub async fn against_repair(env: &Environment, dataset: &Dataset, last: Generation) -> Result<Option<String>> {
    let Some(group) = &dataset.group else { return Ok(None) };
    let record = store::read(env, group).await?.record;
    if record.flipping.is_some() {
        return Ok(Some(format!("group {group} has a flip in flight: check the status again when it has finished")));
    }
    let live = record.live.as_ref().and_then(|live| live.tables.get(&dataset.name));
    let other = live.filter(|member| member.generation != last);
    Ok(other.map(|member| {
        format!(
            "the record of group {group} names {} as live: invoke flip with a generation, or with the action rollback",
            member.generation
        )
    }))
}
