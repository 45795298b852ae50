//! `doctor` reports no fault in a fresh stack, and finds seeded misconfigurations by name.

use std::collections::BTreeSet;

use cli::{
    doctor::{
        doctor,
        report::{Report, Status},
    },
    place::Place,
};
use serde_json::{Value, json};

use super::{Chain, USERS, emulator, users};

const OPTOUTS: &str = r#"
[datasets.optouts]
source = { inbox = { location = "s3://${BUCKET}/inbox/optouts", key = "id", columns = { id = "bigint" } } }
"#;

/// Datasets that can't work. [`SEEDED`] lists what is wrong with each.
const WRONG: &str = r#"
[datasets.elsewhere]
database = "missing"
location = "s3://another-bucket/schemas"
workgroups = ["closed"]
source = { athena = { query = "SELECT 1 AS id", workgroup = "enforced" } }

[datasets.outside]
source = { inbox = { location = "s3://${BUCKET}/elsewhere/optouts", key = "id", columns = { id = "bigint" } } }

[datasets.unknown]
source = { postgres = { secret = "dmp/none", query = "SELECT 1 AS id" } }

[datasets.unreachable]
source = { postgres = { secret = "dmp/plain", query = "SELECT 1 AS id" } }
"#;

/// The checks that find the seeded misconfigurations, with their subjects.
const SEEDED: [(&str, &str, Status); 15] = [
    ("bucket-encryption", "BUCKET", Status::Fault),
    ("bucket-lifecycle", "BUCKET", Status::Fault),
    ("bucket-notifications", "BUCKET", Status::Fault),
    ("bucket-versioning", "BUCKET", Status::Warning),
    ("concurrency", "STACK-flip", Status::Fault),
    ("dataset-location", "elsewhere", Status::Fault),
    ("glue-database", "missing", Status::Fault),
    ("inbox-location", "outside", Status::Fault),
    ("queue", "STACK-export", Status::Fault),
    ("secret", "unknown", Status::Fault),
    ("source", "unreachable", Status::Fault),
    ("source-tls", "unreachable", Status::Fault),
    ("workgroup", "closed", Status::Fault),
    ("workgroup-engine", "enforced", Status::Fault),
    ("workgroup-results", "enforced", Status::Warning),
];

#[tokio::test(flavor = "multi_thread")]
async fn seeded_misconfigurations_are_found_by_name() {
    let chain = Chain::start(&format!("{USERS}{OPTOUTS}")).await;
    chain.put("source/users/a.csv", users(10, 1)).await.unwrap();
    let report = chain.doctor().await;
    assert_eq!(named(&chain, &report), BTreeSet::new(), "{}", report.shown());
    assert!(report.lines.len() > 15, "{}", report.shown());

    chain.datasets(&format!("{USERS}{OPTOUTS}{WRONG}")).await;
    seed(&chain).await;
    let report = chain.doctor().await;
    let expected: BTreeSet<(String, String, Status)> =
        SEEDED.iter().map(|(check, of, status)| ((*check).to_owned(), (*of).to_owned(), *status)).collect();
    assert_eq!(named(&chain, &report), expected, "{}", report.shown());
    assert!(report.has_faults());
    let todo = |line: &cli::doctor::report::Line| line.status == Status::Ok || !line.todo.is_empty();
    assert!(report.lines.iter().all(todo), "each line says what to do: {}", report.shown());

    // Without the functions, nothing else can be checked.
    let other = doctor("no-such-stack", &chain.place().await).await.unwrap();
    let faults = other.lines.iter().filter(|line| line.status == Status::Fault);
    assert_eq!(
        faults.map(|line| line.check).collect::<Vec<_>>(),
        ["function"; 4].into_iter().chain(["datasets-file"]).collect::<Vec<_>>()
    );
}

impl Chain {
    async fn place(&self) -> Place {
        let emulator = emulator().await;
        Place { aws: self.aws.clone(), athena: emulator.athena_config(&self.account), has_lake_formation: false }
    }

    async fn doctor(&self) -> Report {
        doctor(&self.name, &self.place().await).await.unwrap()
    }
}

/// Returns the checks that aren't ok, with their subjects and statuses.
fn named(chain: &Chain, report: &Report) -> BTreeSet<(String, String, Status)> {
    let wrong = report.lines.iter().filter(|line| line.status != Status::Ok);
    // The bucket has the stack's name.
    let subject = |text: &str| match text == chain.bucket {
        true => "BUCKET".to_owned(),
        false => text.replace(&chain.name, "STACK"),
    };
    wrong.map(|line| (line.check.to_owned(), subject(&line.subject), line.status)).collect()
}

async fn seed(chain: &Chain) {
    let bucket = &chain.bucket;
    let call = async |service: &str, operation: &str, parameters: Value| {
        chain.stack.account.call(service, operation, parameters).await.unwrap_or_else(|error| panic!("{error:#}"))
    };
    call("s3", "PutBucketNotificationConfiguration", json!({ "Bucket": bucket, "NotificationConfiguration": {} }))
        .await;
    let versioning = json!({ "Bucket": bucket, "VersioningConfiguration": { "Status": "Enabled" } });
    call("s3", "PutBucketVersioning", versioning).await;
    let rule = json!({ "ID": "all", "Status": "Enabled", "Filter": { "Prefix": "" }, "Expiration": { "Days": 30 },
                "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": 1 } });
    let rules = json!({ "Bucket": bucket, "LifecycleConfiguration": { "Rules": [rule] } });
    call("s3", "PutBucketLifecycleConfiguration", rules).await;
    let key = json!({ "SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "arn:aws:kms:us-east-1:123456789012:key/other" });
    let rules = json!({ "Rules": [{ "ApplyServerSideEncryptionByDefault": key }] });
    call("s3", "PutBucketEncryption", json!({ "Bucket": bucket, "ServerSideEncryptionConfiguration": rules })).await;

    let (export, flip) = (format!("{}-export", chain.name), format!("{}-flip", chain.name));
    let none = json!({ "FunctionName": flip, "ReservedConcurrentExecutions": 0 });
    call("lambda", "PutFunctionConcurrency", none).await;
    let found = call("lambda", "ListEventSourceMappings", json!({ "FunctionName": export })).await;
    let id = &found["EventSourceMappings"][0]["UUID"];
    call("lambda", "UpdateEventSourceMapping", json!({ "UUID": id, "Enabled": false })).await;

    let results = json!({ "OutputLocation": "s3://results/team/" });
    let engine = json!({ "SelectedEngineVersion": "AUTO", "EffectiveEngineVersion": "Athena engine version 2" });
    let enforced =
        json!({ "EnforceWorkGroupConfiguration": true, "ResultConfiguration": results, "EngineVersion": engine });
    call("athena", "CreateWorkGroup", json!({ "Name": "enforced", "Configuration": enforced })).await;
    call("athena", "CreateWorkGroup", json!({ "Name": "closed" })).await;
    call("athena", "UpdateWorkGroup", json!({ "WorkGroup": "closed", "State": "DISABLED" })).await;

    let secret = json!({ "host": "db.invalid", "username": "u", "password": "p", "sslmode": "disable" }).to_string();
    call("secretsmanager", "CreateSecret", json!({ "Name": "dmp/plain", "SecretString": secret })).await;
}
