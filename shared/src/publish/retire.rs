//! Retires a table that is no longer configured: keeps it as it is, or drops it and leaves its files to sweep. The
//! decision is recorded first, so an interrupted request can be repeated.

use std::collections::BTreeSet;

use serde::Serialize;
use turntable_core::{
    config::{Config, Dataset},
    decision::Live,
    error::{Error, Result},
    layout::{Generation, Location, TableName, TablePaths},
    optout::view,
    record::{FlipOrigin, OldTable, PublishedTable},
    retired::{self as records, Retired},
    table::TableVersion,
};

use super::{
    attempts::Attempts,
    databases, group, identity,
    manifests::manifest_at,
    published,
    retired::{self, Found},
};
use crate::environment::Environment;

/// An operator's decision about an old table, with the reason.
#[derive(Debug, Clone)]
pub struct Decided {
    pub old_table: OldTable,
    pub why: String,
    /// The table that the dataset now publishes instead. `None` if the table isn't renamed.
    pub renamed_to: Option<TableName>,
    /// The folder where the table is published instead. `None` if the table isn't moved.
    pub moved_to: Option<Location>,
}

/// A table that was published, and the folder with its files.
pub struct Published {
    pub name: TableName,
    /// The table, or `None` if it has already been dropped.
    pub table: Option<TableVersion>,
    pub paths: TablePaths,
    /// The generation that the table reads, if any.
    pub generation: Option<Generation>,
    pub dataset: String,
    pub(super) group: Option<String>,
}

impl Published {
    /// Returns the location of the generation that the table reads, or `None` if it reads none.
    pub fn location(&self) -> Option<Location> {
        self.generation.map(|generation| self.paths.generation(&generation))
    }
}

/// The result of a request, for the response.
pub struct Retirement {
    pub dataset: String,
    /// What the table reads. [`Live::NoTable`] if it was dropped.
    pub live: Live,
    pub reasons: Vec<String>,
    /// What stays in the bucket, if a table was retired.
    pub stays: Vec<Stays>,
}

/// An object or a folder that stays in the bucket after a table was retired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stays {
    /// Its `s3://` URI.
    pub at: String,
    pub what: &'static str,
}

/// Retires the table that the dataset `named` published, or the table `named` as `DATABASE.TABLE`. Repeating the
/// request changes nothing.
///
/// Fails with `Config` if a dataset still publishes the table, or if people who opted out could reappear in a view
/// without it.
pub async fn retire(env: &Environment, config: &Config, named: &str, decided: &Decided) -> Result<Retirement> {
    if let Some(dataset) = config.datasets().find(|one| one.name == named || one.table.to_string() == named) {
        return Err(Error::config(format!(
            "datasets.{} still publishes {}: remove the dataset from datasets.toml, then send the request again",
            dataset.name, dataset.table
        )));
    }
    let Some(old) = find(env, config, named).await? else { return again(env, config, named).await };
    if let Some(dataset) = config.datasets().find(|one| one.paths == old.paths) {
        return Err(Error::config(format!(
            "datasets.{} publishes {} in the folder of {}: send a rename with \"from\": \"{}\" instead",
            dataset.name, dataset.table, old.name, old.name
        )));
    }
    allowed(env, config, &old).await?;
    nobody_comes_back(env, config, &old).await?;
    let record = end(env, &old, decided).await?;
    Ok(report(&record, old.generation))
}

/// Finds a table by the dataset that published it, or by its name `DATABASE.TABLE`. Returns `None` if there is none.
pub(super) async fn find(env: &Environment, config: &Config, named: &str) -> Result<Option<Published>> {
    let name = named.parse::<TableName>().ok();
    let tables = match &name {
        Some(name) => env.catalog.table(name).await?.into_iter().collect(),
        None => {
            let mut all = Vec::new();
            for database in config.databases() {
                all.extend(env.catalog.tables(database, "").await?);
            }
            all
        }
    };
    let mut found = Vec::new();
    for table in tables.into_iter().filter(|table| config.dataset_of(&table.name).is_none() && !table.is_audit()) {
        let Some((paths, generation)) = table.place().as_ref().and_then(TablePaths::of_generation) else {
            match name {
                Some(name) => return Err(not_published(&name)),
                None => continue,
            }
        };
        let record: Option<PublishedTable> = env.record(&paths.table()).await?;
        let of_this = record.filter(|record| is_of(record, &table.name));
        let dataset = of_this.as_ref().map_or_else(|| table.name.table.clone(), |record| record.dataset.clone());
        if name.is_some() || of_this.is_some() && dataset == named {
            let (group, generation) = (of_this.and_then(|record| record.group), Some(generation));
            found.push(Published { name: table.name.clone(), table: Some(table), paths, generation, dataset, group });
        }
    }
    match (found.pop(), found.pop()) {
        (Some(one), Some(other)) => Err(Error::input(format!(
            "dataset {named:?} has published several tables, such as {} and {}: name the table as DATABASE.TABLE in \"dataset\"",
            one.name, other.name
        ))),
        (Some(one), None) => Ok(Some(one)),
        (None, _) => left(env, config, named).await,
    }
}

/// Finds the folder of a table that has already been dropped. Searches next to the configured datasets' folders.
/// Returns `None` if there is none.
async fn left(env: &Environment, config: &Config, named: &str) -> Result<Option<Published>> {
    let folder = named.split_once('.').map_or(named, |(_, table)| table);
    let parents: BTreeSet<Location> =
        config.datasets().filter_map(|dataset| dataset.paths.location().parent()).collect();
    for parent in parents {
        let paths = TablePaths::at(parent.folder(folder));
        let record: Option<PublishedTable> = env.record(&paths.table()).await?;
        let Some(record) = record else { continue };
        let name = TableName { database: record.database, table: record.table };
        let is_decided = retired::read(env, paths.location()).await?.is_some_and(|found| !found.record.released);
        let is_named = record.dataset == named || name.to_string() == named;
        if is_named && !is_decided && env.catalog.table(&name).await?.is_none() {
            let (dataset, group) = (record.dataset, record.group);
            return Ok(Some(Published { name, table: None, paths, generation: None, dataset, group }));
        }
    }
    Ok(None)
}

fn is_of(record: &PublishedTable, name: &TableName) -> bool {
    record.database == name.database && record.table == name.table
}

fn not_published(name: &TableName) -> Error {
    Error::input(format!(
        "{name} has no location that Turntable has published, so there is nothing to retire: check the name"
    ))
}

/// Handles a request about a table that doesn't exist. Succeeds if the request was carried out before.
async fn again(env: &Environment, config: &Config, named: &str) -> Result<Retirement> {
    let all = retired::all(env, config).await?;
    let is_retired = |record: &Retired| !record.released && record.moved_to.is_none() && record.is_named(named);
    let done = all.into_iter().filter(|found| is_retired(&found.record));
    let Some(found) = done.max_by_key(|found| found.record.at) else {
        return Err(Error::input(format!(
            "{named:?} matches no published table that is missing from datasets.toml: name the table as DATABASE.TABLE, \
             as `status` lists it in attention"
        )));
    };
    let mut record = found.record;
    if record.old_table == OldTable::Drop && record.gone.is_none() && env.catalog.table(&record.name()).await?.is_none()
    {
        record = gone(env, &record.location).await?.unwrap_or(record);
    }
    let mut report = report(&record, None);
    report.reasons.push(format!("already decided at {}: {}", record.at, record.why));
    Ok(report)
}

/// Fails if another stack publishes the table, or if a flip of its group is in flight.
pub(super) async fn allowed(env: &Environment, config: &Config, old: &Published) -> Result<()> {
    if let Some(other) = identity::other_stack(env, &old.paths).await? {
        return Err(Error::config(format!(
            "{}: the stack {other} publishes this table: send the request to that stack, or delete {}",
            old.name,
            old.paths.table()
        )));
    }
    let in_group =
        |dataset: &&Dataset| dataset.group.as_ref().is_some_and(|group| Some(&group.name) == old.group.as_ref());
    if let Some(member) = config.datasets().find(in_group)
        && let Some(unfinished) = group::record(env, member).await?.and_then(|record| record.unfinished())
    {
        return Err(Error::conflict(format!(
            "{}: {unfinished}: invoke flip for {:?} with the action status, and send the request again when the flip has \
             finished",
            old.name, member.name
        )));
    }
    Ok(())
}

/// Fails if a view uses this table to leave people out, or if a configured inbox needs the opt-outs in its folder.
pub(super) async fn nobody_comes_back(env: &Environment, config: &Config, old: &Published) -> Result<()> {
    let name = old.name.to_string();
    let configured = config.databases().into_iter().map(str::to_owned);
    let mut all: BTreeSet<String> = configured.chain([old.name.database.clone()]).collect();
    if may_leave_out(env, old).await? {
        all.extend(databases::on_record(env, config).await?);
    }
    for database in all {
        let listed = env.catalog.tables(&database, "").await.map_err(|failure| {
            let text = format!(
                "a view in {database}, where Turntable has published tables, may use {name} to leave people out, but the \
                 database's tables can't be listed: add it to GlueDatabases, then send the request again"
            );
            Error::new(failure.kind(), text).caused_by(failure)
        })?;
        let views = listed.into_iter().filter_map(|table| table.view);
        let mut users = views.filter(|view| view.leaves_out.iter().any(|inbox| inbox.table == name));
        if let Some(view) = users.next() {
            return Err(Error::config(format!(
                "{} uses the opt-outs in {name} to leave people out. Without {name}, these people would be back in the \
                 view: configure the inbox again, or drop the view if nobody needs it any more; then send the request \
                 again",
                view.name
            )));
        }
    }
    match published::needed_by(env, config, &old.paths).await? {
        Some(optouts) => Err(Error::config(format!(
            "{} has not taken in everything from {name} yet: invoke optout for {:?}, then send the request again",
            optouts.table, optouts.dataset
        ))),
        None => Ok(()),
    }
}

/// Returns whether the table may be an opt-out table.
async fn may_leave_out(env: &Environment, old: &Published) -> Result<bool> {
    let Some(location) = old.location() else { return Ok(true) };
    Ok(manifest_at(env, &location).await?.is_none_or(|manifest| manifest.merge.is_some()))
}

/// Records the decision, and carries it out. Returns the record.
pub(super) async fn end(env: &Environment, old: &Published, decided: &Decided) -> Result<Retired> {
    let mut record = record(env, old, decided).await?;
    if decided.old_table == OldTable::Drop {
        drop_table(env, old).await?;
        // After a rename, the new table may read the folder until its next flip, so sweep sets `gone`.
        if record.renamed_to.is_none() {
            record = gone(env, old.paths.location()).await?.unwrap_or(record);
        }
    }
    Ok(record)
}

/// Records the decision, unless an earlier request has recorded the same one.
pub(super) async fn record(env: &Environment, old: &Published, decided: &Decided) -> Result<Retired> {
    let TableName { database, table } = old.name.clone();
    let next = Retired {
        database,
        table,
        dataset: old.dataset.clone(),
        location: old.paths.location().clone(),
        at: env.clock.now(),
        by: FlipOrigin::Operator,
        why: decided.why.clone(),
        request_id: env.request_id(),
        old_table: decided.old_table,
        renamed_to: decided.renamed_to.as_ref().map(TableName::to_string),
        moved_to: decided.moved_to.clone(),
        gone: None,
        deleting: None,
        deleted: None,
        released: false,
    };
    let mut attempts = Attempts::on(&old.name);
    loop {
        attempts.begin()?;
        let Some(found) = retired::read(env, old.paths.location()).await? else {
            if retired::create(env, &next).await? {
                return Ok(next);
            }
            continue;
        };
        let Found { record, .. } = &found;
        let same = record.name() == old.name
            && record.old_table == next.old_table
            && (&record.renamed_to, &record.moved_to) == (&next.renamed_to, &next.moved_to);
        if same && !record.released && record.deleted.is_none() {
            return Ok(record.clone());
        }
        if record.is_claimed(env.clock.now()) {
            return Err(Error::conflict(format!(
                "sweep is deleting files in {}: send the request again in a few minutes",
                old.paths.location()
            )));
        }
        if found.replace(env, &next).await? {
            return Ok(next);
        }
    }
}

/// Drops the views that Turntable created on the table, and then the table.
pub(super) async fn drop_table(env: &Environment, old: &Published) -> Result<()> {
    for name in [view::protected_name(&old.name), view::active_name(&old.name)] {
        if env.catalog.table(&name).await?.is_some_and(|table| table.view.is_some()) {
            env.catalog.delete(&name).await?;
        }
    }
    let Some(now) = env.catalog.table(&old.name).await? else { return Ok(()) };
    if now.location != old.table.as_ref().and_then(|table| table.location.clone()) {
        return Err(Error::conflict(format!(
            "{} was moved before it could be dropped: send the request again",
            old.name
        )));
    }
    env.catalog.delete(&old.name).await
}

/// Records that the table is gone. Returns the new record, or `None` if the record no longer exists.
async fn gone(env: &Environment, home: &Location) -> Result<Option<Retired>> {
    let mut attempts = Attempts::on(home);
    loop {
        attempts.begin()?;
        let Some(found) = retired::read(env, home).await? else { return Ok(None) };
        if found.record.gone.is_some() || found.record.released {
            return Ok(Some(found.record));
        }
        let next = Retired { gone: Some(env.clock.now()), ..found.record.clone() };
        if found.replace(env, &next).await? {
            return Ok(Some(next));
        }
    }
}

fn report(record: &Retired, generation: Option<Generation>) -> Retirement {
    let name = record.name();
    let (live, reason) = match record.old_table {
        OldTable::Keep => (
            generation.map_or(Live::NoTable, Live::Managed),
            format!("{name} stays as it is with the files that it reads, and status doesn't list it any more"),
        ),
        OldTable::Drop if record.deleted.is_some() => {
            (Live::NoTable, format!("{name} is dropped, and its files are deleted"))
        }
        OldTable::Drop => (
            Live::NoTable,
            format!("{name} is dropped, and sweep deletes its files when no query can read them any more"),
        ),
    };
    Retirement { dataset: record.dataset.clone(), live, reasons: vec![reason], stays: stays(record, generation) }
}

/// Returns what sweep leaves in the bucket.
fn stays(record: &Retired, generation: Option<Generation>) -> Vec<Stays> {
    let paths = TablePaths::at(record.location.clone());
    let mut stays = Vec::new();
    let mut add = |at: String, what| stays.push(Stays { at, what });
    match record.old_table {
        OldTable::Keep => {
            if let Some(generation) = generation {
                add(paths.generation(&generation).to_string(), "the files that the table reads");
                add(paths.manifest(&generation).to_string(), "their manifest");
            }
            add(paths.flips().to_string(), "the records of the flips, without rows");
        }
        OldTable::Drop => {}
    }
    add(paths.table().to_string(), "the table's name, without rows");
    add(records::key(&record.location).to_string(), "this decision");
    stays
}
