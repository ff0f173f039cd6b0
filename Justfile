# Every routine action; each line also works without just.

# List the actions
default:
    @just --list

# Build, push, deploy and verify app/ on a lab of stand-ins
quickstart:
    sh examples/quickstart.sh

# Remove what quickstart started
down:
    sh examples/quickstart.sh --down

# All tests, over real parts
test *ARGS:
    sh tests/run.sh {{ARGS}}

# The tests that need no lab
unit:
    cargo test

# Format and lints
check:
    cargo fmt --all --check && cargo clippy --locked --workspace --all-targets -- -D warnings

# What may be depended on: licences, sources, versions (`just deny advisories` asks for advisories, too)
deny *ARGS:
    sh tests/deny.sh {{ARGS}}

# Fuzz the parsers of what comes from outside, 600 seconds each, or SECONDS TARGET…
fuzz *ARGS:
    sh tests/fuzz/run.sh {{ARGS}}

# The tools as they are shipped, in target/release
release:
    cargo build --locked --release

# Start times, memory, and the peers beside it; figures go to target/bench
bench:
    sh tests/bench/run.sh

# Builds of a large context, docker's clients and buildah beside; figures go to target/bench
bench-build *ARGS:
    sh tests/bench/build.sh {{ARGS}}

# Swaps under load: failed requests, gaps, cost of the tool and its front; figures go to target/bench
bench-swap *ARGS:
    sh tests/bench/swap.sh {{ARGS}}

# Pushes beside docker, skopeo and buildah; figures go to target/bench
bench-push *ARGS:
    sh tests/bench/push.sh {{ARGS}}

# How long healthwait makes people wait, wait-for-it and curl beside it; figures go to target/bench
bench-wait *ARGS:
    sh tests/bench/wait.sh {{ARGS}}

# Deploys struck at each of their steps: the matrix of what came of it; figures go to target/bench
bench-faults *ARGS:
    sh tests/bench/faults.sh {{ARGS}}

# Write the JSON Schema anew from the types
schema:
    cargo run -q -p slipway-tests --bin schema > docs/release.v1.schema.json

# Write the page of options anew from the built tools
options:
    sh tests/options.sh > docs/options.md

# Write the sample documents in examples/documents anew, from a run
samples:
    sh tests/samples.sh
