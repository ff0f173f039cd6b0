# shellcheck shell=bash
# OpenSSH's server in the app node, on port 22 of its address, and the ordinary user deployer, who is known there only.

sshd_keys() {
    local etc type
    etc=$(node_root app)/etc/ssh
    for type in ed25519 rsa; do
        [ -s "$etc/ssh_host_${type}_key.pub" ] || {
            rm -f "$etc/ssh_host_${type}_key"
            ssh-keygen -q -t "$type" -N '' -C "slipway lab $ID" -f "$etc/ssh_host_${type}_key"
        }
        printf '%s %s\n' "$(net_address app node)" "$(cut -d' ' -f1,2 "$etc/ssh_host_${type}_key.pub")"
    done >"$DIR/ssh/known_hosts.new"
    mv "$DIR/ssh/known_hosts.new" "$DIR/ssh/known_hosts"
    [ -s "$DIR/ssh/id_ed25519.pub" ] || {
        rm -f "$DIR/ssh/id_ed25519"
        ssh-keygen -q -t ed25519 -N '' -C deployer -f "$DIR/ssh/id_ed25519"
    }
    # ssh refuses a private key that is not its user's own.
    chown -R "$OWNER_UID:$OWNER_GID" "$DIR/ssh"
}

sshd_up() {
    local root home ids
    root=$(node_root app)
    ids=$(awk -F: '$1 == "deployer" {print $3 ":" $4}' "$root/etc/passwd")
    home=$root/home/deployer
    mkdir -p "$home/.ssh" "$root/run/sshd"
    cp "$DIR/ssh/id_ed25519.pub" "$home/.ssh/authorized_keys"
    chmod 700 "$home/.ssh"
    chmod 755 "$root/run/sshd"
    chown "$ids" "$home" "$home/.ssh" "$home/.ssh/authorized_keys"
    if sshd_healthy; then
        return
    fi
    sshd_config >"$root/etc/ssh/sshd_config"
    sshd_listener_stop
    node_spawn app "$LOG/sshd.log" "$(command -v sshd)" -D -e
    wait_for 15 sshd_healthy
}

# What Debian and Ubuntu ship, except that keys are the only way in and PAM, which would bring our accounts' rules, is out.
sshd_config() {
    cat <<'CONFIG'
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
X11Forwarding yes
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp /usr/lib/openssh/sftp-server
CONFIG
}

# One that is there but does not answer would keep the port.
sshd_listener_stop() {
    local pid
    pid=$(cat "$(node_root app)/run/sshd.pid" 2>/dev/null) || return 0
    # The number is one of the node's PID namespace; a number without a process is no harm.
    node_run app sh -c "grep -qx sshd /proc/$pid/comm && kill -KILL $pid" 2>/dev/null || :
}

sshd_healthy() {
    local banner
    net_plugged app || return 1
    # shellcheck disable=SC2016 # expanded by the shell that runs it
    banner=$(timeout 5 bash -c 'head -n 1 </dev/tcp/"$0"/22' "$(net_address app node)") || return 1
    [[ $banner == SSH-2.0-* ]]
}
