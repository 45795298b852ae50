# `just` lists the recipes. `.ci/tool lint just` is one that needs no installation.

_default:
    @just --list

# everything that CI checks
check: fmt clippy pure test docs pages deny typos workflows template permissions terraform athena fuzz soak

# the main job, on an embedded AWS
run *args:
    cargo run -p local -- {{args}}

# the tests: README's command
test:
    cargo test --workspace

# the protocol as a model, in every order; it needs no SDK
model:
    TURNTABLE_MODEL_WORLDS=all cargo test -p model -- --nocapture

# what AWS promises, in memory and on two emulators: docs/contract.md
contract:
    cargo test --workspace --test it contract::

# the same on AWS; says first what it makes and what that costs
contract-aws *args:
    cargo run --quiet --example contract_aws -- {{args}}

fmt:
    cargo fmt --all --check

clippy:
    cargo clippy --workspace --all-targets -- -D warnings

# the pure half compiles without AWS, a clock, randomness or the environment; and what only decodes, without AWS
pure:
    cargo clippy -p turntable --no-default-features --target-dir target/pure -- -D warnings
    cargo clippy -p turntable --no-default-features --features arrow --target-dir target/pure -- -D warnings

docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# sums in the pages; each page is listed
pages:
    .ci/tool sam python -m pytest -q -p no:cacheprovider docs

# licences, sources and banned crates
deny:
    @command -v cargo-deny >/dev/null || cargo install cargo-deny --version 0.20.2 --locked
    cargo deny check licenses bans sources

typos:
    .ci/tool lint typos

# what CI and a release run: syntax, pins, permissions
workflows:
    .ci/tool workflows zizmor --offline --pedantic --strict-collection .github/workflows

# the SAM template: syntax, meaning, safety
template:
    .ci/tool lint cfn-lint template.yaml
    .ci/tool sam sam validate --lint
    .ci/tool checkov checkov --skip-download --framework cloudformation -f template.yaml --compact --quiet
    .ci/tool sam python -m pytest -q -p no:cacheprovider infra/test_template.py infra/test_release.py

# what each function may do is what the tests of the chain have made it do: run `just test` first
permissions:
    .ci/tool sam python -m pytest -q -p no:cacheprovider infra/test_permissions.py

# `terraform plan` says "No changes" after a flip
terraform:
    .ci/tool lint python infra/terraform/test_plan.py

# the local Athena endpoint's own tests
athena:
    .ci/tool athena python -m pytest -q -p no:cacheprovider infra/local/athena

# the zips of a release, for arm64, with all that belongs to it: dist/; half an hour the first time
release:
    @command -v cargo-cyclonedx >/dev/null || cargo install cargo-cyclonedx --version 0.5.9 --locked
    .ci/tool release python infra/release.py

# zip sizes and cold starts of the release build
measure:
    cargo build --release --workspace
    python3 bench/start.py

# from PostgreSQL to Parquet, next to what users would pick instead: docs/benchmarks.md
bench *args:
    cargo run --release -p bench -- {{args}}

# the real chain under readers, writers and kill -9; the last line is JSON: docs/reliability.md
soak seconds="60":
    cargo run --example soak -- {{seconds}}

# whatever is parsed, on arbitrary bytes: so many seconds a target, as many targets at a time as there are cores
fuzz seconds="60":
    @command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --version 0.13.1 --locked
    RUSTC_BOOTSTRAP=1 cargo fuzz build --target-dir target/fuzz
    cargo fuzz list | xargs -P "$(nproc)" -I TARGET fuzz/run TARGET {{seconds}}
