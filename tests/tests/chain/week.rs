//! A week in which something breaks every day, and is mended by docs/operate.md: its commands are taken from the page.

use std::{fs, process::Stdio};

use local::workspace;
use serde_json::{Value, json};
use tokio::process::Command;
use turntable::{aws::glue, name::Generation};

use crate::{
    chain::{Chain, USERS, users},
    metrics,
    optout::{OPTOUTS, OUT},
    sqs,
};

/// The commands under a heading: what is indented by at least four columns, each with its continuation lines.
fn commands(heading: &str) -> Vec<String> {
    let page = fs::read_to_string(workspace::root().join("docs/operate.md")).unwrap();
    let section = page.split("\n## ").flat_map(|part| part.split("\n### "));
    let section = section.into_iter().find(|section| section.lines().next() == Some(heading));
    let section = section.unwrap_or_else(|| panic!("docs/operate.md has no section {heading:?}"));
    let mut commands: Vec<String> = Vec::new();
    for line in section.lines().filter_map(|line| line.strip_prefix("    ")) {
        match commands
            .last_mut()
            .filter(|last| last.ends_with('\\') || line.starts_with("    ") && !line.trim().is_empty())
        {
            Some(last) => *last = format!("{last}\n{line}"),
            None => commands.push(line.trim().to_owned()),
        }
    }
    commands
}

/// `ask` as the page defines it, by version 1 of the AWS CLI, which PyPI has: it takes a payload as it is.
const PREAMBLE: &str = r#"
set -euo pipefail
aws() { "$ROOT/.ci/tool" aws aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }
"#;

impl Chain {
    /// What the commands of a heading print, one after the other in one shell.
    async fn follow(&self, heading: &str, which: std::ops::Range<usize>, variables: &[(&str, &str)]) -> String {
        let ask = fs::read_to_string(workspace::root().join("docs/operate.md")).unwrap();
        let ask = ask[ask.find("    ask() {").unwrap()..].split("\n    }").next().unwrap().to_owned() + "\n}";
        let ask = ask.replace("--cli-binary-format raw-in-base64-out ", "");
        let commands = commands(heading);
        let script = format!("{PREAMBLE}{ask}\n{}", commands[which].join("\n"));
        let folder = format!("{}/week-{}", env!("CARGO_TARGET_TMPDIR"), self.account);
        fs::create_dir_all(&folder).unwrap();
        let datasets = self.get("datasets.toml").await.unwrap();
        fs::write(format!("{folder}/datasets.toml"), datasets).unwrap();
        let output = Command::new("bash")
            .args(["-c", &script])
            .current_dir(folder)
            .env("ROOT", workspace::root())
            .env("STACK", &self.name)
            .env("BUCKET", &self.bucket)
            .env("AWS_ENDPOINT_URL", &crate::chain::emulator().await.endpoint)
            .env("AWS_ACCESS_KEY_ID", &self.account)
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_DEFAULT_REGION", local::REGION)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{script}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    async fn rows(&self) -> u64 {
        self.number("SELECT count(*) FROM dmp.users").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_of_faults_is_mended_by_the_page() {
    let datasets = format!("{USERS}checks = {{ max_shrink = 0.2 }}\nretain = {{ drain = \"1s\" }}\n{OPTOUTS}");
    let chain = Chain::start(&datasets).await;
    let live = async || chain.live("users").await;
    let export = json!({ "dataset": "users" });
    let sweep = async || chain.ask("sweep", &json!({})).await;

    // Monday: the first export.
    chain.put("source/users/a.csv", users(100, 1)).await.unwrap();
    chain.ask("export", &export).await;
    let monday = chain.next("users", None).await;
    let told = chain.follow("Did last night work?", 0..1, &[]).await;
    assert!(told.contains(&monday.to_string()) && told.contains("age_seconds"), "{told}");
    sweep().await;

    // Tuesday: the source was cut off. It is repaired, and later it has truly shrunk.
    let before = live().await;
    chain.put("source/users/a.csv", users(10, 2)).await.unwrap();
    let cut = chain.ask("export", &export).await;
    let rejected = async || chain.lines("flip", "failed").await.pop();
    chain.until("a rejection", rejected).await;
    assert_eq!(chain.rows().await, 100);
    chain.put("source/users/a.csv", users(120, 2)).await.unwrap();
    let told = chain.follow("Rejected", 0..2, &[]).await;
    assert!(told.contains(cut["generation"].as_str().unwrap()), "{told}");
    chain.next("users", before.as_ref()).await;
    assert_eq!(chain.rows().await, 120);
    chain.put("source/users/a.csv", users(50, 3)).await.unwrap();
    let shrunk = chain.ask("export", &export).await;
    chain.until("the second rejection", async || chain.lines("flip", "failed").await.get(1).cloned()).await;
    chain.datasets(&datasets.replace("0.2", "0.9")).await;
    let told = chain.follow("Rejected", 2..4, &[("GENERATION", shrunk["generation"].as_str().unwrap())]).await;
    assert!(told.contains("swapped"), "{told}");
    assert_eq!(chain.rows().await, 50);
    sweep().await;

    // Wednesday: the source cannot be read when the schedule fires.
    let before = live().await;
    chain.put("source/users/a.csv", "not,a,table\n").await.unwrap();
    chain.ask("export", &json!({})).await;
    let letters = async || sqs::depth(&chain, &chain.outputs["ExportDeadLettersUrl"]).await;
    chain.until("a dead letter", async || (letters().await.0 == 1).then_some(())).await;
    let told = chain.follow("Dead letters", 0..2, &[]).await;
    assert!(told.contains("users") && told.contains("source/users/a.csv"), "{told}");
    chain.put("source/users/a.csv", users(130, 4)).await.unwrap();
    let queue = chain.outputs["ExportDeadLettersUrl"].clone();
    chain.follow("Dead letters", 2..4, &[("QUEUE", &queue)]).await;
    let wednesday = chain.next("users", before.as_ref()).await;
    assert_eq!((chain.rows().await, letters().await), (130, (0, 0)));
    sweep().await;

    // Thursday: somebody else moves the table.
    let old = chain.home("users").generation(&shrunk["generation"].as_str().unwrap().parse().unwrap());
    let input = glue::moved(&chain.table("users").await.unwrap(), &old);
    chain.glue.update_table().database_name("dmp").table_input(input).send().await.unwrap();
    sweep().await;
    assert_eq!(chain.rows().await, 50);
    let wanted = wednesday.to_string();
    let told = chain.follow("Somebody else has moved a table", 0..2, &[("GENERATION", &wanted)]).await;
    assert!(told.contains("un-flipped") && told.contains(&wanted), "{told}");
    assert_eq!(chain.rows().await, 130);
    sweep().await;

    // Friday: what is live is wrong, although it passed.
    let told = chain.follow("Going back", 0..2, &[]).await;
    assert!(told.contains("swapped") && told.contains("held"), "{told}");
    let back = live().await;
    chain.ask("export", &export).await;
    chain.follow("Going back", 2..3, &[]).await;
    assert_eq!(live().await, back);
    chain.ask("export", &export).await;
    chain.next("users", back.as_ref()).await;
    sweep().await;

    // Saturday: somebody has deleted a data file of what is live.
    let folder = live().await.unwrap();
    let key = chain.keys(&folder.prefix).await.remove(0);
    chain.s3.delete_object().bucket(&chain.bucket).key(&key).send().await.unwrap();
    let told = chain.follow("An object of a generation was deleted", 0..2, &[]).await;
    assert!(told.contains("swapped"), "{told}");
    chain.until("130 rows", async || (chain.rows().await == 130).then_some(())).await;
    sweep().await;

    // Sunday: a drop that cannot be understood, and a person who wants to be gone altogether.
    let line = "opted_out,2026-01-01T00:00:00Z";
    chain.drop("a.csv", &format!("7,{line}\nseven,{line}\n")).await;
    chain.until("the table", async || chain.table("optouts").await).await;
    chain.until_number(OUT, 1).await;
    let rejected = chain.keys("inbox/optouts/_rejected/").await.remove(0);
    let told = chain.follow("Rejected records", 0..2, &[("REJECTED", &rejected)]).await;
    assert!(told.contains("not a whole number") && !told.contains("seven"), "{told}");
    chain.ask("flip", &json!({ "dataset": "optouts", "action": "hold", "reason": "the test" })).await;
    chain.drop("b.csv", "8,withdrawn,2026-01-01T00:00:00Z\n").await;
    chain
        .until("a refresh that is held", async || {
            chain.lines("optout", "refreshed").await.into_iter().find(|line| line["outcome"] == "Held")
        })
        .await;
    chain.ask("flip", &json!({ "dataset": "optouts", "action": "release" })).await;
    chain.follow("An opt-out waits", 0..2, &[]).await;
    assert_eq!(chain.number(OUT).await, 2);
    chain.put("source/users/a.csv", users(129, 5)).await.unwrap();
    let before = live().await;
    chain.follow("Removing a person completely", 0..1, &[]).await;
    chain.next("users", before.as_ref()).await;
    chain.datasets(&datasets.replace("0.2", "0.9").replace("drain", "generations = 0, drain")).await;
    // Candidates that never went live stay for `abandoned`, an hour at the least.
    let gone = async || {
        chain.follow("Removing a person completely", 1..2, &[]).await;
        let keys = chain.keys("schemas/users/").await;
        let there = |generation: &Generation| keys.iter().any(|key| key.contains(&format!("/{generation}/")));
        (!there(&monday) && !there(&wednesday)).then_some(())
    };
    chain.until("older generations to be gone", gone).await;
    let told: Value = chain.ask("flip", &json!({ "dataset": "users", "action": "status" })).await;
    assert_eq!(told["unflip"], Value::Null, "{told}");
    chain.follow("Beyond max_age", 0..1, &[]).await;

    // The dashboard has seen all of it.
    let drawn = metrics::dashboard(&chain).await;
    let missing = drawn.matches(">no data<").count();
    assert_eq!(missing, 1, "all but the errors of functions, which the emulator does not count:\n{drawn}");
    for alarm in ["Rejected", "RejectedRecords", "Unflip"] {
        assert!(drawn.contains(&format!(">{alarm}: ALARM<")), "{alarm}\n{drawn}");
    }
    assert!(drawn.contains(">LiveAge: OK<"), "{drawn}");
}
