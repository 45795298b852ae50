//! Runs the commands in docs/tutorial-account.md, docs/deploy.md, docs/migration.md and docs/migrate-glue.md on the
//! emulator, word for word.

use std::fs;

use serde_json::json;
use tests::follow::Follower;

use super::{Chain, USERS, emulator, users};

impl Chain {
    /// Returns a follower with this stack's names and credentials. Its folder has the stack's datasets.toml.
    pub async fn follower(&self, page: &str) -> Follower {
        let follower = Follower::of(page, &format!("follower-{}", self.account));
        let datasets = self.get("datasets.toml").await.unwrap();
        fs::write(follower.folder.join("datasets.toml"), datasets).unwrap();
        follower
            .with("STACK", &self.name)
            .with("TURNTABLE_STACK", &self.name)
            .with("BUCKET", &self.bucket)
            .with("AWS_ENDPOINT_URL", &emulator().await.endpoint)
            .with("AWS_ACCESS_KEY_ID", &self.account)
            .with("AWS_SECRET_ACCESS_KEY", "test")
            .with("AWS_DEFAULT_REGION", cli::laptop::REGION)
            .replacing("s3://BUCKET/", format!("s3://{}/", self.bucket))
            .replacing("--bucket BUCKET ", format!("--bucket {} ", self.bucket))
            .replacing("arn:aws:s3:::BUCKET", format!("arn:aws:s3:::{}", self.bucket))
            .replacing("ROLE_ARN", format!("arn:aws:iam::{}:role/flip", self.account))
    }
}

/// Makes the page's commands use the emulated Athena. Repeats the command that requests a query's state until the query
/// has succeeded, as the pages say.
async fn asking_athena(page: Follower) -> Follower {
    let state = "aws athena get-query-execution --query-execution-id \"$QUERY\" --query QueryExecution.Status.State --output text";
    let repeated = format!("for _ in $(seq 100); do {state} | grep SUCCEEDED && break; sleep 0.2; done");
    let athena = format!("aws --endpoint-url {} athena ", emulator().await.athena_endpoint);
    page.replacing(state, repeated).replacing("aws athena ", athena)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_aws_commands_work() {
    let chain = Chain::start(USERS).await;
    chain.put("source/users/a.csv", users(100, 1)).await.unwrap();
    let kept = chain.get("datasets.toml").await.unwrap();
    let database = async |name: &str| chain.glue.get_database().name(name).send().await.is_ok();

    // Adds a table, replaces it and rolls it back.
    let page = chain.follower("docs/tutorial-account.md").await.with("DATABASE", "dmp");
    let page = asking_athena(page).await;
    let page = page.replacing("Name=$DATABASE", "Name=first").replacing("source/users/users.csv", "source/users/a.csv");
    chain.put("datasets.toml", "").await.unwrap();
    page.follow("Deploy the stack", 1..2, &[]).await;
    assert!(database("first").await);
    fs::write(page.folder.join("users.csv"), users(100, 1)).unwrap();
    page.follow("Describe the table", 0..1, &[]).await;
    page.follow("Describe the table", 2..3, &[]).await;
    assert_eq!(chain.get("datasets.toml").await.unwrap(), kept);
    let told = page.follow("Export the table", 0..2, &[]).await;
    let first = chain.next("users", None).await;
    assert!(told.contains(" 0 faults") && told.contains(&first.to_string()), "{told}");
    page.follow("Export the table", 2..3, &[]).await;
    let told = page.follow("Query the table", 0..3, &[]).await;
    assert!(told.contains("SUCCEEDED\n100\n"), "{told}");
    let before = chain.live("users").await;
    fs::write(page.folder.join("users.csv"), users(110, 2)).unwrap();
    page.follow("Publish new rows and roll back", 0..2, &[]).await;
    chain.next("users", before.as_ref()).await;
    let told = page.follow("Publish new rows and roll back", 2..5, &[]).await;
    assert!(told.contains("+10"), "{told}");
    assert_eq!(chain.live("users").await, before);
    chain.put("source/users/a.csv", users(100, 1)).await.unwrap();
    page.finish("tests/tests/it/chain/pages.rs");

    // A bucket without events: new candidates wait.
    let policy = cli::workspace::root().join("infra/deployer.json");
    let page = chain.follower("docs/deploy.md").await;
    let page = page.with("ACCOUNT", &chain.account).with("REGION", cli::laptop::REGION).with("DATABASE", "second");
    let page = page.with("DEPLOYER", "arn:aws:iam::*:root").replacing("infra/deployer.json", policy.to_string_lossy());
    let policies = cli::workspace::root().join("infra/policies");
    let page = page.replacing("infra/policies", policies.to_string_lossy());
    let page = asking_athena(page).await.replacing("--work-group WORKGROUP", "--work-group primary");
    // The table is in the database that `datasets.toml` names.
    let page = page.replacing("\"Database=$DATABASE\"", "Database=dmp");
    let first = "From an empty account to the first query";
    page.follow(first, 0..1, &[]).await;
    let before = chain.live("users").await;
    chain.put("datasets.toml", "").await.unwrap();
    page.follow(first, 2..3, &[]).await;
    assert!(database("second").await);
    page.follow(first, 3..5, &[]).await;
    assert_eq!(chain.get("datasets.toml").await.unwrap(), kept);
    chain.next("users", before.as_ref()).await;
    let told = page.follow(first, 5..8, &[]).await;
    assert!(told.contains("SUCCEEDED\n100\n"), "{told}");
    let told = page.follow("Check the account", 0..1, &[]).await;
    assert!(told.contains("bucket-notifications") && told.contains(" 0 faults"), "{told}");
    let none = aws_sdk_s3::types::NotificationConfiguration::builder().build();
    let put = chain.s3.put_bucket_notification_configuration().bucket(&chain.bucket).notification_configuration(none);
    put.send().await.unwrap();
    page.follow("Use an existing bucket", 0..2, &[]).await;
    let told = page.follow("People and applications outside the stack", 0..1, &[]).await;
    assert!(told.contains("-partner"), "{told}");
    let before = chain.live("users").await;
    chain.ask("export", &json!({ "dataset": "users" })).await;
    let second = chain.next("users", before.as_ref()).await;
    fs::write(page.folder.join("ca.pem"), "a certificate").unwrap();
    page.follow("The certificates of databases", 0..1, &[]).await;
    assert_eq!(chain.get("tls/ca.pem").await.unwrap(), b"a certificate");
    page.follow("New objects in other buckets", 0..1, &[("SOURCE_BUCKET", &chain.bucket)]).await;
    let rule = page.follow("Workgroups and query results", 0..1, &[]).await;
    assert!(rule.contains("EngineVersion"), "{rule}");
    page.follow("Lake Formation", 0..3, &[]).await;
    page.finish("tests/tests/it/chain/pages.rs");

    // A trial beside an existing job creates a candidate that no reader sees.
    let page = chain.follower("docs/migration.md").await;
    page.follow("Try it on one table", 0..2, &[]).await;
    let status = chain.ask("flip", &json!({ "dataset": "users", "action": "status" })).await;
    assert_eq!(status["hold"]["reason"], "trying it out", "{status}");
    let newest = &status["generations"][0];
    assert_eq!((&newest["state"], &newest["live"]), (&json!("candidate"), &json!(false)), "{status}");
    let live = async || chain.paths("users").parse_generation(&chain.live("users").await.unwrap());
    assert_eq!(live().await, Some(second));
    page.finish("tests/tests/it/chain/pages.rs");

    // The whole migration, and the way back.
    chain.ask("flip", &json!({ "dataset": "users", "action": "release" })).await;
    let page = chain.follower("docs/migrate-glue.md").await;
    let told = page.follow("Build the first generation", 0..2, &[]).await;
    let third = told.split("exported ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a generation");
    page.follow("Switch", 0..2, &[("GENERATION", third)]).await;
    assert_eq!(live().await.map(|generation| generation.to_string()), Some(third.to_owned()));
    page.follow("Go back", 0..1, &[]).await;
    assert_eq!(live().await, Some(second));
    page.finish("tests/tests/it/chain/pages.rs");
}
