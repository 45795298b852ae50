//! Glue tables that must not be flipped: `flip` rejects each with an error.

use aws_sdk_glue::types::{Column, PartitionInput, StorageDescriptor, TableInput};
use serde_json::json;

use super::{Chain, generation, users};

const NAMES: [&str; 9] = ["absent", "above", "under", "view", "iceberg", "parts", "keys", "text", "nowhere"];

fn datasets() -> String {
    let entry = |name: &str| {
        let more = match name {
            "absent" => "create = false\n",
            "nowhere" => "database = \"nowhere\"\n",
            _ => "",
        };
        let columns = "columns = { id = \"bigint\", name = \"string\", points = \"int\", joined = \"date\" }";
        let files = format!("location = \"s3://${{BUCKET}}/in/\", {columns}");
        format!("[datasets.{name}]\n{more}source = {{ files = {{ {files} }} }}\n")
    };
    NAMES.map(entry).concat()
}

fn at(name: &str, location: &str) -> aws_sdk_glue::types::builders::TableInputBuilder {
    let storage = StorageDescriptor::builder().location(location).build();
    TableInput::builder().name(name).table_type("EXTERNAL_TABLE").storage_descriptor(storage)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_flipped_is_refused_and_says_why() {
    let chain = Chain::start(&datasets()).await;
    chain.put("in/users.csv", users(10, 1)).await.unwrap();
    let day = || Column::builder().name("day").r#type("string").build().unwrap();
    let elsewhere = |name: &str| at(name, &chain.named("s3://${BUCKET}/older/"));
    let text = {
        let serde = aws_sdk_glue::types::SerDeInfo::builder()
            .serialization_library("org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe");
        let storage = StorageDescriptor::builder().location("s3://elsewhere/t").serde_info(serde.build()).build();
        TableInput::builder().name("text").storage_descriptor(storage)
    };
    let tables = [
        at("above", &chain.named("s3://${BUCKET}/schemas")),
        TableInput::builder().name("view").table_type("VIRTUAL_VIEW").view_original_text("/* Presto View */"),
        elsewhere("iceberg").parameters("table_type", "ICEBERG"),
        elsewhere("parts").partition_keys(day()),
        elsewhere("keys").partition_keys(day()),
        text,
    ];
    for table in tables {
        let table = table.build().unwrap();
        chain.glue.create_table().database_name("dmp").table_input(table).send().await.unwrap();
    }
    let partition = PartitionInput::builder().values("2024-01-01").build();
    chain
        .glue
        .create_partition()
        .database_name("dmp")
        .table_name("parts")
        .partition_input(partition)
        .send()
        .await
        .unwrap();

    let plain = "Turntable publishes only plain Parquet tables, so give the dataset another table";
    let partitioned = "each registered partition has its own location, and no call moves them together with the \
                       table's, so readers would see a mixture of old and new data: move the table to partition \
                       projection, as described in docs/partitions.md";
    let expected = [
        (
            "absent",
            "the table dmp.absent does not exist and datasets.absent has create = false: create the table first".into(),
        ),
        ("view", format!("dmp.view is a view: {plain}")),
        ("iceberg", format!("dmp.iceberg is an Iceberg table: {plain}")),
        (
            "text",
            "dmp.text is a table in a format other than Parquet, and Turntable doesn't take such a table over, because \
             readers or its owner rely on files that Turntable doesn't write: make it a plain external Parquet table, or \
             give the dataset another table"
                .into(),
        ),
        ("parts", format!("dmp.parts has registered partitions: {partitioned}")),
        ("keys", format!("dmp.keys has partition keys without projection: {partitioned}")),
    ];
    for (dataset, text) in expected {
        let refused = chain.answer("export", &json!({ "dataset": dataset })).await.unwrap_err();
        assert_eq!((refused.error_type.as_str(), refused.error_message.as_str()), ("Config", text.as_str()));
        assert_eq!(chain.left(&format!("schemas/{dataset}/")).await, Vec::<String>::new(), "{dataset}");
    }

    for (function, event) in
        [("flip", json!({ "dataset": "parts", "action": "status" })), ("sweep", json!({ "dataset": "parts" }))]
    {
        let refused = chain.answer(function, &event).await.unwrap_err();
        assert_eq!(refused.error_type, "Config", "{function}: {refused}");
        assert!(refused.error_message.contains("dmp.parts has registered partitions"), "{function}: {refused}");
    }

    let refused = chain.answer("export", &json!({ "dataset": "above" })).await.unwrap_err();
    assert_eq!(refused.error_type, "Config");
    let text = refused.error_message;
    let begin =
        chain.named("the live location s3://${BUCKET}/schemas/ overlaps the new one s3://${BUCKET}/schemas/above/");
    assert!(text.starts_with(&begin), "{text}");
    let end = "/, and Athena reads sub-folders: move the table's files to a folder of their own, or give the dataset \
               another location";
    assert!(text.ends_with(end), "{text}");
    assert_eq!(chain.left("schemas/above/").await, Vec::<String>::new());

    under(&chain).await;
    nowhere(&chain).await;
}

/// Before the flip to the candidate, somebody creates the table with a sub-folder of the candidate as its location.
async fn under(chain: &Chain) {
    let hold = json!({ "dataset": "under", "action": "hold", "reason": "the test" });
    chain.ask("flip", &hold).await;
    let candidate = generation(&chain.ask("export", &json!({ "dataset": "under" })).await);
    let paths = chain.paths("under");
    let deeper = paths.generation(&candidate).folder("deeper").to_string();
    let table = at("under", &deeper).build().unwrap();
    chain.glue.create_table().database_name("dmp").table_input(table).send().await.unwrap();
    chain.ask("flip", &json!({ "dataset": "under", "action": "release" })).await;
    let by_hand = json!({ "dataset": "under", "generation": candidate });
    let refused = chain.answer("flip", &by_hand).await.unwrap_err();
    assert_eq!(refused.error_type, "Config");
    assert_eq!(
        refused.error_message,
        format!(
            "the live location {deeper} overlaps the new one {}, and Athena reads sub-folders: move the table's files \
             to a folder of their own, or give the dataset another location",
            paths.generation(&candidate)
        )
    );
    assert_eq!(chain.live("under").await.unwrap().to_string(), deeper);
}

/// Turntable creates tables, but not databases, so a flip into a missing database is an error.
async fn nowhere(chain: &Chain) {
    let candidate = generation(&chain.ask("export", &json!({ "dataset": "nowhere" })).await);
    let by_hand = json!({ "dataset": "nowhere", "generation": candidate });
    let refused = chain.answer("flip", &by_hand).await.unwrap_err();
    assert_eq!(refused.error_type, "Config");
    let text = "database \"nowhere\" does not exist in the Glue Data Catalog: create it, then invoke flip again: ";
    assert!(refused.error_message.starts_with(text), "{refused}");
}
