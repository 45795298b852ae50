//! `new`: writes the datasets.toml entries that publish tables in a database.

mod database;
mod description;
mod entry;
mod mysql;
mod postgres;

use std::{collections::BTreeSet, env, path::Path};

use anyhow::{Result, ensure};
use clap::Args;

use crate::{done::Done, workspace};

use database::Database;
use description::{Dialect, LeftOut, Published, Table};

/// The command `new`.
#[derive(Debug, Args)]
pub struct New {
    /// Leave out `[defaults]`, to append the output to a file that already has it
    #[arg(long)]
    append: bool,
    /// postgres://USER:PASSWORD@HOST:PORT/DATABASE, or mysql://…; never printed
    url: String,
    /// Tables, as NAME, SCHEMA.NAME, or SCHEMA.* for all tables in a schema
    #[arg(value_name = "TABLE", required_unless_present = "all")]
    tables: Vec<String>,
    /// All tables that the user may read
    #[arg(long, conflicts_with = "tables")]
    all: bool,
}

impl New {
    /// Prints the entries. The exit code is 1 if a table can't be published.
    pub async fn run(&self) -> Result<Done> {
        let tables: &[String] = if self.all { &["*".to_owned()] } else { &self.tables };
        let Entries { text, faults } = match self.append {
            true => entries(&self.url, tables).await?,
            false => new_dataset(&self.url, tables, &env::current_dir()?).await?,
        };
        let err = faults.iter().map(|fault| format!("error: {fault}\n")).collect();
        Ok(Done { out: text, err, ..Done::default() }.needing_attention(!faults.is_empty()))
    }
}

/// The entries for several tables, and an error for each table that can't be published.
pub struct Entries {
    /// The entries as TOML. Empty if no table can be published. The text doesn't contain the URL, which may contain a
    /// password.
    pub text: String,
    /// An error for each table that can't be published.
    pub faults: Vec<String>,
}

/// Returns a complete datasets.toml for the tables. In `tables`, `*` and `SCHEMA.*` stand for several. `folder` is
/// where the file will be saved, which determines how the file refers to its JSON schema.
pub async fn new_dataset(url: &str, tables: &[String], folder: &Path) -> Result<Entries> {
    let Entries { text, faults } = entries(url, tables).await?;
    let text = if text.is_empty() { text } else { format!("{}{}{text}", schema_directive(folder), entry::DEFAULTS) };
    Ok(Entries { text, faults })
}

/// Returns the comment that tells editors where the file's JSON schema is:
/// <https://taplo.tamasfe.dev/configuration/directives.html>.
fn schema_directive(folder: &Path) -> String {
    const SCHEMA: &str = "docs/datasets.schema.json";
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (root, folder) = (canonical(workspace::root()), canonical(folder));
    match root.strip_prefix(&folder) {
        Ok(below) => format!("#:schema ./{}\n\n", below.join(SCHEMA).display()),
        Err(_) => format!("#:schema file://{}\n\n", root.join(SCHEMA).display()),
    }
}

/// Returns only the tables' entries, to append to an existing file. Fails if the database can't be queried at all.
pub async fn entries(url: &str, tables: &[String]) -> Result<Entries> {
    let database = Database::connect(url).await?;
    let mut names = BTreeSet::new();
    let mut found = Entries { text: String::new(), faults: Vec::new() };
    for table in named(&database, tables).await? {
        let name = entry::dataset(&table, &names);
        match entry(&database, &table, &name).await {
            Ok(entry) => {
                found.text += if names.is_empty() { entry::REMARK } else { "" };
                found.text += &entry;
                names.insert(name);
            }
            Err(error) => found.faults.push(format!("{error:#}")),
        }
    }
    Ok(found)
}

/// Replaces `*` and `SCHEMA.*` with the tables' names. Fails if a pattern matches no table.
async fn named(database: &Database, tables: &[String]) -> Result<Vec<String>> {
    let mut named: Vec<String> = Vec::new();
    for wanted in tables {
        let schema = match wanted.strip_suffix('*') {
            Some("") => None,
            Some(schema) if schema.ends_with('.') => Some(&schema[..schema.len() - 1]),
            _ => {
                named.push(wanted.clone());
                continue;
            }
        };
        let found = match database.dialect {
            Dialect::Postgres => postgres::tables(database, schema).await?,
            Dialect::Mysql => mysql::tables(database, schema).await?,
        };
        let place = schema.map_or_else(|| "this database".to_owned(), |schema| format!("schema {schema}"));
        ensure!(!found.is_empty(), "this user may not read any table in {place}: grant SELECT, or name the tables");
        named.extend(found);
    }
    let mut seen = BTreeSet::new();
    named.retain(|name| seen.insert(name.clone()));
    Ok(named)
}

/// Returns a table's entry, which defines the dataset `name`.
async fn entry(database: &Database, table: &str, name: &str) -> Result<String> {
    let found = match database.dialect {
        Dialect::Postgres => postgres::table(database, table).await?,
        Dialect::Mysql => mysql::table(database, table).await?,
    };
    ensure!(!found.columns.is_empty(), "{table} has no columns: choose another table");
    let (columns, left_out) = representable(database, &found).await?;
    Ok(entry::text(database.dialect, name, &found, &columns, &left_out))
}

/// Splits a table's columns into those that can be exported and the others. Queries all columns at once; if that query
/// can't be exported, queries each column separately. Fails if no column can be exported.
async fn representable<'a>(database: &Database, table: &'a Table) -> Result<(Vec<Published<'a>>, Vec<LeftOut<'a>>)> {
    let mut published: Vec<Published> = Vec::new();
    for column in &table.columns {
        let taken = |name: &String| published.iter().any(|other| other.name == *name);
        let plain = entry::plain(&column.name);
        let numbered = (2..).map(|number| format!("{plain}_{number}"));
        let name = [plain.clone()].into_iter().chain(numbered).find(|name| !taken(name)).unwrap_or(plain);
        published.push(Published { column, name, glue_type: String::new() });
    }
    let all: Vec<&Published> = published.iter().collect();
    if let Ok(types) = database.glue_columns(entry::query(&table.name, &all)).await? {
        let typed =
            published.into_iter().zip(types).map(|(one, column)| Published { glue_type: column.glue_type, ..one });
        return Ok((typed.collect(), Vec::new()));
    }
    let (mut good, mut left_out) = (Vec::new(), Vec::new());
    for one in published {
        match database.glue_columns(entry::query(&table.name, &[&one])).await? {
            Ok(mut types) => {
                let glue_type = types.pop().map(|column| column.glue_type).unwrap_or_default();
                good.push(Published { glue_type, ..one });
            }
            Err(why) => left_out.push((one.column, why)),
        }
    }
    ensure!(!good.is_empty(), "no column of {} can be published: {}", table.name, left_out[0].1);
    Ok((good, left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_directive_is_relative_to_the_folder() {
        let root = workspace::root().canonicalize().unwrap();
        assert_eq!(schema_directive(&root), "#:schema ./docs/datasets.schema.json\n\n");
        let name = root.file_name().unwrap().to_str().unwrap();
        let above = format!("#:schema ./{name}/docs/datasets.schema.json\n\n");
        assert_eq!(schema_directive(root.parent().unwrap()), above);
        let elsewhere = format!("#:schema file://{}/docs/datasets.schema.json\n\n", root.display());
        assert_eq!(schema_directive(&root.join("docs")), elsewhere);
    }
}
