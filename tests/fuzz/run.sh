#!/bin/sh
# Fuzzes the parsers of what comes from outside, one after another.
#
#     sh tests/fuzz/run.sh [SECONDS [TARGET…]]     600 seconds each of all targets
#
# What libFuzzer finds beyond the seeds stays in target/fuzz/corpus/TARGET, figures in
# target/fuzz/figures.tsv. An input that breaks a parser ends the run and stays in
# target/fuzz/found/TARGET: mend the parser, and add the input to tests/fuzz/corpus/TARGET, which
# the ordinary tests go through. Needs cargo-fuzz (`cargo install cargo-fuzz --locked`).
set -eu
project=$(cd -- "$(dirname -- "$0")/../.." && pwd)
seconds=${1:-600}
[ $# -eq 0 ] || shift
command -v cargo-fuzz >/dev/null || {
    echo "run.sh: cargo-fuzz is missing: cargo install cargo-fuzz --locked" >&2
    exit 1
}
[ $# -gt 0 ] || set -- $(ls "$project/tests/fuzz/corpus")

cd "$project/tests/fuzz"
# The same versions as in the tools. The sanitizer's flags are unstable ones of the same compiler.
cp "$project/Cargo.lock" Cargo.lock
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$project/target/fuzz"
cargo fuzz build --fuzz-dir . any
binary=$(ls "$CARGO_TARGET_DIR"/*/release/any)
for target in "$@"; do
    kept=$CARGO_TARGET_DIR/corpus/$target
    found=$CARGO_TARGET_DIR/found/$target/
    log=$CARGO_TARGET_DIR/$target.log
    mkdir -p "$kept" "$found"
    echo "run.sh: $target for $seconds s" >&2
    SLIPWAY_FUZZ_TARGET=$target "$binary" "$kept" "$project/tests/fuzz/corpus/$target" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
        -artifact_prefix="$found" -print_final_stats=1 >"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        echo "run.sh: $target failed; the input is in $found" >&2
        exit 1
    }
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    memory=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
    printf '%s\t%s\t%s\t%s\t%s\n' "$target" "$seconds" "$runs" "$covered" "$memory" |
        tee -a "$CARGO_TARGET_DIR/figures.tsv"
done
