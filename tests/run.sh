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
cd "$project"

need_compiler
build_tools "$project"
SLIPWAY_BIN_DIR=$BIN
export SLIPWAY_BIN_DIR

own_lab "$project"

if [ $# -gt 0 ]; then
    cargo test --locked --workspace "$@"
    exit
fi

say "the lab: what breaks is mended, and nothing is left of it"
if [ "$(id -u)" -eq 0 ]; then bash tests/lab/check.sh --quick; else sudo bash tests/lab/check.sh --quick; fi

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
