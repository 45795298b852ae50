//! Whatever the server, the user or `init_connect` sets: the rows stay the same.

use arrow_schema::SchemaRef;
use tests::mariadb::{Mariadb, Row};

use super::{fetch, open, options, rows, run};
use turntable::{clock::Clock, config, sources::mysql};

/// Assignments that would change or truncate the rows of at least one of [`QUERIES`], or make the query fail. Also
/// includes assignments that issue reports blame for such effects. `init_connect` runs each of them at the start of
/// every session.
const HOSTILE: [&str; 51] = [
    "sql_select_limit = 0",
    "sql_select_limit = 1",
    "sql_select_limit = 1000",
    "sql_big_selects = 0, max_join_size = 10",
    "group_concat_max_len = 16",
    "max_sort_length = 64",
    "max_recursive_iterations = 3",
    "div_precision_increment = 0",
    "default_week_format = 3",
    "lc_time_names = 'ja_JP'",
    "default_regex_flags = 'EXTENDED'",
    "old_mode = 'ZERO_DATE_TIME_CAST'",
    "system_versioning_asof = '2000-01-01 00:00:00'",
    "time_zone = '+09:00'",
    "timestamp = 1",
    "sql_auto_is_null = 1",
    "sql_safe_updates = 1",
    "sql_if_exists = 1",
    "sql_mode = ''",
    "sql_mode = 'PAD_CHAR_TO_FULL_LENGTH'",
    "sql_mode = 'ANSI_QUOTES'",
    "sql_mode = 'PIPES_AS_CONCAT'",
    "sql_mode = 'NO_BACKSLASH_ESCAPES'",
    "sql_mode = 'HIGH_NOT_PRECEDENCE'",
    "sql_mode = 'NO_UNSIGNED_SUBTRACTION'",
    "sql_mode = 'REAL_AS_FLOAT'",
    "sql_mode = 'EMPTY_STRING_IS_NULL'",
    "sql_mode = 'TIME_ROUND_FRACTIONAL'",
    "sql_mode = 'IGNORE_SPACE'",
    "sql_mode = 'ORACLE'",
    "sql_mode = 'MSSQL'",
    "sql_mode = 'TRADITIONAL'",
    "NAMES latin1",
    "character_set_results = 'ascii'",
    "character_set_client = 'sjis'",
    "collation_connection = 'utf8mb4_bin'",
    "character_set_connection = 'ucs2'",
    "autocommit = 0",
    "completion_type = 2",
    "tx_isolation = 'READ-UNCOMMITTED'",
    "tx_read_only = 1",
    "max_error_count = 0",
    "sql_notes = 0",
    "wait_timeout = 1",
    "idle_transaction_timeout = 1",
    "net_write_timeout = 1",
    "lock_wait_timeout = 1",
    "max_heap_table_size = 16384, tmp_memory_table_size = 0",
    "optimizer_switch = 'derived_merge=off,semijoin=off,materialization=off'",
    "join_cache_level = 0",
    "sql_buffer_result = 1",
];

const TABLES: &str = "
    CREATE TABLE padded (c char(5)); INSERT INTO padded VALUES ('ab'), ('');
    CREATE TABLE sorted (s text); INSERT INTO sorted VALUES
        (concat(repeat('x', 70), 'c')), (concat(repeat('x', 70), 'a')), (concat(repeat('x', 70), 'b'));
    CREATE TABLE versioned (v int) WITH SYSTEM VERSIONING; INSERT INTO versioned VALUES (1);
    CREATE TABLE numbered (id int AUTO_INCREMENT PRIMARY KEY); INSERT INTO numbered VALUES ();
    CREATE TABLE written (t varchar(20) CHARACTER SET sjis); INSERT INTO written VALUES ('渡辺');
    CREATE USER plain@'127.0.0.1' IDENTIFIED BY 'secret'; GRANT SELECT ON *.* TO plain@'127.0.0.1';";

const QUERIES: [&str; 11] = [
    "SELECT seq AS n FROM seq_1_to_2997",
    "SELECT a.seq AS n FROM seq_1_to_200 a JOIN seq_1_to_200 b ON a.seq = b.seq + 1 ORDER BY n",
    "SELECT group_concat(seq ORDER BY seq) AS g FROM seq_1_to_500",
    "SELECT s FROM sorted ORDER BY s",
    "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 3000) SELECT n FROM s",
    "SELECT concat('<', c, '>') AS c, length(c) AS n FROM padded",
    "SELECT v FROM versioned",
    "SELECT id FROM numbered WHERE id IS NULL",
    "SELECT t FROM written",
    "SELECT 1 || 0 AS p, \"quoted\" AS q, 'a\\nb' AS e, NOT 1 BETWEEN -5 AND 5 AS h, '' IS NULL AS l, \
     CAST(10 AS unsigned) - 5 AS u, CAST('10:11:12.6' AS time) AS t, 'é' = 'É' AS k",
    "SELECT 1 / 3 AS d, week('2024-12-30') AS w, date_format('2024-01-01', '%W %M') AS n, 'abc' REGEXP 'a b c' AS r, \
     year(CAST(CAST('10:11:12' AS time) AS datetime)) > 2000 AS z, unix_timestamp('2024-01-01 00:00:00') AS o, \
     year(now()) > 2000 AS y",
];

async fn results(url: &str, setting: &str, queries: &[String]) -> Vec<(SchemaRef, Vec<Row>)> {
    let mut found = Vec::new();
    for query in queries {
        let opened = open(url, query).await.unwrap_or_else(|error| panic!("{setting}: {query}: {error}"));
        let age = Clock::system().now().duration_since(opened.as_of).as_secs();
        assert!((-60..60).contains(&age), "{setting}: as_of is {}", opened.as_of);
        let schema = opened.rows.schema.clone();
        found.push((schema, rows(opened).await.unwrap_or_else(|error| panic!("{setting}: {query}: {error}"))));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_setting_of_the_server_changes_a_row() {
    let server: &'static Mariadb = Box::leak(Box::new(tokio::task::spawn_blocking(Mariadb::start).await.unwrap()));
    // MySQL refuses a deeper recursion, and neither has versioned tables nor all settings.
    let depth = if server.is_mysql() { 900 } else { 3000 };
    let queries = QUERIES.map(|query| query.replace("n < 3000", &format!("n < {depth}")));
    let versioned = if server.is_mysql() { "" } else { " WITH SYSTEM VERSIONING" };
    run(server, TABLES.replace(" WITH SYSTEM VERSIONING", versioned)).await;
    let url = server.url().replace("turntable:", "plain:");
    let plain = results(&url, "defaults", &queries).await;
    assert_eq!(
        plain.iter().map(|(_, rows)| rows.len()).collect::<Vec<_>>(),
        [2997, 199, 1, 3, depth, 2, 1, 0, 1, 1, 1]
    );
    let text = |value: &str| Some(value.to_owned());
    assert_eq!(plain[5].1, [[text("<ab>"), text("2")], [text("<>"), text("0")]]);
    assert_eq!(plain[8].1, [[text("渡辺")]]);
    for setting in HOSTILE {
        if server.is_mysql() && !server.accepts(&format!("SET {setting}")) {
            println!("skipped: MySQL has no {setting}");
            continue;
        }
        // Nobody can connect to such a server.
        if server.is_mysql() && setting == "max_error_count = 0" {
            println!("skipped: MySQL aborts every connection for which init_connect sets {setting}");
            continue;
        }
        run(server, format!("SET GLOBAL init_connect = \"SET {setting}\"")).await;
        let found = results(&url, setting, &queries).await;
        for ((query, found), plain) in queries.iter().zip(&found).zip(&plain) {
            assert!(found == plain, "{setting}: {query}: {:?}, not {:?}", found.1.first(), plain.1.first());
        }
    }
    // What the server sets for everybody comes first.
    let mode = if server.is_mysql() { "ANSI" } else { "ORACLE" };
    let sql = "SET GLOBAL init_connect = ''; SET GLOBAL sql_select_limit = 1000; SET GLOBAL sql_mode";
    run(server, format!("{sql} = '{mode}'")).await;
    assert!(results(&url, "SET GLOBAL", &queries).await == plain);
    server.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_may_have_its_own_sql_mode() {
    let url = super::shared().await.url();
    let options = config::Mysql {
        sql_mode: Some("ANSI_QUOTES,PIPES_AS_CONCAT".into()),
        ..options(&url, "SELECT 'a' || \"n\" AS \"c\" FROM (SELECT 1 AS n) t")
    };
    let found = rows(mysql::open(&options, &super::context()).await.unwrap()).await.unwrap();
    assert_eq!(found, [[Some("a1".to_owned())]]);
    assert!(fetch(&url, "SELECT 1 AS \"c\"").await.is_ok(), "an alias may be in double quotes in any mode");
    let wrong = config::Mysql { sql_mode: Some("NO_SUCH_MODE".into()), ..options.clone() };
    let error = mysql::open(&wrong, &super::context()).await.err().unwrap();
    assert!(error.message().contains("Variable 'sql_mode' can't be set to the value of 'NO_SUCH_MODE'"), "{error}");
    // In one snapshot, each query has its own mode.
    let snapshot = mysql::Snapshot::take(&options, &super::context()).await.unwrap();
    for (mode, found) in [(None, "1"), (Some("PIPES_AS_CONCAT".to_owned()), "10"), (None, "1")] {
        let options = config::Mysql { sql_mode: mode, query: "SELECT 1 || 0 AS c".into(), ..options.clone() };
        let cells = rows(snapshot.open(&options, &super::context()).await.unwrap()).await.unwrap();
        assert_eq!(cells, [[Some(found.to_owned())]]);
    }
    snapshot.end().await;
}
