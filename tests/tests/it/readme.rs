//! Runs the commands of README and docs/tutorial-laptop.md on this machine: the story, the user's own database, and a
//! stack that stays up.

use std::{fs, process::Stdio, time::Duration};

use serde_json::Value;
use tests::{
    follow::{Follower, told},
    page::Page,
    postgres::Database,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

const PATIENCE: Duration = Duration::from_secs(300);
const TUTORIAL: &str = "docs/tutorial-laptop.md";
const OWN: &str = "Publish your own table";
const STACK: &str = "Keep a stack running";

/// Runs the story: builds go live, one is rejected, and readers see only complete tables.
async fn story(page: &Follower) {
    let text = page.follow("Turntable", 0..1, &[]).await;
    assert!(text.contains("reader's queries:") && text.contains(" 0 failed, 0 mixed"), "{text}");
    assert!(text.contains("rejected  ") && text.contains("rollback  "), "{text}");
    assert!(text.contains("new file  campaigns live after "), "{text}");
}

async fn story_as_json(page: &Follower) {
    let text = page.follow("Run the demo", 1..2, &[]).await;
    let json: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&json["reader"]["failed"], &json["reader"]["mixed"]), (&0.into(), &0.into()), "{json}");
    assert_eq!(json["datasets"].as_array().unwrap().len(), 4, "{json}");
    let seconds = |part: &str| json["refresh"][part].as_f64().unwrap();
    assert!(seconds("on_put_s") > 0.0 && seconds("after_s") > 0.0, "{json}");
}

/// Runs the page's datasets.toml on a database with the table that the file names.
async fn own_database(page: &Follower, server: &Database) {
    let sql = "CREATE TABLE customers AS SELECT i AS id, 'n' || i AS name, now() AS created_at FROM generate_series(1, 500) AS i";
    server.client().await.batch_execute(sql).await.unwrap();
    let blocks = Page::read(TUTORIAL).blocks();
    let block = blocks.iter().find(|block| block.lines.iter().any(|line| line == "[datasets.customers]"));
    let toml = &block.expect("the tutorial has a datasets.toml for a database").lines;
    fs::write(page.folder.join("datasets.toml"), toml.join("\n")).unwrap();
    let database = [("DATABASE_URL", server.url())];
    let database = database.each_ref().map(|(name, url)| (*name, url.as_str()));
    let reference = Follower::of("docs/datasets.md", "readme");
    for (page, heading) in [(page, OWN), (&reference, "datasets.toml")] {
        let text = page.follow(heading, 0..1, &database).await;
        assert!(text.contains("customers") && text.contains("created_at"), "{text}");
    }
    reference.finish("tests/tests/it/readme.rs");
    let text = page.follow(OWN, 1..2, &database).await;
    let row = text.lines().find(|line| line.starts_with("customers")).unwrap_or_else(|| panic!("{text}"));
    assert!(row.contains(" 500 ") && row.ends_with("live"), "{text}");
    let script = page.script(OWN, 2..3);
    let mut child = page.shell(&script, &database).stdout(Stdio::piped()).spawn().unwrap();
    let text = tokio::time::timeout(PATIENCE, greeting(&mut child)).await.expect("a greeting");
    assert!(text.contains("Your datasets are in place"), "{text}");
    interrupt(child).await;
}

/// Runs the commands that `up` prints, and checks that `up` exits successfully when it is interrupted.
async fn up(page: &Follower) {
    let script = page.script(STACK, 0..1);
    let mut child = page.shell(&script, &[]).stdout(Stdio::piped()).spawn().unwrap();
    let greeting = tokio::time::timeout(PATIENCE, greeting(&mut child)).await.expect("a greeting");
    let mut tries: Vec<&str> = greeting.lines().map(str::trim).collect();
    tries.retain(|line| ["export ", "aws ", "cargo run --quiet -- export"].iter().any(|word| line.starts_with(word)));
    assert_eq!(tries.len(), 5, "{greeting}");
    let script = tries.join("\n");
    let script = format!(
        "set -euo pipefail\naws() {{ \"$ROOT/.ci/tool\" aws aws \"$@\"; }}\ncargo() {{ shift 3; \"$TURNTABLE\" \"$@\"; }}\n{script}"
    );
    let output = page.shell(&script, &[]).output().await.unwrap();
    let text = told(&script, &output);
    assert!(text.contains("source/users/") && text.contains("queued: users"), "{text}");
    // The opt-outs have no table yet, so the exit code is 1.
    let standing = async || String::from_utf8(page.run(STACK, 1..2, &[]).await.stdout).unwrap();
    while !standing().await.lines().any(|line| line.starts_with("users ") && line.contains("100,000")) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let text = page.follow(STACK, 2..3, &[]).await;
    assert!(text.contains("bucket-notifications") && text.contains(" 0 faults"), "{text}");
    let text = page.follow(STACK, 3..4, &[]).await;
    assert!(text.lines().any(|line| line == "users"), "{text}");
    interrupt(child).await;
}

async fn interrupt(mut child: Child) {
    let id = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await.expect("an end").unwrap();
    assert!(ended.success(), "{ended}");
}

/// Returns what `up` prints, up to the line that says how to end it.
async fn greeting(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut text = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        text += &format!("{line}\n");
        if line.starts_with("Ctrl-C ends it") {
            return text;
        }
    }
    panic!("it ended: {text}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_readme_do_what_it_says() {
    let tools = local::Tools::prepare().await;
    tools.unwrap_or_else(|error| panic!("{error:#}"));
    let server = Database::create().await;
    let (page, tutorial) = (Follower::of("README.md", "readme"), Follower::of(TUTORIAL, "readme"));
    let others = async {
        own_database(&tutorial, &server).await;
        up(&tutorial).await;
    };
    tokio::join!(story(&page), story_as_json(&tutorial), others);
    page.finish("tests/tests/it/readme.rs");
    tutorial.finish("tests/tests/it/readme.rs");
}
