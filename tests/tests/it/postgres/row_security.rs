//! Row-level security: rows are never left out by a policy, unless the dataset allows it.

use tests::postgres::Database;
use turntable::{
    config::{self, Session},
    error::{Kind, Result},
    sources::postgres,
};

use super::{context, options, rows, run};

async fn read(url: &str, query: &str, row_security: bool) -> Result<usize> {
    let session = Session { row_security, ..Session::default() };
    let options = config::Postgres { session, ..options(url, query) };
    Ok(rows(postgres::open(&options, &context()).await?).await?.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_leaves_out_rows_only_if_the_dataset_says_so() {
    let database = Database::create().await;
    let owner = database.url();
    run(
        &owner,
        "CREATE TABLE orders AS SELECT g AS id, g % 10 AS tenant FROM generate_series(1, 100) g;
         CREATE ROLE reader LOGIN PASSWORD 'secret'; CREATE ROLE all_reader LOGIN PASSWORD 'secret' BYPASSRLS;
         ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON orders FOR SELECT TO reader USING (tenant = 3);
         CREATE TABLE closed AS SELECT 1 AS id; ALTER TABLE closed ENABLE ROW LEVEL SECURITY;
         CREATE TABLE forced AS SELECT 1 AS id; ALTER TABLE forced OWNER TO reader;
         ALTER TABLE forced ENABLE ROW LEVEL SECURITY; ALTER TABLE forced FORCE ROW LEVEL SECURITY;
         CREATE VIEW of_owner AS SELECT * FROM orders;
         CREATE FUNCTION inside() RETURNS SETOF int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN QUERY SELECT id FROM orders; END';
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader, all_reader",
    )
    .await;
    let as_role = |role: &str| owner.replace("turntable:", &format!("{role}:"));
    let reader = as_role("reader");
    // Neither the URL nor the role's own setting undoes the refusal.
    let forced_on = format!("{reader}?options=-c%20row_security%3Don");
    run(&owner, "ALTER ROLE reader SET row_security = on").await;
    for url in [&reader, &forced_on] {
        for table in ["orders", "closed", "forced"] {
            let error = read(url, &format!("SELECT * FROM {table}"), false).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Input);
            let server = reader.replace("postgres://reader:secret", "reader");
            let text = format!(
                "PostgreSQL at {server} rejected the query: query would be affected by row-level security policy for table \
                 \"{table}\": rows would be missing: give the user a role with BYPASSRLS (ALTER ROLE \"reader\" BYPASSRLS), or \
                 set row_security = true to publish only the rows that the policies show"
            );
            assert_eq!(error.message(), text);
        }
    }
    let error = read(&reader, "SELECT * FROM inside() AS id", false).await.unwrap_err();
    assert!(error.message().contains("aborted the COPY after 0 rows: query would be affected"), "{}", error.message());
    assert!(error.message().contains("set row_security = true"), "{}", error.message());
    run(&owner, "ALTER ROLE reader SET row_security = off").await;
    for (url, query, expected) in [
        (&reader, "SELECT * FROM orders", 10),
        (&reader, "SELECT * FROM closed", 0),
        (&reader, "SELECT * FROM inside() AS id", 10),
    ] {
        assert_eq!(read(url, query, true).await.unwrap(), expected, "{query}");
    }
    // The policies don't apply to these.
    assert_eq!(read(&reader, "SELECT * FROM of_owner", false).await.unwrap(), 100);
    assert_eq!(read(&as_role("all_reader"), "SELECT * FROM orders", false).await.unwrap(), 100);
    assert_eq!(read(&owner, "SELECT * FROM closed", false).await.unwrap(), 1);
    run(&owner, "DROP OWNED BY reader, all_reader; DROP ROLE reader; DROP ROLE all_reader").await;
}
