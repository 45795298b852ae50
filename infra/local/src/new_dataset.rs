//! `new-dataset`: the entries of datasets.toml that publish tables of a database.
//!
//! The database is asked through the product's own sources: what can be read here can be exported.

mod entry;
mod mysql;
mod postgres;

use std::{collections::BTreeSet, path::Path, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use arrow_array::{Array, RecordBatch, cast::AsArray};
use futures::TryStreamExt;
use turntable::{
    aws::s3::S3,
    clock::Clock,
    config::{Connect, Mysql, OnUnrepresentable, Postgres, Session, Source},
    error::Kind,
    name::TableName,
    schema::{self, Column as GlueColumn},
    source::{self, Context},
};

use crate::{emulator, workspace};

/// A table as its database describes it.
struct Table {
    /// As it is named in SQL.
    name: String,
    columns: Vec<Column>,
    /// The primary key first.
    keys: Vec<Key>,
    is_empty: bool,
    /// About how many, as far as the database knows.
    rows: u64,
}

struct Column {
    name: String,
    /// The name in SQL, quoted where it must be.
    quoted: String,
    /// In the database's words.
    of: String,
    not_null: bool,
}

/// Columns that are unique together.
struct Key {
    columns: Vec<String>,
    is_primary: bool,
}

/// Which database, and how to ask it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Postgres,
    Mysql,
}

struct Database {
    dialect: Dialect,
    url: String,
    context: Context,
}

/// What came of it.
pub struct Entries {
    /// The tables that can be published; empty if there is none. The URL, in which there may be a password, is not in it.
    pub text: String,
    /// What is wrong with the others.
    pub faults: Vec<String>,
}

/// A file with these tables as datasets, to lie in the folder.
pub async fn new_dataset(url: &str, tables: &[String], folder: &Path) -> Result<Entries> {
    let Entries { text, faults } = entries(url, tables).await?;
    let text = if text.is_empty() { text } else { format!("{}{}{text}", schema_of(folder), entry::DEFAULTS) };
    Ok(Entries { text, faults })
}

/// The line by which an editor finds the keys: <https://taplo.tamasfe.dev/configuration/directives.html>.
fn schema_of(folder: &Path) -> String {
    const SCHEMA: &str = "docs/datasets.schema.json";
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (root, folder) = (canonical(workspace::root()), canonical(folder));
    match root.strip_prefix(&folder) {
        Ok(below) => format!("#:schema ./{}\n\n", below.join(SCHEMA).display()),
        Err(_) => format!("#:schema file://{}\n\n", root.join(SCHEMA).display()),
    }
}

/// The datasets alone, for a file that has others. An error where the database cannot be asked at all.
pub async fn entries(url: &str, tables: &[String]) -> Result<Entries> {
    let dialect = match url.split_once("://") {
        Some(("postgres" | "postgresql", _)) => Dialect::Postgres,
        Some(("mysql", _)) => Dialect::Mysql,
        _ => bail!("expected a URL that begins with postgres:// or mysql://"),
    };
    // Of AWS nothing is asked: a URL needs no secret.
    let context = Context {
        objects: Arc::new(S3::new(&emulator::config("none", "http://127.0.0.1:1"))),
        secrets: None,
        iam: None,
        now: Clock::system().now(),
        table: TableName { database: "information_schema".into(), table: "new_dataset".into() },
        on_unrepresentable: OnUnrepresentable::Error,
        copies: None,
    };
    let database = Database { dialect, url: url.into(), context };
    database.rows("SELECT '1' AS one").await?;
    let mut names = BTreeSet::new();
    let mut found = Entries { text: String::new(), faults: Vec::new() };
    for table in tables {
        let name = entry::dataset(table, &names);
        match database.entry(table, &name).await {
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

/// A column that is published, and its Glue type.
struct Published<'a> {
    column: &'a Column,
    /// In the published table: as Athena can name it without quotes, and different from all others.
    name: String,
    glue_type: String,
}

/// A column that is not, and why.
type LeftOut<'a> = (&'a Column, String);

/// Which columns the product takes. Asked about all at once, and one by one only where that fails.
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
    if let Ok(types) = glue_types(database, table, &all).await? {
        let typed =
            published.into_iter().zip(types).map(|(one, column)| Published { glue_type: column.glue_type, ..one });
        return Ok((typed.collect(), Vec::new()));
    }
    let (mut good, mut left_out) = (Vec::new(), Vec::new());
    for one in published {
        match glue_types(database, table, &[&one]).await? {
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

/// What the product makes of these columns; the inner error says what it cannot take.
async fn glue_types(
    database: &Database,
    table: &Table,
    columns: &[&Published<'_>],
) -> Result<Result<Vec<GlueColumn>, String>> {
    let source = database.source(entry::query(&table.name, columns));
    match source::schema(&source, &database.context).await {
        Ok(found) => Ok(schema::columns(&found)),
        Err(error) if error.kind() == Kind::Input => Ok(Err(error.report())),
        Err(error) => Err(error.into()),
    }
}

impl Database {
    async fn entry(&self, table: &str, name: &str) -> Result<String> {
        let found = match self.dialect {
            Dialect::Postgres => postgres::table(self, table).await?,
            Dialect::Mysql => mysql::table(self, table).await?,
        };
        ensure!(!found.columns.is_empty(), "{table} has no columns");
        let (columns, left_out) = representable(self, &found).await?;
        Ok(entry::text(self.dialect, name, &found, &columns, &left_out))
    }

    fn source(&self, query: String) -> Source {
        let (connect, session) = (Connect::Url(self.url.clone()), Session::default());
        match self.dialect {
            Dialect::Postgres => Source::Postgres(Postgres { connect, query, parallel: 1, split_by: None, session }),
            Dialect::Mysql => Source::Mysql(Mysql { connect, query, split_by: None, session }),
        }
    }

    /// The rows of a query that gives texts.
    async fn rows(&self, query: &str) -> Result<Vec<Vec<Option<String>>>> {
        let opened = source::open(&self.source(query.to_owned()), &self.context).await?;
        let mut rows = Vec::new();
        for stream in opened.streams {
            for batch in stream.try_collect::<Vec<RecordBatch>>().await? {
                let columns: Option<Vec<_>> =
                    batch.columns().iter().map(|column| column.as_string_opt::<i32>()).collect();
                let columns = columns.context("a query for texts gave something else")?;
                let cell =
                    |column: &&arrow_array::StringArray, at| column.is_valid(at).then(|| column.value(at).to_owned());
                rows.extend((0..batch.num_rows()).map(|at| columns.iter().map(|column| cell(column, at)).collect()));
            }
        }
        Ok(rows)
    }
}

/// Keys from rows of (name of the key, whether it is the primary one, column), in order.
fn keys(rows: Vec<Vec<Option<String>>>) -> Vec<Key> {
    let mut keys: Vec<(String, Key)> = Vec::new();
    for row in rows {
        let [Some(name), Some(primary), Some(column)] = row.as_slice() else { continue };
        match keys.last_mut().filter(|(last, _)| last == name) {
            Some((_, key)) => key.columns.push(column.clone()),
            None => keys.push((name.clone(), Key { columns: vec![column.clone()], is_primary: primary == "true" })),
        }
    }
    keys.sort_by_key(|(_, key)| !key.is_primary);
    keys.into_iter().map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editor_finds_the_schema_from_the_folder() {
        let root = workspace::root().canonicalize().unwrap();
        assert_eq!(schema_of(&root), "#:schema ./docs/datasets.schema.json\n\n");
        let name = root.file_name().unwrap().to_str().unwrap();
        let above = format!("#:schema ./{name}/docs/datasets.schema.json\n\n");
        assert_eq!(schema_of(root.parent().unwrap()), above);
        let elsewhere = format!("#:schema file://{}/docs/datasets.schema.json\n\n", root.display());
        assert_eq!(schema_of(&root.join("docs")), elsewhere);
    }
}
