#!/bin/sh
# Measures pushes: imgpush beside docker push, skopeo and buildah, each in turn in the same run.
# The figures go to target/bench/push.json and, as a table, to stdout.
#
#     sh tests/bench/push.sh [ARGUMENTS OF push.py]      such as --runs 3 or --only no-op
set -eu
project=$(cd -- "$(dirname -- "$0")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR/../.. source=tests/common.sh
. "$project/tests/common.sh"
cd "$project"

need_compiler
build_tools "$project" --release
target=${CARGO_TARGET_DIR:-$project/target}
mkdir -p "$target/bench"
BIN=$(cd -- "$BIN" && pwd)

sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
missing=
[ -x /usr/bin/time ] || missing="$missing time"
command -v skopeo >/dev/null || missing="$missing skopeo"
command -v buildah >/dev/null || missing="$missing buildah"
if [ -n "$missing" ]; then
    say "installing$missing"
    # shellcheck disable=SC2086 # one word a package
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >&2
fi
own_lab "$project"

# All peers find the registry by its name in a mount namespace of their own, and trust the lab's authority there; the engine's
# directory is at the place that the engine names, as it is where both run on one machine.
printf '%s %s\n127.0.0.1 localhost\n' "$LAB_REGISTRY_ADDR" "$LAB_REGISTRY" >"$WORK/hosts"
cat /etc/ssl/certs/ca-certificates.crt "$LAB_CA" >"$WORK/ca.crt"
$sudo env PATH="$PATH" SSL_CERT_FILE="$WORK/ca.crt" DOCKER_HOST="$DOCKER_HOST" \
    LAB_DIR="$LAB_DIR" LAB_REGISTRY="$LAB_REGISTRY" \
    unshare --mount --propagation private sh -c 'mount --bind "$1" /etc/hosts && mount -t tmpfs none /var/lib && mkdir /var/lib/docker &&
        mount --bind "$2" /var/lib/docker && shift 2 && exec "$@"' sh "$WORK/hosts" "$LAB_DIR/ci/root/var/lib/docker" \
    python3 tests/bench/push.py --bin "$BIN" --work "$WORK" --figures "$target/bench/push.json" "$@"
