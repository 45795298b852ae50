//! MariaDB tables in Athena: every value is the same in both.

use serde_json::json;
use tests::mariadb::Mariadb;

use super::{Chain, sql::Row};

const SCHEMA: &str = "
    CREATE DATABASE chain_mysql CHARACTER SET utf8mb4; USE chain_mysql;
    CREATE TABLE kinds (
        id bigint PRIMARY KEY, flag boolean, tiny tinyint, tiny_u tinyint unsigned, small_u smallint unsigned,
        whole_u int unsigned, big_u bigint unsigned, bits bit(9), made year, half float, twice double, price decimal(12,4),
        longest decimal(65,30), day date, moment datetime(3), at timestamp(3) NULL, clock time(6), name varchar(80) NOT NULL,
        latin varchar(80) CHARACTER SET latin1, padded char(8), notes longtext, mood enum('嬉しい', 'so so', 'sad'),
        tags set('a', 'b', '猫'), data json, guid uuid, raw varbinary(16), fixed binary(20));
    INSERT INTO kinds
    SELECT seq, seq % 3 = 0, seq % 127, seq % 255, seq * 91 % 65535, seq * 6135667, 18446744073709551615 - seq, seq % 512,
        1901 + seq % 250, seq * 0.5, seq * -0.25, seq * -1.0001, seq / 7, date '1899-12-30' + INTERVAL seq * 40 DAY,
        timestamp '1969-12-31 23:59:59.001' + INTERVAL seq * 37 HOUR, timestamp '2024-02-29 14:59:59.999' + INTERVAL seq * 31 MINUTE,
        sec_to_time(seq * 4000.000001 - 1400000), concat('渡邊 髙﨑 ', seq, '\\t\"''\\\\'), concat('Ünï€ ', seq),
        concat('ab', seq % 9), repeat('長い', seq % 50), elt(1 + seq % 3, '嬉しい', 'so so', 'sad'), seq % 8,
        concat('{\"名\": ', seq, '}'), concat('00000000-0000-1000-8000-', lpad(hex(seq), 12, '0')), unhex(md5(seq)), left(seq, 5)
    FROM seq_1_to_700;
    INSERT INTO kinds (id, name) VALUES (0, ''), (-5, 'all null'), (9223372036854775807, '𠮷野家 🎡');
    CREATE TABLE empty LIKE kinds;";

#[tokio::test(flavor = "multi_thread")]
async fn every_value_is_the_same_in_athena() {
    let server = start(|server| {
        server.run(SCHEMA);
    })
    .await;
    let tables = ["kinds", "empty"];
    let chain = Chain::start(&datasets(server, "chain_mysql", &tables)).await;
    chain.ask("export", &json!({})).await;
    for table in tables {
        chain.next(table, None).await;
        assert_eq!(compare(server, &chain, "chain_mysql", table).await, Vec::<String>::new(), "{table}");
    }

    // Checks that the comparison would find differences.
    run(server, "UPDATE chain_mysql.kinds SET mood = 'sad', half = half + 1 WHERE id = 3").await;
    let changed = compare(server, &chain, "chain_mysql", "kinds").await;
    let names: Vec<&str> = changed.iter().map(|difference| difference.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["half", "mood"]);

    // Sets a date that no calendar has.
    run(server, "SET sql_mode = ''; UPDATE chain_mysql.kinds SET day = '0000-00-00' WHERE id = 4").await;
    let refused = chain.answer("export", &json!({ "dataset": "kinds" })).await.unwrap_err();
    assert_eq!(refused.error_type, "Input");
    assert!(refused.error_message.starts_with("table dmp.kinds, column \"day\", row "), "{refused}");
    chain.datasets(&format!("{}on_unrepresentable = \"null\"\n", datasets(server, "chain_mysql", &["kinds"]))).await;
    assert_eq!(chain.ask("export", &json!({ "dataset": "kinds" })).await["nulled"], json!({ "day": 1 }));
}

/// Compares the whole sample database Chinook with Athena, if the environment variable TURNTABLE_CHINOOK names its
/// dump.
#[tokio::test(flavor = "multi_thread")]
async fn every_table_of_chinook_is_the_same_in_athena() {
    let Some(dump) = std::env::var_os("TURNTABLE_CHINOOK") else {
        eprintln!("skipped: TURNTABLE_CHINOOK names no file");
        return;
    };
    let server = start(move |server| {
        let dump = std::fs::File::open(dump).expect("the dump");
        assert!(server.client().stdin(dump).status().is_ok_and(|status| status.success()));
    })
    .await;
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'Chinook' ORDER BY 1";
    let tables: Vec<String> =
        run(server, tables).await.into_iter().map(|mut row| row.remove(0).expect("a name")).collect();
    assert!(tables.len() >= 11, "{tables:?}");
    let chain = Chain::start(&datasets(server, "Chinook", &tables)).await;
    chain.ask("export", &json!({})).await;
    let mut differing = 0;
    for table in &tables {
        chain.next(&table.to_lowercase(), None).await;
        let found = compare(server, &chain, "Chinook", table).await;
        let rows = run(server, &format!("SELECT count(*) FROM `Chinook`.`{table}`")).await;
        let rows = rows[0][0].as_deref().unwrap_or_default();
        println!("{table}: {rows} rows, {}", if found.is_empty() { "equal".into() } else { found.join("; ") });
        differing += usize::from(!found.is_empty());
    }
    assert_eq!(differing, 0, "of {} tables", tables.len());
}

/// Returns an entry of datasets.toml for each table.
pub fn datasets(server: &Mariadb, schema: &str, tables: &[impl AsRef<str>]) -> String {
    let entry = |table: &str| {
        let (name, url) = (table.to_lowercase(), server.url());
        let query = format!("SELECT * FROM `{schema}`.`{table}`");
        format!("[datasets.{name}]\nsource = {{ mysql = {{ url = \"{url}\", query = \"{query}\" }} }}\n")
    };
    tables.iter().map(|table| entry(table.as_ref())).collect()
}

/// Compares a table in MariaDB and in Athena: the number of rows, and each column's MD5 over its values as strings in the
/// order of the primary key. Returns the differences.
async fn compare(server: &'static Mariadb, chain: &Chain, schema: &str, table: &str) -> Vec<String> {
    let columns = format!(
        "SELECT column_name, data_type, column_type, column_key = 'PRI' FROM information_schema.columns
         WHERE table_schema = '{schema}' AND table_name = '{table}' ORDER BY ordinal_position"
    );
    let columns: Vec<Vec<String>> =
        run(server, &columns).await.into_iter().map(|row| row.into_iter().flatten().collect()).collect();
    let keys: Vec<&str> = columns.iter().filter(|column| column[3] == "1").map(|column| column[0].as_str()).collect();
    let (here, there) =
        (keys.iter().map(|key| format!("`{key}`")), keys.iter().map(|key| format!("\"{}\"", key.to_lowercase())));
    let (here, there) = (here.collect::<Vec<_>>().join(", "), there.collect::<Vec<_>>().join(", "));
    let (mut ours, mut theirs) = (vec!["count(*)".to_owned()], vec!["count(*)".to_owned()]);
    for column in &columns {
        let [in_mariadb, in_athena] = texts(&column[0], &column[1], &column[2]);
        ours.push(format!("md5(group_concat(coalesce({in_mariadb}, '∅') ORDER BY {here} SEPARATOR '\\n'))"));
        theirs.push(format!(
            "lower(to_hex(md5(to_utf8(array_join(array_agg(coalesce({in_athena}, '∅') ORDER BY {there}), chr(10))))))"
        ));
    }
    let settings = "SET group_concat_max_len = 60000000";
    let expected = run(server, &format!("{settings}; SELECT {} FROM `{schema}`.`{table}`", ours.join(", "))).await;
    let found: Row = chain.query(&format!("SELECT {} FROM dmp.{}", theirs.join(", "), table.to_lowercase())).await;
    assert_eq!((expected[0].len(), found.len()), (columns.len() + 1, columns.len() + 1));
    let names = ["count(*)"].into_iter().chain(columns.iter().map(|column| column[0].as_str()));
    let pairs = names.zip(expected[0].iter().zip(&found)).filter(|(_, (expected, found))| expected != found);
    pairs.map(|(name, (expected, found))| format!("{name} is {expected:?}, and {found:?} in Athena")).collect()
}

/// Returns SQL for MariaDB and for Athena that renders a column as the same string.
fn texts(name: &str, of: &str, full: &str) -> [String; 2] {
    let (here, there) = (format!("`{name}`"), format!("\"{}\"", name.to_lowercase()));
    let cast = format!("CAST({there} AS varchar)");
    match of {
        "tinyint" if full == "tinyint(1)" => [format!("elt({here} + 1, 'false', 'true')"), cast],
        "bit" => [format!("CAST({here} + 0 AS CHAR)"), cast],
        "float" | "double" => [
            format!("CAST(CAST({here} AS DECIMAL(38,6)) AS CHAR)"),
            format!("CAST(CAST({there} AS decimal(38,6)) AS varchar)"),
        ],
        // Athena's timestamps have three fractional digits.
        "datetime" | "timestamp" => [format!("left(date_format({here}, '%Y-%m-%d %H:%i:%s.%f'), 23)"), cast],
        "binary" | "varbinary" => [format!("lower(hex({here}))"), format!("lower(to_hex({there}))")],
        "decimal" if full.starts_with("decimal(65") => [format!("CAST({here} AS CHAR)"), there],
        "tinyint" | "smallint" | "int" | "bigint" | "year" | "decimal" | "date" => {
            [format!("CAST({here} AS CHAR)"), cast]
        }
        _ => [format!("CAST({here} AS CHAR)"), there],
    }
}

/// Returns the shared server after `prepare` has created the test's own database in it.
pub async fn start(prepare: impl FnOnce(&Mariadb) + Send + 'static) -> &'static Mariadb {
    let start = || {
        let server = Mariadb::shared();
        prepare(server);
        server
    };
    tokio::task::spawn_blocking(start).await.expect("MariaDB")
}

pub async fn run(server: &'static Mariadb, sql: &str) -> Vec<Row> {
    let sql = sql.to_owned();
    tokio::task::spawn_blocking(move || server.run(&sql)).await.expect("MariaDB's client")
}
