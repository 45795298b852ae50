//! The program `turntable` without a stack: exit codes, messages, and the old name of the runner.

mod asking;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
};

use cli::workspace;

/// Runs a program that was built for the tests. Its environment has no stack and no credentials.
fn run(program: &str, words: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(workspace::target().unwrap().join("debug").join(program));
    command.args(words).env_clear().env("PATH", "/usr/bin:/bin").envs(variables.iter().copied()).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Environment variables with which no request can succeed: nothing listens at the endpoint, and no other source of
/// credentials is used.
const NOBODY: [(&str, &str); 4] = [
    ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
    ("AWS_REGION", "eu-west-1"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
    ("AWS_CONFIG_FILE", "/dev/null"),
];

#[test]
fn help_has_examples_and_exit_codes() {
    let (code, out, err) = run("turntable", &["--help"], &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for text in ["Examples:", "turntable rollback users", "Exit codes:", "\n  history "] {
        assert!(out.contains(text), "{text}: {out}");
    }
    let (code, _, err) = run("turntable", &["statsu"], &[]);
    assert_eq!(code, Some(2));
    assert!(err.contains("a similar subcommand exists: 'status'"), "{err}");
}

#[test]
fn without_a_stack_commands_say_so_in_one_line() {
    // No test runs a stack of this name.
    let (code, out, err) = run("turntable", &["status", "--stack", "nobodys-stack"], &[]);
    assert_eq!((code, out.as_str()), (Some(3), ""));
    assert!(err.starts_with("error: no local stack "), "{err}");
    assert!(err.contains("--stack") || err.contains("turntable up"), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn without_credentials_commands_say_so_in_one_line() {
    let (code, out, err) = run("turntable", &["status", "--aws"], &NOBODY);
    assert_eq!((code, out.as_str()), (Some(3), ""));
    assert!(err.starts_with("error: no AWS credentials were found: run `aws configure`"), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn invalid_requests_and_statements_are_refused_before_anything_is_sent() {
    let (code, _, err) = run("turntable", &["ask", "flip", "{dataset: users}", "--aws"], &NOBODY);
    assert_eq!(code, Some(1));
    assert!(err.starts_with("error: the request \"{dataset: users}\" is not JSON"), "{err}");
    let (code, _, err) = run("turntable", &["query", "DROP TABLE dmp.users", "--aws"], &NOBODY);
    assert_eq!(code, Some(1));
    assert_eq!(err, "error: expected a statement that only reads, found DROP; pass --write to run it anyway\n");
}

#[test]
fn nobody_reads_the_rest_of_the_output() {
    let turntable = workspace::target().unwrap().join("debug/turntable");
    let script =
        format!("set -o pipefail; for _ in 1 2 3; do '{}' generate completion zsh; done | true", turntable.display());
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 141)), "{:?}: {err}", output.status);
    assert_eq!(err, "");
}

#[test]
fn the_runners_old_name_runs_the_new_program_with_a_hint() {
    let folder = workspace::target().unwrap().join("tmp/old-name");
    fs::create_dir_all(&folder).unwrap();
    let cargo = folder.join("cargo");
    fs::write(&cargo, "#!/bin/sh\necho \"$@\"\n").unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let (code, out, err) = run("local", &["status", "lake", "--aws", "--json"], &[("CARGO", cargo.to_str().unwrap())]);
    assert_eq!(code, Some(0));
    assert!(
        out.starts_with("run --quiet --manifest-path ")
            && out.ends_with(" -- status --stack lake --aws --output json\n"),
        "{out}"
    );
    assert_eq!(
        err,
        "hint: `cargo run -p local` is going away: use `cargo run -- status --stack lake --aws --output json`\n"
    );
}
