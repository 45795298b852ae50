//! Compares the whole sample database Pagila with Athena, if the environment variable TURNTABLE_PAGILA names its dump.

use std::process::Command;

use serde_json::json;

use super::{Chain, compare::compare, postgres::datasets, sql};

#[tokio::test(flavor = "multi_thread")]
async fn every_base_table_of_pagila_is_the_same_in_athena() {
    let Some(dump) = std::env::var_os("TURNTABLE_PAGILA") else {
        eprintln!("skipped: TURNTABLE_PAGILA names no file");
        return;
    };
    let server = sql::start().await;
    let url = server.url();
    sql::run(&url, "CREATE ROLE postgres SUPERUSER").await;
    let loaded = Command::new("psql").arg(&url).args(["-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&dump).output();
    let loaded = loaded.expect("psql");
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));

    // A partitioned table counts once, without its partitions.
    let tables = sql::run(
        &url,
        "SELECT t.table_name FROM information_schema.tables t
         JOIN pg_class c ON c.oid = format('%I.%I', t.table_schema, t.table_name)::regclass
         WHERE t.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND NOT c.relispartition ORDER BY 1",
    );
    let tables: Vec<String> = tables.await.into_iter().map(|mut row| row.remove(0).expect("a name")).collect();
    assert!(tables.len() >= 15, "{tables:?}");

    let chain = Chain::start(&datasets(&url, "public", &tables)).await;
    chain.ask("export", &json!({})).await;
    let mut differing = 0;
    for table in &tables {
        chain.next(table, None).await;
        let found = compare(&url, &chain, &format!("public.\"{table}\""), &format!("dmp.\"{table}\"")).await;
        let rows = sql::run(&url, &format!("SELECT count(*) FROM public.\"{table}\"")).await;
        let rows = rows[0][0].as_deref().unwrap_or_default();
        println!("{table}: {rows} rows, {}", if found.is_empty() { "equal".into() } else { found.join("; ") });
        differing += usize::from(!found.is_empty());
    }
    assert_eq!(differing, 0, "of {} tables", tables.len());
}
