//! Settings of the role, the database and the server: none of them changes the rows that are published.

use std::{collections::BTreeSet, fs};

use tests::postgres::Database;
use turntable::{error::Kind, error::Result};

use super::{fetch, run};

/// A query whose rows would be affected by every setting that changes the form of values, the syntax or the number of
/// rows.
const QUERY: &str = r"SELECT id, at::text AS at, ago::text AS ago, ago AS same_ago, half::text AS half, half AS same_half,
    bytes::text AS bytes, '{NULL,a}'::text[] AS nulls, NULL::int = NULL AS is_null, 'a\nb' AS text, E'it\'s' AS quoted,
    'hostile'::regclass::text AS name, quote_ident('plain') AS ident, day::text AS day, current_setting('lock_timeout') AS wait
    FROM hostile WHERE tags @> '{7}' ORDER BY id";

const XML: &str = "SELECT '<a/><b/>'::xml::text AS x, xmlelement(name e, '\\xff'::bytea)::text AS e";

/// Values for settings whose smallest and largest values prove nothing, and for settings that are strings.
const HOSTILE: &[(&str, &str)] = &[
    ("datestyle", "'SQL, DMY'"),
    ("extra_float_digits", "-15"),
    ("gin_fuzzy_search_limit", "10"),
    ("lock_timeout", "'1ms'"),
    ("statement_timeout", "'1ms'"),
    ("client_encoding", "'latin1'"),
    ("client_encoding", "'sql_ascii'"),
    ("timezone_abbreviations", "'Australia'"),
    ("default_text_search_config", "'simple'"),
    ("application_name", "'x'"),
];

struct Hostile {
    database: Database,
    role: &'static str,
}

impl Hostile {
    async fn create(role: &'static str) -> Hostile {
        let database = Database::create().await;
        run(
            &database.url(),
            &format!(
                "CREATE TABLE hostile AS SELECT g AS id, timestamptz '2024-03-04 05:06:07+00' + g * interval '1 day' AS at,
                   g * interval '1 day 2 hours' AS ago, g / 3.0::float8 AS half, int4send(g) AS bytes, ARRAY[g % 50] AS tags,
                   date '2024-03-04' AS day FROM generate_series(1, 20000) g;
                 CREATE INDEX ON hostile USING gin (tags) WITH (fastupdate = off); ANALYZE hostile;
                 CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT SELECT ON hostile TO {role}"
            ),
        )
        .await;
        Hostile { database, role }
    }

    /// Runs a query as the role, which has only these settings, and returns the rows.
    async fn with(&self, settings: &[(String, String)], query: &str) -> Result<Vec<Vec<Option<String>>>> {
        let set = settings.iter().map(|(name, value)| format!("; ALTER ROLE {} SET {name} = {value}", self.role));
        run(&self.database.url(), &format!("ALTER ROLE {} RESET ALL{}", self.role, set.collect::<String>())).await;
        fetch(&self.database.url().replace("turntable:", &format!("{}:", self.role)), query).await
    }
}

/// Returns the settings that docs/postgres.md lists, with their values.
fn documented() -> Vec<(String, String)> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/postgres.md")).unwrap();
    let table = page.split("\n| setting | value |").nth(1).expect("a table of settings").split("\n\n").next().unwrap();
    let row = |line: &str| {
        let mut cells = line.split('`');
        Some((cells.nth(1)?.to_owned(), cells.nth(1)?.to_owned()))
    };
    table.lines().filter_map(row).collect()
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Returns every setting that a role can have and whose values the server lists, with each value that isn't its
/// default. Leaves out the settings that `ALTER ROLE` rejects.
async fn listed(url: &str) -> Vec<(String, String)> {
    let all = "SELECT name, value FROM pg_settings, unnest(CASE vartype WHEN 'bool' THEN ARRAY['on', 'off'] WHEN 'enum' THEN enumvals
          ELSE ARRAY[min_val, max_val] END) AS v(value)
        WHERE context IN ('user', 'superuser') AND vartype <> 'string' AND value <> boot_val
          AND name NOT IN ('transaction_isolation', 'transaction_deferrable', 'max_stack_depth') AND category <> 'Customized Options' ORDER BY name";
    let rows = run(url, all).await;
    rows.into_iter().map(|row| (row[0].clone().unwrap(), format!("'{}'", row[1].clone().unwrap()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_setting_of_a_role_changes_the_rows() {
    let hostile = Hostile::create("hostile_role").await;
    let expected = hostile.with(&[], QUERY).await.unwrap();
    assert_eq!((expected.len(), expected[0][8].clone(), expected[0][14].as_deref()), (400, None, Some("30s")));
    let ours: BTreeSet<String> = documented().into_iter().map(|(name, _)| name).collect();
    let mut settings = listed(&hostile.database.url()).await;
    assert!(settings.len() > 200, "{}", settings.len());
    settings.extend(owned(HOSTILE));
    let mut faults = Vec::new();
    for many in settings.chunks(12) {
        // Only if several settings at once make the export fail, each is tried alone.
        match hostile.with(many, QUERY).await {
            Ok(found) if found == expected => continue,
            _ => {}
        }
        for one in many {
            match hostile.with(std::slice::from_ref(one), QUERY).await {
                Ok(found) if found == expected => {}
                Ok(found) => faults.push(format!("{one:?}: {} rows, such as {:?}", found.len(), found.first())),
                // An error is harmless, because then nothing is published. But a setting that the run itself sets must
                // have no effect at all.
                Err(error) if ours.contains(&one.0) => faults.push(format!("{one:?}: {}", error.message())),
                Err(_) => {}
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    if let Ok(expected) = hostile.with(&[], XML).await {
        let settings = owned(&[("xmloption", "document"), ("xmlbinary", "hex")]);
        assert_eq!(hostile.with(&settings, XML).await.unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_lists_what_a_run_sets_and_what_it_keeps() {
    let hostile = Hostile::create("documented_role").await;
    let documented = documented();
    assert!(documented.len() > 15, "{documented:?}");
    let mut wrong = Vec::new();
    for (name, value) in &documented {
        let query = format!("SELECT current_setting('{name}', true) AS v");
        let of_role = hostile.with(&[], &query).await.unwrap();
        match of_role[0][0].as_deref() {
            // This server's version doesn't have the setting.
            None => {}
            Some(found) if found.split(',').next() == Some(value) => {}
            Some(found) => wrong.push(format!("{name}: {found}, the page says {value}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let kept = [("timezone", "'Asia/Tokyo'"), ("search_path", "elsewhere"), ("datestyle", "'SQL, DMY'")];
    let query =
        "SELECT current_setting('timezone') AS z, current_setting('search_path') AS p, '04/03/2024'::date::text AS d";
    let found = hostile.with(&owned(&kept), query).await.unwrap();
    assert_eq!(found, [["Asia/Tokyo", "elsewhere", "2024-03-04"].map(|text| Some(text.to_owned()))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_skips_damaged_rows_is_refused() {
    let hostile = Hostile::create("damaged_role").await;
    for setting in ["zero_damaged_pages", "ignore_checksum_failure"] {
        let error = hostile.with(&owned(&[(setting, "on")]), "SELECT 1 AS n").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        let text = format!(
            ": {setting} is on, so damaged rows could be missing or wrong: turn it off for this user (ALTER ROLE … RESET …), \
             the database and the server"
        );
        assert!(error.message().ends_with(&text), "{}", error.message());
    }
}
