//! Carries out the move of a dataset to the location that datasets.toml has now. A flip or a refresh moves the table
//! itself, because only they audit files. The request records that nothing needs to stay in the old folder, so that
//! sweep deletes what no query can read any more. The old folder is needed until the table reads a generation in the
//! new one.
//!
//! The record is the same as for a dropped table, but has `moved_to`: see [`turntable_core::retired`].

use turntable_core::{
    config::{Config, Dataset},
    decision::Live,
    error::{Error, Result},
    layout::{Location, TablePaths},
    record::{OldTable, PublishedTable},
};

use super::{
    retire::{self, Decided, Published, Retirement},
    table_state,
};
use crate::environment::Environment;

/// A table and the folder that it leaves.
struct Leaving<'a> {
    dataset: &'a Dataset,
    old: Published,
    /// What is live, from the point of view of the new folder.
    live: Live,
}

/// Moves a dataset, or all members of its group, away from `from`, the `location` that datasets.toml had before.
/// Repeating the request changes nothing.
///
/// Fails with `Config` if `from` is still in use, and with `Input` if nothing was published there. Records nothing
/// unless all members can be moved.
pub async fn relocate(
    env: &Environment,
    config: &Config,
    dataset: &Dataset,
    from: &Location,
    why: &str,
) -> Result<Retirement> {
    let members = config.group_of(dataset).map_or_else(|| vec![dataset], |group| group.members);
    let mut all = Vec::new();
    for member in members {
        all.extend(leaving(env, config, member, from).await?);
    }
    if all.is_empty() {
        return Err(Error::input(format!(
            "{} has never been published in {}: \"from\" must be the location that datasets.toml had before",
            dataset.table,
            from.folder(&dataset.table.table)
        )));
    }
    for leaving in &all {
        retire::allowed(env, config, &leaving.old).await?;
    }
    let (mut live, mut reasons) = (Live::NoTable, Vec::new());
    for leaving in all {
        let moved_to = Some(leaving.dataset.paths.location().clone());
        let decided = Decided { old_table: OldTable::Drop, why: why.into(), renamed_to: None, moved_to };
        retire::record(env, &leaving.old, &decided).await?;
        reasons.push(told(env, &leaving).await?);
        if leaving.dataset.name == dataset.name {
            live = leaving.live;
        }
    }
    Ok(Retirement { dataset: dataset.name.clone(), live, reasons, stays: Vec::new() })
}

/// Returns the dataset's table and the folder that it leaves below `from`, or `None` if the table was never published
/// there.
async fn leaving<'a>(
    env: &Environment,
    config: &Config,
    dataset: &'a Dataset,
    from: &Location,
) -> Result<Option<Leaving<'a>>> {
    let paths = TablePaths::new(from, &dataset.table.table);
    let (old, new) = (paths.location(), dataset.paths.location());
    let refused = |why: String| Err(Error::config(format!("datasets.{}: {why}", dataset.name)));
    if old == new {
        return refused(format!(
            "{old} is still its folder: set the new location in datasets.toml, upload the file, then send the request again"
        ));
    }
    if old.bucket != new.bucket {
        return refused(format!(
            "{old} is in another bucket than {new}, and the functions can't delete anything there: invoke export, and \
             delete the old folder yourself when drain has passed since the flip"
        ));
    }
    if old.overlaps(new) {
        return refused(format!(
            "one of {new} and {old} contains the other, and Athena also reads sub-folders: set a location outside the old \
             folder"
        ));
    }
    if let Some(other) = config.datasets().find(|other| other.paths == paths) {
        return refused(format!("datasets.{} publishes {} in {old}, so its files stay", other.name, other.table));
    }
    let table = env.catalog.table(&dataset.table).await?;
    let found: Option<PublishedTable> = env.record(&paths.table()).await?;
    let at = table.as_ref().and_then(|table| table.place());
    let generation = at.as_ref().and_then(|at| paths.parse_generation(at));
    if generation.is_none() && found.is_none_or(|found| found.name() != dataset.table) {
        return Ok(None);
    }
    let live = Live::of(&dataset.paths, at.as_ref());
    let group = dataset.group.as_ref().map(|group| group.name.clone());
    let (name, dataset_name) = (dataset.table.clone(), dataset.name.clone());
    let old = Published { name, table, paths, generation, dataset: dataset_name, group };
    Ok(Some(Leaving { dataset, old, live }))
}

/// Returns a message for the response about what happens next.
async fn told(env: &Environment, leaving: &Leaving<'_>) -> Result<String> {
    let Leaving { dataset, old, live } = leaving;
    let (table, folder) = (&dataset.table, old.paths.location());
    if let Live::Managed(_) = live {
        return Ok(format!(
            "{table} reads from {}, and sweep deletes {folder} when no query can read it any more",
            dataset.paths.location()
        ));
    }
    if let Some(hold) = table_state::hold(env, dataset, live).await? {
        return Ok(format!("{table} reads from {folder} until the hold is released: {}", hold.reason));
    }
    let function = if dataset.is_inbox() { "optout" } else { "export" };
    Ok(format!(
        "{table} still reads from {folder}, and its next flip moves it to the new location. To move it now, invoke \
         {function} with {{\"dataset\":{:?}}}",
        dataset.name
    ))
}
