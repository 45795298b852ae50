//! Reads files in S3: their rows, and the exact message of every error.

mod columns;
mod csv;
mod folders;
mod ndjson;
mod objects;
mod parquet;
mod parquet_bounds;
mod timestamps;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use tests::memory;
use turntable::{
    config::{Config, Files, OnUnrepresentable, Source},
    error::{Kind, Result},
    layout::TableName,
    manifest::TypedBy,
    sources::{self, Context, Opened},
};

/// Parses options as they appear in datasets.toml.
fn options(toml: &str) -> Files {
    let text = format!(
        "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
         [datasets.users]\nsource = {{ files = {{ {toml} }} }}\n"
    );
    match Config::parse("datasets.toml", &text).unwrap().dataset("users").unwrap().source.clone() {
        Source::Files(files) => files,
        _ => unreachable!(),
    }
}

async fn open(objects: &memory::Objects, toml: &str) -> Result<Opened> {
    open_with(objects, toml, OnUnrepresentable::Error).await
}

async fn open_with(objects: &memory::Objects, toml: &str, on_unrepresentable: OnUnrepresentable) -> Result<Opened> {
    let now = "2026-11-22T00:00:00Z".parse().unwrap();
    let context = Context {
        objects: Arc::new(objects.clone()),
        secrets: None,
        iam: None,
        now,
        table: TableName { database: "dmp".into(), table: "t".into() },
        on_unrepresentable,
        copies: None,
    };
    sources::open(&Source::Files(options(toml)), &context).await
}

struct Table {
    typed_by: TypedBy,
    /// The columns as `name type, name type`.
    columns: String,
    /// Every row's values as strings, with `-` for null.
    rows: Vec<String>,
}

async fn read(objects: &memory::Objects, toml: &str) -> Result<Table> {
    rows(open(objects, toml).await?).await
}

async fn rows(opened: Opened) -> Result<Table> {
    assert_eq!(opened.as_of.to_string(), "2026-11-22T00:00:00Z");
    let columns = turntable::parquet::arrow_types::columns(&opened.rows.schema).unwrap();
    let columns: Vec<String> = columns.iter().map(|column| format!("{} {}", column.name, column.glue_type)).collect();
    let mut rows = Vec::new();
    for stream in opened.rows.streams {
        for batch in stream.try_collect::<Vec<RecordBatch>>().await? {
            assert_eq!(batch.schema(), opened.rows.schema);
            let options = FormatOptions::new().with_null("-");
            let columns: Vec<ArrayRef> = batch.columns().iter().map(without_zone).collect();
            let columns: Vec<ArrayFormatter> =
                columns.iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
            for row in 0..batch.num_rows() {
                let values: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
                rows.push(values.join("|"));
            }
        }
    }
    Ok(Table { typed_by: opened.typed_by, columns: columns.join(", "), rows })
}

/// Removes a timestamp column's time zone, which the formatter can't look up. All zones here are UTC.
fn without_zone(column: &ArrayRef) -> ArrayRef {
    match column.as_any().downcast_ref::<TimestampMicrosecondArray>() {
        Some(times) => Arc::new(times.clone().with_timezone_opt(None::<&str>)),
        None => column.clone(),
    }
}

const PLACE: &str = "location = \"s3://lake/in/users\"";
const COLUMNS: &str = ", columns = { id = \"bigint\", name = \"string\", age = \"tinyint\" }";

async fn read_one(name: &str, body: impl Into<Vec<u8>>, more: &str) -> Result<Table> {
    let objects = memory::Objects::default();
    objects.put(&format!("s3://lake/in/users/{name}"), body.into());
    read(&objects, &format!("{PLACE}{more}")).await
}

/// Reads a file that must be rejected, and returns the message without the location. Panics if there is no error, or if
/// its kind isn't `Input`.
async fn fault(name: &str, body: impl Into<Vec<u8>>, more: &str) -> String {
    let error = read_one(name, body, more).await.err().expect("an error");
    assert_eq!(error.kind(), Kind::Input);
    error.message().replace("s3://lake/in/users/", "")
}

async fn read_with_nulls(name: &str, body: impl Into<Vec<u8>>, more: &str) -> Result<(Vec<String>, String)> {
    let objects = memory::Objects::default();
    objects.put(&format!("s3://lake/in/users/{name}"), body.into());
    let opened = open_with(&objects, &format!("{PLACE}{more}"), OnUnrepresentable::Null).await?;
    let counted = opened.unrepresentable.clone();
    let rows = rows(opened).await?;
    Ok((rows.rows, format!("{:?}", counted.nulled())))
}
