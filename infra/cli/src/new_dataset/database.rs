//! Queries a database through Turntable's own sources, so that a table that can be read here can be exported.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow_array::{Array, RecordBatch, StringArray, cast::AsArray};
use futures::TryStreamExt;
use turntable::{
    aws::s3::S3,
    clock::Clock,
    config::{Connect, Mysql, OnUnrepresentable, Postgres, Session, SharedSnapshot, Source},
    error::Kind,
    layout::TableName,
    schema::Column as GlueColumn,
    sources::{self, Context},
};

use crate::laptop;

use super::description::Dialect;

pub struct Database {
    pub dialect: Dialect,
    url: String,
    context: Context,
}

impl Database {
    /// Connects to the database at a URL, and runs a test query.
    pub async fn connect(url: &str) -> Result<Database> {
        let dialect = match url.split_once("://") {
            Some(("postgres" | "postgresql", _)) => Dialect::Postgres,
            Some(("mysql", _)) => Dialect::Mysql,
            _ => bail!("expected a URL that begins with postgres:// or mysql://"),
        };
        // With a URL, no secret is read, so nothing is requested from AWS.
        let context = Context {
            objects: Arc::new(S3::new(&laptop::unreachable())),
            secrets: None,
            iam: None,
            now: Clock::system().now(),
            table: TableName { database: "information_schema".into(), table: "new_dataset".into() },
            on_unrepresentable: OnUnrepresentable::Error,
            copies: None,
        };
        let database = Database { dialect, url: url.into(), context };
        database.rows("SELECT '1' AS one").await?;
        Ok(database)
    }

    /// Returns the rows of a query whose columns are all strings.
    pub async fn rows(&self, query: &str) -> Result<Vec<Vec<Option<String>>>> {
        let opened = sources::open(&self.source(query.to_owned()), &self.context).await?;
        let mut rows = Vec::new();
        for stream in opened.rows.streams {
            for batch in stream.try_collect::<Vec<RecordBatch>>().await? {
                let columns: Option<Vec<_>> =
                    batch.columns().iter().map(|column| column.as_string_opt::<i32>()).collect();
                let columns = columns.context(
                    "a catalog query returned a column that is not a string: this is a bug, please report it",
                )?;
                let cell = |column: &&StringArray, at| column.is_valid(at).then(|| column.value(at).to_owned());
                rows.extend((0..batch.num_rows()).map(|at| columns.iter().map(|column| cell(column, at)).collect()));
            }
        }
        Ok(rows)
    }

    /// Returns the Glue columns of a query's result. The inner error names a column that can't be exported.
    pub async fn glue_columns(&self, query: String) -> Result<Result<Vec<GlueColumn>, String>> {
        match sources::schema(&self.source(query), &self.context).await {
            Ok(found) => Ok(turntable::parquet::arrow_types::columns(&found)),
            Err(error) if error.kind() == Kind::Input => Ok(Err(error.report())),
            Err(error) => Err(error.into()),
        }
    }

    fn source(&self, query: String) -> Source {
        let (connect, session) = (Connect::Url(self.url.clone()), Session::default());
        match self.dialect {
            Dialect::Postgres => Source::Postgres(Postgres { connect, query, parallel: 1, split_by: None, session }),
            Dialect::Mysql => {
                let (split_by, sql_mode, allow_warnings) = (None, None, Vec::new());
                let (parallel, snapshot) = (1, SharedSnapshot::default());
                Source::Mysql(Mysql { connect, query, parallel, split_by, snapshot, sql_mode, allow_warnings, session })
            }
        }
    }
}
