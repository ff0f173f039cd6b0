#!/usr/bin/env bash
# The lab: real, independent stand-ins for AWS and for an application server.
# What it starts, where, and how to look inside: see README.md beside this file.
set -euo pipefail

LAB_SOURCE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source-path=SCRIPTDIR
. "$LAB_SOURCE/common.sh"
. "$LAB_SOURCE/process.sh"
. "$LAB_SOURCE/install.sh"
. "$LAB_SOURCE/node.sh"
. "$LAB_SOURCE/net.sh"
. "$LAB_SOURCE/engines.sh"
. "$LAB_SOURCE/aws.sh"
. "$LAB_SOURCE/registry.sh"
. "$LAB_SOURCE/sshd.sh"
. "$LAB_SOURCE/image.sh"

usage() {
    cat <<'USAGE'
usage: lab.sh up|down|env|status [--dir DIR]
       lab.sh enter ci|app [--dir DIR] [-- COMMAND...]

  up      start whatever of the lab is not running (safe to repeat)
  down    stop and remove this lab, whatever state it is in
  env     print the shell assignments that point tools at this lab
  status  say what is alive; exits 1 when something is not
  enter   a root shell, or COMMAND, inside the CI or the application server

DIR defaults to ${XDG_CACHE_HOME:-~/.cache}/slipway/lab. Downloads are kept in
${SLIPWAY_CACHE:-${XDG_CACHE_HOME:-~/.cache}/slipway}/lab-cache and shared by all labs.
USAGE
}

lab_up() {
    if [ -z "$(node_holder ci)$(node_holder app)" ]; then
        say "starting in $DIR"
    fi
    step_log "$LOG/install.log"
    install_missing
    moto_install

    step_log "$LOG/lab.log"
    step "namespaces of the CI and the application server" nodes_up
    step "network cables between them and this machine" net_up
    # All of these take their time to boot, so they are started together and waited for one by one.
    moto_spawn
    engine_spawn ci
    engine_spawn app
    step "key pairs and certificates" keys_make
    step_log "$LOG/sshd.log"
    step "sshd of the application server" sshd_up
    step_log "$LOG/moto.log"
    step "moto, the ECR API" moto_wait
    step_log "$LOG/registry.log"
    step "registry $LAB_REGISTRY" registry_up
    step_log "$LOG/lab.log"
    registry_reachable
    step_log "$LOG/ci-dockerd.log"
    step "engine of the CI server" engine_wait ci
    step_log "$LOG/app-dockerd.log"
    step "engine of the application server" engine_wait app
    step_log "$LOG/image.log"
    images_up
    step_log "$LOG/lab.log"
    env_write
    say "ready in $(seconds_since "$STARTED") s; to use it:  . $DIR/env"
}

lab_down() {
    say "removing $DIR"
    processes_stop
    net_down
    cgroups_remove
    # One file system only: should anything be mounted below, its contents are not ours to delete.
    rm -rf --one-file-system -- "$DIR" || die "could not remove $DIR" "see what is mounted there: findmnt -R -T '$DIR'"
    say "gone in $(seconds_since "$STARTED") s"
}

lab_status() {
    local -i missing=0
    if [ ! -r "$DIR/env" ]; then
        printf 'no lab in %s\n' "$DIR"
        return 1
    fi
    # shellcheck source=/dev/null
    . "$DIR/env"
    net_recall
    moto_place
    status_line ci-engine "$DOCKER_HOST" engine_healthy ci || missing=1
    status_line app-engine "$LAB_APP_DOCKER_HOST" engine_healthy app || missing=1
    status_line sshd "$LAB_SSH:$LAB_SSH_PORT" sshd_healthy || missing=1
    status_line moto "$AWS_ENDPOINT_URL" moto_healthy || missing=1
    status_line registry "https://$LAB_REGISTRY ($LAB_REGISTRY_ADDR:443)" registry_healthy || missing=1
    return "$missing"
}

# status_line PART PLACE CHECK...
status_line() {
    if "${@:3}" >/dev/null 2>&1; then
        printf '%-10s up    %s\n' "$1" "$2"
    else
        printf '%-10s DOWN  %s\n' "$1" "$2"
        return 1
    fi
}

env_write() {
    local -a assignments
    local assignment value
    assignments=(
        "DOCKER_HOST=$(engine_host ci)"
        "AWS_ENDPOINT_URL=http://127.0.0.1:$(cat "$DIR/state/moto-port")"
        # moto takes any key; this is no one's.
        AWS_ACCESS_KEY_ID=slipway-lab
        AWS_SECRET_ACCESS_KEY=slipway-lab
        "AWS_REGION=$AWS_REGION"
        "LAB_DIR=$DIR"
        "LAB_REGISTRY=$LAB_REGISTRY"
        "LAB_REGISTRY_ADDR=$(net_address ci host)"
        "LAB_CA=$DIR/pki/ca.crt"
        "LAB_HOST_ADDR=$(net_address app host)"
        "LAB_APP_ADDR=$(net_address app node)"
        "LAB_APP_LINK=$(net_link app)"
        "LAB_APP_DOCKER_HOST=$(engine_host app)"
        "LAB_SSH=deployer@$(net_address app node)"
        LAB_SSH_PORT=22
        "LAB_SSH_KEY=$DIR/ssh/id_ed25519"
        "LAB_KNOWN_HOSTS=$DIR/ssh/known_hosts"
    )
    for assignment in "${assignments[@]}"; do
        value=${assignment#*=}
        printf "export %s='%s'\n" "${assignment%%=*}" "${value//\'/\'\\\'\'}"
    done >"$DIR/env.new"
    mv "$DIR/env.new" "$DIR/env"
}

main() {
    local command=${1:-} dir=
    local -a rest=()
    STARTED=$EPOCHREALTIME
    case $command in
    up | down | env | status | enter) shift ;;
    -h | --help | help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    while (($# > 0)); do
        case $1 in
        --dir) dir=${2:?--dir needs a directory} && shift 2 ;;
        --dir=*) dir=${1#--dir=} && shift ;;
        --) shift && break ;;
        ci | app) rest+=("$1") && shift ;;
        *) usage >&2 && exit 2 ;;
        esac
    done
    lab_places "$dir"
    case $command in
    env)
        [ -r "$DIR/env" ] || die "there is no lab in $DIR" "start it: $LAB_SOURCE/lab.sh up --dir '$DIR'"
        cat "$DIR/env"
        ;;
    status) lab_status ;;
    enter)
        [ "${#rest[@]}" -eq 1 ] || { usage >&2 && exit 2; }
        as_root "$command" "${rest[0]}" --dir "$DIR" -- "$@"
        node_enter "${rest[0]}" "${@:-bash}"
        ;;
    up)
        as_root "$command" --dir "$DIR"
        lab_lock
        quiet_from_here "$LOG/lab.log"
        lab_up
        ;;
    down)
        as_root "$command" --dir "$DIR"
        if [ -d "$DIR" ]; then
            lab_known "$DIR" || die "$DIR is not a lab's directory" "it holds other things; name the lab's own with --dir"
            lab_lock
        fi
        quiet_from_here /dev/null
        lab_down
        ;;
    esac
}

main "$@"
