//! A flip takes over a table that somebody else made: it removes what describes the old files, and refuses tables whose
//! readers rely on more than plain Parquet files.

use std::collections::BTreeMap;

use aws_sdk_glue::types::{Column, Order, SerDeInfo, StorageDescriptor, TableInput};
use tests::rig::Rig;
use turntable::{error::Kind, publish::Outcome};

const PARQUET: &str = "org.apache.hadoop.hive.ql.io.parquet.";

/// Returns the table that Spark 3.5's `saveAsTable` with a `path` writes, after `ANALYZE TABLE` and a Glue crawler.
fn made_by_spark() -> TableInput {
    let column = |name: &str, glue_type: &str| Column::builder().name(name).r#type(glue_type).build().unwrap();
    let serde = SerDeInfo::builder()
        .serialization_library(format!("{PARQUET}serde.ParquetHiveSerDe"))
        .parameters("serialization.format", "1")
        .parameters("path", "s3://lake/old/users");
    let storage = StorageDescriptor::builder()
        .columns(column("id", "bigint"))
        .columns(column("name", "string"))
        .location("s3://lake/old/users")
        .input_format(format!("{PARQUET}MapredParquetInputFormat"))
        .output_format(format!("{PARQUET}MapredParquetOutputFormat"))
        .parameters("recordCount", "10")
        .serde_info(serde.build());
    let parameters = [
        ("EXTERNAL", "TRUE"),
        ("owner_team", "dmp"),
        ("numRows", "10"),
        ("totalSize", "1234"),
        ("COLUMN_STATS_ACCURATE", "{\"BASIC_STATS\":\"true\"}"),
        ("spark.sql.create.version", "3.5.1"),
        ("spark.sql.sources.provider", "parquet"),
        ("spark.sql.sources.schema", "{\"type\":\"struct\",\"fields\":[]}"),
        ("spark.sql.statistics.numRows", "10"),
        ("averageRecordSize", "12"),
        ("objectCount", "1"),
    ];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    TableInput::builder()
        .name("users")
        .table_type("EXTERNAL_TABLE")
        .storage_descriptor(storage.build())
        .set_parameters(Some(parameters.into()))
        .build()
        .unwrap()
}

#[tokio::test]
async fn statistics_and_sparks_own_path_and_columns_do_not_survive_a_flip() {
    let rig = Rig::with("");
    rig.catalog.put("dmp", made_by_spark());
    let generation = rig.export().await;
    assert_eq!(rig.deliver(&generation).await.unwrap().outcome, Outcome::Committed);
    let table = rig.catalog.get(&rig.table).unwrap();
    let parameters: BTreeMap<String, String> = table.parameters.unwrap().into_iter().collect();
    let kept = [("EXTERNAL", "TRUE"), ("owner_team", "dmp"), ("spark.sql.create.version", "3.5.1")];
    assert_eq!(parameters, BTreeMap::from(kept.map(|(name, value)| (name.to_owned(), value.to_owned()))));
    let storage = table.storage_descriptor.unwrap();
    assert_eq!(storage.parameters.unwrap().len(), 0);
    assert_eq!(storage.serde_info.unwrap().parameters.unwrap().keys().collect::<Vec<_>>(), ["serialization.format"]);
    assert_eq!(storage.location, Some(rig.paths.generation(&generation).to_string()));
}

#[tokio::test]
async fn tables_that_promise_more_than_parquet_files_are_refused_before_anything_is_built() {
    type Edit = fn(&mut TableInput);
    let cases: [(&str, Edit); 8] = [
        ("a bucketed table", |table| table.storage_descriptor.as_mut().unwrap().number_of_buckets = 8),
        ("a bucketed table", |table| {
            table.storage_descriptor.as_mut().unwrap().bucket_columns = Some(vec!["id".into()]);
        }),
        ("a bucketed table", |table| {
            table.parameters.as_mut().unwrap().insert("spark.sql.sources.schema.numBuckets".into(), "8".into());
        }),
        ("a sorted table", |table| {
            let order = Order::builder().column("id").sort_order(1).build().unwrap();
            table.storage_descriptor.as_mut().unwrap().sort_columns = Some(vec![order]);
        }),
        ("a transactional (ACID) table", |table| {
            table.parameters.as_mut().unwrap().insert("transactional".into(), "true".into());
        }),
        ("a managed table", |table| table.table_type = Some("MANAGED_TABLE".into())),
        ("a managed table", |table| drop(table.parameters.as_mut().unwrap().insert("EXTERNAL".into(), "FALSE".into()))),
        ("a table whose input format is not Parquet's", |table| {
            let input = "org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat";
            table.storage_descriptor.as_mut().unwrap().input_format = Some(input.into());
        }),
    ];
    for (kind, edit) in cases {
        let rig = Rig::with("");
        let mut table = made_by_spark();
        edit(&mut table);
        rig.catalog.put("dmp", table);
        let export = rig.export_with(rig.env(), serde_json::json!({ "dataset": "users" })).await;
        let refused = export.map(|_| ()).unwrap_err();
        assert_eq!(refused.kind(), Kind::Config);
        assert!(refused.message().starts_with(&format!("dmp.users is {kind}")), "{}", refused.message());
        assert!(rig.objects.keys().iter().all(|key| !key.contains("part-")), "nothing was built");
        assert!(rig.attention().await[0].contains(kind));
    }
}

#[tokio::test]
async fn crawler_that_updates_the_table_is_named() {
    let rig = Rig::with("");
    let mut table = made_by_spark();
    table.parameters.as_mut().unwrap().insert("UPDATED_BY_CRAWLER".into(), "nightly".into());
    rig.catalog.put("dmp", table);
    let generation = rig.export().await;
    rig.deliver(&generation).await.unwrap();
    let attention = rig.attention().await;
    assert_eq!(attention.len(), 1);
    assert!(attention[0].contains("the Glue crawler \"nightly\" updates the table"), "{attention:?}");
    rig.edit_table(|table| drop(table.parameters.as_mut().unwrap().remove("UPDATED_BY_CRAWLER")));
    assert_eq!(rig.attention().await, [""; 0]);
}
