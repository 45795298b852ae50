//! The program `turntable` on a deployed stack: the commands of docs/cli.md, their exact output and exit codes.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::process::Command;

use super::{Chain, USERS, emulator, users};

/// What a command printed, and its exit code.
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Chain {
    /// Runs `turntable … --aws --stack NAME` with this stack's credentials.
    pub async fn turntable(&self, words: &[&str]) -> Ended {
        let program = cli::workspace::target().unwrap().join("debug/turntable");
        let mut command = Command::new(program);
        command.args(words).args(["--aws", "--stack", &self.name]).env_clear();
        command.envs([
            ("AWS_ENDPOINT_URL", emulator().await.endpoint.as_str()),
            ("AWS_ENDPOINT_URL_ATHENA", emulator().await.athena_endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", &self.account),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", cli::laptop::REGION),
        ]);
        let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().await.unwrap();
        let (out, err) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        Ended { code: status.code(), out, err }
    }

    /// Returns a folder for Athena's results, because the emulator's workgroup has none.
    pub fn results(&self) -> String {
        format!("s3://{}/athena/", self.scratch)
    }

    pub async fn exactly(&self, words: &[&str], code: i32, out: &str) {
        let ended = self.turntable(words).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(code), out), "{words:?}: {}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_is_operated_from_the_command_line() {
    let chain = Chain::start(&format!("{USERS}checks = {{ max_shrink = 0.2 }}\n")).await;
    let options = format!(" --stack {} --aws", chain.name);

    // Nothing is exported yet.
    let ended = chain.turntable(&["status"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.out.contains("no table yet"), "{}", ended.out);
    chain.exactly(&["history", "users"], 0, "users has no complete generation\n").await;

    // The first generation goes live.
    chain.put("source/users/a.csv", users(100, 1)).await.unwrap();
    let ended = chain.turntable(&["export", "users"]).await;
    let first = chain.next("users", None).await.to_string();
    let location = chain.paths("users").generation(&first.parse().unwrap());
    let expected = format!(
        "users: exported {first} of 100 rows to {location}\nits audit and flip follow: see `turntable status users{options}`\n"
    );
    assert_eq!((ended.code, ended.out), (Some(0), expected), "{}", ended.err);
    let before = chain.live("users").await;
    chain.put("source/users/a.csv", users(110, 2)).await.unwrap();
    chain.turntable(&["export", "users"]).await;
    let second = chain.next("users", before.as_ref()).await.to_string();
    let ended = chain.turntable(&["status"]).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    let ended = chain.turntable(&["history", "users"]).await;
    let lines: Vec<&str> = ended.out.lines().collect();
    assert!(lines[1].starts_with(&format!("{second}  live")) && lines[1].contains("  110  "), "{}", ended.out);
    assert!(lines[2].starts_with(&first) && lines[2].contains("  replaced  "), "{}", ended.out);

    let ended = chain.turntable(&["diff", "users", &first, &second]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let lines: Vec<Vec<&str>> = ended.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["users:", &first, "→", &second]);
    assert_eq!(lines[3], ["rows", "100", "110", "+10"]);
    let names: Vec<&str> = ended.out.lines().skip(8).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["id", "name", "points", "joined"], "{}", ended.out);

    // Nobody can be asked, so nothing changes.
    let ended = chain.turntable(&["rollback", "users"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""));
    let lines: Vec<&str> = ended.err.lines().collect();
    assert!(lines[0].starts_with("who   arn:aws:"), "{}", ended.err);
    assert!(lines[0].ends_with(&format!(", on stack {} in {}", chain.name, cli::laptop::REGION)), "{}", ended.err);
    let expected = [
        "what  roll back users".to_owned(),
        format!("from  {second} (110 rows)"),
        format!("to    {first} (100 rows)"),
        format!("undo  turntable flip users {second}{options}"),
        "error: standard input is not a terminal, so you can't confirm this: pass --yes instead".to_owned(),
    ];
    assert_eq!(lines[1..], expected);
    assert_eq!(chain.rows().await, 110);

    // A rollback, a hold that keeps the next flip off, and the way back.
    let expected = format!("users: {second} → {first}\nundo  turntable flip users {second}{options}\n");
    chain.exactly(&["rollback", "users", "--yes", "--reason", "wrong prices"], 0, &expected).await;
    assert_eq!(chain.rows().await, 100);
    let expected = format!("users is held: a restore\nundo  turntable release users{options}\n");
    chain.exactly(&["hold", "users", "--reason", "a restore"], 0, &expected).await;
    let ended = chain.turntable(&["status", "users"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(
        ended.out.contains("  held       since ") && ended.out.contains("by rollback: wrong prices"),
        "{}",
        ended.out
    );
    chain.exactly(&["release", "users"], 0, "users is released; the next export may go live\n").await;
    let ended = chain.turntable(&["flip", "users", &second, "--yes", "-o", "json"]).await;
    let answer: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&answer["outcome"], &answer["live"]), (&json!("swapped"), &json!(second)));
    let expected = format!("users: {second} stays live (already live)\n");
    chain.exactly(&["flip", "users", &second, "--yes"], 0, &expected).await;

    // A function's error is the command's.
    let ended = chain.turntable(&["history", "nobody"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    assert_eq!(ended.err, "error: Input: no dataset \"nobody\" is configured, expected one of users\n");
    let ended = chain.turntable(&["ask", "flip", r#"{"action": "statuss"}"#]).await;
    assert_eq!(ended.code, Some(1));
    let expected = "error: Input: unknown action \"statuss\": expected one of rollback, hold, release, retire, rename, move, status\n";
    assert_eq!(ended.err, expected);

    // Other stacks are not there.
    let mut other = Chain::turntable(&chain, &["status", "--stack", "nobodys"]).await;
    assert_eq!(other.code, Some(2), "--stack is given twice: {}", other.err);
    let page = chain.follower("docs/cli.md").await.with("TURNTABLE_STACK", "nobodys");
    let output = page.shell("\"$TURNTABLE\" status --aws", &[]).output().await.unwrap();
    other = Ended { code: output.status.code(), out: String::new(), err: String::from_utf8(output.stderr).unwrap() };
    let expected = "error: no stack nobodys was found: check --stack, --profile and --region, or deploy it first\n";
    assert_eq!((other.code, other.err.as_str()), (Some(3), expected));
    page_commands(&chain).await;
}

/// Follows the commands of docs/cli.md.
async fn page_commands(chain: &Chain) {
    let page = chain.follower("docs/cli.md").await;
    let heading = "Examples";
    page.follow(heading, 0..1, &[]).await;
    let before = chain.live("users").await;
    page.follow(heading, 1..2, &[]).await;
    let newest = chain.next("users", before.as_ref()).await.to_string();
    let told = page.follow(heading, 2..12, &[("GENERATION", &newest), ("RESULTS", &chain.results())]).await;
    assert!(told.contains("keys (id): 0 went, 0 came\n"), "{told}");
    assert!(told.contains("is held: prices") && told.contains("would delete 0 bytes"), "{told}");
    assert_eq!(chain.live("users").await, Some(chain.paths("users").generation(&newest.parse().unwrap())));
    page.finish("tests/tests/it/chain/command_line.rs");
}
