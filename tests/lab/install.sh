# shellcheck shell=bash
# Takes what is missing from the distribution. Nothing that this installs is started or enabled on the machine itself.

# Each line: PACKAGE and what shows that it is not needed.
install_missing() {
    local -a wanted=()
    want() {
        local package=$1
        shift
        "$@" >/dev/null 2>&1 || wanted+=("$package")
    }
    # An engine of the user's own (docker-ce, say) is used as it is: only its program is, never its service or data.
    want docker.io program_shared dockerd
    want docker-registry command -v docker-registry
    want openssh-server program_shared sshd
    want openssh-client command -v ssh-keygen
    want iptables command -v iptables
    want iproute2 command -v ip
    want skopeo command -v skopeo
    want podman command -v podman
    want openssl command -v openssl
    want python3-venv /usr/bin/python3 -c 'import ensurepip, venv'
    want ca-certificates test -s /etc/ssl/certs/ca-certificates.crt
    if ((${#wanted[@]} > 0)); then
        step "installing from the distribution: ${wanted[*]}" packages_install "${wanted[@]}"
    fi
    # Newer releases have the docker command in a package of its own.
    program_shared docker || step "installing from the distribution: docker-cli" packages_install docker-cli
}

# Nodes share /usr only, and what a snap brings cannot open sockets outside a home.
program_shared() {
    local path
    path=$(PATH=$LAB_PATH command -v "$1") && [[ $(realpath "$path") == /usr/* ]]
}

# Fails rather than removes a package that is in the way, such as another vendor's containerd.
packages_install() {
    local -a new=()
    local package
    command -v apt-get >/dev/null || die "missing here: $*" "the lab installs them on Debian and Ubuntu only; install them yourself"
    {
        packages_get update || echo "apt-get update failed; going on with the lists that are there"
        mapfile -t new < <(packages_get install --simulate "$@" | awk '$1 == "Inst" {print $2}')
        services_held packages_get install "$@"
        for package in "${new[@]}"; do services_disable "$package"; done
    } >>"$LOG/install.log" 2>&1
}

packages_get() {
    local command=$1
    shift
    set -- "$command" --yes --no-install-recommends --no-remove "$@"
    [ "$command" = install ] || set -- "$command"
    env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get --quiet -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null
}

# services_held COMMAND...: with a policy-rc.d (the distribution's own switch) that forbids to start services. One that is
# there already stays untouched below a mount which only the command sees.
services_held() {
    local policy=/usr/sbin/policy-rc.d mark='# slipway lab: no service starts while it installs'
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$DIR/state/policy-rc.d"
    chmod 755 "$DIR/state/policy-rc.d"
    if [ -e "$policy" ] && ! grep -qF "$mark" "$policy"; then
        export -f packages_get
        # shellcheck disable=SC2016 # expanded by the shell that runs it
        unshare --mount --propagation private bash -c 'mount --bind "$0" "$1" && shift && "$@"' "$DIR/state/policy-rc.d" "$policy" "$@"
        return
    fi
    # A crash may leave ours behind; the mark tells that it is, and the next run takes it away.
    cp "$DIR/state/policy-rc.d" "$policy"
    local status=0
    "$@" || status=$?
    rm -f "$policy"
    return "$status"
}

# What came with this installation is not to start at the next boot either.
services_disable() {
    local path name
    while read -r path; do
        name=${path##*/}
        case $path in
        /etc/init.d/*) update-rc.d "$name" disable ;;
        *@*) continue ;;
        */systemd/system/*.service | */systemd/system/*.socket)
            if command -v systemctl >/dev/null; then
                systemctl --quiet --no-reload disable "$name"
            else
                deb-systemd-helper disable "$name"
            fi
            ;;
        *) continue ;;
        esac || echo "could not disable $name"
    done < <(dpkg -L "$1")
}
