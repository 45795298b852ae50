# `just` lists the recipes. `.ci/tool lint just` runs it without installing just.

_default:
    @just --list

# run everything that CI checks
check: fmt typos prose pages workflows template terraform athena deny clippy docs test (databases "postgresql-18") permissions console fuzz soak

# run the whole chain on an emulated AWS
run *args:
    cargo run -- {{args}}

# run the tests with README's command
test:
    cargo test --workspace

# put each named fault into a copy of the code and check that the tests turn red; takes hours: tests/README.md
mutants *words:
    python3 tests/mutants/run.py {{words}}

# Not optimised, the test program compiles in 21 s instead of 93 s after a change. `--workspace` keeps the dependencies' features as
# `cargo test --workspace` has them: other features compile Arrow again.
# the short loop: unit tests, and the integration tests that need no server, with few schedules
quick:
    cargo --config profile.dev.package.tests.opt-level=0 test --workspace --lib
    TURNTABLE_GROUP_SCHEDULES=8 TURNTABLE_DRIFT_SCHEDULES=20 TURNTABLE_ENGINE_SCHEDULES=20 TURNTABLE_IDENTITY_HISTORIES=60 \
    TURNTABLE_OPTOUT_SCHEDULES=50 TURNTABLE_SWEEP_HISTORIES=200 cargo --config profile.dev.package.tests.opt-level=0 \
        test --workspace --test it -- --skip chain:: --skip contract:: --skip crash:: --skip interrupted:: --skip laptop:: --skip mysql:: \
        --skip pages:: --skip postgres:: --skip readme:: --skip reference:: --skip sdk::

# run the database tests on PostgreSQL 18 and MariaDB 11.8, or on those named: tests/README.md
databases *names:
    python3 tests/databases.py {{names}}

# check the protocol's model in every order; builds no SDK
model:
    TURNTABLE_MODEL_WORLDS=all cargo test -p model -- --nocapture

# test the contract with S3 and Glue in memory and on two emulators: docs/contract.md
contract:
    cargo test --workspace --test it contract::

# test the same contract on AWS; prints first what it creates and what that costs
contract-aws *args:
    cargo run --quiet --example contract_aws -- {{args}}

# check the formatting
fmt:
    cargo fmt --all --check

# lint the Rust code
clippy:
    cargo clippy --workspace --all-targets -- -D warnings

# build the API documentation
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# build the site of the pages in docs/, which can be searched: target/book/index.html
book:
    .ci/tool book mdbook build docs

# check the sums in docs/, that the site builds and its links lead somewhere, and that the examples are complete
pages:
    .ci/tool sam python -m pytest -q -p no:cacheprovider docs examples

# check licences, sources and banned crates
deny:
    @command -v cargo-deny >/dev/null || cargo install cargo-deny --version 0.20.2 --locked
    cargo deny check licenses bans sources

# check for advisories about crates and Python packages; needs the network, so only .github/workflows/security.yaml runs it
advisories:
    @command -v cargo-deny >/dev/null || cargo install cargo-deny --version 0.20.2 --locked
    cargo deny check advisories
    for lock in .ci/requirements/*.txt infra/local/*.txt tests/*.txt; do .ci/tool audit pip-audit --require-hashes --disable-pip -r "$lock" || exit 1; done

# check the spelling
typos:
    .ci/tool lint typos

# check the prose of the English pages for doubled words, clichés, inconsistent spelling and the like
prose:
    .ci/tool lint python docs/prose.py

# lint the CI and release workflows, and check what is pinned: actions, Python packages, and that no secret is in the repository
workflows:
    .ci/tool workflows zizmor --offline --pedantic --strict-collection .github
    .ci/tool sam python -m pytest -q -p no:cacheprovider .ci
    git ls-files -z | xargs -0 .ci/tool secrets detect-secrets-hook --disable-plugin Base64HighEntropyString \
        --disable-plugin HexHighEntropyString --disable-plugin KeywordDetector --disable-plugin BasicAuthDetector

# pin every Python package with the hashes of its files, after a change of a .in file; --upgrade takes the newest versions
lock *args:
    .ci/tool lock python .ci/lock.py {{args}}

# check the SAM template and the release script: syntax, behaviour, security
template:
    .ci/tool lint cfn-lint template.yaml
    .ci/tool sam sam validate --lint
    .ci/tool checkov checkov --skip-download --framework cloudformation -f template.yaml --compact --quiet
    .ci/tool sam python -m pytest -q -p no:cacheprovider infra/test_template.py infra/test_deployer.py infra/test_policies.py infra/test_principals.py infra/test_release.py

# evaluate each role's policies for the calls that the chain tests recorded, and check those against AWS's models: run `just test` first
permissions:
    .ci/tool sam python -m pytest -q -p no:cacheprovider infra/test_permissions.py

# Set TURNTABLE_SCREENSHOTS=docs to write the pictures in docs/ as well.
# test the console in headless Chromium against a stack that runs: run `just test` first
console:
    .ci/tool console python -m pytest -q -p no:cacheprovider infra/cli/test_console.py

# The test of the chain mostly waits for the AWS provider, so the other tests run beside it.
# check the Terraform modules: format, security, plans after flips, the stack against template.yaml, and the chain on what Terraform makes
terraform:
    @! command -v terraform >/dev/null || terraform fmt -check -recursive infra/terraform
    @! command -v terraform >/dev/null || terraform fmt -check -recursive examples
    .ci/tool checkov checkov --skip-download --framework terraform -d infra/terraform -d examples --compact --quiet
    .ci/tool athena python -m pytest -q -p no:cacheprovider infra/terraform/test_chain.py & chain=$!; \
        .ci/tool lint python infra/terraform/test_plan.py && \
        .ci/tool sam python -m pytest -q -p no:cacheprovider infra/terraform/test_stack.py; \
        others=$?; wait $chain && exit $others

# run the tests of the local Athena endpoint
athena:
    .ci/tool athena python -m pytest -q -p no:cacheprovider infra/local/athena

# build a release in dist/, for arm64 and x86_64: zips, templates, the program, its wheels, SBOMs, checksums; takes an hour or more
release:
    @command -v cargo-cyclonedx >/dev/null || cargo install cargo-cyclonedx --version 0.5.9 --locked
    .ci/tool release python infra/release.py

# measure zip sizes and cold starts of the release build
measure:
    cargo build --release --workspace
    python3 bench/start.py

# benchmark PostgreSQL to Parquet against the alternatives: docs/benchmarks.md
bench *args:
    cargo run --release -p bench -- {{args}}

# fail if ours takes 20 % more of the time of psql's COPY than in the recorded run; two minutes after the build: bench/README.md
bench-smoke:
    cargo run --release -p bench -- --rows 1000000 --rounds 5 --sections large --only ours_1,ours_2,psql_copy --against bench/runs

# run the real chain under readers, writers and kill -9; the last line is JSON: docs/testing.md
soak seconds="60":
    cargo run --example soak -- {{seconds}}

# build the fuzz targets
fuzz-build:
    @command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --version 0.13.1 --locked
    RUSTC_BOOTSTRAP=1 cargo fuzz build --target-dir target/fuzz

# fuzz every parser for this many seconds per target, one target per core at a time
fuzz seconds="20": fuzz-build
    cargo fuzz list | xargs -P "$(nproc)" -I TARGET fuzz/run TARGET {{seconds}}
