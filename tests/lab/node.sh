# shellcheck shell=bash
# A node is a machine of its own as far as anything inside can tell: namespaces for processes, network, mounts, host name,
# and a root directory that shares nothing but /usr with ours. Process 1 in it (node-init.sh) only keeps it alive.

NODES=(ci app)

# Where a node's root directory is, seen from here.
node_root() { printf '%s/%s/root' "$DIR" "$1"; }

# The pid, seen from here, of the node's process 1; empty when there is none.
node_holder() {
    local pid
    for pid in $(pids_of "$1-node"); do
        # The last number is the pid inside the innermost namespace; unshare itself, the parent, has only one.
        if grep -qsE '^NSpid:.*[[:space:]]1$' "/proc/$pid/status"; then
            printf '%s\n' "$pid"
            return
        fi
    done
}

# node_run NODE COMMAND...: as root inside, in our environment.
node_run() {
    local holder
    holder=$(node_holder "$1")
    [ -n "$holder" ] || return 1
    shift
    nsenter --target "$holder" --mount --net --pid --uts --ipc -- "$@"
}

node_enter() {
    [ -n "$(node_holder "$1")" ] || die "the $1 node is not running" "start it: $LAB_SOURCE/lab.sh up --dir '$DIR'"
    node_run "$@"
}

# node_spawn NODE LOG COMMAND...: a daemon inside, adopted by the node's process 1.
node_spawn() {
    local node=$1 log=$2
    shift 2
    # shellcheck disable=SC2016 # expanded inside
    node_run "$node" env -i PATH="$LAB_PATH" HOME=/root LANG=C.UTF-8 "SLIPWAY_LAB=$DIR" "SLIPWAY_LAB_ROLE=$node" "${PROXIES[@]}" \
        bash -c 'setsid bash -c "$0" detach "$@" &' "$DETACH" "$@" </dev/null >>"$log" 2>&1
}

# The pids, seen from here, of everything in the node's PID namespace that has this name.
node_pids() {
    local holder space pid
    holder=$(node_holder "$1")
    [ -n "$holder" ] || return 0
    space=$(readlink "/proc/$holder/ns/pid")
    while read -r pid; do
        [ "$(readlink "/proc/$pid/ns/pid" 2>/dev/null)" != "$space" ] || printf '%s\n' "$pid"
    done < <(grep -slxF "$2" /proc/[0-9]*/comm | cut -d/ -f3)
}

nodes_up() {
    local node
    for node in "${NODES[@]}"; do
        [ -z "$(node_holder "$node")" ] || continue
        node_tree "$node"
        node_etc "$node"
        spawn "$node-node" "$LOG/$node-node.log" \
            unshare --mount --net --pid --uts --ipc --fork --propagation private \
            bash "$LAB_SOURCE/node-init.sh" "$(node_root "$node")" "$node"
    done
    for node in "${NODES[@]}"; do
        if ! wait_for 15 node_ready "$node"; then
            step_log "$LOG/$node-node.log"
            return 1
        fi
    done
}

node_ready() { [ -e "$(node_root "$1")/run/node-ready" ] && [ -n "$(node_holder "$1")" ]; }

# The directories of a node's root. What the last life of the node left in /run is from a dead kernel or dead processes.
node_tree() {
    local root link
    root=$(node_root "$1")
    # From a crash between starting and being found; it must not share the directory with the new one.
    stop_role "$1-node"
    rm -rf --one-file-system -- "$root/run"
    mkdir -p "$root"/{usr,proc,sys,dev,run/lock,tmp,etc,home,root,mnt,var/{lib/docker,log,tmp,cache}}
    chmod 755 "$root" "$root/run" "$root/etc"
    chmod 1777 "$root/tmp" "$root/var/tmp" "$root/run/lock"
    chmod 700 "$root/root"
    ln -sfn /run "$root/var/run"
    ln -sfn /run/lock "$root/var/lock"
    for link in /bin /sbin /lib*; do
        if [ -L "$link" ]; then
            ln -sfn "$(readlink "$link")" "$root$link"
        else
            mkdir -p "$root$link"
        fi
    done
}

# Of our /etc a node gets only what programs under /usr need to run; accounts, names and engine settings are its own.
node_etc() {
    local etc item
    etc=$(node_root "$1")/etc
    mkdir -p "$etc/ssh" "$etc/docker"
    for item in alternatives ld.so.cache ld.so.conf ld.so.conf.d ssl/certs ssl/openssl.cnf ca-certificates services \
        protocols localtime profile bash.bashrc login.defs ethertypes ssh/moduli; do
        [ -e "/etc/$item" ] || continue
        mkdir -p "$(dirname "$etc/$item")"
        rm -rf -- "${etc:?}/$item"
        # Links of a certificate directory may lead outside what a node shares, so copy what they lead to.
        cp -a "$([ "$item" = ssl/certs ] && echo -L || echo -P)" "/etc/$item" "$etc/$item" || [ "$item" = ssl/certs ]
    done
    ln -sfn ../usr/lib/os-release "$etc/os-release"
    printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n' >"$etc/nsswitch.conf"
    printf '%s\n' "$1" >"$etc/hostname"
    node_accounts "$1" "$etc"
    node_resolver >"$etc/resolv.conf"
}

# deployer is the ordinary user whom people deploy as; the group docker is all that opens the engine to it.
node_accounts() {
    local etc=$2 sshd_uid docker_gid=$OWNER_GID
    local -i uid=4200
    while getent passwd "$uid" >/dev/null || ((uid == docker_gid)); do uid+=1; done
    # Whoever runs the lab through sudo looks at the sockets with their own group.
    ((docker_gid != 0)) || docker_gid=$((uid + 1))
    sshd_uid=$(id -u sshd 2>/dev/null || echo 102)
    cat >"$etc/passwd" <<PASSWD
root:x:0:0:root:/root:/bin/bash
sshd:x:$sshd_uid:65534::/run/sshd:/usr/sbin/nologin
deployer:x:$uid:$uid::/home/deployer:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
PASSWD
    printf 'root:x:0:\ntty:x:5:\ndocker:x:%s:deployer\ndeployer:x:%s:\nnogroup:x:65534:\n' "$docker_gid" "$uid" >"$etc/group"
    # A star is "no password"; an exclamation mark would be a locked account, which sshd refuses without PAM.
    (umask 077 && printf '%s:*:19000:0:99999:7:::\n' root sshd deployer nobody >"$etc/shadow")
}

# A resolver on our loopback cannot be reached from another network namespace; systemd-resolved keeps the real ones aside.
node_resolver() {
    local file
    for file in /etc/resolv.conf /run/systemd/resolve/resolv.conf; do
        if grep -qsE '^nameserver[[:space:]]+' "$file" && ! grep -qE '^nameserver[[:space:]]+(127\.|::1)' "$file"; then
            cat "$file"
            return
        fi
    done
    # The last resort: without any, the engines would fall back to servers of their own choice, too.
    printf 'nameserver 1.1.1.1\nnameserver 8.8.8.8\n'
}

# Cgroups outlive the processes of a namespace: remove the ones which the engines made below their parent. In a mount
# namespace, since where nothing is mounted on /sys/fs/cgroup a node mounted the tree for itself.
cgroups_remove() {
    # shellcheck disable=SC2016 # expanded by the shell that runs it
    wait_for 5 unshare --mount --propagation private bash -c '
        mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup
        for top in /sys/fs/cgroup/"$0" /sys/fs/cgroup/*/"$0"; do
            [ ! -d "$top" ] || find "$top" -depth -type d -exec rmdir {} + || exit 1
        done' "slipway-lab-$ID" || say "some cgroups named slipway-lab-$ID are still in use"
}
