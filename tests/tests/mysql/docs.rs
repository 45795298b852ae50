//! docs/types.md says what the code does.

use std::collections::BTreeMap;

use arrow_schema::{DataType, TimeUnit};
use turntable::schema;

use crate::{open, run, shared};

/// The cells of each row below the heading, but for the table's own head.
fn table(heading: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/types.md")).unwrap();
    let section = text.split(&format!("\n## {heading}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

fn arrow(of: &DataType) -> String {
    match of {
        DataType::Decimal128(precision, scale) => format!("Decimal128({precision},{scale})"),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "Timestamp(µs)".into(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => format!("Timestamp(µs, {zone})"),
        other => other.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_what_every_type_becomes() {
    let server = shared().await;
    let rows = table("MySQL and MariaDB");
    let types: Vec<(&str, &Vec<String>)> =
        rows.iter().flat_map(|row| row[0].split('`').skip(1).step_by(2).map(move |of| (of, row))).collect();
    assert!(types.len() > 50, "{}", types.len());
    let columns: Vec<String> = types.iter().enumerate().map(|(at, (of, _))| format!("c{at} {of} NULL")).collect();
    run(server, format!("CREATE TABLE documented ({})", columns.join(", "))).await;
    let opened = open(&server.url(), "SELECT * FROM documented").await.unwrap();
    let glue = schema::columns(&opened.schema).unwrap();
    // What Arrow's types become in Parquet is looked at where PostgreSQL's are.
    let parquet: BTreeMap<String, String> =
        table("PostgreSQL").into_iter().map(|row| (row[1].clone(), row[2].clone())).collect();
    for (at, (of, row)) in types.iter().enumerate() {
        let found = arrow(opened.schema.field(at).data_type());
        assert_eq!([&found, &glue[at].glue_type], [&row[1], &row[3]], "{of}");
        if let Some(parquet) = parquet.get(&found) {
            assert_eq!(*parquet, row[2], "{of}");
        }
    }
}
