# shellcheck shell=bash
# Two Docker engines, one a node. Inside its node each is a stock one: /var/run/docker.sock, /var/lib/docker, a containerd
# of its own, and the docker0 bridge. Seen from here the socket is a file in the node's root directory.

engine_socket() { printf '%s/run/docker.sock' "$(node_root "$1")"; }
engine_host() { printf 'unix://%s' "$(engine_socket "$1")"; }

# engine NODE ARGUMENT...: the docker command against it, with no one's configuration or login.
engine() {
    local node=$1
    shift
    env -u DOCKER_CONTEXT -u DOCKER_TLS_VERIFY -u DOCKER_API_VERSION DOCKER_CONFIG="$DIR/docker-config" \
        DOCKER_HOST="$(engine_host "$node")" docker "$@"
}

engine_healthy() {
    [ -n "$(timeout 5 env -u DOCKER_CONTEXT -u DOCKER_TLS_VERIFY docker -H "$(engine_host "$1")" version -f '{{.Server.Version}}')" ]
}

# The engines reach Docker Hub through the same proxy as we do, unless it listens on our loopback, which is not theirs.
proxies_find() {
    local name value
    PROXIES=()
    for name in http_proxy https_proxy HTTP_PROXY HTTPS_PROXY; do
        value=${!name:-}
        case $value in
        '' | *//localhost* | *//127.* | *@localhost* | *@127.*) ;;
        *) PROXIES+=("$name=$value") ;;
        esac
    done
    ((${#PROXIES[@]} == 0)) || PROXIES+=("NO_PROXY=$LAB_REGISTRY,$NET_BASE.0/24,localhost,127.0.0.0/8,${NO_PROXY:-${no_proxy:-}}")
}

engine_spawn() {
    local node=$1 pid group
    local -a settings
    if engine_healthy "$node" >/dev/null 2>&1; then
        return
    fi
    # One that is there but does not answer would hold the data directory's lock against its successor.
    for pid in $(node_pids "$node" dockerd); do
        kill -KILL "$pid" 2>/dev/null || :
        wait_for 10 pids_ended "$pid"
    done
    proxies_find
    engine_trust "$node"
    group=$OWNER_GID
    [ "$node" = ci ] || group=docker
    settings=(
        --host unix:///var/run/docker.sock
        --group "$group"
        --bip "$(net_offset 1 1)/24"
        --default-address-pool "base=$(net_offset 2 0)/23,size=27"
        # Registries that a test offers on this machine may be plain http; the lab's own is not among them.
        --insecure-registry "$(net_offset 0 4)/30"
        --cgroup-parent "/slipway-lab-$ID/$node"
        --exec-opt native.cgroupdriver=cgroupfs
        --ip6tables=false
    )
    node_spawn "$node" "$LOG/$node-dockerd.log" dockerd "${settings[@]}"
}

engine_wait() {
    wait_for 60 engine_healthy "$1"
}

# The engine believes the lab's certificate authority, for the registry's host alone.
engine_trust() {
    local certs
    certs=$(node_root "$1")/etc/docker/certs.d/$LAB_REGISTRY
    mkdir -p "$certs"
    [ ! -e "$DIR/pki/ca.crt" ] || cp "$DIR/pki/ca.crt" "$certs/ca.crt"
}
