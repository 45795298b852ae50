//! A flip takes over a table that somebody else made: it removes what describes the old files, and refuses tables whose
//! readers rely on more than plain Parquet files.

use std::collections::BTreeMap;

use aws_sdk_glue::types::{Column, Order, SerDeInfo, StorageDescriptor, TableInput};
use jiff::SignedDuration;
use serde_json::json;
use tests::{
    catalog::{Fault, Op, moved},
    rig::Rig,
};
use turntable::{
    error::Kind,
    publish::{
        Outcome,
        adoption::{self, FirstFlip, TakeOver},
    },
    schema,
};

const PARQUET: &str = "org.apache.hadoop.hive.ql.io.parquet.";

const COLUMNS: [(&str, &str); 2] = [("id", "bigint"), ("name", "string")];

/// Returns what `check` would report about the dataset's table if its source had these columns.
async fn first_flip(rig: &Rig, columns: &[(&str, &str)]) -> Option<FirstFlip> {
    let config = rig.env().config().await.unwrap();
    let column =
        |(name, glue_type): &(&str, &str)| schema::Column { name: (*name).into(), glue_type: (*glue_type).into() };
    let columns: Vec<schema::Column> = columns.iter().map(column).collect();
    adoption::first_flip(&rig.env(), config.dataset("users").unwrap(), Some(&columns)).await.unwrap()
}

async fn taken_over(rig: &Rig, columns: &[(&str, &str)]) -> TakeOver {
    match first_flip(rig, columns).await {
        Some(FirstFlip::TakesOver(table)) => *table,
        other => panic!("{other:?}"),
    }
}

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
    let rig = Rig::with("adopt = true\n");
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
    let cases: [(&str, Edit); 9] = [
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
        ("a table in a format other than Parquet", |table| {
            let serde = table.storage_descriptor.as_mut().unwrap().serde_info.as_mut().unwrap();
            serde.serialization_library = Some("org.openx.data.jsonserde.JsonSerDe".into());
        }),
        ("a table whose input format is not Parquet's", |table| {
            let input = "org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat";
            table.storage_descriptor.as_mut().unwrap().input_format = Some(input.into());
        }),
    ];
    for (kind, edit) in cases {
        let rig = Rig::with("adopt = true\n");
        let mut table = made_by_spark();
        edit(&mut table);
        rig.catalog.put("dmp", table);
        let export = rig.export_with(rig.env(), serde_json::json!({ "dataset": "users" })).await;
        let refused = export.map(|_| ()).unwrap_err();
        assert_eq!(refused.kind(), Kind::Config);
        assert!(refused.message().starts_with(&format!("dmp.users is {kind}")), "{}", refused.message());
        assert!(rig.objects.keys().iter().all(|key| !key.contains("part-")), "nothing was built");
        assert!(rig.attention().await[0].contains(kind));
        // `check` reports the same before the flip.
        match first_flip(&rig, &COLUMNS).await {
            Some(FirstFlip::Refused(reasons)) => assert_eq!(reasons, [refused.message()]),
            other => panic!("{kind}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn crawler_that_updates_the_table_is_named() {
    let rig = Rig::with("adopt = true\n");
    let mut table = made_by_spark();
    table.parameters.as_mut().unwrap().insert("UPDATED_BY_CRAWLER".into(), "nightly".into());
    rig.catalog.put("dmp", table);
    let generation = rig.export().await;
    rig.deliver(&generation).await.unwrap();
    let attention = rig.attention().await;
    assert_eq!(attention.len(), 1);
    assert!(attention[0].contains("names the Glue crawler \"nightly\""), "{attention:?}");
    rig.edit_table(|table| drop(table.parameters.as_mut().unwrap().remove("UPDATED_BY_CRAWLER")));
    assert_eq!(rig.attention().await, [""; 0]);
}

#[tokio::test]
async fn check_announces_what_the_first_flip_records() {
    let rig = Rig::with("adopt = true\nschema = \"additive\"\n");
    let mut table = made_by_spark();
    table.storage_descriptor.as_mut().unwrap().columns.as_mut().unwrap().pop();
    table.parameters.as_mut().unwrap().insert("UPDATED_BY_CRAWLER".into(), "nightly".into());
    rig.catalog.put("dmp", table);
    let announced = taken_over(&rig, &COLUMNS).await;
    let removed = [
        "COLUMN_STATS_ACCURATE",
        "averageRecordSize",
        "numRows",
        "objectCount",
        "spark.sql.sources.provider",
        "spark.sql.sources.schema",
        "spark.sql.statistics.numRows",
        "totalSize",
        "recordCount (storage descriptor)",
        "path (SerDe)",
    ];
    assert_eq!(announced.adoption.removed, removed);
    assert_eq!(announced.adoption.changed, ["column \"name\" string is not in the table"]);
    assert_eq!(
        (announced.from.to_string().as_str(), announced.crawler.as_deref()),
        ("s3://lake/old/users/", Some("nightly"))
    );

    let first = rig.export().await;
    assert_eq!(rig.deliver(&first).await.unwrap().outcome, Outcome::Committed);
    assert_eq!(rig.flips()[0].adopted, Some(announced.adoption.clone()));
    assert!(first_flip(&rig, &COLUMNS).await.is_none(), "the table is Turntable's now");
    rig.advance(SignedDuration::from_mins(1));
    let second = rig.export().await;
    rig.deliver(&second).await.unwrap();
    assert_eq!(rig.flips()[1].adopted, None);
    let status = rig.ask(json!({ "dataset": "users", "action": "status" })).await.unwrap().status.unwrap();
    let history = |at: usize| status.generations[at].flipped.clone().unwrap().adopted;
    assert_eq!((history(0), history(1)), (None, Some(announced.adoption)));
}

/// Tests `check` on a table that Turntable already publishes.
#[tokio::test]
async fn check_compares_a_live_table_with_what_the_file_makes_now() {
    let rig = Rig::with("");
    rig.source(3);
    let generation = rig.export().await;
    rig.deliver(&generation).await.unwrap();
    let live = rig.catalog.get(&rig.table).unwrap();
    let columns = live.storage_descriptor().unwrap().columns().to_vec();
    let same: Vec<(&str, &str)> =
        columns.iter().map(|column| (column.name(), column.r#type().unwrap_or_default())).collect();
    assert!(first_flip(&rig, &same).await.is_none());
    let more = [same.as_slice(), &[("extra", "int")]].concat();
    match first_flip(&rig, &more).await {
        Some(FirstFlip::Rejects(reasons)) => {
            let expected = "dmp.users: schema: column \"extra\" int is not in the table; schema = \"additive\" in \
                            datasets.toml allows this";
            assert_eq!(reasons, [expected]);
        }
        other => panic!("{other:?}"),
    }
    // The dataset is partitioned from now on.
    let text = String::from_utf8(rig.objects.body("s3://lake/datasets.toml").unwrap().to_vec()).unwrap();
    let name = same[0].0;
    let head = "[datasets.users]\n";
    rig.objects.put("s3://lake/datasets.toml", text.replace(head, &format!("{head}partition_by = [\"{name}\"]\n")));
    match first_flip(&rig, &same).await {
        Some(FirstFlip::Refused(reasons)) => {
            let expected = format!(
                "dmp.users is not partitioned, but datasets.users.partition_by lists {name}: a flip can't change partition \
                 keys; make partition_by match the table, or give the dataset another table"
            );
            assert_eq!(reasons, [expected]);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn check_refuses_what_every_candidate_would_be_rejected_for() {
    let rig = Rig::with("adopt = true\n");
    assert!(first_flip(&rig, &COLUMNS).await.is_none(), "there is no table yet");
    rig.catalog.put("dmp", made_by_spark());
    match first_flip(&rig, &[("id", "bigint"), ("name", "string"), ("extra", "int")]).await {
        Some(FirstFlip::Refused(reasons)) => {
            let allows = "schema = \"additive\" in datasets.toml allows this";
            assert_eq!(reasons, [format!("dmp.users: schema: column \"extra\" int is not in the table; {allows}")]);
        }
        other => panic!("{other:?}"),
    }
    let mut view = made_by_spark();
    view.table_type = Some("VIRTUAL_VIEW".into());
    rig.catalog.put("dmp", view);
    assert!(matches!(first_flip(&rig, &COLUMNS).await, Some(FirstFlip::Refused(why)) if why[0].contains("is a view")));
    let mut above = made_by_spark();
    above.storage_descriptor.as_mut().unwrap().location = Some("s3://lake/schemas/".into());
    rig.catalog.put("dmp", above);
    assert!(matches!(first_flip(&rig, &COLUMNS).await, Some(FirstFlip::Refused(why)) if why[0].contains("overlaps")));
    // An error from a call to AWS is not a refusal of the table.
    rig.catalog.on(Op::Table, rig.catalog.calls(Op::Table) + 1, Fault::Fail);
    let config = rig.env().config().await.unwrap();
    let failed = adoption::first_flip(&rig.env(), config.dataset("users").unwrap(), None).await;
    assert_eq!(failed.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test]
async fn column_statistics_of_other_files_are_deleted_by_an_adoption_and_by_each_sweep() {
    let rig = Rig::with("adopt = true\n");
    rig.catalog.put("dmp", made_by_spark());
    rig.catalog.analyze(&rig.table, "id", rig.now());
    assert_eq!(taken_over(&rig, &COLUMNS).await.statistics.unwrap(), ["id"]);
    let first = rig.export().await;
    let flipped = rig.deliver(&first).await.unwrap();
    assert_eq!(flipped.reasons, ["deleted Glue's column statistics, which described the old files: id"]);
    assert_eq!(rig.catalog.analyzed(), [""; 0]);

    // Statistics for the live files are kept.
    rig.advance(SignedDuration::from_mins(1));
    rig.catalog.analyze(&rig.table, "name", rig.now());
    rig.sweep().await.unwrap();
    assert_eq!(rig.catalog.analyzed(), ["name"]);
    rig.advance(SignedDuration::from_mins(1));
    let asked = rig.catalog.calls(Op::ColumnStatistics);
    let second = rig.export().await;
    rig.deliver(&second).await.unwrap();
    assert_eq!((rig.catalog.calls(Op::ColumnStatistics), rig.catalog.analyzed().len()), (asked, 1), "no flip asks");
    rig.catalog.on(Op::DeleteColumnStatistics, 2, Fault::Fail);
    let swept = rig.sweep().await.unwrap();
    assert!(
        swept.notes.iter().any(|note| note.contains("column statistics describe other files")),
        "{:?}",
        swept.notes
    );
    rig.sweep().await.unwrap();
    assert_eq!(rig.catalog.analyzed(), [""; 0]);
}

#[tokio::test]
async fn failure_to_delete_column_statistics_is_told_and_the_flip_stands() {
    let rig = Rig::with("adopt = true\n");
    rig.catalog.put("dmp", made_by_spark());
    rig.catalog.analyze(&rig.table, "id", rig.now());
    rig.catalog.on(Op::DeleteColumnStatistics, 1, Fault::Fail);
    let first = rig.export().await;
    let flipped = rig.deliver(&first).await.unwrap();
    assert_eq!((flipped.outcome, rig.live()), (Outcome::Committed, Some(first)));
    assert!(flipped.reasons[0].contains("could not be deleted"), "{:?}", flipped.reasons);
}

#[tokio::test]
async fn table_over_the_parent_folder_is_named_as_the_reader_of_every_generation() {
    let rig = Rig::with("retain = { generations = 0 }\n");
    let first = rig.export().await;
    rig.deliver(&first).await.unwrap();
    let mut over = moved(&rig.catalog.get(&rig.table).unwrap(), &"s3://lake/schemas".parse().unwrap());
    over.name = "everything".into();
    rig.catalog.put("dmp", over);
    rig.advance(SignedDuration::from_hours(24));
    let second = rig.export().await;
    rig.deliver(&second).await.unwrap();
    rig.advance(SignedDuration::from_hours(24 * 30));
    let status = rig.ask(json!({ "dataset": "users", "action": "status" })).await.unwrap().status.unwrap();
    let kept: Vec<&str> = status.next_sweep.keeps.iter().map(|fate| fate.reason.as_str()).collect();
    assert_eq!(kept, ["live", "read by dmp.everything"]);
    let attention = rig.attention().await;
    assert!(attention.iter().any(|told| told.starts_with("dmp.everything: the table reads the whole folder of users")));
    rig.catalog
        .port()
        .delete(&turntable::layout::TableName { database: "dmp".into(), table: "everything".into() })
        .await
        .unwrap();
    assert_eq!(rig.attention().await, [""; 0]);
}

#[tokio::test]
async fn first_flip_of_a_table_elsewhere_waits_for_a_confirmation() {
    let rig = Rig::with("");
    rig.catalog.put("dmp", made_by_spark());
    let generation = rig.export().await;
    let refused = rig.deliver(&generation).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Config);
    assert!(refused.message().contains("set adopt = \"s3://lake/old/users/\" in the dataset"), "{refused:?}");
    let table = rig.catalog.get(&rig.table).unwrap();
    assert_eq!(table.storage_descriptor().unwrap().location(), Some("s3://lake/old/users"));
    // `check` still describes what the flip would do.
    assert_eq!(taken_over(&rig, &COLUMNS).await.from.to_string(), "s3://lake/old/users/");
    assert_eq!(rig.flip(&generation).await.unwrap().outcome, Outcome::Committed, "an operator's request confirms it");

    for (adopt, is_taken) in [("s3://lake/old/", false), ("s3://lake/old/users", true)] {
        let rig = Rig::with(&format!("adopt = {adopt:?}\n"));
        rig.catalog.put("dmp", made_by_spark());
        let generation = rig.export().await;
        assert_eq!(rig.deliver(&generation).await.is_ok(), is_taken, "{adopt}");
    }
}

/// Without this protection, anybody who can write a flip record could make any location live through a failed canary.
#[tokio::test]
async fn canary_goes_back_only_to_a_location_that_is_confirmed() {
    let canary = "checks = { canary = \"SELECT count(*) > 0 FROM {table}\" }\n";
    for (adopt, location) in [("", None), ("adopt = \"s3://lake/old/users\"\n", Some("s3://lake/old/users/"))] {
        let rig = Rig::with(&format!("{adopt}{canary}"));
        rig.catalog.put("dmp", made_by_spark());
        rig.athena.answers(|_| Ok(tests::query::one("false")));
        let generation = rig.export().await;
        let rejected = rig.flip(&generation).await.unwrap_err();
        assert_eq!(rejected.kind(), Kind::Rejected);
        let table = rig.catalog.get(&rig.table).unwrap();
        let live = rig.paths.generation(&generation).to_string();
        assert_eq!(table.storage_descriptor().unwrap().location(), Some(location.unwrap_or(&live)));
        assert_eq!(rejected.message().contains("set adopt = "), location.is_none(), "{rejected:?}");
    }
}
