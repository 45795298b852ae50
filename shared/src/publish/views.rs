//! Keeps the views that readers use as [`turntable_core::optout::view`] defines them. The catalog alone decides what a
//! view is: each function reads the stored view and its version, then everything that the view depends on, and replaces
//! the view only if it still has that version.
//!
//! A flip of a protected table keeps its view working at every moment. If columns go or change their types, the view
//! first gets only what exists before and after the flip; after the flip it gets the new columns.

use serde::Serialize;
use turntable_core::{
    config::{Dataset, OptoutTable, Protected, ProtectedBy},
    error::{Error, Result},
    layout::{Location, TableName, TablePaths},
    manifest::{File, Manifest},
    optout::view::{self, OptoutState, Protection, View},
    port::Update,
    schema::Column,
    table::{NextTable, TableVersion, VIEW},
};

use super::{attempts::Attempts, published};
use crate::environment::Environment;

/// A view that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewChange {
    pub view: TableName,
    /// Whether the view existed before.
    pub replaced: bool,
}

/// How a view in the catalog compares with what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewState {
    /// The view is what it should be.
    Kept,
    /// The view doesn't exist.
    Missing,
    /// Something outside Turntable has changed the view, or it waits for the next scheduled refresh.
    Different,
    /// A table that the view depends on doesn't exist yet.
    Pending,
}

/// Compares an opt-out table's view of people who are opted out with what it should be.
pub async fn compare_active(env: &Environment, optouts: &OptoutTable) -> Result<ViewState> {
    let stored = env.catalog.table(&view::active_name(&optouts.table)).await?;
    let wanted = state(env, optouts).await?.map(|state| view::active(&state));
    Ok(compared(stored.as_ref(), wanted.as_ref()))
}

/// Compares a protected table's view with what it should be. Fails as `Config` if the view can't be made.
pub async fn compare_protected(env: &Environment, protected: &Protected) -> Result<ViewState> {
    let name = view::protected_name(&protected.table);
    let stored = env.catalog.table(&name).await?;
    let (table, states) = futures::try_join!(env.catalog.table(&protected.table), states(env, protected))?;
    let (Some(table), Some(states)) = (table, states) else { return Ok(ViewState::Pending) };
    let view = view::protected(&protected.table, &columns(&table, None), &protections(protected, &states));
    let view = view.map_err(|faults| Error::config(refusal(&name, &faults)))?;
    Ok(compared(stored.as_ref(), Some(&view)))
}

fn compared(stored: Option<&TableVersion>, wanted: Option<&View>) -> ViewState {
    match (stored, wanted) {
        (_, None) => ViewState::Pending,
        (None, Some(_)) => ViewState::Missing,
        (Some(stored), Some(wanted)) if stored.view.as_ref() == Some(wanted) => ViewState::Kept,
        (Some(_), Some(_)) => ViewState::Different,
    }
}

/// Returns the number of files that have rows. A view fails if the opt-out table has fewer.
pub fn files_with_rows(files: &[File]) -> u64 {
    files.iter().filter(|file| file.rows > 0).count() as u64
}

/// Makes an opt-out table's view of people who are opted out what it should be. Returns the change, or `None` if the
/// view was right already or the table doesn't exist yet.
///
/// `at_most` limits the number of files that the view expects, for a flip to a generation with fewer files.
pub async fn keep_active(env: &Environment, optouts: &OptoutTable, at_most: Option<u64>) -> Result<Option<ViewChange>> {
    let name = view::active_name(&optouts.table);
    let mut attempts = Attempts::on(&name);
    loop {
        attempts.begin()?;
        let stored = env.catalog.table(&name).await?;
        let Some(mut state) = state(env, optouts).await? else { return Ok(None) };
        state.files = state.files.min(at_most.unwrap_or(u64::MAX));
        match put(env, &view::active(&state), stored.as_ref()).await? {
            Written::Unchanged => return Ok(None),
            Written::Done => return Ok(Some(ViewChange { view: name, replaced: stored.is_some() })),
            Written::LostRace => {}
        }
    }
}

/// Makes a protected table's view what it should be. Returns the change, or `None` if the view was right already, or if
/// the table or one of its opt-out tables doesn't exist yet. `at_most` limits the number of files that the view expects
/// of one opt-out table, as in [`keep_active`].
///
/// The view is not moved to an opt-out table that may lack what the inbox has published, such as a table that has just
/// been renamed. `current` is an opt-out table that has just taken in everything.
///
/// Fails as `Config` if the view can't be made, or if a table has the view's name.
pub async fn keep_protected(
    env: &Environment,
    protected: &Protected,
    at_most: Option<(&TableName, u64)>,
    current: Option<&TableName>,
) -> Result<Option<ViewChange>> {
    let name = view::protected_name(&protected.table);
    let mut attempts = Attempts::on(&name);
    loop {
        attempts.begin()?;
        let stored = env.catalog.table(&name).await?;
        let Some(table) = env.catalog.table(&protected.table).await? else { return Ok(None) };
        let Some(mut states) = states(env, protected).await? else { return Ok(None) };
        for state in states.iter_mut().filter(|state| at_most.is_some_and(|(table, _)| *table == state.table)) {
            state.files = state.files.min(at_most.map_or(u64::MAX, |(_, files)| files));
        }
        let view = view::protected(&protected.table, &columns(&table, None), &protections(protected, &states));
        let view = view.map_err(|faults| Error::config(refusal(&name, &faults)))?;
        if let Some(behind) = behind(env, protected, stored.as_ref(), current).await? {
            match stored.as_ref().and_then(|stored| stored.view.as_ref()) {
                Some(_) => return Ok(None),
                None => {
                    return Err(Error::conflict(format!(
                        "{name} is not written before {} has taken in everything from {}: invoke optout for {:?}",
                        behind.table, behind.inbox, behind.dataset
                    )));
                }
            }
        }
        match put(env, &view, stored.as_ref()).await? {
            Written::Unchanged => return Ok(None),
            Written::Done => return Ok(Some(ViewChange { view: name, replaced: stored.is_some() })),
            Written::LostRace => {}
        }
    }
}

/// Returns an opt-out table that the stored view doesn't use yet and that may lack what its inbox has published.
async fn behind<'a>(
    env: &Environment,
    protected: &'a Protected,
    stored: Option<&TableVersion>,
    current: Option<&TableName>,
) -> Result<Option<&'a OptoutTable>> {
    let used = stored.and_then(|stored| stored.view.as_ref()).map_or(&[][..], |view| &view.leaves_out);
    for ProtectedBy { optouts, .. } in &protected.by {
        let name = optouts.table.to_string();
        let known = used.iter().any(|inbox| inbox.location == optouts.inbox && inbox.table == name);
        if !known && current != Some(&optouts.table) && !published::is_current(env, optouts).await? {
            return Ok(Some(optouts));
        }
    }
    Ok(None)
}

/// Returns why a flip to `next` would break the view of a protected table.
pub(super) async fn against(env: &Environment, dataset: &Dataset, next: &NextTable) -> Result<Vec<String>> {
    let Some(protected) = &dataset.protected else { return Ok(Vec::new()) };
    let Some(states) = states(env, protected).await? else { return Ok(Vec::new()) };
    let columns = match next {
        NextTable::Update { table, change } => columns(table, change.columns.as_deref()),
        NextTable::Create(new) => {
            let keys = new.partitions.iter().map(|partition| partition.column.clone());
            new.columns.iter().cloned().chain(keys).collect()
        }
    };
    let name = view::protected_name(&protected.table);
    let view = view::protected(&protected.table, &columns, &protections(protected, &states));
    Ok(view.err().map(|faults| refusal(&name, &faults)).into_iter().collect())
}

/// Makes the view of a protected table work both before and after a flip to `next`. Does nothing if it does already, or
/// if there is no view.
pub(super) async fn before(env: &Environment, dataset: &Dataset, next: &NextTable) -> Result<()> {
    let (Some(protected), NextTable::Update { table, change }) = (&dataset.protected, next) else { return Ok(()) };
    let (old, new) = (columns(table, None), columns(table, change.columns.as_deref()));
    if old == new {
        return Ok(());
    }
    let name = view::protected_name(&protected.table);
    let mut attempts = Attempts::on(&name);
    loop {
        attempts.begin()?;
        let Some(stored) = env.catalog.table(&name).await? else { return Ok(()) };
        let Some(states) = states(env, protected).await? else { return Ok(()) };
        let view = view::bridging(&protected.table, &old, &new, &protections(protected, &states));
        let Some(view) = view.map_err(|faults| Error::config(refusal(&name, &faults)))? else { return Ok(()) };
        if put(env, &view, Some(&stored)).await? != Written::LostRace {
            return Ok(());
        }
    }
}

/// Makes the view of a protected table what it should be after a flip. Returns a message if that fails, because the
/// flip stands and the next scheduled refresh tries again.
pub(super) async fn after(env: &Environment, dataset: &Dataset) -> Option<String> {
    let protected = dataset.protected.as_ref()?;
    match keep_protected(env, protected, None, None).await {
        Ok(_) => None,
        Err(error) => {
            tracing::error!(
                dataset = dataset.name,
                kind = error.kind().as_str(),
                error = error.report(),
                "view not updated"
            );
            Some(format!("views: {}", error.message()))
        }
    }
}

fn refusal(view: &TableName, faults: &[String]) -> String {
    format!("the view {view} can't be made: {}", faults.join("; "))
}

/// Returns the columns of a table, with the partition keys, if it had these other columns.
fn columns(table: &TableVersion, columns: Option<&[Column]>) -> Vec<Column> {
    [columns.unwrap_or(&table.columns), &table.partition_keys].concat()
}

fn protections<'a>(protected: &'a Protected, states: &'a [OptoutState]) -> Vec<Protection<'a>> {
    let both = states.iter().zip(&protected.by);
    both.map(|(optouts, by)| Protection { optouts, columns: &by.columns }).collect()
}

/// Loads the state of all opt-out tables that protect a table, or `None` if one of them doesn't exist yet.
async fn states(env: &Environment, protected: &Protected) -> Result<Option<Vec<OptoutState>>> {
    let mut all = Vec::new();
    for by in &protected.by {
        let Some(state) = state(env, &by.optouts).await? else { return Ok(None) };
        all.push(state);
    }
    Ok(Some(all))
}

/// Loads the state of an opt-out table, or `None` if the table doesn't exist yet.
async fn state(env: &Environment, optouts: &OptoutTable) -> Result<Option<OptoutState>> {
    let Some(table) = env.catalog.table(&optouts.table).await? else { return Ok(None) };
    let column = |name: &String| {
        table.columns.iter().find(|column| column.name == *name).cloned().ok_or_else(|| {
            Error::config(format!(
                "{} has no column {name:?}, which is in the key of inbox {:?}: invoke optout for {:?}",
                optouts.table, optouts.dataset, optouts.dataset
            ))
        })
    };
    let key = optouts.key.iter().map(column).collect::<Result<_>>()?;
    let location = table.location.as_deref().and_then(|location| location.parse::<Location>().ok());
    // Live may be a generation of another name, while the names in datasets.toml change.
    let files = match location.as_ref().and_then(TablePaths::of_generation) {
        Some((paths, generation)) => {
            let at = paths.manifest(&generation);
            let json = env.objects.get(&at).await?;
            let json = json.ok_or_else(|| Error::corrupt(format!("{at} is missing: it describes live opt-outs")))?;
            files_with_rows(&Manifest::from_json(&at, &generation, &json)?.files)
        }
        None => 0,
    };
    let (inbox, table) = (optouts.inbox.clone(), optouts.table.clone());
    Ok(Some(OptoutState { inbox, table, key, normalize: optouts.normalize.clone(), files }))
}

/// The result of writing a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Unchanged,
    Done,
    /// Another writer was first: read everything again.
    LostRace,
}

async fn put(env: &Environment, view: &View, stored: Option<&TableVersion>) -> Result<Written> {
    if let Some(stored) = stored {
        if stored.view.as_ref() == Some(view) {
            return Ok(Written::Unchanged);
        }
        let back: Vec<String> = stored
            .view
            .iter()
            .flat_map(|stored| view.lacks(stored))
            .map(|inbox| format!("{} ({})", inbox.location, inbox.table))
            .collect();
        if !back.is_empty() {
            return Err(Error::config(format!(
                "{} is not changed, because people who opted out through {} would be back in it: restore the inbox and \
                 its protects in datasets.toml, or drop the view if they may come back",
                view.name,
                back.join(", ")
            )));
        }
        if stored.unsupported != Some(VIEW) {
            return Err(Error::config(format!(
                "{} is a table, but Turntable keeps a view with this name: rename or drop the table",
                view.name
            )));
        }
    }
    Ok(match env.catalog.put_view(view, stored).await? {
        Update::Done => Written::Done,
        Update::Conflict => Written::LostRace,
    })
}
