//! Renames a dataset's table to the name that datasets.toml has now: creates the new table as a copy of the old one,
//! and then keeps or drops the old one. At any time, each of the two tables that exists shows a complete generation.
//!
//! If only the database has changed, both tables have the same folder, and the new one continues there. If the table's
//! name has changed, the new table stays at the old folder's generation until the dataset's next flip. For an inbox,
//! the refresh creates the new table instead, because it must contain all opt-outs that have been published.

use turntable_core::{
    config::{Config, Dataset, ProtectedBy},
    decision::Live,
    error::{Error, Result},
    layout::{Location, TableName, TablePaths},
    optout::view,
    port::Update,
    record::{self, Dropped, OldTable, PublishedTable, Renamed},
    table::TableVersion,
};

use super::{
    attempts::Attempts,
    identity,
    retire::{self, Decided, Published, Retirement},
    retired::{self, Found},
    views,
};
use crate::environment::{self, Environment};

/// Renames a dataset's table. Repeating the request changes nothing.
///
/// Fails with `Config` if datasets.toml doesn't name another table, and with `Conflict` if a view still depends on the
/// old table, or if the old table is newer.
pub async fn rename(
    env: &Environment,
    config: &Config,
    dataset: &Dataset,
    from: &TableName,
    decided: Decided,
) -> Result<Retirement> {
    let decided = Decided { renamed_to: Some(dataset.table.clone()), ..decided };
    if let Some(other) = config.dataset_of(from) {
        return Err(Error::config(format!(
            "datasets.{} publishes {from}: set the new table or database in datasets.toml, upload the file, then send the \
             request again",
            other.name
        )));
    }
    let found = retire::find(env, config, &from.to_string()).await?;
    let Some(old) = found.filter(|old| old.table.is_some()) else {
        return again(env, config, dataset, from, &decided).await;
    };
    if old.dataset != dataset.name && !same_folder(&old, dataset) {
        return Err(Error::config(format!(
            "{from} was published by dataset {:?}, not by {:?}: name the right table in \"from\"",
            old.dataset, dataset.name
        )));
    }
    retire::allowed(env, config, &old).await?;
    if same_folder(&old, dataset) {
        note(env, dataset, &decided, from, None).await?;
    }
    let now = make(env, dataset, &old).await?;
    follow(env, dataset).await?;
    is_replaced(env, config, dataset, &old, &now).await?;
    retire::nobody_comes_back(env, config, &old).await?;
    if same_folder(&old, dataset) {
        // A sweep may have replaced the record in the meantime.
        let dropped = old.location().filter(|_| decided.old_table == OldTable::Drop);
        note(env, dataset, &decided, from, dropped).await?;
        if decided.old_table == OldTable::Drop {
            retire::drop_table(env, &old).await?;
        }
    } else {
        retire::end(env, &old, &decided).await?;
    }
    Ok(report(dataset, from, &now, decided.old_table))
}

fn same_folder(old: &Published, dataset: &Dataset) -> bool {
    old.paths == dataset.paths
}

/// Creates the new table as a copy of the old one, unless it already exists. Returns the new table.
async fn make(env: &Environment, dataset: &Dataset, old: &Published) -> Result<TableVersion> {
    let mut attempts = Attempts::on(&dataset.table);
    loop {
        attempts.begin()?;
        if let Some(now) = env.catalog.table(&dataset.table).await? {
            return Ok(now);
        }
        if dataset.is_inbox() && !same_folder(old, dataset) {
            return Err(Error::conflict(format!(
                "{} does not exist yet: invoke optout for {:?}, which makes it with every opt-out in {}; then send the \
                 request again",
                dataset.table, dataset.name, old.name
            )));
        }
        // The old table is read again, because it may have flipped since, and the copy would be outdated.
        let table = env.catalog.table(&old.name).await?.filter(|table| table.place() == old.location());
        let Some(table) = table else {
            return Err(Error::conflict(format!("{} was moved or dropped: send the request again", old.name)));
        };
        if env.catalog.copy(&table, &dataset.table).await? == Update::Done
            && same_folder(old, dataset)
            && let Err(error) = identity::write(env, dataset, None).await
        {
            // The next sweep writes the record.
            tracing::warn!(dataset = dataset.name, error = error.report(), "the table's record was not written");
        }
    }
}

/// Creates the views that depend on the new table. The old views stay until the old table is dropped.
async fn follow(env: &Environment, dataset: &Dataset) -> Result<()> {
    if let Some(protected) = &dataset.protected {
        views::keep_protected(env, protected, None, None).await?;
    }
    if let Some(optouts) = dataset.optouts() {
        views::keep_active(env, &optouts, None).await?;
        for protected in &dataset.protects {
            views::keep_protected(env, protected, None, None).await?;
        }
    }
    Ok(())
}

/// Fails unless the new table is as fresh as the old one and no configured table's view reads the old one.
async fn is_replaced(
    env: &Environment,
    config: &Config,
    dataset: &Dataset,
    old: &Published,
    now: &TableVersion,
) -> Result<()> {
    let (Some(at), Some(was)) = (now.place(), old.location()) else {
        return Err(Error::config(format!("{} has no location in S3: drop it, then send the request again", now.name)));
    };
    // After an earlier rename or move, the new table may read another folder. No flip can move it from there as long as
    // the old table reads from the dataset's folder.
    let fresher = match (TablePaths::of_generation(&at), old.generation) {
        (Some((paths, live)), Some(old)) => (paths == dataset.paths || !dataset.is_inbox()) && live.ulid >= old.ulid,
        _ => false,
    };
    if at != was && !fresher {
        return Err(Error::conflict(format!(
            "{} is at {at}, and {} is at {was}, which may be newer: invoke flip for {:?} with the newest generation, or \
             drop {} if it has nothing that you need, then send the request again",
            now.name, old.name, dataset.name, now.name
        )));
    }
    if !dataset.is_inbox() {
        return Ok(());
    }
    let name = old.name.to_string();
    for protected in config.datasets().filter_map(|dataset| dataset.protected.as_ref()) {
        let stored = env.catalog.table(&view::protected_name(&protected.table)).await?.and_then(|table| table.view);
        let by = |by: &ProtectedBy| by.optouts.dataset == dataset.name;
        if stored.is_some_and(|view| view.leaves_out.iter().any(|inbox| inbox.table == name))
            && protected.by.iter().any(by)
        {
            return Err(Error::conflict(format!(
                "the view of {} still uses {name} to leave people out: invoke optout for {:?}, then send the request again",
                protected.table, dataset.name
            )));
        }
    }
    Ok(())
}

/// Adds the rename to the record of the folder that both tables share. From then on, sweep keeps what the old table
/// reads, even if its database is no longer configured.
///
/// If the old table is dropped next, `dropped` is its location. Sweep keeps the files there for `drain`.
async fn note(
    env: &Environment,
    dataset: &Dataset,
    decided: &Decided,
    from: &TableName,
    dropped: Option<Location>,
) -> Result<()> {
    let key = dataset.paths.table();
    let found = env.record::<PublishedTable>(&key).await?.unwrap_or_else(|| PublishedTable {
        database: from.database.clone(),
        table: from.table.clone(),
        dataset: dataset.name.clone(),
        group: dataset.group.as_ref().map(|group| group.name.clone()),
        stack: environment::optional("STACK"),
        renamed: Vec::new(),
        moved_from: Vec::new(),
    });
    let renamed = Renamed {
        from: from.to_string(),
        to: dataset.table.to_string(),
        at: env.clock.now(),
        why: decided.why.clone(),
        old_table: decided.old_table,
        dropped: dropped.map(|location| Dropped { at: env.clock.now(), location }),
    };
    let is_this = |other: &Renamed| other.from == renamed.from && other.to == renamed.to;
    let is_noted = |other: &Renamed| is_this(other) && other.old_table == renamed.old_table;
    if renamed.dropped.is_none() && found.renamed.last().is_some_and(is_noted) {
        return Ok(());
    }
    let mut all: Vec<Renamed> = found.renamed.iter().filter(|other| !is_this(other)).cloned().collect();
    all.push(renamed);
    let noted = PublishedTable { renamed: all, ..found };
    env.objects.put(&key, record::to_json(&noted).into()).await
}

/// Handles a request about an old table that doesn't exist. Succeeds if the same rename was carried out before.
async fn again(
    env: &Environment,
    config: &Config,
    dataset: &Dataset,
    from: &TableName,
    decided: &Decided,
) -> Result<Retirement> {
    let now = env.catalog.table(&dataset.table).await?;
    let folder: Option<PublishedTable> = env.record(&dataset.paths.table()).await?;
    let to = Some(dataset.table.to_string());
    let noted = folder.is_some_and(|found| {
        found.renamed.iter().any(|renamed| renamed.from == from.to_string() && Some(&renamed.to) == to.as_ref())
    });
    let is_this = |found: &Found| found.record.name() == *from && found.record.renamed_to == to;
    let recorded = noted || retired::all(env, config).await?.iter().any(is_this);
    match now.filter(|_| recorded) {
        Some(now) => Ok(report(dataset, from, &now, decided.old_table)),
        None => Err(Error::input(format!(
            "{from} does not exist, and no rename from it to {} is on record: check the name; if nothing is published yet, \
             invoke export for {:?}",
            dataset.table, dataset.name
        ))),
    }
}

fn report(dataset: &Dataset, from: &TableName, now: &TableVersion, old_table: OldTable) -> Retirement {
    let live = Live::of(&dataset.paths, now.place().as_ref());
    let old = match old_table {
        OldTable::Keep => "stays as it is",
        OldTable::Drop => "is dropped",
    };
    let reasons = vec![format!("{} is published instead of {from}, which {old}", dataset.table)];
    Retirement { dataset: dataset.name.clone(), live, reasons, stays: Vec::new() }
}
