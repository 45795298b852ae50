//! Every type: its Glue type, and extreme values, which the source reads as MariaDB's own client prints them.

use tests::mariadb::Mariadb;
use turntable::{
    config::OnUnrepresentable,
    error::Kind,
    sources::{Context, mysql},
};

use super::{context, fault, open, options, render, rows, run, shared};

/// How a query reads a column, so that MariaDB's client prints it as the tests render it.
#[derive(Clone, Copy, PartialEq)]
pub enum Rendering {
    Plain,
    /// Bits and booleans.
    Number,
    /// Floating-point numbers, which the client would print with six digits.
    Double,
    Hex,
    Wkb,
    Micros,
}

/// Each column's name, type, Glue type, and how the client's query reads it.
pub const COLUMNS: [(&str, &str, &str, Rendering); 52] = [
    ("id", "bigint NOT NULL PRIMARY KEY", "bigint", Rendering::Plain),
    ("flag", "boolean", "boolean", Rendering::Number),
    ("tiny1", "tinyint(1)", "boolean", Rendering::Number),
    ("tiny", "tinyint", "tinyint", Rendering::Plain),
    ("tiny_u", "tinyint unsigned", "smallint", Rendering::Plain),
    ("small", "smallint", "smallint", Rendering::Plain),
    ("small_u", "smallint unsigned", "int", Rendering::Plain),
    ("medium", "mediumint", "int", Rendering::Plain),
    ("medium_u", "mediumint unsigned", "int", Rendering::Plain),
    ("whole", "int", "int", Rendering::Plain),
    ("whole_u", "int unsigned", "bigint", Rendering::Plain),
    ("padded", "int(8) unsigned zerofill", "bigint", Rendering::Number),
    ("big", "bigint", "bigint", Rendering::Plain),
    ("big_u", "bigint unsigned", "decimal(20,0)", Rendering::Plain),
    ("half", "float", "float", Rendering::Double),
    ("twice", "double", "double", Rendering::Plain),
    ("twice_u", "double unsigned", "double", Rendering::Plain),
    ("price", "decimal(10,2)", "decimal(10,2)", Rendering::Plain),
    ("price_u", "decimal(10,2) unsigned", "decimal(10,2)", Rendering::Plain),
    ("units", "decimal(38,0)", "decimal(38,0)", Rendering::Plain),
    ("parts", "decimal(38,38)", "decimal(38,38)", Rendering::Plain),
    ("longest", "decimal(65,30)", "string", Rendering::Plain),
    ("bit1", "bit(1)", "boolean", Rendering::Number),
    ("bit9", "bit(9)", "bigint", Rendering::Number),
    ("bit63", "bit(63)", "bigint", Rendering::Number),
    ("bit64", "bit(64)", "decimal(20,0)", Rendering::Number),
    ("year", "year", "smallint", Rendering::Number),
    ("day", "date", "date", Rendering::Plain),
    ("moment", "datetime", "timestamp", Rendering::Micros),
    ("moment6", "datetime(6)", "timestamp", Rendering::Micros),
    ("at", "timestamp NULL", "timestamp", Rendering::Micros),
    ("at3", "timestamp(3) NULL", "timestamp", Rendering::Micros),
    ("clock", "time", "string", Rendering::Plain),
    ("clock6", "time(6)", "string", Rendering::Plain),
    ("chars", "char(8)", "string", Rendering::Plain),
    ("short", "varchar(200)", "string", Rendering::Plain),
    ("latin", "varchar(200) CHARACTER SET latin1", "string", Rendering::Plain),
    ("sjis", "varchar(200) CHARACTER SET sjis", "string", Rendering::Plain),
    ("wide", "varchar(200) CHARACTER SET utf16", "string", Rendering::Plain),
    ("sorted", "varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "string", Rendering::Plain),
    ("words", "text", "string", Rendering::Plain),
    ("long_words", "longtext", "string", Rendering::Plain),
    ("mood", "enum('嬉しい', 'so so', '')", "string", Rendering::Plain),
    ("tags", "set('a', 'b', '猫')", "string", Rendering::Plain),
    ("data", "json", "string", Rendering::Plain),
    ("guid", "uuid", "string", Rendering::Plain),
    ("net4", "inet4", "string", Rendering::Plain),
    ("net6", "inet6", "string", Rendering::Plain),
    ("fixed", "binary(4)", "binary", Rendering::Hex),
    ("bytes", "varbinary(200)", "binary", Rendering::Hex),
    ("blob_", "longblob", "binary", Rendering::Hex),
    ("place", "point", "binary", Rendering::Wkb),
];

/// The types that only MariaDB has.
pub const ONLY_MARIADB: [&str; 4] = ["uuid", "inet4", "inet6", "decimal(38,38)"];

/// Returns a column's type on this server, and its Glue type. MySQL gets others in place of MariaDB's.
fn types_of(server: &Mariadb, of: &'static str, glue: &'static str) -> (&'static str, &'static str) {
    match of {
        _ if !server.is_mysql() || !ONLY_MARIADB.contains(&of) => (of, glue),
        "decimal(38,38)" => ("decimal(38,30)", "decimal(38,30)"),
        _ => ("varchar(60)", "string"),
    }
}

pub fn create(server: &Mariadb, table: &str) -> String {
    let column = |(name, of, glue, _)| format!("`{name}` {}", types_of(server, of, glue).0);
    format!("CREATE TABLE {table} ({});\n", COLUMNS.map(column).join(", "))
}

/// Checks that the source reads the same rows from a table that the client prints.
pub async fn same(server: &'static Mariadb, table: &str) {
    let asked = COLUMNS.iter().map(|(name, _, _, ask)| match ask {
        Rendering::Plain => format!("`{name}`"),
        Rendering::Number => format!("`{name}` + 0"),
        Rendering::Double => format!("CAST(`{name}` AS DOUBLE)"),
        Rendering::Hex => format!("hex(`{name}`)"),
        Rendering::Wkb => format!("hex(ST_AsBinary(`{name}`))"),
        Rendering::Micros => format!("date_format(`{name}`, '%Y-%m-%d %H:%i:%s.%f')"),
    });
    let asked = format!("SELECT {} FROM {table} ORDER BY id", asked.collect::<Vec<_>>().join(", "));
    let mut expected = run(server, asked).await;
    for row in &mut expected {
        for (value, (_, _, glue, _)) in row.iter_mut().zip(COLUMNS) {
            if matches!(glue, "float" | "double") {
                *value = value.as_deref().map(render::number);
            }
        }
    }
    let found = open(&server.url(), &format!("SELECT * FROM {table} ORDER BY id")).await.unwrap();
    let columns = turntable::parquet::arrow_types::columns(&found.rows.schema).unwrap();
    let types: Vec<_> = columns.iter().map(|column| (column.name.as_str(), column.glue_type.as_str())).collect();
    assert_eq!(types, COLUMNS.map(|(name, of, glue, _)| (name, types_of(server, of, glue).1)));
    let found = rows(found).await.unwrap();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        for (at, (name, of, ..)) in COLUMNS.iter().enumerate() {
            assert_eq!(found[at], expected[at], "{name} {of}, row {:?}", found[0]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_exact_at_its_extremes() {
    let server = shared().await;
    let mut sql = create(server, "extremes");
    for (id, set) in [
        (0, String::new()),
        (
            1,
            "flag = 1, tiny1 = 0, tiny = -128, tiny_u = 255, small = -32768, small_u = 65535, medium = -8388608, \
             medium_u = 16777215, whole = -2147483648, whole_u = 4294967295, padded = 7, big = -9223372036854775808, \
             big_u = 18446744073709551615, half = 1.17549435e-38, twice = 2.2250738585072014e-308, twice_u = 0.1, \
             price = -99999999.99, price_u = 99999999.99, units = -99999999999999999999999999999999999999, \
             parts = -0.99999999999999999999999999999999999999, \
             longest = -99999999999999999999999999999999999.999999999999999999999999999999, bit1 = b'1', \
             bit9 = b'111111111', bit63 = 9223372036854775807, bit64 = 18446744073709551615, year = 1901, \
             day = '1000-01-01', moment = '1000-01-01 00:00:00', moment6 = '1000-01-01 00:00:00.000001', \
             at = '1970-01-01 00:00:01', at3 = '1970-01-01 00:00:01.001', clock = '-838:59:59', \
             clock6 = '-838:59:59.999999', chars = '', short = '', latin = '', sjis = '', wide = '', sorted = '', \
             words = '', long_words = '', mood = '', tags = '', data = '{}', \
             guid = '00000000-0000-0000-0000-000000000000', net4 = '0.0.0.0', net6 = '::', fixed = '', bytes = '', \
             blob_ = '', place = point(-180, 90)"
                .into(),
        ),
        (
            2,
            "flag = 0, tiny1 = 1, tiny = 127, tiny_u = 0, small = 32767, medium = 8388607, whole = 2147483647, \
             padded = 12345678, big = 9223372036854775807, big_u = 9223372036854775808, half = 16777216, \
             twice = 1.7976931348623157e308, twice_u = 123456789.123456789, price = 0.01, price_u = 0, \
             units = 99999999999999999999999999999999999999, parts = 0.00000000000000000000000000000000000001, \
             longest = 0.000000000000000000000000000001, bit1 = b'0', bit9 = 256, bit63 = 1, bit64 = 9223372036854775808, \
             year = 2155, day = '9999-12-31', moment = '9999-12-31 23:59:59', moment6 = '9999-12-31 23:59:59.999999', \
             at = '2038-01-19 03:14:07', at3 = '2038-01-19 03:14:07.999', clock = '838:59:59', \
             clock6 = '838:59:59.999999', chars = '𠮷野家', short = concat('tab\\t', 'line\\n', 'back\\\\\\\\'), \
             latin = 'Ünïcödé €', sjis = '表示ソ能', wide = '🎡𠮷', sorted = 'Ａ', words = '渡邊 髙﨑 🎡', \
             long_words = repeat('長', 3000000), mood = '嬉しい', tags = 'a,猫', data = '{\"名\": [1, null, \"x\"]}', \
             guid = 'ffffffff-ffff-ffff-ffff-ffffffffffff', net4 = '255.255.255.255', net6 = 'ffff::1', \
             fixed = 0x00FF, bytes = 0x0001FF00, blob_ = repeat(0xFF00, 100000), place = point(0.1, -0.2)"
                .into(),
        ),
        (
            3,
            "half = -0.1, twice = -0e0, clock = '00:00:00', clock6 = '-00:00:00.000001', year = 0, \
             moment6 = '1969-12-31 23:59:59.999999', day = '0001-01-01', at = '2024-03-31 01:30:00', \
             at3 = '2024-10-27 01:30:00.5', tags = 'a,b,猫', price = -0.5, longest = 12"
                .into(),
        ),
    ] {
        let set = if set.is_empty() { String::new() } else { format!(", {set}") };
        sql += &format!("INSERT INTO extremes SET id = {id}{set};\n");
    }
    // The longest time of MySQL has no fraction.
    let sql = if server.is_mysql() { sql.replace("838:59:59.999999", "838:59:59") } else { sql };
    run(server, sql).await;
    same(server, "extremes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floats_have_all_their_digits() {
    let server = shared().await;
    run(server, "CREATE TABLE ratios (f float); INSERT INTO ratios VALUES (16777217), (0.1), (3.4028234e38)").await;
    let found = super::fetch(&server.url(), "SELECT f FROM ratios").await.unwrap();
    let numbers: Vec<f32> = found.iter().map(|row| row[0].as_deref().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, [16_777_216.0, 0.1, 3.402_823_4e38]);
}

const NO_DATE: &str = "a date that doesn't exist (0000-00-00, or no such day): replace it in the query";

#[tokio::test(flavor = "multi_thread")]
async fn an_unrepresentable_value_names_its_column_and_row_or_is_null_and_counted() {
    let server = shared().await;
    run(
        server,
        "SET sql_mode = 'ALLOW_INVALID_DATES';
         CREATE TABLE odd (id int, d date, m datetime(6), t timestamp NULL, b tinyint(1));
         INSERT INTO odd VALUES (1, '2024-01-01', '2024-01-01', '2024-01-01', 1),
            (2, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', 2),
            (3, '2024-00-10', '2024-01-00 10:00:00', '2024-01-01', -1), (4, '2023-02-31', '2023-02-29 01:00:00', NULL, NULL)",
    )
    .await;
    let boolean = "a boolean that is neither 0 nor 1: select `column + 0` to get a number";
    for (column, what) in [("d", NO_DATE), ("m", NO_DATE), ("t", NO_DATE), ("b", boolean)] {
        let error = fault(&server.url(), &format!("SELECT id, {column} FROM odd ORDER BY id")).await;
        let or = "or set on_unrepresentable = \"null\" to store NULL";
        assert_eq!(error.message(), format!("table dmp.t, column {column:?}, row 2: {what}, {or}"));
        assert_eq!(error.kind(), Kind::Input);
    }
    let context = Context { on_unrepresentable: OnUnrepresentable::Null, ..context() };
    let query = "SELECT d, m, t, b FROM odd ORDER BY id";
    let opened = mysql::open(&options(&server.url(), query), &context).await.unwrap();
    let counts = opened.unrepresentable.clone();
    let found = rows(opened).await.unwrap();
    let count = |at: usize| found.iter().filter(|row| row[at].is_none()).count();
    assert_eq!([count(0), count(1), count(2), count(3)], [3, 3, 2, 3]);
    let nulled: Vec<(String, u64)> = counts.nulled().into_iter().collect();
    assert_eq!(nulled, [("b", 2), ("d", 3), ("m", 3), ("t", 1)].map(|(name, count)| (name.to_owned(), count)));
}
