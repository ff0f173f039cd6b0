# shellcheck shell=bash
# What all parts share: where things are, who asked, messages, steps and waiting.
# shellcheck disable=SC2034 # other parts use what is set here

# The real hosts of ECR look like this one; nothing in the lab reaches AWS.
LAB_ACCOUNT=123456789012
AWS_REGION=eu-central-1
LAB_REGISTRY=$LAB_ACCOUNT.dkr.ecr.$AWS_REGION.amazonaws.com

# A plain path, since the caller's may lack sbin or put a pyenv shim before the distribution's python.
LAB_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
PATH=$LAB_PATH:$PATH

STEP=
STEP_LOG=
MESSAGES=2

# Sets DIR (the instance), CACHE (downloads shared by instances) and ID (in every name outside DIR).
lab_places() {
    local home=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}
    DIR=$(realpath -m -- "${1:-$home/slipway/lab}")
    CACHE=$(realpath -m -- "${SLIPWAY_CACHE:-$home/slipway}/lab-cache")
    LOG=$DIR/log
    ID=$(printf %s "$DIR" | sha256sum | cut -c1-8)
    case $DIR in
    / | /bin | /boot | /dev | /etc | /home | /opt | /proc | /root | /run | /srv | /sys | /tmp | /usr | /var | "${HOME:-/root}")
        die "$DIR cannot be a lab's directory" "name a directory of its own with --dir" ;;
    esac
    # A Unix socket's path holds 107 bytes (unix(7)), and ours end in /app/root/run/docker.sock.
    ((${#DIR} <= 80)) || die "the path $DIR is too long for the sockets in it" "name a shorter one with --dir"
}

# Everything below needs root; the person who asked keeps what they have to use (OWNER_UID, OWNER_GID).
as_root() {
    if ((EUID != 0)); then
        command -v sudo >/dev/null || die "the lab needs root, and there is no sudo" "run it as root"
        say "asking sudo for root, which namespaces and packages need"
        # By name, so that a proxy's password does not show among the arguments.
        exec sudo --preserve-env=http_proxy,https_proxy,no_proxy,HTTP_PROXY,HTTPS_PROXY,NO_PROXY,PIP_INDEX_URL,PIP_EXTRA_INDEX_URL,PIP_CERT,SSL_CERT_FILE,REQUESTS_CA_BUNDLE \
            -- env "SLIPWAY_CACHE=${CACHE%/lab-cache}" bash "$LAB_SOURCE/lab.sh" "$@"
    fi
    OWNER_UID=${SUDO_UID:-0}
    OWNER_GID=${SUDO_GID:-0}
    # A prefix for commands which are to run as the person, not as root.
    AS_OWNER=()
    ((OWNER_UID == 0)) || AS_OWNER=(setpriv --reuid "$OWNER_UID" --regid "$OWNER_GID" --init-groups
        env HOME="$(getent passwd "$OWNER_UID" | cut -d: -f6)")
}

# A directory with this mark, or an empty one, may be filled and deleted by a lab; no other.
lab_known() {
    [ -e "$1/.slipway-lab" ] || [ -z "$(ls -A -- "$1")" ]
}

lab_dirs_make() {
    local top
    umask 022
    for top in "$DIR" "$CACHE"; do
        # Below a home they are the person's; elsewhere they may not create them.
        "${AS_OWNER[@]}" mkdir -p -- "$top" 2>/dev/null || mkdir -p -- "$top"
    done
    lab_known "$DIR" || die "$DIR is not empty and no lab's directory" "name a new one with --dir"
    : >>"$DIR/.slipway-lab"
    mkdir -p "$LOG" "$DIR/state" "$DIR/pki" "$DIR/ssh" "$DIR/registry" "$DIR/docker-config"
    chmod 755 "$DIR"
    chmod 700 "$DIR/registry"
}

# One up or down at a time in a directory. The lock's file goes away with the directory, so make sure we hold the present one.
lab_lock() {
    local -i tries
    for ((tries = 0; tries < 100; tries++)); do
        lab_dirs_make
        exec 9>>"$DIR/.slipway-lab"
        if ! flock -n 9; then
            say "waiting for another lab.sh in $DIR"
            flock -w 900 9 || die "another lab.sh has held $DIR for 15 minutes" "see: fuser -v '$DIR/.slipway-lab'"
        fi
        [ "$(stat -Lc %d:%i /proc/self/fd/9)" != "$(stat -c %d:%i "$DIR/.slipway-lab" 2>/dev/null)" ] || return 0
    done
    die "could not lock $DIR" "is something else deleting it?"
}

# From here on the output of the commands we run goes to a file, and only messages reach the person.
quiet_from_here() {
    exec {MESSAGES}>&2 >>"$1" 2>&1
    trap 'on_exit $?' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

say() { printf 'lab: %s\n' "$*" >&"$MESSAGES"; }

# die MESSAGE HINT
die() {
    STEP=
    printf '%slab: %s\nlab: %s\n' "${STEP_OPEN:+$'\n'}" "$1" "$2" >&"$MESSAGES"
    exit 1
}

on_exit() {
    local -i status=$1
    if ((status != 0)) && [ -n "$STEP" ]; then
        printf ' failed\nlab: the end of %s:\n' "$STEP_LOG" >&"$MESSAGES"
        tail -n 15 -- "$STEP_LOG" 2>/dev/null | sed 's/^/    /' >&"$MESSAGES" || :
        say "run \"lab.sh up\" again to go on from here, \"lab.sh down\" to start afresh"
    fi
}

seconds_since() {
    local -i ms=$((${EPOCHREALTIME/[.,]/} / 1000 - ${1/[.,]/} / 1000))
    printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

step_log() { STEP_LOG=$1; }

# step WHAT COMMAND...: one line, with its time at the end. Commands run under set -e as they would outside.
step() {
    local started=$EPOCHREALTIME
    STEP=$1
    STEP_OPEN=1
    printf 'lab: %s' "$STEP" >&"$MESSAGES"
    shift
    "$@"
    printf ' (%s s)\n' "$(seconds_since "$started")" >&"$MESSAGES"
    STEP=
    STEP_OPEN=
}

# step_try WHAT COMMAND...: the same for a step whose failure the caller deals with; says so and returns 1.
step_try() {
    local started=$EPOCHREALTIME
    printf 'lab: %s' "$1" >&"$MESSAGES"
    if "${@:2}"; then
        printf ' (%s s)\n' "$(seconds_since "$started")" >&"$MESSAGES"
    else
        printf ' did not work (%s s)\n' "$(seconds_since "$started")" >&"$MESSAGES"
        return 1
    fi
}

# Labs share the cache, and two may be about to fill it.
cache_lock() {
    exec 7<"$CACHE"
    if ! flock -n 7; then
        say "waiting for another lab that fills $CACHE"
        flock 7
    fi
}
cache_unlock() { exec 7<&-; }

# wait_for SECONDS COMMAND...: polls until the command succeeds.
wait_for() {
    local -i deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}
