//! Calls to the Glue Data Catalog, with Glue's own types.

use async_trait::async_trait;
use aws_sdk_glue::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{Table, TableInput},
};
use jiff::Timestamp;
use turntable_core::{
    error::{Error, Result},
    layout::TableName,
    port::{ColumnStatistics, Update},
};

use crate::fault::fault;

/// The Glue calls that Turntable needs. The tests also implement them in memory, with Glue's rules: an update replaces
/// the whole table, and succeeds only with the current `VersionId`. This way, every test that injects faults also runs
/// the conversions between Glue's types and Turntable's.
#[async_trait]
pub trait GlueApi: Send + Sync {
    /// Sends `GetTable`. Returns `None` if the table does not exist.
    async fn table(&self, name: &TableName) -> Result<Option<Table>>;

    /// Sends one `UpdateTable` with `SkipArchive`, on the condition that `version` is still the table's `VersionId`.
    /// Returns [`Update::Conflict`] if Glue responds that it isn't.
    async fn update(&self, database: &str, input: TableInput, version: &str) -> Result<Update>;

    /// Sends `CreateTable`. Returns [`Update::Conflict`] if the table already exists.
    async fn create(&self, database: &str, input: TableInput) -> Result<Update>;

    /// Sends `DeleteTable`. Succeeds if the table does not exist.
    async fn delete(&self, name: &TableName) -> Result<()>;

    /// Sends `GetTables`. Returns the database's tables whose names start with `prefix`, or none if the database does
    /// not exist.
    async fn tables(&self, database: &str, prefix: &str) -> Result<Vec<Table>>;

    /// Sends `GetPartitions`. Returns whether the table has at least one registered partition.
    async fn has_partitions(&self, name: &TableName) -> Result<bool>;

    /// Sends `GetColumnStatisticsForTable`. Returns the statistics that exist for these columns, or none if the table
    /// doesn't exist.
    async fn column_statistics(&self, name: &TableName, columns: &[String]) -> Result<Vec<ColumnStatistics>>;

    /// Sends `DeleteColumnStatisticsForTable`. Succeeds even if the column has no statistics.
    async fn delete_column_statistics(&self, name: &TableName, column: &str) -> Result<()>;
}

/// The maximum number of columns that `GetColumnStatisticsForTable` accepts in one request.
const MAX_STATISTICS_PER_REQUEST: usize = 100;

pub struct Glue(Client);

impl Glue {
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        Glue(Client::new(config))
    }
}

#[async_trait]
impl GlueApi for Glue {
    async fn table(&self, name: &TableName) -> Result<Option<Table>> {
        let sent = self.0.get_table().database_name(&name.database).name(&name.table).send().await;
        match sent {
            Ok(answer) => Ok(answer.table),
            Err(error) if is(&error, "EntityNotFoundException") => Ok(None),
            Err(error) => Err(fault("glue:GetTable", &name.to_string(), error)),
        }
    }

    async fn update(&self, database: &str, input: TableInput, version: &str) -> Result<Update> {
        let name = format!("{database}.{}", input.name);
        let update =
            self.0.update_table().database_name(database).table_input(input).version_id(version).skip_archive(true);
        match update.send().await {
            Ok(_) => Ok(Update::Done),
            Err(error) if is(&error, "ConcurrentModificationException") => Ok(Update::Conflict),
            Err(error) => Err(fault("glue:UpdateTable", &name, error)),
        }
    }

    async fn create(&self, database: &str, input: TableInput) -> Result<Update> {
        let name = format!("{database}.{}", input.name);
        match self.0.create_table().database_name(database).table_input(input).send().await {
            Ok(_) => Ok(Update::Done),
            Err(error) if is(&error, "AlreadyExistsException") => Ok(Update::Conflict),
            Err(error) if is(&error, "EntityNotFoundException") => Err(Error::config(format!(
                "database {database:?} does not exist in the Glue Data Catalog: create it, then invoke flip again"
            ))
            .caused_by(error)),
            Err(error) => Err(fault("glue:CreateTable", &name, error)),
        }
    }

    async fn delete(&self, name: &TableName) -> Result<()> {
        match self.0.delete_table().database_name(&name.database).name(&name.table).send().await {
            Ok(_) => Ok(()),
            Err(error) if is(&error, "EntityNotFoundException") => Ok(()),
            Err(error) => Err(fault("glue:DeleteTable", &name.to_string(), error)),
        }
    }

    async fn tables(&self, database: &str, prefix: &str) -> Result<Vec<Table>> {
        // The expression only reduces the number of pages. AWS doesn't document its syntax, so the names are checked
        // again below.
        let expression = (!prefix.is_empty()).then(|| format!("{prefix}*"));
        let pages = self.0.get_tables().database_name(database).set_expression(expression).into_paginator();
        let pages: Result<Vec<_>, _> = pages.send().collect().await;
        let pages = match pages {
            Ok(pages) => pages,
            Err(error) if is(&error, "EntityNotFoundException") => return Ok(Vec::new()),
            Err(error) => return Err(fault("glue:GetTables", database, error)),
        };
        let tables = pages.into_iter().flat_map(|page| page.table_list.unwrap_or_default());
        Ok(tables.filter(|table| table.name.starts_with(prefix)).collect())
    }

    async fn has_partitions(&self, name: &TableName) -> Result<bool> {
        let partitions = self.0.get_partitions().database_name(&name.database).table_name(&name.table);
        match partitions.max_results(1).exclude_column_schema(true).send().await {
            Ok(answer) => Ok(!answer.partitions().is_empty()),
            Err(error) => Err(fault("glue:GetPartitions", &name.to_string(), error)),
        }
    }

    async fn column_statistics(&self, name: &TableName, columns: &[String]) -> Result<Vec<ColumnStatistics>> {
        let mut found = Vec::new();
        for columns in columns.chunks(MAX_STATISTICS_PER_REQUEST) {
            let statistics = self.0.get_column_statistics_for_table();
            let statistics = statistics.database_name(&name.database).table_name(&name.table);
            match statistics.set_column_names(Some(columns.to_vec())).send().await {
                // The response's `errors` list the columns without statistics.
                Ok(answer) => {
                    let listed = answer.column_statistics_list.unwrap_or_default();
                    found.extend(listed.into_iter().map(|one| ColumnStatistics {
                        analyzed_at: Timestamp::from_second(one.analyzed_time.secs()).unwrap_or(Timestamp::MIN),
                        column: one.column_name,
                    }));
                }
                Err(error) if is(&error, "EntityNotFoundException") => return Ok(Vec::new()),
                Err(error) => return Err(fault("glue:GetColumnStatisticsForTable", &name.to_string(), error)),
            }
        }
        Ok(found)
    }

    async fn delete_column_statistics(&self, name: &TableName, column: &str) -> Result<()> {
        let delete = self.0.delete_column_statistics_for_table();
        match delete.database_name(&name.database).table_name(&name.table).column_name(column).send().await {
            Ok(_) => Ok(()),
            Err(error) if is(&error, "EntityNotFoundException") => Ok(()),
            Err(error) => Err(fault("glue:DeleteColumnStatisticsForTable", &name.to_string(), error)),
        }
    }
}

fn is<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, code: &str) -> bool {
    error.code() == Some(code)
}
