//! Runs a page's commands in a shell, word for word.

use std::{
    collections::BTreeSet,
    fs,
    ops::Range,
    path::PathBuf,
    process::{Output, Stdio},
    sync::Mutex,
};

use cli::workspace;
use tokio::process::Command;

use crate::{
    commands::{self, RunBy},
    page::Page,
};

/// The beginning of every script: defines `aws`, `cargo` and `turntable`. `aws` is version 1 of the AWS CLI, from PyPI.
/// For calls that the emulator lacks, the CLI only checks the arguments against the service's model. `cargo run` and
/// `turntable` run the binary that was built for these tests.
const PREAMBLE: &str = r#"
set -euo pipefail
aws() {
    case "$1 $2" in
        "lakeformation grant-permissions" | "sqs start-message-move-task") set -- "$@" --generate-cli-skeleton output ;;
    esac
    "$ROOT/.ci/tool" aws aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"
}
cargo() {
    [ "$1" = run ] || { echo "not cargo run: $*" >&2; exit 1; }
    shift
    if [ "${1-}" = --quiet ]; then shift; fi
    if [ "${1-}" = -- ]; then shift; fi
    exec "$TURNTABLE" "$@"
}
turntable() {
    "$TURNTABLE" "$@"
}
"#;

pub struct Follower {
    page: Page,
    /// The commands' working directory.
    pub folder: PathBuf,
    variables: Vec<(String, String)>,
    replaced: Vec<(String, String)>,
    followed: Mutex<BTreeSet<String>>,
}

impl Follower {
    /// Reads a page. Its commands run in `target/tmp/FOLDER`.
    pub fn of(page: &str, folder: &str) -> Follower {
        let target = workspace::target().expect("a target folder");
        let folder = target.join("tmp").join(folder);
        fs::create_dir_all(&folder).expect("a folder");
        let (variables, replaced, followed) = (Vec::new(), Vec::new(), Mutex::default());
        Follower { page: Page::read(page), folder, variables, replaced, followed }
            .with("ROOT", workspace::root().to_string_lossy())
            .with("TURNTABLE", target.join("debug/turntable").to_string_lossy())
    }

    /// Sets an environment variable of the commands.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Replaces an example value in the commands with the real one.
    pub fn replacing(mut self, example: &str, real: impl Into<String>) -> Self {
        self.replaced.push((example.into(), real.into()));
        self
    }

    /// Returns a script with some of the commands under a heading: those at the positions `which`. Counts them as
    /// followed.
    pub fn script(&self, heading: &str, which: Range<usize>) -> String {
        let told = &self.page.under(heading)[which];
        self.followed.lock().expect("no panic").extend(told.iter().map(|instruction| instruction.command.clone()));
        let mut script = told.iter().map(|instruction| instruction.command.as_str()).collect::<Vec<_>>().join("\n");
        for (example, real) in &self.replaced {
            script = script.replace(example, real);
        }
        let defined = self.page.text.find("    ask() {").map(|at| &self.page.text[at..]);
        let ask =
            defined.and_then(|rest| rest.split("\n    }").next()).map_or(String::new(), |body| format!("{body}\n}}"));
        format!("{PREAMBLE}{ask}\n{script}")
    }

    /// Returns a `bash` command that runs a script.
    pub fn shell(&self, script: &str, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(&self.folder).stdin(Stdio::null()).kill_on_drop(true);
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).envs(variables.iter().copied());
        command
    }

    /// Runs some of the commands under a heading: those at the positions `which`. Returns their output. Panics if one
    /// fails.
    pub async fn follow(&self, heading: &str, which: Range<usize>, variables: &[(&str, &str)]) -> String {
        let script = self.script(heading, which);
        let output = self.shell(&script, variables).output().await.expect("bash");
        told(&script, &output)
    }

    /// Like [`Follower::follow`], but doesn't panic if a command fails: returns the output and the exit status in any
    /// case.
    pub async fn run(&self, heading: &str, which: Range<usize>, variables: &[(&str, &str)]) -> Output {
        let script = self.script(heading, which);
        self.shell(&script, variables).output().await.expect("bash")
    }

    /// Panics unless all of the page's commands that tests/src/commands.rs assigns to this test have been followed.
    pub fn finish(&self, test: &str) {
        let followed = self.followed.lock().expect("no panic");
        let mine =
            |command: &String| matches!(commands::by(&self.page.path, command), Some(RunBy::Test(by)) if by == test);
        let all = self.page.instructions().into_iter().map(|instruction| instruction.command);
        let left: Vec<String> = all.filter(|command| mine(command) && !followed.contains(command)).collect();
        let page = &self.page.path;
        assert!(
            left.is_empty(),
            "{test} does not run these commands of {page}: add them, or name another test in tests/src/commands.rs: {left:#?}"
        );
    }
}

/// Returns a script's output. Panics if the script failed.
pub fn told(script: &str, output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}
