//! `check` names every missing column, and distinguishes a wrong file from an unreachable source.

use cli::check::check;
use tests::postgres::Database;

use super::File;

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_has_its_place_whether_toml_or_the_source_tells() {
    let text =
        "[datasets.users]\nsource.mysql = { url = \"${TURNTABLE_NO_SUCH_NAME}\", query = \"SELECT 1\", queries = 1 }\n";
    let file = File::new(text);
    let told = check(&file.0, None).await.err().expect("faults").to_string();
    let at = |line: &str| format!("{}:{line}", file.0.display());
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], at("2:25: ${TURNTABLE_NO_SUCH_NAME} is not set in the environment"));
    assert!(lines[1].starts_with(&at("2:73: datasets.users.source.mysql: unknown key \"queries\"")), "{told}");
    assert_eq!(lines[2], at("1:11: datasets.users: database is missing: set it here or in [defaults]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_columns_of_a_database_are_compared_with_what_the_file_names() {
    let server = Database::create().await;
    let text = format!(
        r#"[defaults]
database = "dmp"
location = "s3://lake/schemas"

[datasets.users]
source.postgres = {{ url = "{url}", query = "SELECT 1 AS id, date '2024-01-01' AS day", split_by = "iid" }}
checks = {{ not_null = ["id", "name"], unique = [["id"], ["email"]], range = {{ points = {{ min = 0 }} }} }}
partition_by = ["day"]

[datasets.wrong]
source.postgres = {{ url = "{url}", query = "SELECT 1 AS id FROM nothing" }}

[datasets.away]
source.postgres = {{ url = "postgres://u:p@127.0.0.1:1/d", query = "SELECT 1 AS id" }}

[datasets.optouts]
source.inbox = {{ location = "s3://lake/inbox", key = ["id"], columns = {{ id = "int" }} }}
protects = {{ users = "user_id" }}
"#,
        url = server.url()
    );
    let file = File::new(&text);
    let checked = check(&file.0, None).await.unwrap();
    let at = |line: &str| format!("{}:{line}", file.0.display());
    let none = |name: &str| format!("no column {name:?}, expected one of id, day");
    let split_by = text.lines().nth(5).unwrap().find("split_by").unwrap() + 1;
    let expected = [
        at(&format!("18:14: datasets.optouts.protects.users: {}", none("user_id"))),
        at(&format!("7:12: datasets.users.checks.not_null: {}", none("name"))),
        at(&format!("7:39: datasets.users.checks.unique: {}", none("email"))),
        at(&format!("7:79: datasets.users.checks.range.points: {}", none("points"))),
        at(&format!("6:{split_by}: datasets.users.source.postgres.split_by: {}", none("iid"))),
    ];
    assert_eq!(checked.faults[..5], expected);
    assert_eq!(checked.faults.len(), 6);
    assert!(checked.faults[5].starts_with(&at("11:1: datasets.wrong.source: ")), "{}", checked.faults[5]);
    let tables = &checked.tables;
    for part in [
        "users → dmp.users\n  id   int\n  day  date  (partition)\n  location: s3://lake/schemas/users/COLOUR-ULID/\n",
        "away → dmp.away\n  columns not read: PostgreSQL at 127.0.0.1:1 ",
        "optouts → dmp.optouts\n  id           int\n  state        string\n  occurred_at  timestamp\n",
    ] {
        assert!(tables.contains(part), "{part}\n{tables}");
    }
    assert!(!tables.contains("module ") && checked.terraform.contains("module \"users\" {\n"), "{tables}");
}

#[tokio::test(flavor = "multi_thread")]
async fn protected_column_that_can_never_match_the_key_is_a_fault() {
    let server = Database::create().await;
    let text = format!(
        r#"[defaults]
database = "dmp"
location = "s3://lake/schemas"

[datasets.users]
source.postgres = {{ url = "{url}", query = "SELECT now() AS id, 1.5::float8 AS number" }}

[datasets.optouts]
source.inbox = {{ location = "s3://lake/inbox", key = ["id"], columns = {{ id = "int" }} }}
protects = {{ users = "id" }}

[datasets.withdrawn]
source.inbox = {{ location = "s3://lake/inbox2", key = ["id"], columns = {{ id = "int" }} }}
protects = {{ users = "number" }}
"#,
        url = server.url()
    );
    let file = File::new(&text);
    let checked = check(&file.0, None).await.unwrap();
    assert_eq!(
        checked.faults,
        [format!(
            "{}:10:14: datasets.optouts.protects.users: column \"id\" is timestamp, which can't match the key \"id\" \
             (int), so nobody would be left out",
            file.0.display()
        )]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_would_lose_rows_are_faults() {
    let server = Database::create().await;
    let url = server.url();
    let client = server.client().await;
    client
        .batch_execute(
            "CREATE TABLE numbers AS SELECT generate_series(1, 100) AS id; ALTER TABLE numbers ENABLE ROW LEVEL SECURITY;
             CREATE VIEW numbered AS SELECT id, row_number() OVER () AS rn FROM numbers;
             CREATE ROLE checker LOGIN PASSWORD 'secret'; GRANT SELECT ON numbers TO checker",
        )
        .await
        .unwrap();
    let text = format!(
        r#"[defaults]
database = "dmp"
location = "s3://lake/schemas"

[datasets.numbered]
source.postgres = {{ url = "{url}", query = "SELECT id, rn FROM numbered", split_by = "rn", parallel = 2 }}

[datasets.hidden]
source.postgres = {{ url = "{}", query = "SELECT id FROM numbers" }}

[datasets.shown]
source.postgres = {{ url = "{}", query = "SELECT id FROM numbers", row_security = true, parallel = 2 }}
"#,
        url.replace("turntable:", "checker:"),
        url.replace("turntable:", "checker:")
    );
    let file = File::new(&text);
    let checked = check(&file.0, None).await.unwrap();
    client.batch_execute("DROP OWNED BY checker; DROP ROLE checker").await.unwrap();
    assert_eq!(checked.faults.len(), 2, "{:?}", checked.faults);
    for (fault, parts) in checked.faults.iter().zip([
        ["datasets.hidden.source: ", "set row_security = true to publish only the rows that the policies show"],
        ["datasets.numbered.source: ", "because it has a window function without ORDER BY; set parallel = 1"],
    ]) {
        assert!(parts.iter().all(|part| fault.contains(part)), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_need_not_prove_its_identity_is_remarked() {
    let text = r#"[defaults]
database = "dmp"
location = "s3://lake/schemas"

[datasets.encrypted]
source.postgres = { url = "postgres://u:hunter2@0.0.0.0:1/d?sslmode=require", query = "SELECT 1 AS id" }

[datasets.plain]
source.mysql = { url = "mysql://u:hunter2@0.0.0.0:1/d?ssl-mode=DISABLED", query = "SELECT 1 AS id" }

[datasets.verified]
source.postgres = { url = "postgres://u:hunter2@0.0.0.0:1/d", query = "SELECT 1 AS id" }

[datasets.here]
source.mysql = { url = "mysql://u:hunter2@127.0.0.1:1/d?ssl-mode=DISABLED", query = "SELECT 1 AS id" }
"#;
    let file = File::new(text);
    let checked = check(&file.0, None).await.unwrap();
    let remark = |line: &str, what: &str, verify: &str| {
        format!(
            "{}:{line} doesn't verify the server, so anyone on the network path can read the password and change the \
             rows: set {what} = {verify} in url",
            file.0.display()
        )
    };
    assert_eq!(
        checked.remarks,
        [
            remark(
                "6:1: datasets.encrypted.source: PostgreSQL at 0.0.0.0:1: sslmode require",
                "sslmode",
                "verify-full"
            ),
            remark("9:1: datasets.plain.source: MySQL at 0.0.0.0:1: ssl-mode DISABLED", "ssl-mode", "VERIFY_IDENTITY"),
        ]
    );
    assert!(checked.faults.is_empty(), "{:?}", checked.faults);
}
