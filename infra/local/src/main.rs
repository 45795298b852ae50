//! `cargo run -p local`: what the program `turntable` was called in version 0.1. It translates the old command line, prints
//! a hint, and runs `cargo run` in its place. It will be removed after the next release.

use std::{
    env,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use client::workspace;

fn main() -> ExitCode {
    let words = translated(&env::args().skip(1).collect::<Vec<_>>());
    let shown: String = words.iter().map(|word| format!(" {word}")).collect();
    eprintln!("hint: `cargo run -p local` is going away: use `cargo run --{shown}`");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    let manifest = workspace::root().join("Cargo.toml");
    command.args(["run", "--quiet", "--manifest-path"]).arg(manifest.canonicalize().unwrap_or(manifest));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    // The new process replaces this one, so signals reach it.
    let error = command.arg("--").args(words).exec();
    eprintln!("error: cannot run cargo: {error}");
    ExitCode::FAILURE
}

/// Translates the old words into those of `turntable`.
fn translated(old: &[String]) -> Vec<String> {
    let (mut words, mut file, mut json) = (Vec::new(), None, false);
    let mut rest = old.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--json" => json = true,
            "--datasets" => file = rest.next().cloned(),
            other => match other.strip_prefix("--datasets=") {
                Some(path) => file = Some(path.to_owned()),
                None => words.push(word.clone()),
            },
        }
    }
    let first = words.first().cloned();
    match (first.as_deref(), file) {
        (None, None) => words.push("demo".into()),
        (None, Some(file)) => words.extend(["run".into(), file]),
        (Some("new-dataset"), _) => words[0] = "new".into(),
        (Some("status" | "doctor"), _) => {
            if let Some(at) = words.iter().skip(1).position(|word| !word.starts_with('-')) {
                words.insert(at + 1, "--stack".into());
            }
        }
        (_, file) => words.extend(file),
    }
    if json {
        words.extend(["--output".into(), "json".into()]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_command_lines_keep_their_meaning() {
        for (old, new) in [
            ("", "demo"),
            ("--json", "demo --output json"),
            ("--datasets d.toml", "run d.toml"),
            ("--json --datasets=d.toml", "run d.toml --output json"),
            ("up --datasets d.toml", "up d.toml"),
            ("up --json", "up --output json"),
            ("new-dataset --append URL users", "new --append URL users"),
            ("status", "status"),
            ("status lake --aws", "status --stack lake --aws"),
            ("doctor --aws lake --json", "doctor --aws --stack lake --output json"),
            ("check d.toml --aws", "check d.toml --aws"),
            ("--help", "--help"),
        ] {
            let old: Vec<String> = old.split_whitespace().map(str::to_owned).collect();
            assert_eq!(translated(&old).join(" "), new, "{old:?}");
        }
        assert_eq!(translated(&["query".into(), "SELECT 1".into()]), ["query", "SELECT 1"]);
    }
}
