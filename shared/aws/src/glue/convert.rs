//! Converts between Glue's own types and [`TableVersion`]. Only this module knows both.

use std::{collections::HashMap, sync::Arc};

use aws_sdk_glue::types::{
    Column as GlueColumn, SerDeInfo, StorageDescriptor, Table, TableInput, ViewDefinition, ViewDefinitionInput,
    ViewRepresentation, ViewRepresentationInput,
};
use turntable_core::{
    audit::is_same_key,
    error::{Error, Result},
    layout::TableName,
    schema::Column,
    table::{
        AUDIT_PARAMETER, AuditTable, NewTable, NextTable, Original, ParametersOf, StorageFormat, TableChange,
        TableVersion, VIEW, is_projection, is_projection_of, projection_parameters,
    },
};

use super::{
    column::{column, glue_column},
    view::view_of,
};

/// Converts a Glue table or view to a [`TableVersion`].
pub fn version_of(database: &str, table: Table) -> TableVersion {
    let storage = table.storage_descriptor();
    let serde = storage.and_then(StorageDescriptor::serde_info);
    let format = StorageFormat {
        input: storage.and_then(StorageDescriptor::input_format).map(str::to_owned),
        output: storage.and_then(StorageDescriptor::output_format).map(str::to_owned),
        serde: serde.and_then(SerDeInfo::serialization_library).map(str::to_owned),
        serde_parameters: serde.and_then(SerDeInfo::parameters).cloned().unwrap_or_default().into_iter().collect(),
    };
    let location = storage.and_then(StorageDescriptor::location).filter(|location| !location.is_empty());
    TableVersion {
        name: TableName { database: database.into(), table: table.name.clone() },
        token: table.version_id.clone(),
        unsupported: unsupported_kind(&table),
        unadoptable: unadoptable_kind(&table),
        crawler: table.parameters().and_then(|all| all.get(CRAWLER_PARAMETER)).cloned(),
        view: view_of(database, &table),
        location: location.map(str::to_owned),
        columns: storage.map(StorageDescriptor::columns).unwrap_or_default().iter().map(column).collect(),
        partition_keys: table.partition_keys().iter().map(partition_key).collect(),
        parameters: table.parameters().cloned().unwrap_or_default().into_iter().collect(),
        storage_parameters: storage
            .and_then(StorageDescriptor::parameters)
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .collect(),
        format,
        original: Original(Arc::new(table)),
    }
}

fn partition_key(key: &GlueColumn) -> Column {
    let Column { name, glue_type } = column(key);
    Column { name, glue_type: glue_type.to_lowercase() }
}

/// Returns the kind of a table that Turntable can't publish to, because a new location wouldn't change what readers see.
/// Returns `None` for any other table.
fn unsupported_kind(table: &Table) -> Option<&'static str> {
    let parameter = |key: &str| table.parameters().and_then(|all| all.get(key)).map(|value| value.to_lowercase());
    let is = |key: &str, value: &str| parameter(key).as_deref() == Some(value);
    if table.table_type() == Some("VIRTUAL_VIEW") || table.view_definition().is_some() {
        return Some(VIEW);
    }
    if table.target_table().is_some() {
        return Some("a resource link to a table in another account");
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
    None
}

/// The table parameter in which a crawler records its name.
const CRAWLER_PARAMETER: &str = "UPDATED_BY_CRAWLER";

/// Returns why a table must not be adopted, or `None` if it may be. A table must not be adopted if the new files
/// wouldn't have the properties that it declares, or if dropping the table would delete its files too.
fn unadoptable_kind(table: &Table) -> Option<&'static str> {
    let is = |key: &str, value: &str| {
        let mut parameters = table.parameters().into_iter().flatten();
        parameters.any(|(name, found)| name.eq_ignore_ascii_case(key) && found.eq_ignore_ascii_case(value))
    };
    let storage = table.storage_descriptor();
    if is("transactional", "true") {
        return Some("a transactional (ACID) table");
    }
    // Spark records buckets in the table's parameters, not in the storage descriptor.
    let spark_buckets = table.parameters().is_some_and(|all| all.contains_key("spark.sql.sources.schema.numBuckets"));
    if spark_buckets
        || storage.is_some_and(|storage| storage.number_of_buckets() > 0 || !storage.bucket_columns().is_empty())
    {
        return Some("a bucketed table");
    }
    if storage.is_some_and(|storage| !storage.sort_columns().is_empty()) {
        return Some("a sorted table");
    }
    if table.table_type() == Some("MANAGED_TABLE") || is("EXTERNAL", "FALSE") {
        return Some("a managed table (its TableType is MANAGED_TABLE, or its parameter EXTERNAL is FALSE)");
    }
    let serde = storage.and_then(StorageDescriptor::serde_info).and_then(SerDeInfo::serialization_library);
    if serde.is_some_and(|serde| StorageFormat::parquet().serde.as_deref() != Some(serde)) {
        return Some("a table in a format other than Parquet");
    }
    let input = storage.and_then(StorageDescriptor::input_format);
    if input.is_some_and(|input| StorageFormat::parquet().input.as_deref() != Some(input)) {
        return Some("a table whose input format is not Parquet's");
    }
    None
}

/// Returns the input for an `UpdateTable` that makes the change and leaves every other field as it was.
pub fn changed(table: &TableVersion, change: &TableChange) -> Result<TableInput> {
    let original = table.original.0.downcast_ref::<Table>();
    let original = original.ok_or_else(|| {
        Error::corrupt(format!(
            "{}: the table to update was not read from Glue: this is a bug, please report it",
            table.name
        ))
    })?;
    let mut input = unchanged(original);
    if let Some(location) = &change.location {
        storage(&mut input).location = Some(location.to_string());
        forget_other_files(&mut input);
        set_parquet(storage(&mut input));
    }
    if let Some(columns) = change.columns.as_ref().filter(|columns| table.columns != **columns) {
        // A column that stays in the table keeps its comment and parameters.
        let old = storage(&mut input).columns.take().unwrap_or_default();
        let evolved = |column: &Column| {
            let kept = old.iter().find(|old| old.name.to_lowercase() == column.name).cloned();
            let mut kept = kept.unwrap_or_else(|| glue_column(column));
            kept.r#type = Some(column.glue_type.clone());
            kept
        };
        storage(&mut input).columns = Some(columns.iter().map(evolved).collect());
    }
    if let Some(location) = change.location.as_ref().filter(|_| !change.partitions.is_empty()) {
        let parameters = input.parameters.get_or_insert_with(HashMap::new);
        parameters.retain(|key, _| !is_projection_of(key, &change.partitions));
        parameters.extend(projection_parameters(location, &change.partitions));
        for key in input.partition_keys.iter_mut().flatten() {
            let now = partition_key(key);
            let mut published = change.partitions.iter().map(|partition| &partition.column);
            if let Some(column) = published.find(|column| column.name == now.name && !is_same_key(column, &now)) {
                key.r#type = Some(column.glue_type.clone());
            }
        }
    }
    Ok(input)
}

/// Removes all parameters that describe the files at the old location, so that no reader or query planner uses them.
fn forget_other_files(input: &mut TableInput) {
    let forget = |of: ParametersOf, parameters: Option<&mut HashMap<String, String>>| {
        if let Some(parameters) = parameters {
            parameters.retain(|name, _| !of.describe_files(name));
        }
    };
    forget(ParametersOf::Table, input.parameters.as_mut());
    let storage = storage(input);
    forget(ParametersOf::Storage, storage.parameters.as_mut());
    forget(ParametersOf::Serde, storage.serde_info.as_mut().and_then(|serde| serde.parameters.as_mut()));
}

/// Sets the format of the files that Turntable publishes, in each field that names a format.
fn set_parquet(storage: &mut StorageDescriptor) {
    let set = |found: &mut Option<String>, format: Option<String>| {
        if found.is_some() {
            *found = format;
        }
    };
    let format = StorageFormat::parquet();
    set(&mut storage.input_format, format.input);
    set(&mut storage.output_format, format.output);
    if let Some(serde) = &mut storage.serde_info {
        set(&mut serde.serialization_library, format.serde);
    }
}

fn storage(input: &mut TableInput) -> &mut StorageDescriptor {
    input.storage_descriptor.get_or_insert_with(|| StorageDescriptor::builder().build())
}

/// Returns the `CreateTable` input for an audit's temporary table, which has the storage descriptor, partition keys and
/// projection that the flip would publish.
#[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
pub fn audit_table(audit: &AuditTable<'_>) -> Result<TableInput> {
    let published = match audit.published {
        NextTable::Update { table, change } => changed(table, change)?,
        NextTable::Create(new) => new_table(new),
    };
    let mut parameters = parquet_parameters();
    parameters.insert(AUDIT_PARAMETER.into(), audit.generation.to_string());
    parameters.extend(published.parameters.into_iter().flatten().filter(|(key, _)| is_projection(key)));
    let input = TableInput::builder()
        .name(&audit.name.table)
        .table_type("EXTERNAL_TABLE")
        .set_parameters(Some(parameters))
        .set_storage_descriptor(published.storage_descriptor)
        .set_partition_keys(published.partition_keys);
    Ok(input.build().expect("the only required field is the name"))
}

/// Returns the input for an `UpdateTable` that changes nothing.
#[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
pub fn unchanged(table: &Table) -> TableInput {
    // `TableInput` has exactly the settable fields of `Table`. If Glue adds one, add it here too: the compiler won't
    // report it.
    TableInput::builder()
        .name(table.name.clone())
        .set_description(table.description.clone())
        // Glue refuses an empty owner, but sometimes reports one for a table without an owner.
        .set_owner(table.owner.clone().filter(|owner| !owner.is_empty()))
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

/// Returns the `CreateTable` input for an external Parquet table, with the same settings as Athena's `CREATE EXTERNAL
/// TABLE … STORED AS PARQUET`.
#[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
pub fn new_table(table: &NewTable) -> TableInput {
    let format = StorageFormat::parquet();
    let serde = SerDeInfo::builder()
        .set_serialization_library(format.serde)
        .set_parameters(Some(format.serde_parameters.into_iter().collect()))
        .build();
    let storage = StorageDescriptor::builder()
        .set_columns(Some(table.columns.iter().map(glue_column).collect()))
        .location(table.location.to_string())
        .set_input_format(format.input)
        .set_output_format(format.output)
        .serde_info(serde)
        .build();
    let mut parameters = parquet_parameters();
    parameters.extend(projection_parameters(&table.location, &table.partitions));
    let keys: Vec<GlueColumn> = table.partitions.iter().map(|partition| glue_column(&partition.column)).collect();
    TableInput::builder()
        .name(&table.name.table)
        .table_type("EXTERNAL_TABLE")
        .set_parameters(Some(parameters))
        .storage_descriptor(storage)
        // "When you create a table used by Amazon Athena, and you do not specify any partitionKeys, you must at least
        // set the value of partitionKeys to an empty list" (`TableInput` in the Glue reference).
        .set_partition_keys(Some(keys))
        .build()
        .expect("the only required field is the name")
}

fn parquet_parameters() -> HashMap<String, String> {
    HashMap::from([("EXTERNAL".into(), "TRUE".into()), ("classification".into(), "parquet".into())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_table_has_a_list_of_partition_keys_even_if_it_is_empty() {
        let table = NewTable {
            name: TableName { database: "dmp".into(), table: "users".into() },
            location: "s3://lake/users/blue-01JD675EJRSSKNZWWST95906C6/".parse().unwrap(),
            columns: vec![Column { name: "id".into(), glue_type: "bigint".into() }],
            partitions: Vec::new(),
        };
        assert_eq!(new_table(&table).partition_keys, Some(Vec::new()));
    }

    #[test]
    fn an_empty_owner_is_not_sent_back() {
        let owner = |owner: &str| unchanged(&Table::builder().name("users").owner(owner).build().unwrap()).owner;
        assert_eq!((owner(""), owner("hadoop")), (None, Some("hadoop".into())));
    }
}
