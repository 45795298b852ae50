//! The table that all contenders read: 22 columns, like the users table of an application.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Result, bail};
use futures::{TryStreamExt, pin_mut};
use tokio_postgres::NoTls;

use crate::mariadb::Mariadb;

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

/// Returns the `COPY` statement that writes the contenders' NDJSON file: one object per row. With these delimiters, which
/// JSON can't contain, `COPY` doesn't escape anything.
pub fn to_json(name: &str) -> String {
    let of = |(name, of, _)| if of == "jsonb" { format!("{name}::text AS {name}") } else { String::from(name) };
    let columns = COLUMNS.map(of).join(", ");
    format!(
        "COPY (SELECT row_to_json(t) FROM (SELECT {columns} FROM {name}) AS t) TO STDOUT \
         (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')"
    )
}

/// Returns the query for a client that prints text. Casts each `real` to `double`, because MariaDB prints a `float`
/// with only six digits.
pub fn for_client(name: &str) -> String {
    let of =
        |(name, of, _)| if of == "real" { format!("CAST({name} AS double) AS {name}") } else { String::from(name) };
    format!("SELECT {} FROM {name}", COLUMNS.map(of).join(", "))
}

/// Creates the table in MariaDB with the same rows. `work` is a folder for temporary files.
pub async fn copy_to_mariadb(postgres: &str, mariadb: &Mariadb, name: &str, work: &Path) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(postgres, NoTls).await?;
    let connection = tokio::spawn(connection);
    let value = |(name, of, _)| match of {
        "boolean" => format!("{name}::int"),
        "timestamptz" => format!("{name} AT TIME ZONE 'UTC'"),
        _ => String::from(name),
    };
    // LOAD DATA reads the format that COPY writes.
    let copy = format!("COPY (SELECT {} FROM {name}) TO STDOUT", COLUMNS.map(value).join(", "));
    let (rows, path) = (client.copy_out(&copy).await?, work.join("mariadb.txt"));
    let mut file = std::io::BufWriter::new(fs::File::create(&path)?);
    pin_mut!(rows);
    while let Some(bytes) = rows.try_next().await? {
        std::io::Write::write_all(&mut file, &bytes)?;
    }
    std::io::Write::flush(&mut file)?;
    drop(client);
    connection.await??;
    let columns = COLUMNS.map(|(name, of, _)| format!("{name} {}", in_mariadb(of))).join(", ");
    let sql = format!(
        "SET time_zone = '+00:00'; CREATE TABLE {name} ({columns}, PRIMARY KEY (id)); \
         LOAD DATA LOCAL INFILE '{}' INTO TABLE {name} CHARACTER SET utf8mb4; ANALYZE TABLE {name}",
        path.display()
    );
    let filled = mariadb.client().args(["--local-infile=1", "-e", &sql]).stdin(Stdio::null()).output()?;
    fs::remove_file(path)?;
    if !filled.status.success() {
        bail!("MariaDB can't load the table: {}", String::from_utf8_lossy(&filled.stderr));
    }
    Ok(())
}

/// Returns MariaDB's type for a PostgreSQL type.
fn in_mariadb(of: &str) -> &str {
    match of {
        "uuid" => "char(36) CHARACTER SET ascii",
        "double precision" => "double",
        "real" => "float",
        "numeric(12,2)" => "decimal(12,2)",
        "timestamp" => "datetime(6)",
        "timestamptz" => "timestamp(6) NULL",
        "jsonb" => "json",
        same => same,
    }
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
