#!/bin/sh
# Measures the tools as they are shipped, with their peers beside them in the same run.
# The figures go to target/bench/figures.json and, as a table, to stdout.
set -eu
project=$(cd -- "$(dirname -- "$0")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR/../.. source=tests/common.sh
. "$project/tests/common.sh"
lab="$project/tests/lab/lab.sh"
cd "$project"

need_compiler
say "building the release (some minutes)"
cargo build --locked --release --bins >&2
target=${CARGO_TARGET_DIR:-$project/target}
mkdir -p "$target/bench"

work=$(mktemp -d "${TMPDIR:-/tmp}/slipway-bench.XXXXXX")
clean_up() {
    status=$?
    trap - EXIT INT TERM
    bash "$lab" down --dir "$work/lab"
    rm -rf -- "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
bash "$lab" up --dir "$work/lab"
eval "$(bash "$lab" env --dir "$work/lab")"

venv=$target/bench/awscli
if [ ! -e "$venv/complete" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q awscli
    touch "$venv/complete"
fi
python3 tests/bench/start.py "$target/release" "$venv/bin/aws" "$target/bench/figures.json"
