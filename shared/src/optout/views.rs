//! Keeps the views as [`super::view`] wants them. Never on the way of a drop: when the table is created, and on the
//! schedule, which is also when a protected table's new columns come in.

use std::collections::BTreeMap;

use super::draft;
use crate::environment::World;
use turntable_core::{
    config::{Dataset, Inbox},
    error::{Error, Result},
    optout::view::{self, View},
    record,
};

/// Creates what is missing or was created of other SQL, through `run` (database, SQL), which is Athena. Gives the
/// names of the views that it created. What was created of which SQL stands in `_views.json`: Athena writes a view's
/// SQL down in its own form, so that nobody can compare it.
pub async fn ensure(
    world: &World,
    dataset: &Dataset,
    inbox: &Inbox,
    run: impl AsyncFn(&str, &str) -> Result<()>,
) -> Result<Vec<String>> {
    let at = dataset.home.views();
    let (wanted, known) = futures::try_join!(wanted(world, dataset, inbox), world.objects.get(&at))?;
    let mut known: BTreeMap<String, String> =
        known.map(|json| record::from_json(&at, &json)).transpose()?.unwrap_or_default();
    let mut created = Vec::new();
    for view in wanted {
        let (name, sql) = (view.name.to_string(), view.create());
        if world.catalog.table(&view.name).await?.is_some() && known.get(&name) == Some(&sql) {
            continue;
        }
        run(&view.name.database, &sql).await?;
        known.insert(name.clone(), sql);
        created.push(name);
    }
    if !created.is_empty() {
        world.objects.put(&at, record::to_json(&known).into()).await?;
    }
    Ok(created)
}

/// A protected table that is not there yet gets its view when it is.
async fn wanted(world: &World, dataset: &Dataset, inbox: &Inbox) -> Result<Vec<View>> {
    let Some(table) = world.catalog.table(&dataset.table).await? else { return Ok(Vec::new()) };
    let key = draft::key(dataset, inbox, Some(&table))?.glue();
    let mut wanted = vec![view::active(dataset, &key)];
    for protect in &dataset.protects {
        if let Some(table) = world.catalog.table(&protect.table).await? {
            let view = view::protected(dataset, &key, protect, &[table.columns, table.partition_keys].concat());
            let path =
                |fault| Error::config(format!("datasets.{}.protects.{}: {fault}", dataset.name, protect.dataset));
            wanted.push(view.map_err(path)?);
        }
    }
    Ok(wanted)
}
