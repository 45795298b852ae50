//! The Glue Data Catalog, and the table inputs that a flip sends.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_glue::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{
        Column as GlueColumn, SerDeInfo, StorageDescriptor, Table, TableInput, ViewDefinition, ViewDefinitionInput,
        ViewRepresentation, ViewRepresentationInput,
    },
};

use super::{fault, projection};
use crate::{
    error::{Error, Result},
    name::{Generation, Location, TableName},
    port::{Catalog, Update},
    schema::Column,
};

pub struct Glue(Client);

impl Glue {
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        Glue(Client::new(config))
    }
}

#[async_trait]
impl Catalog for Glue {
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
                "database {database:?} does not exist in the Glue Data Catalog: create it, then run flip again"
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
        // The expression only saves pages. AWS doesn't document its syntax, so the names are checked here too.
        let pages = self.0.get_tables().database_name(database).expression(format!("{prefix}*")).into_paginator();
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
}

fn is<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, code: &str) -> bool {
    error.code() == Some(code)
}

/// Returns the location of a table that Turntable may flip. Refuses views, Iceberg tables and other tables that a
/// change of their location doesn't switch.
pub async fn location(catalog: &dyn Catalog, name: &TableName, table: &Table) -> Result<Location> {
    if let Some(kind) = unsupported_kind(table) {
        return Err(Error::config(format!(
            "{name} is {kind}: Turntable publishes only plain Parquet tables, so give the dataset another table"
        )));
    }
    let is_partitioned = !table.partition_keys().is_empty();
    if is_partitioned && !projection::is_on(table) {
        let found = match catalog.has_partitions(name).await? {
            true => "registered partitions",
            false => "partition keys without projection",
        };
        return Err(Error::config(format!(
            "{name} has {found}: each registered partition has its own location, and no call moves them together with \
             the table's, so readers would see a mixture: move the table to partition projection, as described in \
             docs/partitions.md"
        )));
    }
    let location = table.storage_descriptor().and_then(StorageDescriptor::location).filter(|text| !text.is_empty());
    let location =
        location.ok_or_else(|| Error::config(format!("{name} has no location: set one in S3, or drop the table")))?;
    let location: Location = location.parse().map_err(|_| {
        Error::config(format!("{name} has the location {location:?}, which is not in S3: set one in S3"))
    })?;
    if is_partitioned {
        projection::agrees(name, table, &location)?;
    }
    Ok(location)
}

/// Returns what the table is, if a change of its location wouldn't switch it.
fn unsupported_kind(table: &Table) -> Option<&'static str> {
    let parameter = |key: &str| table.parameters().and_then(|all| all.get(key)).map(|value| value.to_lowercase());
    let is = |key: &str, value: &str| parameter(key).as_deref() == Some(value);
    if table.table_type() == Some("VIRTUAL_VIEW") || table.view_definition().is_some() {
        return Some("a view");
    }
    if table.target_table().is_some() {
        return Some("a resource link to a table of another account");
    }
    if table.federated_table().is_some() {
        return Some("a federated table");
    }
    if is("table_type", "iceberg") || table.iceberg_table_metadata().is_some() {
        return Some("an Iceberg table");
    }
    if is("table_type", "delta") || is("spark.sql.sources.provider", "delta") {
        return Some("a Delta Lake table");
    }
    if is("spark.sql.sources.provider", "hudi") {
        return Some("a Hudi table");
    }
    let serde = table.storage_descriptor().and_then(StorageDescriptor::serde_info);
    match serde.and_then(SerDeInfo::serialization_library) {
        Some(library) if library != PARQUET_SERDE => Some("a table in a format other than Parquet"),
        _ => None,
    }
}

pub fn columns(table: &Table) -> Vec<Column> {
    let columns = table.storage_descriptor().map(StorageDescriptor::columns).unwrap_or_default();
    let column = |column: &GlueColumn| Column {
        name: column.name.to_lowercase(),
        glue_type: column.r#type.clone().unwrap_or_default(),
    };
    columns.iter().map(column).collect()
}

/// Returns the table at another location. Copies every other field, because `UpdateTable` would reset it.
pub fn moved(table: &Table, to: &Location) -> TableInput {
    let mut input = unchanged(table);
    let storage = input.storage_descriptor.get_or_insert_with(|| StorageDescriptor::builder().build());
    storage.location = Some(to.to_string());
    input
}

/// Returns the table at another location and with these columns. Columns that stay keep their comments and parameters.
pub fn evolved(table: &Table, to: &Location, published: &[Column]) -> TableInput {
    let mut input = moved(table, to);
    if columns(table) != published {
        let storage = input.storage_descriptor.get_or_insert_with(|| StorageDescriptor::builder().build());
        let old = storage.columns.take().unwrap_or_default();
        let column = |column: &Column| {
            let kept = old.iter().find(|old| old.name.to_lowercase() == column.name).cloned();
            let mut kept = kept.unwrap_or_else(|| glue_column(column));
            kept.r#type = Some(column.glue_type.clone());
            kept
        };
        storage.columns = Some(published.iter().map(column).collect());
    }
    input
}

/// The parameter of an audit table that names its generation.
pub const AUDIT: &str = "turntable.audit";

/// Returns an audit table with its own name and the same files and columns as `published`.
pub fn audit_table(name: &str, generation: &Generation, published: &TableInput) -> TableInput {
    let mut parameters = parquet_parameters();
    parameters.insert(AUDIT.into(), generation.to_string());
    let mut input = TableInput::builder()
        .name(name)
        .table_type("EXTERNAL_TABLE")
        .set_parameters(Some(parameters))
        .set_storage_descriptor(published.storage_descriptor.clone())
        .build()
        .expect("the only required field is the name");
    projection::copy(published, &mut input);
    input
}

/// Returns the table unchanged, as an input for `UpdateTable`.
pub fn unchanged(table: &Table) -> TableInput {
    // Glue's `Table` and `TableInput` have the same settable fields. The compiler doesn't notice if Glue adds one.
    TableInput::builder()
        .name(table.name.clone())
        .set_description(table.description.clone())
        .set_owner(table.owner.clone())
        .set_last_access_time(table.last_access_time)
        .set_last_analyzed_time(table.last_analyzed_time)
        .retention(table.retention)
        .set_storage_descriptor(table.storage_descriptor.clone())
        .set_partition_keys(table.partition_keys.clone())
        .set_view_original_text(table.view_original_text.clone())
        .set_view_expanded_text(table.view_expanded_text.clone())
        .set_table_type(table.table_type.clone())
        .set_parameters(table.parameters.clone())
        .set_target_table(table.target_table.clone())
        .set_federated_table(table.federated_table.clone())
        .set_view_definition(table.view_definition.clone().map(view_input))
        .build()
        .expect("the only required field is the name")
}

fn view_input(view: ViewDefinition) -> ViewDefinitionInput {
    let representation = |one: ViewRepresentation| {
        ViewRepresentationInput::builder()
            .set_dialect(one.dialect)
            .set_dialect_version(one.dialect_version)
            .set_view_original_text(one.view_original_text)
            .set_view_expanded_text(one.view_expanded_text)
            .set_validation_connection(one.validation_connection)
            .build()
    };
    ViewDefinitionInput::builder()
        .set_is_protected(view.is_protected)
        .set_definer(view.definer)
        .set_representations(view.representations.map(|all| all.into_iter().map(representation).collect()))
        .set_sub_objects(view.sub_objects)
        .build()
}

const PARQUET_SERDE: &str = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe";

/// Returns a new external Parquet table, with the same settings as Athena's `CREATE EXTERNAL TABLE … STORED AS
/// PARQUET`.
pub fn new_table(name: &TableName, columns: &[Column], partition_keys: &[Column], at: &Location) -> TableInput {
    let serde =
        SerDeInfo::builder().serialization_library(PARQUET_SERDE).parameters("serialization.format", "1").build();
    let storage = StorageDescriptor::builder()
        .set_columns(Some(columns.iter().map(glue_column).collect()))
        .location(at.to_string())
        .input_format("org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat")
        .output_format("org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat")
        .serde_info(serde)
        .build();
    TableInput::builder()
        .name(&name.table)
        .table_type("EXTERNAL_TABLE")
        .set_parameters(Some(parquet_parameters()))
        .storage_descriptor(storage)
        .set_partition_keys((!partition_keys.is_empty()).then(|| partition_keys.iter().map(glue_column).collect()))
        .build()
        .expect("the only required field is the name")
}

fn parquet_parameters() -> HashMap<String, String> {
    HashMap::from([("EXTERNAL".into(), "TRUE".into()), ("classification".into(), "parquet".into())])
}

fn glue_column(column: &Column) -> GlueColumn {
    let built = GlueColumn::builder().name(&column.name).r#type(&column.glue_type).build();
    built.expect("the only required field is the name")
}
