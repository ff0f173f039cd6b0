#!/bin/sh
# Measures how long healthwait makes people wait, with wait-for-it and loops of curl beside it in the same run.
# The figures go to target/bench/wait.json and, as a table, to stdout.
#
#     sh tests/bench/wait.sh [ARGUMENTS OF wait.py]      such as --runs 5 or --only many
set -eu
project=$(cd -- "$(dirname -- "$0")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR/../.. source=tests/common.sh
. "$project/tests/common.sh"
cd "$project"

need_compiler
build_tools "$project" --release -p healthwait
target=${CARGO_TARGET_DIR:-$project/target}
mkdir -p "$target/bench"

missing=
[ -x /usr/bin/time ] || missing="$missing time"
command -v curl >/dev/null || missing="$missing curl"
command -v wait-for-it >/dev/null || missing="$missing wait-for-it"
if [ -n "$missing" ]; then
    say "installing$missing"
    sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    # shellcheck disable=SC2086 # one word a package
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >&2
fi
python3 tests/bench/wait.py --bin "$BIN" --figures "$target/bench/wait.json" "$@"
