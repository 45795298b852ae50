//! Turntable adopts a table that an older job left at the flat `…/TABLE/blue`, and no query fails meanwhile.

use std::collections::HashMap;

use aws_sdk_glue::types::{Column, SerDeInfo, StorageDescriptor, TableInput};
use local::reader::Reader;
use serde_json::json;
use turntable::layout::Colour;

use super::{Chain, generation, manifest_event, saw_whole_generations, table, users};

const SEED: &str = r#"
[datasets.seed]
source = { files = { location = "s3://${BUCKET}/source/users/", columns = { id = "bigint", name = "string", points = "int", joined = "date" } } }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_flat_blue_is_followed_by_green_and_the_table_keeps_all_else() {
    let chain = Chain::start(SEED).await;
    chain.put("source/users/users.csv", users(2000, 1)).await.unwrap();
    // Stands in for the older job's file: any Parquet file with these columns would do.
    let seed = generation(&chain.ask("export", &json!({ "dataset": "seed" })).await);
    let file = chain.get(&format!("schemas/seed/{seed}/part-00000.parquet")).await.unwrap();
    chain.put("schemas/users/blue/000000_0.parquet", file).await.unwrap();
    let flat = format!("s3://{}/schemas/users/blue", chain.bucket);
    chain.glue.create_table().database_name("dmp").table_input(by_hand(&flat)).send().await.unwrap();
    let before = chain.table("users").await.unwrap();

    let paths = chain.paths("users");
    let old = (format!("{flat}/"), 2000);
    let reader = Reader::start(&chain);
    reader.add(&table("users"));
    saw_whole_generations(&reader.finish().await.unwrap(), std::slice::from_ref(&old));
    let reader = Reader::start(&chain);
    reader.add(&table("users"));
    chain.datasets(&SEED.replace("datasets.seed", "datasets.users")).await;
    chain.put("source/users/users.csv", users(2100, 2)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    let adopted = chain.next("users", Some(&flat.parse().unwrap())).await;
    assert_eq!(adopted.colour, Colour::Green);

    let new = (paths.generation(&adopted).to_string(), 2100);
    saw_whole_generations(&reader.finish().await.unwrap(), &[old, new]);
    let after = chain.table("users").await.unwrap();
    let mut expected = before.storage_descriptor.clone().unwrap();
    expected.location = Some(paths.generation(&adopted).to_string());
    assert_eq!(after.storage_descriptor.as_ref(), Some(&expected));
    assert_eq!(after.parameters, before.parameters);
    assert_eq!((after.description(), after.owner()), (Some("people"), Some("dmp")));

    // Drift back to the flat location doesn't count as another adoption.
    chain.glue.update_table().database_name("dmp").table_input(by_hand(&flat)).send().await.unwrap();
    let late = generation(&chain.ask("export", &json!({ "dataset": "users" })).await);
    let event = manifest_event(&paths, &late);
    let refused = chain.answer("flip", &event).await.unwrap_err();
    assert_eq!(refused.error_type, "Conflict");
    assert_eq!(
        refused.error_message,
        format!(
            "the table of dataset \"users\" is at {flat}/, which is unmanaged, although Turntable has \
             flipped the table before: something else moved it. To take the table back, invoke flip with {late}"
        )
    );
}

fn by_hand(location: &str) -> TableInput {
    let columns = [("id", "bigint"), ("name", "string"), ("points", "int"), ("joined", "date")];
    let columns = columns.map(|(name, of)| {
        Column::builder().name(name).r#type(of).comment(format!("{name} の説明")).build().expect("a column")
    });
    let serde = SerDeInfo::builder()
        .serialization_library("org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe")
        .parameters("serialization.format", "1")
        .build();
    let storage = StorageDescriptor::builder()
        .set_columns(Some(columns.to_vec()))
        .location(location)
        .input_format("org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat")
        .output_format("org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat")
        .serde_info(serde)
        .parameters("of", "storage")
        .build();
    let parameters = [("classification", "parquet"), ("EXTERNAL", "TRUE"), ("team", "退会")];
    let parameters: HashMap<String, String> = parameters.map(|(key, value)| (key.into(), value.into())).into();
    let input = TableInput::builder().name("users").description("people").owner("dmp");
    let input = input.table_type("EXTERNAL_TABLE").storage_descriptor(storage).set_parameters(Some(parameters));
    input.build().expect("a table")
}
