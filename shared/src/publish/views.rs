//! Keeps the views that readers use equal to their definitions in [`turntable_core::optout::view`]. Only the catalog
//! decides what a view is: each function reads the stored view and its version, then everything that the view depends
//! on, and replaces the view only if it still has that version.
//!
//! When a protected table flips, its view works at every moment. If columns are removed or change their types, the view
//! first gets only the columns that exist before and after the flip. After the flip, it gets the new columns.

use serde::Serialize;
use turntable_core::{
    config::{Dataset, OptoutTable, Protected, ProtectedBy},
    error::{Error, Result},
    layout::{TableName, TablePaths},
    manifest::File,
    optout::view::{self, OptoutState, Protection, View},
    port::Update,
    schema::Column,
    table::{NextTable, TableVersion, VIEW},
};

use super::{attempts::Attempts, manifests::manifest_at, published};
use crate::environment::Environment;

/// A view that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewChange {
    pub view: TableName,
    /// Whether the view existed before.
    pub replaced: bool,
}

/// How a view in the catalog compares with its definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewState {
    /// The view matches its definition.
    Kept,
    /// The view doesn't exist.
    Missing,
    /// Something outside Turntable has changed the view, or it waits for the next scheduled refresh.
    Different,
    /// A table that the view depends on doesn't exist yet.
    Pending,
}

/// Compares an opt-out table's `OPTOUTS_active` view with its definition.
pub async fn compare_active(env: &Environment, optouts: &OptoutTable) -> Result<ViewState> {
    let stored = env.catalog.table(&view::active_name(&optouts.table)).await?;
    Ok(compared(stored.as_ref(), active(env, optouts, None).await?.as_ref()))
}

/// Compares a protected table's view with its definition. Fails with `Config` if the view can't be created.
pub async fn compare_protected(env: &Environment, of: &Protected) -> Result<ViewState> {
    let stored = env.catalog.table(&view::protected_name(&of.table)).await?;
    Ok(compared(stored.as_ref(), protected(env, of, None).await?.as_ref()))
}

/// Returns a protected table's view if it exists and matches its definition.
pub async fn matching_protected(env: &Environment, of: &Protected) -> Result<Option<View>> {
    let stored = env.catalog.table(&view::protected_name(&of.table)).await?;
    let wanted = protected(env, of, None).await?;
    Ok(wanted.filter(|wanted| stored.is_some_and(|stored| stored.view.as_ref() == Some(wanted))))
}

/// Returns the query that counts the people who opted out through an inbox, and how many of their keys aren't in any
/// row of a protected table. Returns `None` if one of the tables doesn't exist yet. Fails with `Config` if the keys
/// can't match.
pub async fn unmatched_query(env: &Environment, of: &Protected, inbox: &str) -> Result<Option<String>> {
    let (table, states) = futures::try_join!(env.catalog.table(&of.table), states(env, of, None))?;
    let (Some(table), Some(states)) = (table, states) else { return Ok(None) };
    let Some(at) = of.by.iter().position(|by| by.optouts.dataset == inbox) else { return Ok(None) };
    let Some(protection) = protections(of, &states).into_iter().nth(at) else { return Ok(None) };
    let query = view::unmatched(&of.table, &columns(&table, None), &protection);
    query.map(Some).map_err(|faults| Error::config(refusal(of, &faults)))
}

fn compared(stored: Option<&TableVersion>, wanted: Option<&View>) -> ViewState {
    match (stored, wanted) {
        (_, None) => ViewState::Pending,
        (None, Some(_)) => ViewState::Missing,
        (Some(stored), Some(wanted)) if stored.view.as_ref() == Some(wanted) => ViewState::Kept,
        (Some(_), Some(_)) => ViewState::Different,
    }
}

/// Returns the number of files that have rows. A view fails if the opt-out table has fewer files than the view expects.
pub fn files_with_rows(files: &[File]) -> u64 {
    files.iter().filter(|file| file.rows > 0).count() as u64
}

/// A limit on the number of files that views expect in an opt-out table, for a flip to a generation with fewer files.
pub type AtMost<'a> = Option<(&'a TableName, u64)>;

/// Updates an opt-out table's `OPTOUTS_active` view if it differs from its definition. Returns the change, or `None` if
/// the view was already right or the table doesn't exist yet.
pub async fn keep_active(env: &Environment, optouts: &OptoutTable, at_most: AtMost<'_>) -> Result<Option<ViewChange>> {
    keep(env, Wanted::Active { optouts, at_most }).await
}

/// Updates a protected table's view if it differs from its definition. Returns the change, or `None` if the view was
/// already right, or if the table or one of its opt-out tables doesn't exist yet.
///
/// The view is not moved to an opt-out table that may lack what the inbox has published, such as a table that has just
/// been renamed. `current` is an opt-out table that has just taken in everything in its inbox.
///
/// Fails with `Config` if the view can't be created, or if a table has the view's name.
pub async fn keep_protected(
    env: &Environment,
    of: &Protected,
    at_most: AtMost<'_>,
    current: Option<&TableName>,
) -> Result<Option<ViewChange>> {
    keep(env, Wanted::Protected { of, at_most, current }).await
}

/// A view to write.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    Active {
        optouts: &'a OptoutTable,
        at_most: AtMost<'a>,
    },
    Protected {
        of: &'a Protected,
        at_most: AtMost<'a>,
        current: Option<&'a TableName>,
    },
    /// The view of a protected table that works both before and after a flip.
    Bridging {
        of: &'a Protected,
        before: &'a [Column],
        after: &'a [Column],
    },
}

impl Wanted<'_> {
    fn name(&self) -> TableName {
        match self {
            Wanted::Active { optouts, .. } => view::active_name(&optouts.table),
            Wanted::Protected { of, .. } | Wanted::Bridging { of, .. } => view::protected_name(&of.table),
        }
    }

    /// Returns the view's definition, or `None` to leave the stored view unchanged.
    async fn view(&self, env: &Environment, stored: Option<&TableVersion>) -> Result<Option<View>> {
        match *self {
            Wanted::Active { optouts, at_most } => active(env, optouts, at_most).await,
            Wanted::Protected { of, at_most, current } => {
                let Some(view) = protected(env, of, at_most).await? else { return Ok(None) };
                let stored = stored.and_then(|stored| stored.view.as_ref());
                match (behind(env, of, stored, current).await?, stored) {
                    (None, _) => Ok(Some(view)),
                    (Some(_), Some(_)) => Ok(None),
                    (Some(behind), None) => Err(Error::conflict(format!(
                        "{} is not written before {} has taken in everything from {}: invoke optout for {:?}",
                        view.name, behind.table, behind.inbox, behind.dataset
                    ))),
                }
            }
            Wanted::Bridging { .. } if stored.is_none() => Ok(None),
            Wanted::Bridging { of, before, after } => {
                let Some(states) = states(env, of, None).await? else { return Ok(None) };
                let view = view::bridging(&of.table, before, after, &protections(of, &states));
                view.map_err(|faults| Error::config(refusal(of, &faults)))
            }
        }
    }
}

/// Writes a view unless it is already right, and starts again if another writer was first. Reads the stored view before
/// everything that the view depends on.
async fn keep(env: &Environment, wanted: Wanted<'_>) -> Result<Option<ViewChange>> {
    let name = wanted.name();
    let mut attempts = Attempts::on(&name);
    loop {
        attempts.begin()?;
        let stored = env.catalog.table(&name).await?;
        let Some(view) = wanted.view(env, stored.as_ref()).await? else { return Ok(None) };
        match put(env, &view, stored.as_ref()).await? {
            Written::Unchanged => return Ok(None),
            Written::Done => return Ok(Some(ViewChange { view: name, replaced: stored.is_some() })),
            Written::LostRace => {}
        }
    }
}

/// Returns the definition of an opt-out table's `OPTOUTS_active` view, or `None` if the table doesn't exist yet.
async fn active(env: &Environment, optouts: &OptoutTable, at_most: AtMost<'_>) -> Result<Option<View>> {
    Ok(state(env, optouts, at_most).await?.map(|state| view::active(&state)))
}

/// Returns the definition of a protected table's view, or `None` if the table or one of its opt-out tables doesn't
/// exist yet.
async fn protected(env: &Environment, of: &Protected, at_most: AtMost<'_>) -> Result<Option<View>> {
    let (table, states) = futures::try_join!(env.catalog.table(&of.table), states(env, of, at_most))?;
    let (Some(table), Some(states)) = (table, states) else { return Ok(None) };
    let view = view::protected(&of.table, &columns(&table, None), &protections(of, &states));
    view.map(Some).map_err(|faults| Error::config(refusal(of, &faults)))
}

/// Returns an opt-out table, if any, that the stored view doesn't use yet and that may lack what its inbox has
/// published.
async fn behind<'a>(
    env: &Environment,
    protected: &'a Protected,
    stored: Option<&View>,
    current: Option<&TableName>,
) -> Result<Option<&'a OptoutTable>> {
    let used = stored.map_or(&[][..], |view| &view.leaves_out);
    for ProtectedBy { optouts, .. } in &protected.by {
        let name = optouts.table.to_string();
        let known = used.iter().any(|inbox| inbox.location == optouts.inbox && inbox.table == name);
        if !known && current != Some(&optouts.table) && !published::is_current(env, optouts).await? {
            return Ok(Some(optouts));
        }
    }
    Ok(None)
}

/// Returns why a flip to `next` would break the protected table's view. Empty if it wouldn't.
pub(super) async fn against(env: &Environment, dataset: &Dataset, next: &NextTable) -> Result<Vec<String>> {
    let Some(protected) = &dataset.protected else { return Ok(Vec::new()) };
    let Some(states) = states(env, protected, None).await? else { return Ok(Vec::new()) };
    let columns = match next {
        NextTable::Update { table, change } => columns(table, change.columns.as_deref()),
        NextTable::Create(new) => {
            let keys = new.partitions.iter().map(|partition| partition.column.clone());
            new.columns.iter().cloned().chain(keys).collect()
        }
    };
    let view = view::protected(&protected.table, &columns, &protections(protected, &states));
    Ok(view.err().map(|faults| refusal(protected, &faults)).into_iter().collect())
}

/// Makes a protected table's view work both before and after a flip to `next`. Does nothing if it already does, or if
/// there is no view.
pub(super) async fn before(env: &Environment, dataset: &Dataset, next: &NextTable) -> Result<()> {
    let (Some(protected), NextTable::Update { table, change }) = (&dataset.protected, next) else { return Ok(()) };
    let (old, new) = (columns(table, None), columns(table, change.columns.as_deref()));
    if old == new {
        return Ok(());
    }
    keep(env, Wanted::Bridging { of: protected, before: &old, after: &new }).await.map(drop)
}

/// Updates a protected table's view after a flip. If this fails, only returns a message, because the flip isn't undone
/// and the next scheduled refresh tries again.
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

fn refusal(protected: &Protected, faults: &[String]) -> String {
    format!("the view {} can't be made: {}", view::protected_name(&protected.table), faults.join("; "))
}

/// Returns a table's columns, or the given `columns` instead, followed by its partition keys.
fn columns(table: &TableVersion, columns: Option<&[Column]>) -> Vec<Column> {
    [columns.unwrap_or(&table.columns), &table.partition_keys].concat()
}

/// Returns a table's current columns, followed by its partition keys.
pub(super) fn protected_columns(table: &TableVersion) -> Vec<Column> {
    columns(table, None)
}

pub(super) fn protections<'a>(protected: &'a Protected, states: &'a [OptoutState]) -> Vec<Protection<'a>> {
    let both = states.iter().zip(&protected.by);
    both.map(|(optouts, by)| Protection { optouts, columns: &by.columns }).collect()
}

/// Loads the state of all opt-out tables that protect a table, or `None` if one of them doesn't exist yet.
async fn states(env: &Environment, protected: &Protected, at_most: AtMost<'_>) -> Result<Option<Vec<OptoutState>>> {
    let mut all = Vec::new();
    for by in &protected.by {
        let Some(state) = state(env, &by.optouts, at_most).await? else { return Ok(None) };
        all.push(state);
    }
    Ok(Some(all))
}

/// Loads the state of an opt-out table, or `None` if the table doesn't exist yet.
pub(super) async fn state(
    env: &Environment,
    optouts: &OptoutTable,
    at_most: AtMost<'_>,
) -> Result<Option<OptoutState>> {
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
    let location = table.place();
    // While the names in datasets.toml change, live may be a generation under another name.
    let files = match location.filter(|location| TablePaths::of_generation(location).is_some()) {
        Some(location) => {
            let lost =
                || Error::corrupt(format!("{location} holds live opt-outs, but its manifest is missing: restore it"));
            files_with_rows(&manifest_at(env, &location).await?.ok_or_else(lost)?.files)
        }
        None => 0,
    };
    let most = at_most.filter(|(table, _)| **table == optouts.table).map_or(u64::MAX, |(_, files)| files);
    let files = files.min(most);
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
                "{} was left unchanged, because the change would bring back people who opted out through {}: restore the \
                 inbox and its `protects` in datasets.toml, or, if these people are allowed to reappear, drop the view",
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
