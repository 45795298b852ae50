//! The [`Catalog`] port on Glue: calls [`GlueApi`], and converts tables to and from Glue's types.

use std::sync::Arc;

use async_trait::async_trait;
use turntable_core::{
    error::Result,
    layout::TableName,
    optout::view::View,
    port::{Catalog, ColumnStatistics, Update},
    table::{AuditTable, NewTable, TableChange, TableVersion},
};

use super::{
    api::GlueApi,
    convert::{audit_table, changed, new_table, version_of},
    view::view_input,
};

pub struct GlueCatalog<A>(pub Arc<A>);

#[async_trait]
impl<A: GlueApi> Catalog for GlueCatalog<A> {
    async fn table(&self, name: &TableName) -> Result<Option<TableVersion>> {
        Ok(self.0.table(name).await?.map(|table| version_of(&name.database, table)))
    }

    async fn update(&self, table: &TableVersion, change: &TableChange) -> Result<Update> {
        self.0.update(&table.name.database, changed(table, change)?, table.token()?).await
    }

    async fn create(&self, table: &NewTable) -> Result<Update> {
        self.0.create(&table.name.database, new_table(table)).await
    }

    async fn copy(&self, table: &TableVersion, name: &TableName) -> Result<Update> {
        let mut input = changed(table, &TableChange::default())?;
        input.name.clone_from(&name.table);
        self.0.create(&name.database, input).await
    }

    async fn create_audit_table(&self, table: &AuditTable<'_>) -> Result<Update> {
        self.0.create(&table.name.database, audit_table(table)?).await
    }

    async fn put_view(&self, view: &View, stored: Option<&TableVersion>) -> Result<Update> {
        let (database, input) = (&view.name.database, view_input(view)?);
        match stored {
            Some(stored) => self.0.update(database, input, stored.token()?).await,
            None => self.0.create(database, input).await,
        }
    }

    async fn delete(&self, name: &TableName) -> Result<()> {
        self.0.delete(name).await
    }

    async fn tables(&self, database: &str, prefix: &str) -> Result<Vec<TableVersion>> {
        let tables = self.0.tables(database, prefix).await?;
        Ok(tables.into_iter().map(|table| version_of(database, table)).collect())
    }

    async fn has_partitions(&self, name: &TableName) -> Result<bool> {
        self.0.has_partitions(name).await
    }

    async fn column_statistics(&self, name: &TableName, columns: &[String]) -> Result<Vec<ColumnStatistics>> {
        self.0.column_statistics(name, columns).await
    }

    async fn delete_column_statistics(&self, name: &TableName, column: &str) -> Result<()> {
        self.0.delete_column_statistics(name, column).await
    }
}
