//! Errors in datasets.toml and in requests: the exact type and message in Lambda's answer.

use serde_json::{Value, json};

use super::{Chain, USERS};

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_datasets_toml_is_listed_at_once() {
    let chain = Chain::start(
        r#"
retian = 2
[datasets.users]
source = { files = { columns = { id = "bigit", name = "string" }, location = "s3://${BUCKET}/in/" } }
checks = { min_row = 1, max_shrink = "much" }
[datasets.orders]
source = { mongo = {} }
"#,
    )
    .await;
    let expected = chain.named(
        "s3://${BUCKET}/datasets.toml:5:1: defaults: unknown key \"retian\", expected one of parquet, database, location, create, \
         schema, on_drift, on_unflip, on_unrepresentable, retain, workgroups, refresh, timezone\n\
         s3://${BUCKET}/datasets.toml:7:34: datasets.users.source.files.columns.id: \"bigit\" is not a Glue type (error at character 6)\n\
         s3://${BUCKET}/datasets.toml:8:25: datasets.users.checks.max_shrink: expected a number from 0 to 1, found a string\n\
         s3://${BUCKET}/datasets.toml:8:12: datasets.users.checks: unknown key \"min_row\", expected one of min_rows, max_shrink, \
         max_growth, not_null, range, fresh, unique, sql, canary\n\
         s3://${BUCKET}/datasets.toml:10:1: datasets.orders.source: expected exactly one of postgres, mysql, files, inbox, \
         athena, glue_job, found 0\n\
         s3://${BUCKET}/datasets.toml:10:12: datasets.orders.source: unknown key \"mongo\", expected one of postgres, mysql, files, \
         inbox, athena, glue_job",
    );
    for (function, event) in [
        ("export", json!({})),
        ("export", json!({ "dataset": "users" })),
        ("flip", json!({ "dataset": "users", "action": "status" })),
    ] {
        let refused = chain.answer(function, &event).await.unwrap_err();
        assert_eq!(refused.error_type, "Config", "{function}");
        assert_eq!(refused.error_message, expected, "{function}");
    }

    chain.put("datasets.toml", "[defaults]\ndatabase = dmp\n").await.unwrap();
    let refused = chain.answer("export", &json!({})).await.unwrap_err();
    let place = chain.named("s3://${BUCKET}/datasets.toml:2:12: ");
    assert!(refused.error_message.starts_with(&place), "{refused}");

    chain.s3.delete_object().bucket(&chain.bucket).key("datasets.toml").send().await.unwrap();
    let refused = chain.answer("export", &json!({})).await.unwrap_err();
    assert_eq!(refused.error_type, "Config");
    let expected = chain
        .named("s3://${BUCKET}/datasets.toml: no such file: put datasets.toml there, or set DATASETS to its location");
    assert_eq!(refused.error_message, expected);
}

const EXPORT: &str = "{} or {\"dataset\": NAME or [NAME, …]}";
const FLIP: &str = "{\"dataset\", \"generation\"} or {\"dataset\", \"action\": rollback, hold, release or status, \"reason\"?, \"generation\"?} or {\"dataset\", \"action\": retire or rename, \"table\": keep or drop, \"from\"?, \"reason\"} or {\"dataset\", \"action\": move, \"from\", \"reason\"}; {\"action\": \"status\"} is for all datasets";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_not_understood_says_what_is_expected() {
    let chain = Chain::start(&format!("{USERS}{}", USERS.replace("datasets.users", "datasets.more"))).await;
    let generation = "green-01JD675EJRSSKNZWWST95906C6";
    let mut elsewhere: Value = serde_json::from_str(include_str!("../../../../events/flip-s3.json")).unwrap();
    elsewhere["detail"]["bucket"]["name"] = "elsewhere".into();
    let mut other = elsewhere.clone();
    other["detail"]["object"]["key"] = "schemas/users/part-00000.parquet".into();
    let mut none = elsewhere.clone();
    none["detail"] = json!({});
    let cases = [
        (
            "export",
            json!({ "datset": "users" }),
            format!("invalid request: expected {EXPORT}: unknown field `datset`, expected one of `dataset`, `datasets`, `generation`, `due`, `inputs`, `put`, `action`"),
        ),
        ("export", json!([]), format!("the request is not a JSON object: expected {EXPORT}")),
        ("export", json!({ "Records": 1 }), "the event has Records but is not an SQS event: check what invokes this function: invalid type: integer `1`, expected a sequence".into()),
        (
            "export",
            json!({ "dataset": "nobody" }),
            "no dataset \"nobody\" is configured, expected one of more, users".into(),
        ),
        (
            "export",
            json!({ "dataset": ["users", "nobody"] }),
            "no dataset \"nobody\" is configured, expected one of more, users".into(),
        ),
        (
            "flip",
            json!({ "dataset": "nobody", "action": "status" }),
            "no dataset \"nobody\" is configured, expected one of more, users".into(),
        ),
        ("flip", json!("users"), format!("the request is not a JSON object: expected {FLIP}")),
        (
            "flip",
            json!({ "dataset": "users" }),
            format!("the request names neither a generation nor an action: expected {FLIP}"),
        ),
        (
            "flip",
            json!({ "dataset": "users", "generation": "green" }),
            format!("invalid request: expected {FLIP}: \"green\" is not a generation: expected blue-ULID or green-ULID"),
        ),
        (
            "flip",
            json!({ "dataset": "users", "generation": generation }),
            chain.named(&format!(
                "s3://${{BUCKET}}/schemas/users/_manifests/{generation}.json: no such manifest, so the generation does \
                 not exist; `status` lists the generations that do"
            )),
        ),
        ("flip", elsewhere, "no dataset in datasets.toml publishes to s3://elsewhere/schemas/users/: check the dataset's location and table".into()),
        (
            "flip",
            other,
            "s3://elsewhere/schemas/users/part-00000.parquet is not a manifest: expected …/TABLE/_manifests/COLOUR-ULID.json".into(),
        ),
        ("flip", none, "the event is not a valid S3 \"Object Created\" event from EventBridge: check the rule that invokes this function: missing field `bucket`".into()),
    ];
    let mut wrong = Vec::new();
    for (function, event, text) in cases {
        match chain.answer(function, &event).await {
            Err(refused) if refused.error_type == "Input" && refused.error_message == text => {}
            answer => wrong.push(format!("{function} {event}\n    {answer:?}\n    expected {text}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
