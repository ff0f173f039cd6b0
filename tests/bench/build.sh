#!/bin/sh
# Measures builds of a large context, with docker's own clients and buildah beside imgbuild in the same run.
# The figures go to target/bench/build.json and, as a table, to stdout.
#
#     sh tests/bench/build.sh [ARGUMENTS OF build.py]      such as --files 1000 --runs 5
set -eu
project=$(cd -- "$(dirname -- "$0")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR/../.. source=tests/common.sh
. "$project/tests/common.sh"
cd "$project"

need_compiler
build_tools "$project" --release -p imgbuild
target=${CARGO_TARGET_DIR:-$project/target}
mkdir -p "$target/bench"

missing=
[ -x /usr/bin/time ] || missing="$missing time"
command -v buildah >/dev/null || missing="$missing buildah"
if [ -n "$missing" ]; then
    say "installing$missing"
    sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    # shellcheck disable=SC2086 # one word a package
    $sudo apt-get install -q -y --no-install-recommends $missing >&2 || say "going on without"
fi
own_lab "$project"
python3 tests/bench/build.py --bin "$BIN" --work "$WORK" --figures "$target/bench/build.json" "$@"
