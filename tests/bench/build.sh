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

# Docker's client of today builds with a plugin, which Debian has in its newest release only: it is taken from there, into a
# directory of this run.
buildx() {
    mkdir -p "$WORK/apt/lists/partial" "$WORK/apt/cache/archives/partial" "$WORK/docker/cli-plugins"
    echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian sid main' >"$WORK/apt/sources.list"
    (
        cd "$WORK/apt"
        set -- -q -o Dir::Etc::SourceList="$WORK/apt/sources.list" -o Dir::Etc::SourceParts=- \
            -o Dir::State::Lists="$WORK/apt/lists" -o Dir::Cache="$WORK/apt/cache" -o APT::Sandbox::User=root
        apt-get "$@" update && apt-get "$@" download docker-buildx && dpkg -x docker-buildx_*.deb root
    ) >&2 && cp "$WORK/apt/root/usr/libexec/docker/cli-plugins/docker-buildx" "$WORK/docker/cli-plugins/"
}
if ! docker buildx version >/dev/null 2>&1; then
    if buildx; then
        export DOCKER_CONFIG="$WORK/docker"
    else
        say "going on without docker-buildx: newer docker clients use the classic builder"
    fi
fi
python3 tests/bench/build.py --bin "$BIN" --work "$WORK" --figures "$target/bench/build.json" "$@"
