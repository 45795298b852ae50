//! Before the first export, `check` finds whatever would lose rows or keep every run from being published.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use cli::{
    check::{Checked, check_with},
    source_context::Clients,
};
use tests::{mariadb::Mariadb, memory::Objects, postgres::Database};
use turntable::{
    error::{Error, Result},
    port::Secrets,
};

use super::File;

/// The secrets that may be read, by name.
struct Known(BTreeMap<&'static str, String>);

#[async_trait]
impl Secrets for Known {
    async fn text(&self, name: &str) -> Result<Option<String>> {
        match self.0.get(name) {
            Some(text) => Ok(Some(text.clone())),
            None => Err(Error::config(format!("secret {name:?}: AccessDenied"))),
        }
    }
}

/// What `check` must report about a dataset: a part of the only error, or a part of the table's description.
enum Expected {
    Fault(&'static str),
    Table(&'static str),
}
use Expected::{Fault, Table};

async fn expect(cases: &[(String, Expected)], objects: &Objects, secrets: BTreeMap<&'static str, String>) {
    let mut text = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n".to_owned();
    for (at, (entry, _)) in cases.iter().enumerate() {
        text += &format!("[datasets.case{at:02}]\n{entry}\n");
    }
    let file = File::new(&text);
    let clients = Clients { objects: Arc::new(objects.clone()), secrets: Arc::new(Known(secrets)), iam: None };
    let Checked { faults, tables, .. } = check_with(&file.0, &clients).await.unwrap();
    for (at, (entry, expected)) in cases.iter().enumerate() {
        let name = format!("case{at:02}");
        let found: Vec<&String> = faults.iter().filter(|fault| fault.contains(&format!(" datasets.{name}."))).collect();
        match expected {
            Fault(part) => assert!(found.len() == 1 && found[0].contains(part), "{entry}: {found:?}\n{tables}"),
            Table(part) => {
                let start = tables.find(&format!("{name} →")).unwrap_or_else(|| panic!("{entry}: {found:?}\n{tables}"));
                let end = tables.find(&format!("case{:02} →", at + 1)).unwrap_or(tables.len()).max(start);
                assert!(found.is_empty() && tables[start..end].contains(part), "{entry}: {found:?}\n{tables}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_sources() {
    let server = Database::create().await;
    let url = server.url();
    let client = server.client().await;
    client
        .batch_execute(
            "CREATE TABLE n AS SELECT g AS id, ARRAY[g] AS list FROM generate_series(1, 100) g;
             CREATE VIEW cut AS SELECT id FROM n LIMIT 50;
             CREATE TABLE parted (id int, day date) PARTITION BY RANGE (day);
             CREATE TABLE parted_1 PARTITION OF parted DEFAULT;
             CREATE VIEW shown AS SELECT id FROM n;
             CREATE ROLE no_reader LOGIN PASSWORD 'secret'",
        )
        .await
        .unwrap();
    let of = |query: &str, more: &str| format!("source.postgres = {{ url = \"{url}\", query = \"{query}\"{more} }}");
    let split = ", split_by = \"id\", parallel = 4";
    let limit = "because it has a LIMIT, OFFSET or FETCH; set parallel = 1";
    let port = server.port();
    let of_secret = |name: &str, more: &str| {
        format!("source.postgres = {{ secret = \"{name}\"{more}, query = \"SELECT id FROM n\" }}")
    };
    let login = "{\"username\":\"turntable\",\"password\":\"secret\"}";
    let with_place = of_secret(
        "managed",
        &format!(", host = \"127.0.0.1\", port = {port}, dbname = \"{}\", sslmode = \"disable\"", server.name()),
    );
    let list = |checks: &str| format!("{}\nchecks = {{ {checks} }}", of("SELECT * FROM n", ""));
    let cases = [
        // Parts that don't agree.
        (of("SELECT id FROM n", split), Table("id  int")),
        (of("SELECT id FROM n LIMIT 10", split), Fault(limit)),
        (of("SELECT id FROM n OFFSET 10", split), Fault(limit)),
        (of("SELECT id FROM cut", split), Fault(limit)),
        (of("SELECT id FROM n LIMIT 10", ""), Table("id  int")),
        (of("SELECT id FROM n TABLESAMPLE BERNOULLI (50)", split), Fault("it has a TABLESAMPLE")),
        (of("SELECT id FROM n WHERE random() > 0.5", split), Fault("it calls random, which is volatile")),
        (of("SELECT row_number() OVER () AS id FROM n", split), Fault("a window function without ORDER BY")),
        (of("SELECT id + 0 AS id FROM n", split), Fault("split_by \"id\" is not a column of a table")),
        (of("SELECT id FROM parted", split), Table("id  int")),
        (of("SELECT id FROM parted", ", parallel = 4"), Fault("parallel needs split_by, unless the query is")),
        (of("SELECT id FROM shown", ", parallel = 4"), Fault("parallel needs split_by, unless the query is")),
        // Rows that the user may not read.
        (
            of("SELECT id FROM n", "").replace("turntable:", "no_reader:"),
            Fault("rejected the query: permission denied for table n"),
        ),
        // Nested columns.
        (list("not_null = [\"list\"]"), Table("list  array<int>")),
        (list("range = { list = { min = 0 } }"), Fault("its type is array<int>, which has no range")),
        (list("range = { id = { min = \"0\" } }"), Fault("its type is int: expected a number as a bound")),
        (list("fresh = { id = \"1h\" }"), Fault("its type is int: expected a column of dates or timestamps")),
        // Secrets that RDS manages.
        (with_place, Table("id  int")),
        (of_secret("managed", ""), Fault("a secret that RDS manages has no host: set host beside secret")),
        (of_secret("no_json", ""), Fault("no_json")),
        (of_secret("not_ours", ""), Table("columns not read: secret \"not_ours\": AccessDenied")),
    ];
    let secrets = BTreeMap::from([("managed", login.to_owned()), ("no_json", "hello".to_owned())]);
    expect(&cases, &Objects::default(), secrets).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_sources() {
    let server = tokio::task::spawn_blocking(|| {
        let plugins = tests::mariadb::plugins();
        if !plugins.join("auth_ed25519.so").is_file() {
            let server = Mariadb::start_with(&["--init-connect=SET sql_select_limit = 1"]);
            server.run("CREATE USER ed@'127.0.0.1' IDENTIFIED BY 'secret'; GRANT SELECT ON shop.* TO ed@'127.0.0.1'");
            return server;
        }
        let server = Mariadb::start_with(&[
            &format!("--plugin-dir={}", plugins.display()),
            "--plugin-load-add=auth_ed25519",
            "--init-connect=SET sql_select_limit = 1",
        ]);
        server.run("CREATE USER ed@'127.0.0.1' IDENTIFIED VIA ed25519 USING PASSWORD('secret'); GRANT SELECT ON shop.* TO ed@'127.0.0.1'");
        server
    });
    let server = server.await.unwrap();
    let url = server.url().replace("turntable:", "ed:");
    let of = |query: &str, more: &str| format!("source.mysql = {{ url = \"{url}\", query = \"{query}\"{more} }}");
    let cases = [
        (of("SELECT user FROM mysql.user", ""), Fault("denied")),
        (of("SELECT seq FROM seq_1_to_9", ""), Table("seq  decimal(20,0)")),
        (of("SELECT repeat('x', 2000000000) AS r", ""), Fault("the server raised warnings: 1301")),
        (of("SELECT 1 / 0 AS q", ""), Fault("allow_warnings = [1365]")),
        (of("SELECT 1 / (CAST(seq AS signed) - 5) AS q FROM seq_1_to_9", ""), Fault("allow_warnings = [1365]")),
        (of("SELECT 1 / 0 AS q", ", allow_warnings = [1365]"), Table("q  decimal")),
    ];
    expect(&cases, &Objects::default(), BTreeMap::new()).await;
    server.kill();
}

#[tokio::test]
async fn file_sources() {
    let objects = Objects::default();
    for (key, body) in [
        ("named/a.ndjson", "{\"id\":1,\"tags\":{\"aws:x\":1}}\n"),
        ("top/a.ndjson", "{\"id\":1,\"\":2}\n"),
        ("delta/_delta_log/00000000000000000000.json", "{}"),
        ("delta/part=1/a.ndjson", "{\"id\":1}\n"),
        ("hudi/.hoodie/hoodie.properties", ""),
        ("hudi/a.ndjson", "{\"id\":1}\n"),
        ("iceberg/metadata/v1.metadata.json", "{}"),
        ("iceberg/data/a.ndjson", "{\"id\":1}\n"),
        ("plain/part=1/a.ndjson", "{\"id\":1}\n"),
    ] {
        objects.put(&format!("s3://lake/in/{key}"), body.as_bytes().to_vec());
    }
    let of = |place: &str, more: &str| format!("source.files = {{ location = \"s3://lake/in/{place}\"{more} }}");
    let cases = [
        (of("named/", ""), Fault("set source.files.objects = \"json\" or \"map\"")),
        (of("named/", ", objects = \"map\""), Table("tags  map<string,bigint>")),
        (of("top/", ""), Fault("rename it in the files")),
        (of("delta/", ""), Fault("is a table in Delta Lake format")),
        (of("delta/part=1/", ""), Fault("belongs to a table in Delta Lake format")),
        (of("delta/part=1/a.ndjson", ""), Fault("belongs to a table in Delta Lake format")),
        (of("delta/", ", columns = { id = \"int\", part = \"int\" }"), Fault("is a table in Delta Lake format")),
        (of("hudi/", ""), Fault("is a table in Hudi format")),
        (of("iceberg/", ""), Fault("is a table in Iceberg format")),
        (of("iceberg/data/", ""), Fault("belongs to a table in Iceberg format")),
        (of("plain/", ""), Table("part  bigint")),
    ];
    expect(&cases, &objects, BTreeMap::new()).await;
}
