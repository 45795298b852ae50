//! Compares views with their definitions, without writing any: finds which of an opt-out table's views are unchanged,
//! and why a view can't follow datasets.toml.

use std::collections::{BTreeMap, BTreeSet};

use turntable_core::{
    config::{OptoutTable, Protected},
    error::Result,
    layout::TableName,
    optout::{published, view},
};

use super::views::{protected_columns, protections, state};
use crate::environment::Environment;

/// Returns which of an opt-out table's views match their definitions: the view that lists the people who are opted out,
/// and the protected tables' views. Reads each opt-out table once for all views, so it makes two requests per protected
/// table and two per opt-out table.
pub async fn unchanged(
    env: &Environment,
    optouts: &OptoutTable,
    protects: &[Protected],
) -> Result<BTreeSet<TableName>> {
    let active = view::active_name(&optouts.table);
    // The stored views are read before everything that they depend on, so a view that matches was already right when it
    // was read.
    let mut stored = BTreeMap::new();
    for name in protects.iter().map(|of| view::protected_name(&of.table)).chain([active.clone()]) {
        if let Some(view) = env.catalog.table(&name).await?.and_then(|table| table.view) {
            stored.insert(name, view);
        }
    }
    let mut states = BTreeMap::new();
    let all = protects.iter().flat_map(|of| &of.by).map(|by| &by.optouts).chain([optouts]);
    let all: BTreeMap<&TableName, &OptoutTable> = all.map(|one| (&one.table, one)).collect();
    for (name, one) in all {
        states.insert(name.clone(), state(env, one, None).await?);
    }
    let mut right = BTreeSet::new();
    for of in protects {
        let name = view::protected_name(&of.table);
        let all: Option<Vec<_>> = of.by.iter().map(|by| states.get(&by.optouts.table).cloned().flatten()).collect();
        let (Some(stored), Some(all)) = (stored.get(&name), all) else { continue };
        let Some(table) = env.catalog.table(&of.table).await? else { continue };
        let wanted = view::protected(&of.table, &protected_columns(&table), &protections(of, &all));
        if wanted.is_ok_and(|wanted| wanted == *stored) {
            right.insert(name);
        }
    }
    let wanted = states.get(&optouts.table).cloned().flatten().map(|state| view::active(&state));
    if wanted.is_some() && wanted.as_ref() == stored.get(&active) {
        right.insert(active);
    }
    Ok(right)
}

/// Returns why a protected table's view can't follow datasets.toml: an inbox and its table were both renamed, so
/// nothing shows that the new table contains the people from the old one. Returns `None` if the view can follow.
pub async fn held_back(env: &Environment, of: &Protected) -> Result<Option<String>> {
    let stored = env.catalog.table(&view::protected_name(&of.table)).await?.and_then(|table| table.view);
    let Some(stored) = stored else { return Ok(None) };
    let known = |old: &view::Inbox| {
        of.by.iter().any(|by| by.optouts.inbox == old.location || by.optouts.table.to_string() == old.table)
    };
    let Some(old) = stored.leaves_out.iter().find(|old| !known(old)) else { return Ok(None) };
    let is_new = |new: &&OptoutTable| {
        let named = |old: &view::Inbox| old.location == new.inbox || old.table == new.table.to_string();
        !stored.leaves_out.iter().any(named)
    };
    let new = of.by.iter().map(|by| &by.optouts).find(is_new);
    Ok(Some(match new {
        Some(new) => format!(
            "{} still leaves out the people in inbox {} ({}), but not yet those in {} ({}): the inbox and its table \
             were renamed in one edit. Set the table of datasets.{} back to {}, upload the file, and set the new table again \
             when {} names a generation of {}",
            stored.name,
            old.location,
            old.table,
            new.inbox,
            new.table,
            new.dataset,
            old.table,
            published::key(&new.inbox),
            old.table
        ),
        None => format!(
            "{} still leaves out the people in inbox {} ({}), which datasets.toml no longer names: restore the inbox \
             and its protects, or, if these people are allowed to reappear, drop the view",
            stored.name, old.location, old.table
        ),
    }))
}
