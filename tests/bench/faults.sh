#!/bin/sh
# Strikes deploys of both strategies at each of their steps: what users notice, and whether a plain rerun puts it right.
# The matrix goes to stdout, all of it to target/bench/faults.json. It fails if a cell of the matrix is not as it has to be.
#
#     sh tests/bench/faults.sh [ARGUMENTS OF faults.py]      such as --quick or --only recreate/stopped/kill
set -eu
project=$(cd -- "$(dirname -- "$0")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR/../.. source=tests/common.sh
. "$project/tests/common.sh"
cd "$project"

need_compiler
build_tools "$project" --release --workspace
target=${CARGO_TARGET_DIR:-$project/target}
mkdir -p "$target/bench"

own_lab "$project"
python3 tests/bench/faults.py --bin "$BIN" --figures "$target/bench/faults.json" "$@"
