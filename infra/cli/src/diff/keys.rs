//! `diff --keys`: counts the keys that came and went between two generations. Athena compares them, so the keys stay in the
//! account; they are returned only if the caller asks for some.
//!
//! Each generation is registered as a temporary table, with the name and the mark of an audit's table. So the functions
//! know what it is, and sweep drops it if this program is killed.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use turntable::{
    aws::glue::{Glue, GlueCatalog},
    clock::Clock,
    layout::{TableName, audit_table},
    manifest::Manifest,
    port::Catalog,
    table::{AuditTable, NewTable, NextTable},
};

use crate::{
    athena::{self, QueryFailed, Results},
    query::cell,
    table::{aligned, thousands},
    target::Stack,
};

/// Which keys to compare.
#[derive(Debug, Clone)]
pub struct Keys<'a> {
    /// The columns that are the key together.
    pub columns: &'a [String],
    /// How many keys of each kind to show. 0 shows none, as keys may be personal.
    pub show: u32,
    /// Where Athena writes the results.
    pub results: &'a Results,
}

/// The keys that are in only one of two generations.
#[derive(Debug, Serialize)]
pub struct KeyDifference {
    columns: Vec<String>,
    went: u64,
    came: u64,
    /// Some of the keys that went, and some of those that came. Empty unless [`Keys::show`] is above 0.
    #[serde(skip_serializing_if = "Samples::is_empty")]
    samples: Samples,
}

/// A key's values, in the order of its columns. `None` is NULL.
type Key = Vec<Option<String>>;

#[derive(Debug, Default, Serialize)]
struct Samples {
    went: Vec<Key>,
    came: Vec<Key>,
}

impl Samples {
    fn is_empty(&self) -> bool {
        self.went.is_empty() && self.came.is_empty()
    }
}

/// A temporary table.
struct Temporary {
    name: TableName,
    sql: String,
}

/// Compares the keys in two generations, the older one first.
pub async fn compared(stack: &Stack, database: &str, sides: [&Manifest; 2], keys: &Keys<'_>) -> Result<KeyDifference> {
    let names: Vec<String> = keys.columns.iter().map(|name| name.to_lowercase()).collect();
    for manifest in sides {
        check(manifest, &names)?;
    }
    let catalog = GlueCatalog(Arc::new(Glue::new(stack.aws())));
    let [from, to] = sides;
    let from = register(&catalog, stack, database, from).await?;
    let compared = match register(&catalog, stack, database, to).await {
        Ok(to) => {
            let compared = ask(stack, (&from, &to), &names, keys).await;
            drop_table(&catalog, &to).await;
            compared
        }
        Err(error) => Err(error),
    };
    drop_table(&catalog, &from).await;
    compared
}

/// Checks that a generation has the columns of the key.
fn check(manifest: &Manifest, names: &[String]) -> Result<()> {
    let partitions = manifest.partitions.iter().map(|partition| &partition.column);
    let known: Vec<&str> = manifest.columns.iter().chain(partitions).map(|column| column.name.as_str()).collect();
    for name in names {
        ensure!(
            known.contains(&name.as_str()),
            "{} has no column {name:?}: expected some of {} after --keys",
            manifest.generation,
            known.join(", ")
        );
    }
    Ok(())
}

/// Registers a generation as a temporary table.
async fn register(catalog: &dyn Catalog, stack: &Stack, database: &str, manifest: &Manifest) -> Result<Temporary> {
    let table = audit_table(&manifest.dataset, Clock::system().ulid());
    let name = TableName { database: database.into(), table };
    let published = NextTable::Create(NewTable {
        name: name.clone(),
        columns: manifest.columns.clone(),
        location: manifest.location.clone(),
        partitions: manifest.partitions.clone(),
    });
    let audit = AuditTable { name: name.clone(), generation: manifest.generation, published: &published };
    let created = catalog.create_audit_table(&audit).await;
    created
        .map_err(|error| stack.explained(error.into()))
        .with_context(|| format!("diff --keys needs glue:CreateTable, glue:GetTable and glue:DeleteTable on {name}"))?;
    let sql = format!("{}.{}", quoted(&name.database), quoted(&name.table));
    Ok(Temporary { name, sql })
}

/// Drops a temporary table. A table that can't be dropped is left for sweep.
async fn drop_table(catalog: &dyn Catalog, table: &Temporary) {
    if let Err(error) = catalog.delete(&table.name).await {
        eprintln!("{} was not dropped, and is left for sweep: {}", table.name, error.report());
    }
}

async fn ask(
    stack: &Stack,
    (from, to): (&Temporary, &Temporary),
    names: &[String],
    keys: &Keys<'_>,
) -> Result<KeyDifference> {
    let counted = rows(stack, keys.results, &counts(&from.sql, &to.sql, names)).await?;
    let number = |at: usize| -> Option<u64> { counted.first()?.get(at)?.as_ref()?.parse().ok() };
    let (went, came) = number(0).zip(number(1)).context("Athena returned no counts: try again")?;
    let samples = match keys.show {
        0 => Samples::default(),
        show => Samples {
            went: rows(stack, keys.results, &sample(&from.sql, &to.sql, names, show)).await?,
            came: rows(stack, keys.results, &sample(&to.sql, &from.sql, names, show)).await?,
        },
    };
    Ok(KeyDifference { columns: names.to_vec(), went, came, samples })
}

async fn rows(stack: &Stack, results: &Results, sql: &str) -> Result<Vec<Key>> {
    let client = aws_sdk_athena::Client::new(stack.athena());
    let answer = athena::answer(&client, results, sql).await;
    // A failed statement is not about the stack, whatever its message says.
    Ok(answer.map_err(|error| if error.is::<QueryFailed>() { error } else { stack.explained(error) })?.rows)
}

/// Returns the query for the number of keys that only the first table has, and that only the second one has. A key that is
/// there twice counts once, and two NULLs are the same.
fn counts(from: &str, to: &str, names: &[String]) -> String {
    let count = |one: &str, other: &str| format!("(SELECT count(*) FROM ({}))", only(one, other, names));
    format!("SELECT {} AS went, {} AS came", count(from, to), count(to, from))
}

/// Returns the query for some of the keys that only `one` has, in order.
fn sample(one: &str, other: &str, names: &[String], show: u32) -> String {
    let order: Vec<String> = (1..=names.len()).map(|at| at.to_string()).collect();
    format!("SELECT * FROM ({}) ORDER BY {} LIMIT {show}", only(one, other, names), order.join(", "))
}

fn only(one: &str, other: &str, names: &[String]) -> String {
    let columns = names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    format!("SELECT {columns} FROM {one} EXCEPT SELECT {columns} FROM {other}")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl KeyDifference {
    /// Describes the keys, after an empty line.
    pub fn shown(&self) -> String {
        let of = self.columns.join(", ");
        let mut text = format!("\nkeys ({of}): {} went, {} came\n", thousands(self.went), thousands(self.came));
        let kinds = [("went", &self.samples.went), ("came", &self.samples.came)];
        let rows: Vec<Vec<String>> = kinds
            .iter()
            .flat_map(|(kind, found)| found.iter().map(|key| (*kind, key)))
            .map(|(kind, key)| std::iter::once(kind.to_owned()).chain(key.iter().map(cell)).collect())
            .collect();
        if rows.is_empty() {
            return text;
        }
        let head: Vec<&str> = std::iter::once("").chain(self.columns.iter().map(String::as_str)).collect();
        let lines: Vec<Vec<&str>> =
            std::iter::once(head).chain(rows.iter().map(|row| row.iter().map(String::as_str).collect())).collect();
        text += &aligned(&lines, &[]);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_in_athena() {
        let names = ["id".to_owned(), "a\"b".to_owned()];
        assert_eq!(
            counts("a", "b", &names[..1]),
            "SELECT (SELECT count(*) FROM (SELECT \"id\" FROM a EXCEPT SELECT \"id\" FROM b)) AS went, \
             (SELECT count(*) FROM (SELECT \"id\" FROM b EXCEPT SELECT \"id\" FROM a)) AS came"
        );
        assert_eq!(
            sample("a", "b", &names, 5),
            "SELECT * FROM (SELECT \"id\", \"a\"\"b\" FROM a EXCEPT SELECT \"id\", \"a\"\"b\" FROM b) ORDER BY 1, 2 LIMIT 5"
        );
    }

    #[test]
    fn keys_are_shown_only_if_there_are_samples() {
        let mut found =
            KeyDifference { columns: vec!["id".into()], went: 1, came: 12_345, samples: Samples::default() };
        assert_eq!(found.shown(), "\nkeys (id): 1 went, 12,345 came\n");
        assert_eq!(serde_json::to_string(&found).unwrap(), r#"{"columns":["id"],"went":1,"came":12345}"#);
        found.samples =
            Samples { went: vec![vec![Some("7".into())]], came: vec![vec![None], vec![Some("a\n".into())]] };
        let expected = "\nkeys (id): 1 went, 12,345 came\n      id\nwent  7\ncame  NULL\ncame  a\\n\n";
        assert_eq!(found.shown(), expected);
    }
}
