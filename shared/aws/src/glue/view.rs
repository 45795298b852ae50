//! Stores views in Glue in the form that Athena writes and reads.
//!
//! Athena keeps a view's query and columns as JSON in `ViewOriginalText`, in base64 ("certain Athena configuration
//! encoded in base64":
//! <https://docs.aws.amazon.com/glue/latest/dg/aws-glue-api-catalog-tables.html#aws-glue-api-catalog-tables-TableInput>).
//! Turntable writes this form itself instead of running `CREATE VIEW`, so that one conditional `UpdateTable` replaces a
//! view, and so that what is stored can be compared exactly. Athena would store the query reformatted.

use std::collections::HashMap;

use aws_sdk_glue::types::{SerDeInfo, StorageDescriptor, Table, TableInput};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use turntable_core::{
    error::{Error, Result},
    layout::TableName,
    optout::view::View,
    schema::sql_type,
};

use super::column::{column, glue_column};

/// The table parameter that holds [`View::leaves_out`] as JSON.
const LEAVES_OUT: &str = "turntable.leaves_out";
const PREFIX: &str = "/* Presto View: ";
const SUFFIX: &str = " */";

/// Returns the `CreateTable` or `UpdateTable` input for a view. Fails as `Config` if a column has a type that Athena
/// doesn't know.
#[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
pub fn view_input(view: &View) -> Result<TableInput> {
    let storage = StorageDescriptor::builder()
        .set_columns(Some(view.columns.iter().map(glue_column).collect()))
        .location("")
        .serde_info(SerDeInfo::builder().build())
        .build();
    let mut parameters =
        HashMap::from([("presto_view".into(), "true".into()), ("comment".into(), "Presto View".into())]);
    if !view.leaves_out.is_empty() {
        let leaves_out = serde_json::to_string(&view.leaves_out).expect("a list of structs serializes");
        parameters.insert(LEAVES_OUT.into(), leaves_out);
    }
    let input = TableInput::builder()
        .name(&view.name.table)
        .table_type("VIRTUAL_VIEW")
        .set_parameters(Some(parameters))
        .set_partition_keys(Some(Vec::new()))
        .storage_descriptor(storage)
        .view_original_text(text(view)?)
        .view_expanded_text("/* Presto View */");
    Ok(input.build().expect("the only required field is the name"))
}

/// Returns the view in a Glue table. Returns `None` for a table, and for a view that Turntable didn't define or that
/// was changed outside Turntable.
pub fn view_of(database: &str, table: &Table) -> Option<View> {
    let stored = table.view_original_text()?;
    let body: Value =
        serde_json::from_slice(&BASE64_STANDARD.decode(stored.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?).ok()?)
            .ok()?;
    let columns = table.storage_descriptor().map(StorageDescriptor::columns).unwrap_or_default();
    let view = View {
        name: TableName { database: database.into(), table: table.name.clone() },
        query: body["originalSql"].as_str()?.to_owned(),
        columns: columns.iter().map(column).collect(),
        leaves_out: match table.parameters().and_then(|parameters| parameters.get(LEAVES_OUT)) {
            Some(json) => serde_json::from_str(json).ok()?,
            None => Vec::new(),
        },
    };
    (table.table_type() == Some("VIRTUAL_VIEW") && text(&view).is_ok_and(|text| text == stored)).then_some(view)
}

fn text(view: &View) -> Result<String> {
    let mut columns = Vec::new();
    for column in &view.columns {
        let kind = sql_type(&column.glue_type).ok_or_else(|| {
            Error::config(format!(
                "the view {}: column {:?} has the type {:?}, which Athena doesn't support: change the column's type in the \
                 table that the view reads",
                view.name, column.name, column.glue_type
            ))
        })?;
        columns.push(json!({ "name": column.name, "type": kind }));
    }
    let body = json!({
        "originalSql": view.query,
        "catalog": "awsdatacatalog",
        "schema": view.name.database,
        "columns": columns,
    });
    Ok(format!("{PREFIX}{}{SUFFIX}", BASE64_STANDARD.encode(body.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use turntable_core::{optout::view::Inbox, schema::Column};

    fn stored(input: TableInput) -> Table {
        Table::builder()
            .name(input.name)
            .set_table_type(input.table_type)
            .set_storage_descriptor(input.storage_descriptor)
            .set_parameters(input.parameters)
            .set_view_original_text(input.view_original_text)
            .build()
            .unwrap()
    }

    #[test]
    fn stored_view_is_read_back_and_any_change_is_noticed() {
        let column = |name: &str, glue_type: &str| Column { name: name.into(), glue_type: glue_type.into() };
        let view = View {
            name: TableName { database: "dmp".into(), table: "users_protected".into() },
            query: "SELECT t.\"id\" FROM \"dmp\".\"users\" t".into(),
            columns: vec![column("id", "int"), column("tags", "array<string>")],
            leaves_out: vec![Inbox { location: "s3://lake/inbox".parse().unwrap(), table: "dmp.optouts".into() }],
        };
        let input = view_input(&view).unwrap();
        assert_eq!(view_of("dmp", &stored(input.clone())), Some(view.clone()));

        let text = input.view_original_text().unwrap().to_owned();
        let body = BASE64_STANDARD.decode(&text[PREFIX.len()..text.len() - SUFFIX.len()]).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["columns"][0], json!({ "name": "id", "type": "integer" }));
        assert_eq!(body["columns"][1]["type"], "array(varchar)");

        let mut other = body.clone();
        other["columns"][0]["type"] = "bigint".into();
        let encoded = |body: &Value| format!("{PREFIX}{}{SUFFIX}", BASE64_STANDARD.encode(body.to_string()));
        let mut changed = stored(input.clone());
        changed.view_original_text = Some(encoded(&other));
        assert_eq!(view_of("dmp", &changed), None, "Athena would find the view stale");
        let mut table = stored(input.clone());
        table.table_type = Some("EXTERNAL_TABLE".into());
        assert_eq!(view_of("dmp", &table), None);
        for text in ["", "/* Presto View */", "/* Presto View: e30= */", "/* Presto View: !! */"] {
            let mut table = stored(input.clone());
            table.view_original_text = Some(text.into());
            assert_eq!(view_of("dmp", &table), None, "{text}");
        }
        let unknown = View { columns: vec![column("id", "uniontype<int>")], ..view };
        assert!(view_input(&unknown).unwrap_err().message().contains("which Athena doesn't support"));
    }
}
