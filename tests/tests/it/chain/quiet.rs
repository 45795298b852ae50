//! No log contains a row's value, a password or a secret, whether a run succeeds or fails: datasets with planted values
//! go through everything at the most verbose log level.

use serde_json::{Value, json};
use tests::postgres::Database;

use super::{Chain, generation, optout, sql};

/// Values that no log contains by accident.
const PLANTED: [&str; 10] = [
    "hunter-live",
    "hunter-rejected",
    "hunter-broken",
    "918273645546372819",
    "hunter-drop",
    "hunter-undecodable",
    "hunter-row",
    "hunter-cast",
    "hunter-password",
    "hunter-secret",
];
const LIVE: &str = PLANTED[0];
const REJECTED: &str = PLANTED[1];
const BROKEN: &str = PLANTED[2];
const PERSON: &str = PLANTED[3];
const DROP: &str = PLANTED[4];
const UNDECODABLE: &str = PLANTED[5];
const ROW: &str = PLANTED[6];
const CAST: &str = PLANTED[7];
const PASSWORD: &str = PLANTED[8];
const SECRET: &str = PLANTED[9];

fn datasets(server: &Database) -> String {
    let files = |name: &str| {
        let columns = "columns = { id = \"bigint\", name = \"string\" }";
        format!(
            "[datasets.{name}]\nsource = {{ files = {{ location = \"s3://${{BUCKET}}/source/{name}/\", {columns} }} }}\n"
        )
    };
    let postgres = |name: &str, query: &str| {
        let url = format!("postgres://planted:{PASSWORD}@127.0.0.1:{}/{}", server.port(), server.name());
        format!("[datasets.{name}]\nsource = {{ postgres = {{ url = \"{url}\", query = \"{query}\" }} }}\n")
    };
    [
        files("users"),
        "checks = { unique = [\"id\"], sql = [\"SELECT count(*) < 3 FROM {table}\"] }\n".into(),
        // Athena's own error would name the value.
        files("casts"),
        "checks = { sql = [\"SELECT max(CAST(name AS integer)) > 0 FROM {table}\"] }\n".into(),
        postgres("people", "SELECT id, name FROM people"),
        // PostgreSQL's own error would name the value too.
        postgres("numbers", "SELECT name::int AS n FROM people"),
        "[datasets.by_secret]\nsource = { postgres = { secret = \"dmp/planted\", query = \"SELECT 1\" } }\n".into(),
        optout::OPTOUTS.into(),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_planted_value_is_in_any_log() {
    let server = sql::start().await;
    let people = format!("CREATE TABLE people AS SELECT 1 AS id, '{ROW}' AS name");
    sql::run(&server.url(), &people).await;
    let role = format!("CREATE ROLE planted LOGIN PASSWORD '{PASSWORD}'; GRANT SELECT ON people TO planted");
    sql::run(&server.url(), &role).await;
    let chain = Chain::deploy(&datasets(&server), |deployment| {
        let parameters = [("OptoutSchedule", "rate(1 day)"), ("LogLevel", "TRACE")];
        deployment.parameters.extend(parameters.map(|(name, value)| (name.into(), value.into())));
    })
    .await;
    let secrets = aws_sdk_secretsmanager::Client::new(&chain.aws);
    let url = format!("postgres://planted:{SECRET}@127.0.0.1:{}/{}", server.port(), server.name());
    secrets.create_secret().name("dmp/planted").secret_string(url).send().await.unwrap();
    let mut heard = Vec::new();

    // Live generations, two rejected candidates, and unreadable sources.
    let users = json!({ "dataset": "users" });
    chain.put("source/users/a.csv", format!("id,name\n1,{LIVE}\n{PERSON},{LIVE}\n")).await.unwrap();
    chain.ask("export", &users).await;
    let first = chain.next("users", None).await;
    assert_eq!(chain.number(&format!("SELECT count(*) FROM dmp.users WHERE name = '{LIVE}'")).await, 2);
    chain.ask("export", &json!({ "dataset": "people" })).await;
    chain.next("people", None).await;
    assert_eq!(chain.number(&format!("SELECT count(*) FROM dmp.people WHERE name = '{ROW}'")).await, 1);
    for (dataset, rows) in
        [("users", format!("1,{REJECTED}\n1,{REJECTED}\n{PERSON},x\n")), ("casts", format!("1,{CAST}\n"))]
    {
        chain.put(&format!("source/{dataset}/a.csv"), format!("id,name\n{rows}")).await.unwrap();
        let rejected = generation(&chain.ask("export", &json!({ "dataset": dataset })).await);
        heard.push(failure(&chain, "flip", &json!({ "dataset": dataset, "generation": rejected }), "Rejected").await);
    }
    chain.put("source/users/a.csv", format!("id,name\n{BROKEN},{BROKEN}\n")).await.unwrap();
    for (dataset, kind) in [("users", "Input"), ("numbers", "Input"), ("by_secret", "Config")] {
        heard.push(failure(&chain, "export", &json!({ "dataset": dataset }), kind).await);
    }

    // Opt-outs, with rejected records and an unreadable drop.
    let words = format!("{PERSON},opted_out,2026-01-01T00:00:00Z\n{DROP},opted_out,2026-01-01T00:00:00Z\n");
    chain.drop("mixed.csv", &words).await;
    chain.next("optouts", None).await;
    chain.put("inbox/optouts/b.ndjson", format!("{{\"user_id\": \"{UNDECODABLE}\n")).await.unwrap();
    chain.until_number(optout::OUT, 1).await;
    chain.until("both reports", async || (chain.keys("inbox/optouts/_rejected/").await.len() == 2).then_some(())).await;

    // Operators' requests, and a sweep.
    chain.put("source/users/a.csv", format!("id,name\n2,{LIVE}\n")).await.unwrap();
    chain.ask("export", &users).await;
    chain.next("users", chain.live("users").await.as_ref()).await;
    for request in [
        json!({ "dataset": "users", "action": "status" }),
        json!({ "dataset": "users", "action": "hold", "reason": "a look" }),
        json!({ "dataset": "users", "action": "release" }),
        json!({ "dataset": "users", "action": "rollback", "reason": "a look" }),
    ] {
        heard.push(chain.ask("flip", &request).await.to_string());
    }
    assert_eq!(chain.paths("users").parse_generation(&chain.live("users").await.unwrap()), Some(first));
    heard.push(chain.ask("sweep", &json!({})).await.to_string());

    let logs = logs(&chain).await;
    for function in ["export", "flip", "optout", "sweep"] {
        assert!(logs.iter().any(|(of, _)| of == function), "{function} has logged nothing");
    }
    let text = format!("{}\n{}", Value::from_iter(logs.iter().map(|(_, line)| line.clone())), heard.join("\n"));
    for expected in ["RejectedRecords", "unique: id", "SELECT max(CAST(name AS integer)) > 0", "\"level\":\"DEBUG\""] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    for planted in PLANTED {
        let at = text.find(planted);
        assert!(at.is_none(), "{planted}: …{}", &text[at.unwrap_or_default().saturating_sub(2000)..][..2100]);
    }
}

/// Invokes a function that must fail with this type of error, and returns the error's message.
async fn failure(chain: &Chain, function: &str, event: &Value, kind: &str) -> String {
    let failed = chain.answer(function, event).await.unwrap_err();
    assert_eq!(failed.error_type, kind, "{failed}");
    failed.error_message
}

/// Returns every function's log lines, once the lines for all failures have arrived.
async fn logs(chain: &Chain) -> Vec<(String, Value)> {
    let all = async || {
        let mut lines = Vec::new();
        for function in chain.functions.keys() {
            let logged = chain.logs(function, 0).await.unwrap_or_else(|error| panic!("{error:#}"));
            lines.extend(logged.into_iter().map(|line| (function.clone(), line)));
        }
        let failed = lines.iter().filter(|(_, line)| line["fields"]["message"] == "failed").count();
        (failed >= 5).then_some(lines)
    };
    chain.until("the logs of five failures", all).await
}
