//! Breaks a stack in many ways, and follows docs/operate.md for each condition that `status` reports. Runs only the
//! commands in the section that the condition names, word for word, until nothing needs attention any more.

use std::{
    fs,
    ops::Range,
    sync::{Mutex, MutexGuard},
};

use aws_sdk_s3::types::{
    BucketVersioningStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, NotificationConfiguration,
    VersioningConfiguration,
};
use serde_json::{Value, json};
use tests::follow::Follower;

use super::{
    Chain, USERS,
    optout::{OPTOUTS, OUT, start},
    sqs, users,
};

/// The lifecycle rules from template.yaml, and the one for old versions from the runbook.
const LIFECYCLE: &str = r#"{"Rules": [
    {"ID": "answers", "Status": "Enabled", "Filter": {"Prefix": "_athena/"}, "Expiration": {"Days": 1}},
    {"ID": "drops", "Status": "Enabled", "Filter": {"Prefix": "_archive/"}, "Expiration": {"Days": 30}},
    {"ID": "uploads", "Status": "Enabled", "Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
    {"ID": "old-versions", "Status": "Enabled", "Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
]}"#;

struct Walk {
    chain: Chain,
    page: Follower,
    transcript: Mutex<String>,
}

impl Walk {
    fn transcript(&self) -> MutexGuard<'_, String> {
        self.transcript.lock().expect("no test panics with it")
    }

    async fn conditions(&self) -> Vec<Value> {
        let answer = self.chain.ask("flip", &json!({ "action": "status" })).await;
        let conditions = answer["conditions"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        let messages: Vec<&Value> = conditions.iter().map(|one| &one["message"]).collect();
        assert_eq!(json!(messages), answer["attention"]);
        conditions
    }

    /// Waits until exactly these conditions are reported. At least one must name the runbook section with this heading.
    async fn reported(&self, what: &str, heading: &str, ids: &[&str]) {
        let expected: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        let found = async || {
            let conditions = self.conditions().await;
            let mut found: Vec<String> = conditions.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
            found.sort();
            (found == expected).then_some(conditions)
        };
        let conditions = self.chain.until(&format!("the conditions {ids:?}"), found).await;
        let anchor = heading.to_lowercase().replace(' ', "-").replace(['\'', '?'], "");
        let named = conditions.iter().any(|one| one["runbook"] == format!("docs/operate.md#{anchor}"));
        assert!(named, "{anchor}: {conditions:?}");
        let mut transcript = self.transcript();
        *transcript += &format!("\n## {what}\n\n");
        for one in conditions {
            let since = one["since"].as_str().map(|since| format!(", since {since}")).unwrap_or_default();
            let (id, message, runbook) = (&one["id"], &one["message"], &one["runbook"]);
            *transcript += &format!("- {id}{since}, {runbook}: {message}\n");
        }
    }

    /// Runs some of the commands in a section.
    async fn follow(&self, heading: &str, which: Range<usize>, variables: &[(&str, &str)]) -> String {
        let told = self.page.follow(heading, which.clone(), variables).await;
        let commands = tests::page::Page::read("docs/operate.md").under(heading);
        let mut transcript = self.transcript();
        for instruction in &commands[which] {
            *transcript += &format!("\n    {}\n", instruction.command);
        }
        for (name, value) in variables {
            *transcript += &format!("    # {name}={value}\n");
        }
        told
    }

    async fn healed(&self) {
        let conditions = async || {
            let conditions = self.conditions().await;
            conditions.is_empty().then_some(())
        };
        self.chain.until("an empty attention", conditions).await;
        *self.transcript() += "\n`attention` is empty.\n";
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runbook_leads_from_each_condition_to_an_empty_attention() {
    let copy = USERS.replace("datasets.users", "datasets.copy");
    let datasets = format!("{USERS}checks = {{ max_shrink = 0.2 }}\n{OPTOUTS}");
    let chain = start(&format!("{datasets}{copy}")).await;
    chain.put("source/users/a.csv", users(100, 1)).await.unwrap();
    let page = chain.follower("docs/operate.md").await;
    let walk = Walk { chain, page, transcript: Mutex::default() };
    let chain = &walk.chain;
    chain.ask("optout", &json!({})).await;
    chain.ask("export", &json!({ "dataset": "copy" })).await;
    chain.next("copy", None).await;

    walk.reported("Nothing was exported", "No table yet", &["no-table:users"]).await;
    walk.follow("No table yet", 0..1, &[]).await;
    let first = chain.next("users", None).await;
    chain.ask("optout", &json!({})).await;
    walk.healed().await;

    let heading = "A table that no dataset publishes";
    chain.datasets(&datasets).await;
    walk.reported("A dataset was removed", heading, &["retired-table:dmp.copy"]).await;
    walk.follow(heading, 0..1, &[("DATABASE", "dmp"), ("TABLE", "copy")]).await;
    walk.healed().await;

    bucket_settings(&walk).await;

    let (heading, before) = ("Files of a live table were lost or added", chain.live("users").await);
    chain.put("source/users/a.csv", users(110, 2)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    let second = chain.next("users", before.as_ref()).await;
    let folder = chain.paths("users").generation(&second);
    for key in chain.keys(&folder.prefix).await {
        chain.s3.delete_object().bucket(&chain.bucket).key(&key).send().await.unwrap();
    }
    walk.reported("The live files were deleted", heading, &["damaged:users"]).await;
    let told = walk.follow(heading, 0..2, &[]).await;
    assert!(told.contains("swapped") && told.contains(&first.to_string()), "{told}");
    chain.until("110 rows", async || (chain.rows().await == 110).then_some(())).await;
    walk.healed().await;

    let heading = "Somebody else has edited a table";
    let mut input = turntable::aws::glue::unchanged(&chain.table("users").await.unwrap());
    input.storage_descriptor.as_mut().unwrap().columns.as_mut().unwrap().pop();
    chain.glue.update_table().database_name("dmp").table_input(input).send().await.unwrap();
    walk.reported("A column was removed in Glue", heading, &["edited:users"]).await;
    let live = chain.paths("users").parse_generation(&chain.live("users").await.unwrap()).unwrap();
    walk.follow(heading, 0..2, &[("GENERATION", &live.to_string())]).await;
    walk.healed().await;

    let heading = "Somebody else has moved a table";
    let old = tests::catalog::moved(&chain.table("users").await.unwrap(), &chain.paths("users").generation(&first));
    chain.glue.update_table().database_name("dmp").table_input(old).send().await.unwrap();
    walk.reported("The table was moved in Glue", heading, &["drift:users"]).await;
    walk.follow(heading, 0..2, &[("GENERATION", &live.to_string())]).await;
    walk.healed().await;

    let line = "opted_out,2026-01-01T00:00:00Z";
    chain.drop("a.csv", &format!("7,{line}\nseven,{line}\n")).await;
    chain.until_number(OUT, 1).await;
    walk.reported("A record was unreadable", "Rejected records", &["rejected-records:optouts"]).await;
    let rejected = chain.keys("inbox/optouts/_rejected/").await.remove(0);
    walk.follow("Rejected records", 0..3, &[("REJECTED", &rejected)]).await;
    walk.healed().await;

    let status = chain.ask("flip", &json!({ "dataset": "optouts", "action": "status" })).await;
    assert_eq!(status["inbox"]["matches"], json!([{ "table": "dmp.users", "out": 1, "unmatched": 0 }]), "{status}");

    let stray = format!("user_id,state,occurred_at\n8,{line}\n");
    chain.put("inbox/optout/b.csv", stray).await.unwrap();
    let heading = "Objects in no inbox";
    // The object's event becomes a dead letter only after three tries, which take more than an hour.
    let ids = ["stray-objects:inbox/optout/"];
    walk.reported("A drop was put into a folder that is no inbox", heading, &ids).await;
    walk.follow(heading, 0..1, &[("FOLDER", "inbox/optout/")]).await;
    chain.until_number(OUT, 2).await;
    walk.healed().await;

    let hold = json!({ "dataset": "users", "action": "hold", "reason": "a restore of the source" });
    chain.ask("flip", &hold).await;
    walk.reported("A dataset was held", "A dataset is held", &["held:users"]).await;
    let before = chain.live("users").await;
    walk.follow("A dataset is held", 0..2, &[]).await;
    chain.next("users", before.as_ref()).await;
    walk.healed().await;

    chain.put("source/users/a.csv", "not,a,table\n").await.unwrap();
    chain.ask("export", &json!({})).await;
    walk.reported("An export failed", "Dead letters", &["dead-letters:export", "export-failed:users"]).await;
    chain.put("source/users/a.csv", users(110, 3)).await.unwrap();
    let queue = chain.outputs["ExportDeadLettersUrl"].clone();
    let told = walk.follow("Dead letters", 0..2, &[]).await;
    assert!(told.contains("users"), "`status` has not hidden the message: {told}");
    let before = chain.live("users").await;
    let received: Value = serde_json::from_str(&told).unwrap();
    let receipt = received[0][2].as_str().unwrap();
    walk.follow("Dead letters", 2..4, &[("QUEUE", &queue), ("RECEIPT", receipt)]).await;
    chain.next("users", before.as_ref()).await;
    walk.healed().await;

    chain.put("source/users/a.csv", users(10, 4)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    walk.reported("A source was truncated", "Rejected", &["rejected:users"]).await;
    chain.put("source/users/a.csv", users(120, 4)).await.unwrap();
    let before = chain.live("users").await;
    walk.follow("Rejected", 2..3, &[]).await;
    chain.next("users", before.as_ref()).await;
    walk.healed().await;

    let heading = "A view that no inbox maintains";
    chain.datasets(&super::optout::unprotected(&datasets)).await;
    walk.reported("protects was removed", heading, &["unmaintained-view:dmp.users_protected"]).await;
    walk.follow(heading, 0..1, &[]).await;
    walk.healed().await;

    walk.page.finish("tests/tests/it/chain/runbook.rs");
    assert_eq!(sqs::depth(chain, &queue).await, (0, 0));
    if let Ok(file) = std::env::var("TRANSCRIPT") {
        fs::write(file, &*walk.transcript()).unwrap();
    }
}

/// Turns events off and versioning on, and adds a lifecycle rule that deletes everything.
async fn bucket_settings(walk: &Walk) {
    let (chain, heading) = (&walk.chain, "The bucket's settings");
    let (s3, bucket) = (&chain.s3, &chain.bucket);
    let none = NotificationConfiguration::builder().build();
    let put = s3.put_bucket_notification_configuration().bucket(bucket).notification_configuration(none);
    put.send().await.unwrap();
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    s3.put_bucket_versioning().bucket(bucket).versioning_configuration(enabled).send().await.unwrap();
    let rule = LifecycleRule::builder()
        .id("clean up")
        .status(aws_sdk_s3::types::ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("schemas/").build())
        .expiration(LifecycleExpiration::builder().days(7).build())
        .build();
    let rules = aws_sdk_s3::types::BucketLifecycleConfiguration::builder().rules(rule.unwrap()).build().unwrap();
    s3.put_bucket_lifecycle_configuration().bucket(bucket).lifecycle_configuration(rules).send().await.unwrap();
    chain.ask("sweep", &json!({})).await;
    let ids = ["lifecycle", "missing-rule", "notifications", "versioning"];
    let ids: Vec<String> = ids.iter().map(|subject| format!("bucket-{subject}:{bucket}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    walk.reported("The bucket's settings were changed", heading, &ids).await;
    let measured = chain.logs("sweep", 0).await.unwrap().iter().filter(|line| line["BucketSettings"] == 1.0).count();
    assert_eq!(measured, ids.len(), "the metric behind the alarm");
    let told = walk.follow(heading, 0..3, &[]).await;
    assert!(told.contains("clean up"), "{told}");
    fs::write(walk.page.folder.join("lifecycle.json"), LIFECYCLE).unwrap();
    walk.follow(heading, 3..5, &[]).await;
    walk.healed().await;
}
