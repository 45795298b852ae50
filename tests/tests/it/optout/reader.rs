//! Evaluates a protected view as Athena would: its guard, and the people that it leaves out.

use std::collections::BTreeSet;

use tests::optouts::{Lake, Out, rows};
use turntable::layout::{Location, TableName};

/// Returns the people whom a protected view leaves out, or the error with which a query of it fails. A view that
/// Turntable didn't store leaves nobody out.
pub fn left_out(lake: &Lake, view: &str) -> Result<BTreeSet<i64>, String> {
    let name = TableName { database: "dmp".into(), table: view.into() };
    let table = lake.catalog.get(&name).ok_or("no such view")?;
    let Some(view) = turntable::aws::glue::version_of("dmp", table).view else { return Ok(BTreeSet::new()) };
    let mut out = BTreeSet::new();
    for inbox in &view.leaves_out {
        let (database, table) = inbox.table.split_once('.').unwrap();
        let name = TableName { database: database.into(), table: table.into() };
        let missing = || format!("{} does not exist", inbox.table);
        let table = lake.catalog.get(&name).ok_or_else(missing)?;
        let location: Location = table.storage_descriptor().unwrap().location().unwrap().parse().unwrap();
        let (files, people) = people(lake, &location);
        let guard = format!(
            "'{} has lost opt-outs: it has ' || CAST(count(DISTINCT \"$path\") AS varchar) || ' of ",
            inbox.table
        );
        if let Some((_, rest)) = view.query.split_once(&guard) {
            let expected: u64 = rest.split_once(' ').unwrap().0.parse().unwrap();
            if files < expected {
                return Err(format!("{} has lost opt-outs: it has {files} of {expected} files", inbox.table));
            }
        }
        assert!(view.query.contains(&format!("SELECT 1 FROM \"{database}\".\"{}\" o", name.table)), "{}", view.query);
        out.extend(people);
    }
    Ok(out)
}

/// Returns the number of files with rows at a location, and the people in them who are out. Only files that still exist
/// count, as in Athena.
fn people(lake: &Lake, location: &Location) -> (u64, BTreeSet<i64>) {
    let (mut files, mut out) = (0, BTreeSet::new());
    let prefix = location.to_string();
    for key in lake.objects.keys().into_iter().filter(|key| key.starts_with(&prefix)) {
        let rows = rows::read(lake.objects.body(&key).unwrap());
        files += u64::from(!rows.is_empty());
        out.extend(rows.into_iter().filter(|(_, state, _)| *state != Out::OptedIn).map(|(id, ..)| id));
    }
    (files, out)
}
