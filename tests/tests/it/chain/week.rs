//! A week in which something breaks every day, and the commands in docs/operate.md, taken from the page, fix it.

use std::fs;

use serde_json::{Value, json};
use turntable::layout::Generation;

use super::{
    Chain, USERS, metrics,
    optout::{OPTOUTS, OUT},
    sqs, users,
};

impl Chain {
    pub(super) async fn rows(&self) -> u64 {
        self.number("SELECT count(*) FROM dmp.users").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_of_faults_is_fixed_by_the_pages_commands() {
    let datasets = format!("{USERS}checks = {{ max_shrink = 0.2 }}\nretain = {{ drain = \"1s\" }}\n{OPTOUTS}");
    let chain = Chain::start(&datasets).await.enforced().await;
    let live = async || chain.live("users").await;
    let export = json!({ "dataset": "users" });
    let sweep = async || chain.ask("sweep", &json!({})).await;
    let page = chain.follower("docs/operate.md").await;

    // Monday: the first export.
    chain.put("source/users/a.csv", users(100, 1)).await.unwrap();
    chain.ask("export", &export).await;
    let monday = chain.next("users", None).await;
    // The answer says that there are no opt-outs yet.
    let told = page.follow("Did last night work?", 0..1, &[]).await;
    // The CLI prints the call's status after the answer.
    let told: Value = serde_json::Deserializer::from_str(&told).into_iter().next().unwrap().unwrap();
    assert_eq!(told["attention"], json!(["optouts: no table, and nothing has been exported yet"]), "{told}");
    assert_eq!(told["datasets"][1]["live"], json!(monday), "{told}");
    let told = page.run("Did last night work?", 1..2, &[]).await;
    assert_eq!(told.status.code(), Some(1), "the opt-outs need a person: {told:?}");
    let told = String::from_utf8(told.stdout).unwrap();
    let line = |dataset: &str| told.lines().find(|line| line.starts_with(dataset)).unwrap_or_else(|| panic!("{told}"));
    assert!(line("users ").contains(&format!("{monday}   100 ")), "{told}");
    assert!(line("optouts ").ends_with("  no table yet"), "{told}");
    let told = page.follow("Did last night work?", 2..3, &[]).await;
    assert!(told.contains(&monday.to_string()) && told.contains("age_seconds"), "{told}");
    sweep().await;

    // Tuesday: the source was truncated. It is fixed, and later it shrinks for real.
    let before = live().await;
    chain.put("source/users/a.csv", users(10, 2)).await.unwrap();
    let cut = chain.ask("export", &export).await;
    let rejected = async || chain.lines("flip", "failed").await.pop();
    chain.until("a rejection", rejected).await;
    assert_eq!(chain.rows().await, 100);
    chain.put("source/users/a.csv", users(120, 2)).await.unwrap();
    let told = page.follow("Rejected", 0..3, &[]).await;
    assert!(told.contains("expected to lose at most 0.2") && told.contains(r#""dataset":"users""#), "{told}");
    assert!(told.contains(cut["generation"].as_str().unwrap()), "{told}");
    chain.next("users", before.as_ref()).await;
    assert_eq!(chain.rows().await, 120);
    chain.put("source/users/a.csv", users(50, 3)).await.unwrap();
    let shrunk = chain.ask("export", &export).await;
    chain.until("the second rejection", async || chain.lines("flip", "failed").await.get(1).cloned()).await;
    let shrinks = chain.datasets_file(&datasets.replace("0.2", "0.9"));
    fs::write(page.folder.join("datasets.toml"), shrinks).unwrap();
    let told = page.follow("Rejected", 3..5, &[("GENERATION", shrunk["generation"].as_str().unwrap())]).await;
    assert!(told.contains("swapped"), "{told}");
    assert_eq!(chain.rows().await, 50);
    sweep().await;

    // Wednesday: the source is unreadable when the schedule fires.
    let before = live().await;
    chain.put("source/users/a.csv", "not,a,table\n").await.unwrap();
    chain.ask("export", &json!({})).await;
    let letters = async || sqs::depth(&chain, &chain.outputs["ExportDeadLettersUrl"]).await;
    chain.until("a dead letter", async || (letters().await.0 == 1).then_some(())).await;
    let told = page.follow("Dead letters", 0..2, &[]).await;
    assert!(told.contains("users") && told.contains("source/users/a.csv"), "{told}");
    chain.put("source/users/a.csv", users(130, 4)).await.unwrap();
    let queue = chain.outputs["ExportDeadLettersUrl"].clone();
    let received: Value = serde_json::from_str(&told).unwrap();
    let receipt = received[0][2].as_str().unwrap();
    page.follow("Dead letters", 2..5, &[("QUEUE", &queue), ("RECEIPT", receipt)]).await;
    let wednesday = chain.next("users", before.as_ref()).await;
    assert_eq!((chain.rows().await, letters().await), (130, (0, 0)));
    sweep().await;

    // Thursday: drift.
    let old = chain.paths("users").generation(&shrunk["generation"].as_str().unwrap().parse().unwrap());
    let input = tests::catalog::moved(&chain.table("users").await.unwrap(), &old);
    chain.glue.update_table().database_name("dmp").table_input(input).send().await.unwrap();
    sweep().await;
    assert_eq!(chain.rows().await, 50);
    let wanted = wednesday.to_string();
    let told = page.follow("Somebody else has moved a table", 0..2, &[("GENERATION", &wanted)]).await;
    assert!(told.contains("drift: the table is at") && told.contains(&wanted), "{told}");
    assert_eq!(chain.rows().await, 130);
    sweep().await;

    // Friday: the live data is wrong, although it passed the audit.
    let told = page.follow("Going back", 0..2, &[]).await;
    assert!(told.contains(" → ") && told.contains("users is held: prices in the wrong currency"), "{told}");
    let back = live().await;
    chain.ask("export", &export).await;
    page.follow("Going back", 2..3, &[]).await;
    assert_eq!(live().await, back);
    chain.ask("export", &export).await;
    chain.next("users", back.as_ref()).await;
    sweep().await;

    // Saturday: somebody has deleted a data file of the live generation.
    let folder = live().await.unwrap();
    let key = chain.keys(&folder.prefix).await.remove(0);
    chain.s3.delete_object().bucket(&chain.bucket).key(&key).send().await.unwrap();
    let status = chain.ask("flip", &json!({ "action": "status" })).await;
    assert!(status["attention"].to_string().contains("readers miss rows, without an error"), "{status}");
    let told = page.follow("Files of a live table were lost or added", 0..2, &[]).await;
    assert!(told.contains("swapped"), "{told}");
    chain.until("130 rows", async || (chain.rows().await == 130).then_some(())).await;
    sweep().await;

    // Sunday: an unreadable record, and a person whose data must be removed completely.
    let line = "opted_out,2026-01-01T00:00:00Z";
    chain.drop("a.csv", &format!("7,{line}\nseven,{line}\n")).await;
    chain.until("the table", async || chain.table("optouts").await).await;
    chain.until_number(OUT, 1).await;
    let rejected = chain.keys("inbox/optouts/_rejected/").await.remove(0);
    let told = page.follow("Rejected records", 0..2, &[("REJECTED", &rejected)]).await;
    assert!(told.contains("not a whole number") && !told.contains("seven"), "{told}");
    chain.ask("flip", &json!({ "dataset": "optouts", "action": "hold", "reason": "the test" })).await;
    chain.drop("b.csv", "8,withdrawn,2026-01-01T00:00:00Z\n").await;
    chain
        .until("a refresh that is held", async || {
            chain.lines("optout", "refreshed").await.into_iter().find(|line| line["outcome"] == "Held")
        })
        .await;
    chain.ask("flip", &json!({ "dataset": "optouts", "action": "release" })).await;
    page.follow("An opt-out waits", 0..2, &[]).await;
    assert_eq!(chain.number(OUT).await, 2);
    chain.put("source/users/a.csv", users(129, 5)).await.unwrap();
    let before = live().await;
    page.follow("Removing a person completely", 0..1, &[]).await;
    chain.next("users", before.as_ref()).await;
    chain.datasets(&datasets.replace("0.2", "0.9").replace("drain", "generations = 0, drain")).await;
    // Candidates that never went live stay for `abandoned`, at least an hour.
    let gone = async || {
        page.follow("Removing a person completely", 1..2, &[]).await;
        let keys = chain.keys("schemas/users/").await;
        let there = |generation: &Generation| keys.iter().any(|key| key.contains(&format!("/{generation}/")));
        (!there(&monday) && !there(&wednesday)).then_some(())
    };
    chain.until("older generations to be gone", gone).await;
    let told: Value = chain.ask("flip", &json!({ "dataset": "users", "action": "status" })).await;
    assert_eq!(told["unflip"], Value::Null, "{told}");
    page.follow("Beyond max_age", 0..1, &[]).await;
    page.follow("Logs", 0..1, &[]).await;
    page.finish("tests/tests/it/chain/week.rs");

    // The dashboard shows the whole week.
    let drawn = metrics::dashboard(&chain).await;
    let missing = drawn.matches(">no data<").count();
    // The emulator doesn't count function errors, and these datasets read no database that could be unverified.
    assert_eq!(missing, 2, "{drawn}");
    for alarm in ["Rejected", "RejectedRecords", "Unflip"] {
        assert!(drawn.contains(&format!(">{alarm}: ALARM<")), "{alarm}\n{drawn}");
    }
    assert!(drawn.contains(">LiveAge: OK<"), "{drawn}");
}
