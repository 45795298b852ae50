//! Runs README's commands on this machine: the story, the user's own database, and a stack that stays up.

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

/// Runs the story: builds go live, one is rejected, and readers see only complete tables.
async fn story(page: &Follower) {
    let text = page.follow("Turntable", 0..1, &[]).await;
    assert!(text.contains("reader's queries:") && text.contains(" 0 failed, 0 mixed"), "{text}");
    assert!(text.contains("rejected  ") && text.contains("rollback  "), "{text}");
    assert!(text.contains("put       its table is live after "), "{text}");
}

async fn story_as_json(page: &Follower) {
    let text = page.follow("See it work", 0..1, &[]).await;
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
    let blocks = Page::read("README.md").blocks();
    let block = blocks.iter().find(|block| block.lines.iter().any(|line| line == "[datasets.customers]"));
    let lines = block.expect("README has a datasets.toml for a database").lines.iter();
    let toml: Vec<&str> = lines.map(String::as_str).filter(|line| !line.contains("cargo run")).collect();
    fs::write(page.folder.join("datasets.toml"), toml.join("\n")).unwrap();
    let text = page.follow("Try it on your own database", 0..1, &[]).await;
    let row = text.lines().find(|line| line.starts_with("customers")).unwrap_or_else(|| panic!("{text}"));
    assert!(row.contains(" 500 ") && row.ends_with("live"), "{text}");
    // The other commands use the same file, with the database in the environment.
    let script = page.script("Try it on your own database", 1..2);
    let mut child = page.shell(&script, &[]).stdout(Stdio::piped()).spawn().unwrap();
    let text = tokio::time::timeout(PATIENCE, greeting(&mut child)).await.expect("a greeting");
    assert!(text.contains("Your datasets are in place"), "{text}");
    interrupt(child).await;
    let database = [("DATABASE_URL", server.url())];
    let database = database.each_ref().map(|(name, url)| (*name, url.as_str()));
    let text = page.follow("See it work", 1..2, &database).await;
    assert!(text.contains("customers"), "{text}");
    let reference = Follower::of("docs/datasets.md", "readme");
    for (page, heading, at) in [(page, "Add a table", 1), (&reference, "datasets.toml", 0)] {
        let text = page.follow(heading, at..at + 1, &database).await;
        assert!(text.contains("customers") && text.contains("created_at"), "{text}");
    }
    reference.finish("tests/tests/it/readme.rs");
}

/// Runs the commands that `up` prints, and checks that `up` exits successfully when it is interrupted.
async fn up(page: &Follower) {
    let script = page.script("See it work", 2..3);
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
    let standing = async || String::from_utf8(page.run("See it work", 3..4, &[]).await.stdout).unwrap();
    while !standing().await.lines().any(|line| line.starts_with("users ") && line.contains("100,000")) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let text = page.follow("See it work", 4..5, &[]).await;
    assert!(text.contains("bucket-notifications") && text.contains(" 0 faults"), "{text}");
    let text = page.follow("See it work", 5..6, &[]).await;
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
    let page = Follower::of("README.md", "readme").replacing("postgres://me:secret@127.0.0.1:5432/shop", server.url());
    let others = async {
        own_database(&page, &server).await;
        up(&page).await;
    };
    tokio::join!(story(&page), story_as_json(&page), others);
    page.finish("tests/tests/it/readme.rs");
}
