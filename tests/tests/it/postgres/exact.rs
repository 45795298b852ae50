//! A query is read in parts only if every run of it finds the same rows; any other query is refused.

use tests::postgres::Database;
use turntable::{
    config,
    error::{Kind, Result},
    sources::postgres,
};

use super::{context, options, rows, run};

const TABLES: &str = "
    CREATE TABLE c AS SELECT g AS id, g % 100 AS grp, 'name' || g AS name FROM generate_series(1, 3000) g;
    ALTER TABLE c ADD PRIMARY KEY (id);
    CREATE TABLE d AS SELECT g AS id, 'other' || g AS name FROM generate_series(2000, 4000) g;
    CREATE TABLE p (id int, day date) PARTITION BY RANGE (id);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (MINVALUE) TO (1000);
    CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (1000) TO (MAXVALUE);
    INSERT INTO p SELECT g, date '2024-01-01' + g FROM generate_series(1, 3000) g;
    CREATE VIEW plain AS SELECT id, name FROM c WHERE grp > 3;
    CREATE VIEW barrier WITH (security_barrier) AS SELECT id, name FROM c;
    CREATE VIEW all_ids AS SELECT id, name FROM c UNION ALL SELECT id, name FROM d;
    CREATE VIEW joined AS SELECT c.id, d.name FROM c LEFT JOIN d USING (id);
    CREATE VIEW numbered AS SELECT row_number() OVER () AS rn, id FROM c;
    CREATE VIEW some_ids AS SELECT id FROM c LIMIT 1000;
    CREATE VIEW sampled AS SELECT id FROM c TABLESAMPLE bernoulli (50);
    CREATE FUNCTION dice() RETURNS float8 LANGUAGE sql AS 'SELECT random()';
    CREATE FUNCTION undeclared(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN n; END';
    CREATE FUNCTION declared(n int) RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN n; END';
    CREATE FUNCTION listed() RETURNS SETOF c LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT * FROM c; END';
    CREATE SCHEMA away;
    CREATE FUNCTION away.\"Roll 1\"(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN n; END';
    CREATE VIEW rolled AS SELECT id FROM c WHERE away.\"Roll 1\"(id) > 5;
    ANALYZE";

async fn read(url: &str, query: &str, parallel: u32, split_by: Option<&str>) -> Result<Vec<Vec<Option<String>>>> {
    let options = config::Postgres { parallel, split_by: split_by.map(Into::into), ..options(url, query) };
    let mut rows = rows(postgres::open(&options, &context()).await?).await?;
    rows.sort();
    Ok(rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_whose_runs_may_differ_are_not_read_in_parts() {
    let database = Database::create().await;
    let url = database.url();
    run(&url, TABLES).await;
    let (limit, sample) = ("it has a LIMIT, OFFSET or FETCH", "it has a TABLESAMPLE");
    let window = "it has a window function without ORDER BY";
    let split = |name: &str| format!("split_by {name:?} is not a column of a table");
    let volatile = |names: &str| format!("it calls {names}, which is volatile");
    for (query, split_by, why) in [
        ("SELECT id FROM c LIMIT 100", "id", vec![limit.to_owned()]),
        ("SELECT id FROM c ORDER BY id OFFSET 5", "id", vec![limit.into()]),
        ("SELECT id FROM c FETCH FIRST 5 ROWS ONLY", "id", vec![limit.into()]),
        ("SELECT id FROM some_ids", "id", vec![limit.into()]),
        (
            "SELECT c.id FROM c JOIN LATERAL (SELECT 1 FROM d WHERE d.id = c.id LIMIT 1) l ON true",
            "id",
            vec![limit.into()],
        ),
        ("SELECT id FROM c WHERE id = (SELECT id FROM d LIMIT 1)", "id", vec![limit.into()]),
        ("WITH s AS MATERIALIZED (SELECT id FROM c LIMIT 5) SELECT id FROM s", "id", vec![limit.into()]),
        ("SELECT id FROM c TABLESAMPLE system (50)", "id", vec![sample.into()]),
        ("SELECT id FROM sampled", "id", vec![sample.into()]),
        ("SELECT row_number() OVER () AS rn, id FROM c", "rn", vec![window.into(), split("rn")]),
        ("SELECT row_number() OVER () AS rn, id FROM c", "id", vec![window.into()]),
        ("SELECT rn, id FROM numbered", "rn", vec![window.into()]),
        ("SELECT id, first_value(id) OVER () + 1 AS f FROM c", "id", vec![window.into()]),
        ("SELECT id, random() AS r FROM c", "id", vec![volatile("random")]),
        ("SELECT id FROM c WHERE random() < 0.5", "id", vec![volatile("random")]),
        ("SELECT id FROM c ORDER BY random()", "id", vec![volatile("random")]),
        ("SELECT id, dice() AS d FROM c", "id", vec![volatile("random")]),
        ("SELECT id, undeclared(id) AS u FROM c", "id", vec![volatile("undeclared")]),
        ("SELECT id FROM rolled", "id", vec![volatile("away.Roll 1")]),
        ("SELECT id FROM listed()", "id", vec![volatile("listed"), split("id")]),
        (
            "SELECT id, clock_timestamp() AS at, gen_random_uuid() AS u FROM c",
            "id",
            vec!["it calls clock_timestamp, gen_random_uuid, which are volatile".into()],
        ),
        ("SELECT id, 1 AS same FROM c", "same", vec![split("same")]),
        ("SELECT id, id % 10 AS digit FROM c", "digit", vec![split("digit")]),
        ("SELECT g AS id FROM generate_series(1, 10) g", "id", vec![split("id")]),
        ("SELECT grp, count(*) AS n FROM c GROUP BY grp", "n", vec![split("n")]),
        ("SELECT pid FROM pg_stat_activity", "pid", vec![split("pid")]),
    ] {
        let error = read(&url, query, 4, Some(split_by)).await.expect_err(query);
        assert_eq!(error.kind(), Kind::Input, "{query}");
        let text = "the query can't be read in parallel: each part runs it again, and rows could be lost or repeated, because ";
        let found = error.message().strip_prefix(text).unwrap_or_else(|| panic!("{query}: {}", error.message()));
        let end = "; set parallel = 1, or change the query (and the views that it reads)";
        let found: Vec<&str> = found.strip_suffix(end).unwrap().split("; and ").collect();
        assert_eq!(found.len(), why.len(), "{query}: {found:?}");
        for (found, why) in found.iter().zip(&why) {
            assert!(found.starts_with(why), "{query}: {found}, expected {why}");
        }
        // A single connection runs the query only once, so any query is allowed.
        read(&url, query, 1, Some(split_by)).await.unwrap_or_else(|error| panic!("{query}: {}", error.message()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_with_one_result_are_read_in_parts_and_no_row_is_lost_or_doubled() {
    let database = Database::create().await;
    let url = database.url();
    run(&url, TABLES).await;
    for (query, split_by) in [
        ("SELECT * FROM c", None),
        ("SELECT * FROM c", Some("name")),
        ("SELECT * FROM p", Some("id")),
        ("SELECT * FROM p", Some("day")),
        ("SELECT id, name FROM plain", Some("id")),
        ("SELECT id, name FROM all_ids", Some("id")),
        ("SELECT id FROM c UNION SELECT id FROM d", Some("id")),
        ("SELECT id, name FROM joined", Some("name")),
        ("SELECT c.id, d.id AS other FROM c FULL JOIN d USING (id)", Some("other")),
        ("SELECT ctid AS place, id FROM c", Some("place")),
        ("SELECT grp, count(*) AS n, string_agg(name, ',' ORDER BY id) AS names FROM c GROUP BY grp", Some("grp")),
        ("SELECT DISTINCT grp FROM c", Some("grp")),
        ("SELECT DISTINCT ON (grp) grp, name FROM c ORDER BY grp, id", Some("grp")),
        ("WITH s AS MATERIALIZED (SELECT id FROM c) SELECT a.id FROM s a JOIN s b USING (id)", Some("id")),
        ("SELECT id, name FROM c WHERE name <> 'random() OVER ('", Some("id")),
        ("SELECT id, declared(id) AS n, now() > '2000-01-01' AS late FROM c", Some("id")),
        // The smallest and the largest value are the same each time, even if the server reads them from an index with a
        // LIMIT.
        ("SELECT id, (SELECT max(id) FROM c) AS most FROM c WHERE id > (SELECT min(id) FROM c)", Some("id")),
        (
            "SELECT id, count(*) OVER () AS n, sum(grp) OVER (PARTITION BY grp) AS s, rank() OVER (ORDER BY grp) AS r FROM c",
            Some("id"),
        ),
        ("SELECT id, row_number() OVER (ORDER BY id) AS n, count(*) OVER () AS of FROM c", Some("id")),
        // All rows with the same key are in one part, so exactly one row per key is chosen.
        (
            "SELECT grp, name FROM (SELECT *, row_number() OVER (PARTITION BY grp) AS n FROM c) AS s WHERE n = 1",
            Some("grp"),
        ),
    ] {
        let expected =
            read(&url, query, 1, split_by).await.unwrap_or_else(|error| panic!("{query}: {}", error.message()));
        let found = read(&url, query, 4, split_by).await.unwrap_or_else(|error| panic!("{query}: {}", error.message()));
        match query.contains("AS n FROM c) AS s") {
            // Any row of a group may be its first.
            true => assert_eq!(found.len(), 100),
            false => assert_eq!(found, expected, "{query}"),
        }
    }
    // The bounds of a part stay outside a view with a security barrier, so the plan doesn't show that the column comes
    // from a table.
    let error = read(&url, "SELECT id, name FROM barrier", 2, Some("id")).await.unwrap_err();
    assert!(error.message().contains("split_by \"id\" is not a column of a table"), "{}", error.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_tables_are_not_read_in_parts() {
    let database = Database::create().await;
    let url = database.url();
    let available = "SELECT 1 FROM pg_available_extensions WHERE name = 'file_fdw'";
    if run(&url, available).await.is_empty() {
        eprintln!("file_fdw: this PostgreSQL does not have it");
        return;
    }
    run(
        &url,
        "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
         CREATE FOREIGN TABLE version (line text) SERVER files OPTIONS (program 'printf \"1\\n2\\n\"');
         CREATE VIEW remote AS SELECT line FROM version",
    )
    .await;
    assert_eq!(read(&url, "SELECT line FROM remote", 1, None).await.unwrap().len(), 2);
    let error = read(&url, "SELECT line FROM remote", 2, Some("line")).await.unwrap_err();
    let text = "because it reads foreign tables, whose server doesn't share the snapshot; set parallel = 1";
    assert!(error.message().contains(text), "{}", error.message());
}
