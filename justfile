# `just` lists the recipes. `.ci/tool lint just` is one that needs no installation.

_default:
    @just --list

# everything that CI checks
check: fmt clippy pure test docs deny typos template terraform athena fuzz

# the main job, on an embedded AWS
run *args:
    cargo run -p local -- {{args}}

# the tests: README's command
test:
    cargo test --workspace

# the protocol as a model, in every order; it needs no SDK
model:
    cargo test -p model -- --nocapture

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

# licences, sources and banned crates
deny:
    @command -v cargo-deny >/dev/null || cargo install cargo-deny --version 0.20.2 --locked
    cargo deny check licenses bans sources

typos:
    .ci/tool lint typos

# the SAM template: syntax, meaning, safety
template:
    .ci/tool lint cfn-lint template.yaml
    .ci/tool sam sam validate --lint
    .ci/tool checkov checkov --skip-download --framework cloudformation -f template.yaml --compact --quiet
    .ci/tool sam python -m pytest -q -p no:cacheprovider infra/test_template.py

# `terraform plan` says "No changes" after a flip
terraform:
    .ci/tool lint python infra/terraform/test_plan.py

# the local Athena endpoint's own tests
athena:
    .ci/tool athena python -m pytest -q -p no:cacheprovider infra/local/athena

# zip sizes and cold starts of the release build
measure:
    cargo build --release --workspace
    python3 bench/start.py

# from PostgreSQL to Parquet, next to what users would pick instead: docs/benchmarks.md
bench *args:
    cargo run --release -p bench -- {{args}}

# what decodes bytes, on arbitrary ones: so many seconds a target
fuzz seconds="20":
    @command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --version 0.13.1 --locked
    export RUSTC_BOOTSTRAP=1; for target in $(cargo fuzz list); do \
        mkdir -p target/fuzz/corpus/$target; \
        cargo fuzz run $target --target-dir target/fuzz target/fuzz/corpus/$target fuzz/seeds/$target -- \
            -max_total_time={{seconds}} -max_len=4096 -malloc_limit_mb=32 -timeout=10 -verbosity=0 \
            -print_final_stats=1 -artifact_prefix=target/fuzz/ || exit 1; \
    done
