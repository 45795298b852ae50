//! Folders: columns in their names, and tables of other formats.

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use std::sync::Arc;
use tests::{memory, rig::Rig};
use turntable::{error::Kind, publish::Outcome};

use super::{PLACE, open, read, rows};

fn parquet(id: i64) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![id])) as ArrayRef)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// Returns two objects with one row each, in folders. The second one's region is null.
fn in_folders(format: &str) -> memory::Objects {
    let objects = memory::Objects::default();
    for (id, folders) in
        [(1, "DT=2026-01-01/n=07/region=a%3Db"), (2, "DT=2026-01-02/n=8/region=__HIVE_DEFAULT_PARTITION__")]
    {
        let body = match format {
            "csv" => format!("id\n{id}\n").into_bytes(),
            "json" => format!("{{\"id\":{id}}}\n").into_bytes(),
            _ => parquet(id),
        };
        objects.put(&format!("s3://lake/in/users/{folders}/{id}.{format}"), body);
    }
    objects
}

#[tokio::test]
async fn folders_are_columns_with_inferred_or_declared_types() {
    for format in ["csv", "json", "parquet"] {
        let objects = in_folders(format);
        let table = read(&objects, PLACE).await.unwrap();
        assert_eq!(table.columns, "id bigint, dt date, n string, region string", "{format}");
        assert_eq!(table.rows, ["1|2026-01-01|07|a=b", "2|2026-01-02|8|-"], "{format}");

        let declared = "columns = { region = \"string\", n = \"int\", id = \"bigint\", dt = \"string\" }";
        let table = read(&objects, &format!("{PLACE}, {declared}")).await.unwrap();
        assert_eq!(table.columns, "region string, n int, id bigint, dt string", "{format}");
        assert_eq!(table.rows, ["a=b|7|1|2026-01-01", "-|8|2|2026-01-02"], "{format}");

        let fewer = format!("{PLACE}, columns = {{ id = \"bigint\", dt = \"date\" }}");
        let error = read(&objects, &fewer).await.err().unwrap();
        assert_eq!(error.kind(), Kind::Input);
        assert_eq!(
            error.message(),
            format!(
                "s3://lake/in/users/DT=2026-01-01/n=07/region=a%3Db/1.{format}: a folder name has the column \"n\", which \
                 source.files.columns doesn't declare: declare it, or set source.files.extra = \"ignore\" to leave it out"
            )
        );
        let opened = open(&objects, &format!("{fewer}, extra = \"ignore\"")).await.unwrap();
        let counted = opened.unrepresentable.clone();
        assert_eq!(rows(opened).await.unwrap().rows, ["1|2026-01-01", "2|2026-01-02"], "{format}");
        assert_eq!(format!("{:?}", counted.unmatched.ignored()), "{\"n\": 2, \"region\": 2}", "{format}");
    }
}

#[tokio::test]
async fn a_column_of_the_file_comes_before_its_folder() {
    for (name, body) in [("a.csv", &b"id,dt\n1,x\n"[..]), ("a.json", b"{\"id\":1,\"dt\":\"x\"}\n")] {
        let objects = memory::Objects::default();
        objects.put(&format!("s3://lake/in/users/dt=2026-01-01/{name}"), body);
        let table = read(&objects, PLACE).await.unwrap();
        assert_eq!((table.columns.as_str(), table.rows), ("id bigint, dt string", vec!["1|x".to_owned()]));
    }
    let objects = in_folders("csv");
    let wrong = format!("{PLACE}, columns = {{ id = \"bigint\", dt = \"int\", n = \"int\", region = \"string\" }}");
    let error = read(&objects, &wrong).await.err().unwrap();
    let expected = "line 2: column \"dt\" (int): not a whole number";
    assert!(error.message().ends_with(expected), "{}", error.message());
}

#[tokio::test]
async fn folders_of_the_source_can_be_folders_of_the_table() {
    let rig = Rig::default();
    rig.configure_source("files = { location = \"s3://lake/days/\" }", "partition_by = [\"dt\"]");
    rig.objects.put("s3://lake/days/dt=2026-01-01/a.csv", "id\n1\n2\n");
    rig.objects.put("s3://lake/days/dt=2026-01-02/a.csv", "id\n3\n");
    let generation = rig.export().await;
    assert_eq!(rig.flip(&generation).await.unwrap().outcome, Outcome::Committed);
    let table = rig.catalog.get(&rig.table).unwrap();
    assert_eq!(table.parameters.unwrap()["projection.dt.range"], "2026-01-01,2026-01-02");
}

#[tokio::test]
async fn tables_of_other_formats_are_refused() {
    for (log, format) in [
        ("_delta_log/00000000000000000000.json", "Delta Lake"),
        ("part/_delta_log/00000000000000000000.json", "Delta Lake"),
        (".hoodie/hoodie.properties", "Hudi"),
        ("metadata/00000-a.metadata.json", "Iceberg"),
    ] {
        for format_of_files in ["csv", "parquet"] {
            let objects = in_folders(format_of_files);
            let log = format!("s3://lake/in/users/{log}");
            objects.put(&log, "{}");
            let error = read(&objects, PLACE).await.err().unwrap();
            assert_eq!(error.kind(), Kind::Input);
            assert_eq!(
                error.message(),
                format!(
                    "s3://lake/in/users/ is a table in {format} format, as {log} shows, and only the table's log \
                     says which rows are current: export the table with source.athena and a query that selects from it, \
                     or put plain copies of its rows elsewhere"
                )
            );
        }
    }
}
