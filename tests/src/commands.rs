//! Every command in the Markdown pages, and the test or CI step that runs it. `tests/tests/it/pages` fails if this list
//! and a page differ.

use crate::instruction::program;

/// What runs a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunBy {
    /// A test in this file reads the command from the page and runs it.
    Test(&'static str),
    /// CI runs `file`, and `text` is the part of it that runs the command.
    Check { file: &'static str, text: &'static str },
    /// Nothing runs the command, for this reason.
    Nobody(&'static str),
}

use RunBy::{Check, Nobody, Test};

const ACCOUNT: RunBy =
    Nobody("needs an AWS account; infra/test_template.py and the chain tests deploy the same template elsewhere");
const LAMBDA: RunBy =
    Nobody("needs cargo-lambda, half a gigabyte with its compiler; the chain tests invoke with the same events");
const LONG: RunBy = Nobody("a measurement of many minutes, which a person starts");
const CHAIN: RunBy = Test("tests/tests/it/chain/pages.rs");
const COMMAND_LINE: RunBy = Test("tests/tests/it/chain/command_line.rs");
const CONSOLE: RunBy = Check { file: "infra/cli/test_console.py", text: "[TURNTABLE, \"console\"" };
const LEAVING: RunBy = Test("tests/tests/it/chain/leaving.rs");
const WEEK: RunBy = Test("tests/tests/it/chain/week.rs");
const RETIRE: RunBy = Test("tests/tests/it/chain/retire.rs");
const RUNBOOK: RunBy = Test("tests/tests/it/chain/runbook.rs");
const LAPTOP: RunBy = Test("tests/tests/it/readme.rs");
/// The page has the code blocks of the English page, whose commands are tested.
const TRANSLATED: RunBy = Check { file: "docs/test_pages.py", text: "def test_a_translation_has_the_code_of_the_page" };
const TESTS: RunBy = Check { file: ".ci/run", text: "cargo test --workspace" };
const MODEL: RunBy = Check { file: "justfile", text: "cargo test -p model -- --nocapture" };
const SOAK: RunBy = Check { file: "justfile", text: "cargo run --example soak -- {{seconds}}" };
const APPLIES: RunBy =
    Check { file: "infra/terraform/test_chain.py", text: "follow(\"examples/terraform/README.md\", tries=1)" };
const REMOVES: RunBy = Check { file: "infra/terraform/test_chain.py", text: "follow(\"docs/terraform.md\")" };
const APPLIED: RunBy = Nobody("needs an AWS account; infra/terraform/test_chain.py exports the same datasets");
const HELD: RunBy = Nobody("tests/tests/it/optout/hostile.rs sends the same request in process");
const INSTALLS: RunBy = Check { file: "infra/test_release.py", text: "follow(\"docs/install.md\"" };
const EXAMPLES: RunBy = Check { file: "tests/tests/it/reference/examples.rs", text: "join(\"examples\")" };
const PLAN: RunBy = Nobody("needs a state of the reader's own; infra/terraform/test_plan.py plans the same module");

/// Page, command, and what runs it. A command that ends with `…` stands for all of the page's commands that start with
/// it.
const COMMANDS: &[(&str, &str, RunBy)] = &[
    ("CONTRIBUTING.md", ".ci/tool lint just check", Check { file: ".ci/run", text: ".ci/tool lint just" }),
    ("CONTRIBUTING.md", "just quick", Nobody("CI runs all these tests, with all their schedules")),
    ("CONTRIBUTING.md", "cargo test -p turntable-core decision::", TESTS),
    ("CONTRIBUTING.md", "just mutants hold", Check { file: ".github/workflows/nightly.yaml", text: "just mutants" }),
    ("CONTRIBUTING.md", "cargo lambda …", LAMBDA),
    ("README.md", "cargo run", LAPTOP),
    ("bench/README.md", "just bench --rows …", LONG),
    (
        "bench/README.md",
        "python3 bench/markdown.py …",
        Check { file: "docs/test_benchmarks.py", text: "\"bench/markdown.py\"" },
    ),
    ("bench/README.md", "just bench-smoke", Check { file: ".github/workflows/nightly.yaml", text: "just bench-smoke" }),
    ("README.ja.md", "cargo run", TRANSLATED),
    ("docs/cli.md", "turntable …", COMMAND_LINE),
    ("docs/benchmarks.md", "git worktree add ../before COMMIT", LONG),
    ("docs/benchmarks.md", "cargo build --release -p bench …", LONG),
    ("docs/benchmarks.md", "cargo run --release -p bench…", LONG),
    (
        "docs/benchmarks.md",
        "python3 bench/markdown.py …",
        Check { file: "docs/test_benchmarks.py", text: "\"bench/markdown.py\"" },
    ),
    ("docs/console.md", "turntable console…", CONSOLE),
    ("docs/contract.md", "just contract-aws …", ACCOUNT),
    (
        "docs/database-login.md",
        "aws secretsmanager …",
        Nobody("stores a password in an account; tests/tests/it/postgres/failures.rs reads secrets of this form"),
    ),
    ("docs/datasets.md", "cargo run -- check datasets.toml", LAPTOP),
    ("docs/deploy.md", "git clone …", Nobody("a clone is where the tests run")),
    (
        "docs/deploy.md",
        "aws cloudformation package …",
        Nobody("uploads to S3, as `sam package` does, which infra/test_release.py runs"),
    ),
    ("docs/deploy.md", "gh attestation …", Nobody("asks GitHub for what only its release workflow signs")),
    ("docs/deploy.md", "sam build && sam deploy --guided", ACCOUNT),
    (
        "docs/deploy.md",
        "sam deploy …",
        Nobody("needs an AWS account; infra/test_release.py has SAM package such a folder"),
    ),
    ("docs/deploy.md", "sha256sum …", Check { file: "infra/test_release.py", text: "\"sha256sum\", \"--check\"" }),
    ("docs/deploy.md", "sam build && sam deploy --stack-name …", ACCOUNT),
    ("docs/deploy.md", "aws …", CHAIN),
    ("docs/deploy.md", "QUERY=…", CHAIN),
    ("docs/deploy.md", "turntable …", CHAIN),
    (
        "docs/engines.md",
        "POSTGRES_URL=…",
        Nobody("needs two databases and Java; tests/tests/it/chain/engines.rs runs the same jobs"),
    ),
    ("docs/groups.md", "aws s3 cp …", Nobody("reads one object, which tests/tests/it/chain/groups.rs reads too")),
    ("docs/groups.md", "GROUP=30 …", LONG),
    ("docs/install.md", "sha256sum …", INSTALLS),
    ("docs/install.md", "tar …", INSTALLS),
    ("docs/install.md", "python3 -m venv V", INSTALLS),
    ("docs/install.md", "V/bin/…", INSTALLS),
    ("docs/install.md", "gh attestation …", Nobody("asks GitHub for what only its release workflow signs")),
    (
        "docs/install.md",
        "cargo binstall …",
        Nobody("there is no release to download; infra/test_release.py compares the names in the manifest"),
    ),
    ("docs/install.md", "cargo build --release -p cli …", LONG),
    ("docs/install.md", "python3 bench/program.py …", LONG),
    (
        "docs/install.md",
        "cargo install …",
        Nobody("builds a release for minutes; the chain tests run the same program"),
    ),
    ("docs/ja/migrate-glue.md", "turntable …", TRANSLATED),
    ("docs/ja/tutorial-account.md", "QUERY=…", TRANSLATED),
    ("docs/ja/tutorial-account.md", "aws …", TRANSLATED),
    ("docs/ja/tutorial-account.md", "sam …", TRANSLATED),
    ("docs/ja/tutorial-account.md", "turntable …", TRANSLATED),
    ("docs/ja/tutorial-laptop.md", "cargo run…", TRANSLATED),
    (
        "docs/migrate-glue.md",
        "turntable check datasets.toml …",
        Nobody("needs the file of the page; tests/tests/it/chain/adopted/mod.rs checks files against live tables"),
    ),
    ("docs/migrate-glue.md", "turntable …", CHAIN),
    ("docs/leave.md", "aws …", LEAVING),
    ("docs/leave.md", "turntable …", LEAVING),
    ("docs/migration.md", "turntable …", CHAIN),
    (
        "docs/operate.md",
        "turntable check datasets.toml",
        Nobody("tests/tests/it/readme.rs runs README's, which is the same"),
    ),
    ("docs/operate.md", "aws glue …", RUNBOOK),
    ("docs/operate.md", "aws s3 mv …", RUNBOOK),
    ("docs/operate.md", "aws s3 rm …", RUNBOOK),
    ("docs/operate.md", "aws s3api …", RUNBOOK),
    ("docs/operate.md", "ask sweep '{}'", RUNBOOK),
    ("docs/operate.md", "ask flip '{\"dataset\": \"users\", \"action\": \"rename\"…", RETIRE),
    ("docs/operate.md", "ask flip '{\"dataset\": \"users\", \"action\": \"move\"…", RETIRE),
    ("docs/operate.md", "ask flip '{\"dataset\": \"orders\", \"action\": \"retire\"…", RETIRE),
    ("docs/operate.md", "ask flip '{\"dataset\": \"users\", \"action\": \"release\"}'", RUNBOOK),
    ("docs/operate.md", "ask optout '{\"dataset\": \"optouts\", \"max_returning\"…", HELD),
    ("docs/operate.md", "aws s3 ls --recursive \"s3://$BUCKET/inbox/optouts/\"", HELD),
    ("docs/operate.md", "aws …", WEEK),
    ("docs/operate.md", "ask …", WEEK),
    ("docs/operate.md", "turntable …", WEEK),
    ("docs/operate.md", "QUEUE=…", WEEK),
    ("docs/terraform.md", "terraform …", REMOVES),
    ("docs/testing.md", "just model", MODEL),
    ("docs/testing.md", "just soak SECONDS", SOAK),
    ("docs/testing.md", "cargo run --example soak -- SECONDS", SOAK),
    ("docs/tutorial-account.md", "sam build && sam deploy --stack-name …", ACCOUNT),
    (
        "docs/tutorial-account.md",
        "turntable check datasets.toml",
        Nobody("tests/tests/it/readme.rs runs docs/tutorial-laptop.md's, which is the same"),
    ),
    ("docs/tutorial-account.md", "QUERY=…", CHAIN),
    ("docs/tutorial-account.md", "aws …", CHAIN),
    ("docs/tutorial-account.md", "turntable …", CHAIN),
    ("docs/tutorial-laptop.md", "cargo run", Nobody("tests/tests/it/readme.rs runs README's, which is the same")),
    ("docs/tutorial-laptop.md", "cargo run -- …", LAPTOP),
    ("examples/README.md", "cargo run -p local -- check examples/files/datasets.toml", EXAMPLES),
    ("examples/files/README.md", "aws …", APPLIED),
    ("examples/terraform/README.md", "aws …", APPLIED),
    ("examples/terraform/README.md", "terraform …", APPLIES),
    ("infra/local/athena/README.md", "python -m venv V…", Check { file: ".ci/tool", text: "python3 -m venv" }),
    (
        "infra/local/athena/README.md",
        "AWS_ENDPOINT_URL=…",
        Check { file: "infra/local/src/emulator.rs", text: "turntable_athena" },
    ),
    ("infra/terraform/README.md", "terraform …", PLAN),
];

/// Returns what runs a page's command, or `None` if the list lacks it. `cargo test --workspace …` needs no entry: CI
/// runs all tests, and a variable before the command only changes how much a test does.
pub fn by(page: &str, command: &str) -> Option<RunBy> {
    let listed = entries().find(|entry| entry.0 == page && matches(entry.1, command)).map(|entry| entry.2);
    listed.or_else(|| program(command).starts_with("cargo test --workspace").then_some(TESTS))
}

/// Returns all entries: page, command, and what runs it.
pub fn entries() -> impl Iterator<Item = &'static (&'static str, &'static str, RunBy)> {
    COMMANDS.iter()
}

/// Returns whether an entry covers a command.
pub fn matches(entry: &str, command: &str) -> bool {
    match entry.strip_suffix('…') {
        Some(beginning) => command.starts_with(beginning),
        None => command == entry,
    }
}
