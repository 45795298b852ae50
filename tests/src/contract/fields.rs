//! Glue: every settable field of a table is stored as it was sent, and survives an update that copies it. The fields
//! are those of `TableInput`: <https://docs.aws.amazon.com/glue/latest/webapi/API_TableInput.html>.

use std::{collections::HashMap, fmt::Debug, sync::Arc};

use aws_sdk_glue::{
    primitives::DateTime,
    types::{Column, Order, SerDeInfo, SkewedInfo, StorageDescriptor, TableInput},
};
use turntable::{aws::glue, port::Update};

use super::{Subject, catalog::input, clauses};

clauses! {
    keeps_description_and_owner
    keeps_type_and_parameters
    keeps_retention
    keeps_the_times_of_access_and_analysis
    keeps_the_storage_descriptor
    keeps_partition_keys_and_projection
    keeps_the_texts_of_a_view
}

/// Checks that `of` reads the same value from the input, from the created table, and after an update that copies the
/// table.
async fn keeps<T: PartialEq + Debug>(subject: &Subject, given: TableInput, of: impl Fn(&TableInput) -> T) {
    let (name, expected) = (given.name.clone(), of(&given));
    let table = subject.make(given).await;
    assert_eq!(of(&glue::unchanged(&table)), expected, "after CreateTable");
    assert_eq!(subject.update(&table, glue::unchanged(&table)).await, Update::Done);
    assert_eq!(of(&glue::unchanged(&subject.read(&name).await)), expected, "after UpdateTable");
}

fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn keeps_description_and_owner(subject: Arc<Subject>) {
    let mut given = input(&subject, "described");
    given.description = Some("利用者, \"quoted\" & <b>".into());
    given.owner = Some("dmp".into());
    keeps(&subject, given, |table| (table.description.clone(), table.owner.clone())).await;
}

async fn keeps_type_and_parameters(subject: Arc<Subject>) {
    let mut given = input(&subject, "parameters");
    given.parameters = Some(map(&[("EXTERNAL", "TRUE"), ("classification", "parquet"), ("comment", "名前 = x, y")]));
    keeps(&subject, given, |table| (table.table_type.clone(), table.parameters.clone())).await;
}

async fn keeps_retention(subject: Arc<Subject>) {
    let mut given = input(&subject, "retention");
    given.retention = 30;
    keeps(&subject, given, |table| table.retention).await;
}

async fn keeps_the_times_of_access_and_analysis(subject: Arc<Subject>) {
    let mut given = input(&subject, "times");
    given.last_access_time = Some(DateTime::from_secs(1_700_000_000));
    given.last_analyzed_time = Some(DateTime::from_secs(1_700_000_001));
    keeps(&subject, given, |table| (table.last_access_time, table.last_analyzed_time)).await;
}

async fn keeps_the_storage_descriptor(subject: Arc<Subject>) {
    let column = |name: &str, comment: &str| {
        let column = Column::builder().name(name).r#type("string").comment(comment);
        column.parameters("k", "v").build().unwrap()
    };
    let serde = SerDeInfo::builder()
        .name("s")
        .serialization_library("org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe")
        .parameters("serialization.format", "1");
    let skewed = SkewedInfo::builder()
        .skewed_column_names("a")
        .skewed_column_values("x")
        .skewed_column_value_location_maps("x", "s3://lake/x/");
    let storage = StorageDescriptor::builder()
        .columns(column("a", "名"))
        .columns(column("b", ""))
        .location(subject.folder("tables/storage").to_string())
        .additional_locations(subject.folder("tables/more").to_string())
        .input_format("org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat")
        .output_format("org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat")
        .compressed(true)
        .number_of_buckets(4)
        .serde_info(serde.build())
        .bucket_columns("a")
        .sort_columns(Order::builder().column("b").sort_order(1).build().unwrap())
        .parameters("p", "q")
        .skewed_info(skewed.build())
        .stored_as_sub_directories(true)
        .build();
    let mut given = input(&subject, "storage");
    given.storage_descriptor = Some(storage);
    keeps(&subject, given, |table| table.storage_descriptor.clone()).await;
}

async fn keeps_partition_keys_and_projection(subject: Arc<Subject>) {
    let template = format!("{}${{day}}/", subject.folder("tables/projected"));
    let mut given = input(&subject, "projected");
    given.partition_keys = Some(vec![Column::builder().name("day").r#type("string").build().unwrap()]);
    given.parameters = Some(map(&[
        ("projection.enabled", "true"),
        ("projection.day.type", "date"),
        ("projection.day.range", "2024-01-01,NOW"),
        ("projection.day.format", "yyyy-MM-dd"),
        ("storage.location.template", &template),
    ]));
    keeps(&subject, given, |table| (table.partition_keys.clone(), table.parameters.clone())).await;
}

async fn keeps_the_texts_of_a_view(subject: Arc<Subject>) {
    let mut given = input(&subject, "view");
    given.table_type = Some("VIRTUAL_VIEW".into());
    given.view_original_text = Some("/* Presto View: eyJ9 */".into());
    given.view_expanded_text = Some("/* Presto View */".into());
    keeps(&subject, given, |table| (table.view_original_text.clone(), table.view_expanded_text.clone())).await;
}
