# shellcheck shell=bash
# Processes that outlive the shell which starts them, and how they are found and ended again.

# Closes everything but 0-2, so that a daemon holds no pipe of whoever called us, and becomes the command.
# shellcheck disable=SC2016 # expanded by the shell that runs it
DETACH='for f in /proc/self/fd/*; do f=${f##*/}; [ "$f" -le 2 ] || eval "exec $f>&-"; done; exec "$@"'

# spawn ROLE LOG COMMAND...: a process that outlives us. Its environment is new (no secret of the caller's, no cookie of
# a CI server that kills by it) and names this lab and its role, by which it is found again: pids get reused, these not.
spawn() {
    local role=$1 log=$2
    shift 2
    setsid env -i PATH="$LAB_PATH" HOME=/ LANG=C.UTF-8 "SLIPWAY_LAB=$DIR" "SLIPWAY_LAB_ROLE=$role" \
        bash -c "$DETACH" detach "$@" </dev/null >>"$log" 2>&1 &
    disown
}

# pids_of [ROLE]: processes of this lab which still carry the environment that spawn gave them.
pids_of() {
    local file pid
    while read -r file; do
        pid=${file#/proc/}
        pid=${pid%/environ}
        if [ -z "${1:-}" ] || grep -qszxF "SLIPWAY_LAB_ROLE=$1" "/proc/$pid/environ"; then
            printf '%s\n' "$pid"
        fi
    done < <(grep -slzxF "SLIPWAY_LAB=$DIR" /proc/[0-9]*/environ)
}

# stop_role ROLE: asks, then insists.
stop_role() {
    local -a pids
    mapfile -t pids < <(pids_of "$1")
    ((${#pids[@]} > 0)) || return 0
    kill -TERM "${pids[@]}" 2>/dev/null || :
    wait_for 5 pids_ended "${pids[@]}" && return 0
    kill -KILL "${pids[@]}" 2>/dev/null || :
    wait_for 10 pids_ended "${pids[@]}"
}

# A zombie has ended, too: in a container nobody may ever collect it.
pids_ended() {
    local pid state
    for pid in "$@"; do
        # The name in parentheses may hold anything, so cut up to its end.
        state=$(sed 's/.*) //; s/ .*//' "/proc/$pid/stat" 2>/dev/null) || continue
        [ "$state" = Z ] || return 1
    done
}

# Stops all there is. Killing process 1 of a node's PID namespace makes the kernel kill everything inside it: the
# engine, its containers, sshd and its sessions; their mounts and network go with them. It ends as the last of them.
processes_stop() {
    local -a pids
    stop_role moto
    stop_role registry
    mapfile -t pids < <(pids_of)
    ((${#pids[@]} > 0)) || return 0
    kill -KILL "${pids[@]}" 2>/dev/null || :
    wait_for 30 pids_ended "${pids[@]}" ||
        die "some processes of the lab do not end: ${pids[*]}" "look with: ps -o pid,stat,wchan,args -p PID"
}
