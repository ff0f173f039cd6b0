#!/bin/sh
# Measures swaps under load: what users notice, what the tool and its front cost, and the classical way beside it.
# The figures go to target/bench/swap.json and, as a table, to stdout.
#
#     sh tests/bench/swap.sh [ARGUMENTS OF swap.py]      such as --strategy recreate --swaps 5
set -eu
project=$(cd -- "$(dirname -- "$0")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR/../.. source=tests/common.sh
. "$project/tests/common.sh"
cd "$project"

need_compiler
build_tools "$project" --release --workspace
target=${CARGO_TARGET_DIR:-$project/target}
mkdir -p "$target/bench"

missing=
[ -x /usr/bin/time ] || missing="$missing time"
# The application server sees /usr only, so one elsewhere is of no use.
[ -x /usr/bin/wrk ] || missing="$missing wrk"
if [ -n "$missing" ]; then
    say "installing$missing"
    sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    # shellcheck disable=SC2086 # one word a package
    $sudo apt-get install -q -y --no-install-recommends $missing >&2
fi
own_lab "$project"
python3 tests/bench/swap.py --bin "$BIN" --figures "$target/bench/swap.json" "$@"
