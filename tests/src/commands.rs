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
const WEEK: RunBy = Test("tests/tests/it/chain/week.rs");
const RETIRE: RunBy = Test("tests/tests/it/chain/retire.rs");
const RUNBOOK: RunBy = Test("tests/tests/it/chain/runbook.rs");
const LAPTOP: RunBy = Test("tests/tests/it/readme.rs");
const TESTS: RunBy = Check { file: ".ci/run", text: "cargo test --workspace" };
const MODEL: RunBy = Check { file: "justfile", text: "cargo test -p model -- --nocapture" };
const SOAK: RunBy = Check { file: "justfile", text: "cargo run --example soak -- {{seconds}}" };
const APPLIES: RunBy =
    Check { file: "infra/terraform/test_chain.py", text: "follow(\"examples/terraform/README.md\", tries=1)" };
const REMOVES: RunBy = Check { file: "infra/terraform/test_chain.py", text: "follow(\"docs/terraform.md\")" };
const APPLIED: RunBy = Nobody("needs an AWS account; infra/terraform/test_chain.py exports the same datasets");
const HELD: RunBy = Nobody("tests/tests/it/optout/hostile.rs sends the same request in process");
const EXAMPLES: RunBy = Check { file: "tests/tests/it/reference/examples.rs", text: "join(\"examples\")" };
const PLAN: RunBy = Nobody("needs a state of the reader's own; infra/terraform/test_plan.py plans the same module");

/// Page, command, and what runs it. A command that ends with `…` stands for all of the page's commands that start with
/// it.
const COMMANDS: &[(&str, &str, RunBy)] = &[
    ("CONTRIBUTING.md", ".ci/tool lint just check", Check { file: ".ci/run", text: ".ci/tool lint just" }),
    ("CONTRIBUTING.md", "just quick", Nobody("CI runs all these tests, with all their schedules")),
    ("CONTRIBUTING.md", "cargo test -p turntable-core decision::", TESTS),
    ("CONTRIBUTING.md", "just mutants hold", Check { file: ".github/workflows/nightly.yaml", text: "just mutants" }),
    ("README.md", "cargo run", LAPTOP),
    ("README.md", "cargo run -- run datasets.toml", LAPTOP),
    ("README.md", "cargo run -- demo --output json", LAPTOP),
    ("README.md", "cargo run -- up", LAPTOP),
    ("README.md", "cargo run -- status", LAPTOP),
    ("README.md", "cargo run -- doctor", LAPTOP),
    ("README.md", "cargo run -- query …", LAPTOP),
    ("README.md", "cargo run -- check datasets.toml", LAPTOP),
    ("README.md", "DATABASE_URL=…", LAPTOP),
    ("README.md", "cargo lambda …", LAMBDA),
    ("README.md", "sam build && sam deploy --guided", ACCOUNT),
    ("README.md", "aws …", CHAIN),
    ("README.md", "turntable …", CHAIN),
    ("docs/cli.md", "cargo install …", Nobody("builds a release for minutes; the chain tests run the same program")),
    ("docs/cli.md", "turntable …", COMMAND_LINE),
    ("docs/benchmarks.md", "git worktree add ../before COMMIT", LONG),
    ("docs/benchmarks.md", "cargo build --release -p bench …", LONG),
    ("docs/benchmarks.md", "cargo run --release -p bench…", LONG),
    ("docs/console.md", "turntable console…", CONSOLE),
    ("docs/contract.md", "just contract-aws …", ACCOUNT),
    ("docs/datasets.md", "cargo run -- check datasets.toml", LAPTOP),
    ("docs/deploy.md", "git clone …", Nobody("a clone is where the tests run")),
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
    (
        "docs/operate.md",
        "QUEUE=$(aws cloudformation describe-stacks --stack-name \"$STACK\" --output text --query \
         'Stacks[0].Outputs[?OutputKey==`OptoutDeadLettersUrl`].OutputValue')",
        RUNBOOK,
    ),
    ("docs/operate.md", "ask flip '{\"dataset\": \"users\", \"action\": \"release\"}'", RUNBOOK),
    ("docs/operate.md", "ask optout '{\"dataset\": \"optouts\", \"max_returning\"…", HELD),
    ("docs/operate.md", "aws s3 ls --recursive \"s3://$BUCKET/inbox/optouts/\"", HELD),
    ("docs/operate.md", "aws …", WEEK),
    ("docs/operate.md", "ask …", WEEK),
    ("docs/operate.md", "turntable …", WEEK),
    ("docs/operate.md", "QUEUE=…", WEEK),
    ("docs/reliability.md", "just model", MODEL),
    ("docs/reliability.md", "just soak SECONDS", SOAK),
    ("docs/reliability.md", "cargo run --example soak -- SECONDS", SOAK),
    ("docs/terraform.md", "terraform …", REMOVES),
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
