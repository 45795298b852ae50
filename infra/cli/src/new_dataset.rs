//! `new-dataset`: writes the datasets.toml entries that publish tables in a database.

mod database;
mod description;
mod entry;
mod mysql;
mod postgres;

use std::{collections::BTreeSet, path::Path};

use anyhow::{Result, ensure};

use crate::workspace;

use database::Database;
use description::{Dialect, LeftOut, Published, Table};

/// The entries for several tables, and the errors of the tables that can't be published.
pub struct Entries {
    /// The entries as TOML; empty if no table can be published. The text does not contain the URL, which may hold a
    /// password.
    pub text: String,
    /// An error for each table that can't be published.
    pub faults: Vec<String>,
}

/// Returns a complete datasets.toml for the tables. `folder` is where the file will be saved. It determines how the file
/// refers to its JSON schema.
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
    for table in tables {
        let name = entry::dataset(table, &names);
        match entry(&database, table, &name).await {
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

/// Splits a table's columns into those that can be exported and the others. Queries all columns at once, and each alone
/// only if that query can't be exported. Fails if no column can be exported.
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
