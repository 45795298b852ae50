//! The types of MySQL in docs/types.md match the code.

use std::collections::BTreeMap;

use tests::types_page::{arrow, in_code, table};

use super::{open, run, shared, types::ONLY_MARIADB};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_what_every_type_becomes() {
    let server = shared().await;
    let rows = table("MySQL and MariaDB");
    let types: Vec<(String, &Vec<String>)> =
        rows.iter().flat_map(|row| in_code(&row[0]).into_iter().map(move |of| (of, row))).collect();
    let has = |of: &str| !server.is_mysql() || !ONLY_MARIADB.contains(&of);
    let types: Vec<_> = types.into_iter().filter(|(of, _)| has(of)).collect();
    assert!(types.len() > 50, "{}", types.len());
    let columns: Vec<String> = types.iter().enumerate().map(|(at, (of, _))| format!("c{at} {of} NULL")).collect();
    run(server, format!("CREATE TABLE documented ({})", columns.join(", "))).await;
    let opened = open(&server.url(), "SELECT * FROM documented").await.unwrap();
    let glue = turntable::parquet::arrow_types::columns(&opened.rows.schema).unwrap();
    // The test for PostgreSQL's types checks how Arrow types map to Parquet types.
    let parquet: BTreeMap<String, String> =
        table("PostgreSQL").into_iter().map(|row| (row[1].clone(), row[2].clone())).collect();
    for (at, (of, row)) in types.iter().enumerate() {
        let found = arrow(opened.rows.schema.field(at).data_type());
        assert_eq!([&found, &glue[at].glue_type], [&row[1], &row[3]], "{of}");
        if let Some(parquet) = parquet.get(&found) {
            assert_eq!(*parquet, row[2], "{of}");
        }
    }
}
