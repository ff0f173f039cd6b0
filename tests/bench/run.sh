#!/bin/sh
# Measures the tools as they are shipped, with their peers beside them in the same run.
# The figures go to target/bench/figures.json and, as a table, to stdout.
set -eu
project=$(cd -- "$(dirname -- "$0")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR/../.. source=tests/common.sh
. "$project/tests/common.sh"
cd "$project"

need_compiler
build_tools "$project" --release
target=${CARGO_TARGET_DIR:-$project/target}
mkdir -p "$target/bench"

if [ ! -x /usr/bin/time ]; then
    say "installing time"
    sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get install -q -y --no-install-recommends time >&2
fi
own_lab "$project"

venv=$target/bench/awscli
if [ ! -e "$venv/complete" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q awscli
    touch "$venv/complete"
fi
python3 tests/bench/start.py "$BIN" "$venv/bin/aws" "$target/bench/figures.json"
