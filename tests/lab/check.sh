#!/usr/bin/env bash
# Tests the lab itself, as root: check.sh [--quick]. Breaks a lab of its own part by part and looks whether "up" mends it,
# kills "up" after every step it takes (not with --quick), and looks whether "down" leaves the machine as it was.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
dir=$work/lab
# An engine that the caller's environment names is not the lab's.
unset DOCKER_HOST
clean_up() {
    local -i status=$?
    "$here/lab.sh" down --dir "$dir" 2>>"$work/log" || :
    ((status == 0)) || tail -n 30 "$work/log" >&2
    rm -rf --one-file-system "$work"
    exit "$status"
}
trap clean_up EXIT

say() { printf 'check: %s\n' "$*" >&2; }
fail() { say "FAILED: $*" && exit 1; }
lab() { "$here/lab.sh" "$1" --dir "$dir" "${@:2}" 2>>"$work/log"; }

# What must be the same before and after. A lab's names carry eight digits of its directory's hash.
id=$(printf %s "$dir" | sha256sum | cut -c1-8)
machine() {
    {
        ip -o link show | grep -o "slw$id." || :
        ip -4 route show table all | grep "slw$id" || :
        iptables-save | grep "slipway-lab-$id" || :
        grep -h "$dir" /proc/[0-9]*/mountinfo 2>/dev/null || :
        find /sys/fs/cgroup -maxdepth 2 -name "slipway-lab-$id" 2>/dev/null || :
        grep -slzxF "SLIPWAY_LAB=$dir" /proc/[0-9]*/environ || :
        ls -d "$dir" 2>/dev/null || :
        md5sum /etc/passwd /etc/shadow /etc/group /etc/hosts /etc/resolv.conf
        cat /proc/sys/net/ipv4/ip_forward
    } 2>/dev/null
}

works() {
    local output
    output=$(lab status) || fail "after $1: $output"
    lab enter ci -- docker image inspect python:3-slim >>"$work/log" 2>&1 || fail "after $1: no python:3-slim"
    lab enter app -- docker image inspect haproxy:3.2 >>"$work/log" 2>&1 || fail "after $1: no haproxy:3.2"
    # shellcheck source=/dev/null
    (. "$dir/env" && ssh -F none -n -i "$LAB_SSH_KEY" -o BatchMode=yes -o "UserKnownHostsFile=\"$LAB_KNOWN_HOSTS\"" \
        -o StrictHostKeyChecking=yes -o ConnectTimeout=5 "$LAB_SSH" docker version -f '{{.Server.Version}}') \
        >>"$work/log" 2>&1 || fail "after $1: no engine through ssh"
}

role() {
    local pid
    while read -r pid; do
        if grep -qszxF "SLIPWAY_LAB_ROLE=$1" "/proc/$pid/environ"; then echo "$pid"; fi
    done < <(grep -slzxF "SLIPWAY_LAB=$dir" /proc/[0-9]*/environ | cut -d/ -f3)
}

# mends WHAT COMMAND...: does the damage, and looks whether up repairs it.
mends() {
    local what=$1
    shift
    "$@" >>"$work/log" 2>&1
    [ -z "$(lab up)" ] || fail "up prints on stdout"
    works "$what"
    say "mended: $what"
}

kill_roles() { for name in "$@"; do role "$name" | xargs -r kill -KILL || :; done; }

no_rules() {
    for table in nat filter; do
        iptables -w -t "$table" -S | sed -n "/slipway-lab-$id/s/^-A/-D/p" | xargs -rL1 iptables -w -t "$table"
    done
}

kill_inside() { lab enter "$1" -- bash -c "for p in /proc/[0-9]*; do read -r n <\$p/comm; [ \"\$n\" != $2 ] || kill -KILL \${p#/proc/}; done"; }

before=$(machine)
lab up </dev/null
works "the first up"
env_before=$(lab env)
say "up"
mends nothing true
mends "moto killed" kill_roles moto
mends "registry killed" kill_roles registry
mends "CI engine killed" kill_inside ci dockerd
mends "application server's engine killed" kill_inside app dockerd
mends "images deleted" eval 'lab enter ci -- docker rmi python:3-slim && lab enter app -- docker rmi haproxy:3.2'
mends "sshd killed" kill_inside app sshd
mends "cable gone" ip link delete "slw${id}a"
mends "cable pulled" ip link set "slw${id}c" down
mends "firewall rules gone" no_rules
mends "application server gone" kill_roles app-node
mends "both servers gone" kill_roles app-node ci-node
[ "$env_before" = "$(lab env)" ] || fail "the environment changed: $(diff <(echo "$env_before") <(lab env))"
lab down
lab down
[ "$before" = "$(machine)" ] || fail "left behind: $(diff <(echo "$before") <(machine))"
say "down, and nothing left"

lab up </dev/null
rm -rf --one-file-system "$dir" 2>/dev/null || :
lab down
# That net.ipv4.ip_forward was off was noted in the directory.
left=$(diff <(echo "$before") <(machine) | grep '^>' || :)
[ -z "${left//> 1/}" ] || fail "left behind after the directory was deleted: $left"
say "down after the directory was deleted, and nothing left"
[ "${1:-}" != --quick ] || exit 0

# Kills up when it has said its n-th line, until it gets through.
for ((n = 1; ; n++)); do
    coproc UP { exec setsid "$here/lab.sh" up --dir "$dir" 2>&1; }
    # The coprocess clears the variable when it ends, which may be before we look.
    pid=$UP_PID
    exec {lines}<&"${UP[0]}"
    line=
    for ((i = 0; i < n; i++)); do
        IFS= read -r line <&"$lines" || break
    done
    kill -KILL -- "-$pid" 2>/dev/null || :
    wait "$pid" 2>/dev/null || :
    exec {lines}<&-
    lab down
    [ "$before" = "$(machine)" ] || fail "left behind when killed after \"$line\": $(diff <(echo "$before") <(machine))"
    say "killed after \"${line#lab: }\", down, and nothing left"
    [[ $line != *"ready in"* ]] || break
done
