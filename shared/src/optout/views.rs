//! Creates and updates the views that [`turntable_core::optout::view`] defines in Athena. This happens when a refresh
//! has created the table, and in every scheduled or manual refresh. A drop's message in the queue doesn't cause it, so
//! that drops never wait for views. Each update also adds a protected table's new columns to its view.

use std::collections::BTreeMap;

use super::candidate;
use crate::environment::Environment;
use turntable_core::{
    config::{Dataset, Inbox},
    error::{Error, Result},
    optout::view::{self, View},
    record,
};

/// Creates the views that are missing, and replaces those whose SQL has changed. Returns the names of both.
///
/// `run` runs a statement in Athena; its arguments are the database and the SQL. `_views.json` records each view's SQL
/// for the comparison, because Athena stores it in a form of its own.
pub async fn ensure(
    env: &Environment,
    dataset: &Dataset,
    inbox: &Inbox,
    run: impl AsyncFn(&str, &str) -> Result<()>,
) -> Result<Vec<String>> {
    let at = dataset.paths.views();
    let (wanted, known) = futures::try_join!(wanted(env, dataset, inbox), env.objects.get(&at))?;
    let mut known: BTreeMap<String, String> =
        known.map(|json| record::from_json(&at, &json)).transpose()?.unwrap_or_default();
    let mut created = Vec::new();
    for view in wanted {
        let (name, sql) = (view.name.to_string(), view.create());
        if env.catalog.table(&view.name).await?.is_some() && known.get(&name) == Some(&sql) {
            continue;
        }
        run(&view.name.database, &sql).await?;
        known.insert(name.clone(), sql);
        created.push(name);
    }
    if !created.is_empty() {
        env.objects.put(&at, record::to_json(&known).into()).await?;
    }
    Ok(created)
}

/// Returns the views that should exist. A protected table that doesn't exist yet gets its view once it exists.
async fn wanted(env: &Environment, dataset: &Dataset, inbox: &Inbox) -> Result<Vec<View>> {
    let Some(table) = env.catalog.table(&dataset.table).await? else { return Ok(Vec::new()) };
    let key = candidate::key(dataset, inbox, Some(&table))?.glue();
    let mut wanted = vec![view::active(dataset, &key)];
    for protect in &dataset.protects {
        if let Some(table) = env.catalog.table(&protect.table).await? {
            let view = view::protected(dataset, &key, protect, &[table.columns, table.partition_keys].concat());
            let path =
                |fault| Error::config(format!("datasets.{}.protects.{}: {fault}", dataset.name, protect.dataset));
            wanted.push(view.map_err(path)?);
        }
    }
    Ok(wanted)
}
