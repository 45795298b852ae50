//! The table that all contenders read: 22 columns, like the users table of an application.

use anyhow::Result;
use tokio_postgres::NoTls;

/// The columns: name, type, and an SQL expression for the value in row `g`. Six of them have NULLs. Some strings
/// repeat, others are unique, and `hash` and `uuid` don't compress.
const COLUMNS: [(&str, &str, &str); 22] = [
    ("id", "bigint", "g"),
    ("uuid", "uuid", "md5(g::text)::uuid"),
    ("login", "text", "'user' || g"),
    ("name", "text", "(array['佐藤','鈴木','高橋','田中','Smith','Müller'])[1 + g % 6] || ' ' || g * 7919 % 10007"),
    ("email", "varchar(120)", "'u' || g * 31 % 9999991 || '@example.com'"),
    ("age", "smallint", "CASE WHEN g % 9 > 0 THEN 18 + g * 7 % 70 END"),
    ("active", "boolean", "g % 13 > 0"),
    ("prefecture", "integer", "g * 11 % 47"),
    ("born", "date", "CASE WHEN g % 5 > 0 THEN date '1950-01-01' + (g * 37 % 20000)::int END"),
    ("created_at", "timestamp", "timestamp '2020-01-01' + g * interval '1.000123 second'"),
    ("updated_at", "timestamptz", "timestamptz '2021-01-01' + g * 7919 % 94608000 * interval '1.0005 second'"),
    ("left_at", "timestamptz", "CASE WHEN g % 10 = 0 THEN timestamptz '2022-01-01' + g * interval '7 second' END"),
    ("balance", "numeric(12,2)", "(g * 7907 % 100000000) / 100.0"),
    ("score", "double precision", "sqrt(g::float8)"),
    ("ratio", "real", "CASE WHEN g % 7 > 0 THEN (g % 97) / 97.0 END"),
    ("note", "text", "CASE WHEN g % 3 = 0 THEN repeat('note ', 1 + (g % 5)::int) || g END"),
    ("segment", "integer", "g % 7"),
    ("token", "bigint", "g * 2654435761 % 1000000000039"),
    ("hash", "text", "md5((g + 1)::text)"),
    ("visits", "integer", "CASE WHEN g % 4 > 0 THEN g * 13 % 1000 END"),
    (
        "attributes",
        "jsonb",
        "jsonb_build_object('plan', g % 3, 'tags', jsonb_build_array('a', g % 10), 'vip', g % 50 = 0)",
    ),
    ("city", "varchar(40)", "(array['tokyo','osaka','nagoya','sapporo','fukuoka'])[1 + g % 5]"),
];

/// Returns the `COPY` statement that writes the contenders' CSV file. Booleans become `true` and `false`, because
/// DataFusion accepts only these.
pub fn to_csv(name: &str) -> String {
    let of = |(name, of, _)| if of == "boolean" { format!("{name}::text AS {name}") } else { String::from(name) };
    format!("COPY (SELECT {} FROM {name}) TO STDOUT (FORMAT csv, HEADER)", COLUMNS.map(of).join(", "))
}

/// Creates and fills the table, then vacuums, freezes and analyzes it, so that it resembles a table that has long been
/// in use.
pub async fn make(url: &str, name: &str, rows: u64) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = tokio::spawn(connection);
    let columns = COLUMNS.map(|(name, of, _)| format!("{name} {of}")).join(", ");
    let values = COLUMNS.map(|(_, of, value)| format!("({value})::{of}")).join(", ");
    client
        .batch_execute(&format!(
            "CREATE TABLE {name} ({columns}); \
             INSERT INTO {name} SELECT {values} FROM generate_series(1::bigint, {rows}) AS g; \
             ALTER TABLE {name} ADD PRIMARY KEY (id)"
        ))
        .await?;
    client.batch_execute(&format!("VACUUM (ANALYZE, FREEZE) {name}")).await?;
    drop(client);
    connection.await??;
    Ok(())
}
