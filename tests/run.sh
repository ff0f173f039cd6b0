#!/bin/sh
# All tests, over real parts: builds the tools, starts a lab, runs everything, removes the lab.
#
#     sh tests/run.sh [ARGUMENTS OF cargo test]
#
# With arguments only those cargo tests run; the lab is there for them all the same.
set -eu

project=$(cd -- "$(dirname -- "$0")/.." && pwd)
# shellcheck source-path=SCRIPTDIR/.. source=tests/common.sh
. "$project/tests/common.sh"
lab="$project/tests/lab/lab.sh"
cd "$project"

need_compiler
build_tools "$project"
SLIPWAY_BIN_DIR=$BIN
export SLIPWAY_BIN_DIR

# A lab of its own, beside the one of the quickstart and those of other runs.
work=$(mktemp -d "${TMPDIR:-/tmp}/slipway-tests.XXXXXX")
clean_up() {
    status=$?
    trap - EXIT INT TERM
    if [ "$status" -ne 0 ] && [ -d "$work/lab/log" ]; then
        say "failed; the ends of the lab's logs:"
        tail -n 15 "$work"/lab/log/*.log >&2
    fi
    bash "$lab" down --dir "$work/lab"
    rm -rf -- "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
bash "$lab" up --dir "$work/lab"
eval "$(bash "$lab" env --dir "$work/lab")"

if [ $# -gt 0 ]; then
    cargo test --locked --workspace "$@"
    exit
fi

say "the application's own tests"
venv=${CARGO_TARGET_DIR:-target}/app-venv-$(cksum <app/requirements-dev.txt | cut -d' ' -f1)
if [ ! -e "$venv/complete" ]; then
    rm -rf -- "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q --require-hashes -r app/requirements-dev.txt
    touch "$venv/complete"
fi
(venv=$(cd -- "$venv" && pwd) && cd app && "$venv/bin/python" -m pytest -q -p no:cacheprovider)

say "the tools, alone and together"
cargo test --locked --workspace --no-fail-fast
