# shellcheck shell=bash
# moto's server as the ECR and STS of AWS, on a free port of our loopback. It keeps its state in memory.

# Sets VENV. The name holds python's version and the pins, so that a change of either makes a new one.
moto_place() {
    local python pins
    python=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    pins=$(sha256sum "$LAB_SOURCE/requirements.txt" | cut -c1-12)
    VENV=$CACHE/venv-$python-$pins
}

# Of moto's "server" extra only these are needed for ECR and STS; all versions are pinned in requirements.txt, by hash.
moto_install() {
    moto_place
    [ ! -e "$VENV/complete" ] || return 0
    cache_lock
    [ -e "$VENV/complete" ] || step "moto from PyPI into $VENV" moto_download
    cache_unlock
}

moto_download() {
    rm -rf -- "$VENV"
    {
        "${AS_OWNER[@]}" /usr/bin/python3 -m venv "$VENV"
        "${AS_OWNER[@]}" "$VENV/bin/pip" install --disable-pip-version-check --no-input --require-hashes --requirement "$LAB_SOURCE/requirements.txt"
        "${AS_OWNER[@]}" touch "$VENV/complete"
    } >>"$LOG/install.log" 2>&1
}

# The port is chosen by the kernel, and kept when moto has to be started again, since people have it in their environment.
moto_spawn() {
    local port
    if moto_healthy >/dev/null 2>&1; then
        return
    fi
    stop_role moto
    port=$(cat "$DIR/state/moto-port" 2>/dev/null || echo 0)
    if [ "$port" != 0 ] && port_answers 127.0.0.1 "$port"; then
        port=0
    fi
    rm -f "$DIR/state/moto-port"
    # The port is read from the log, so each start has a log of its own.
    [ ! -e "$LOG/moto.log" ] || mv "$LOG/moto.log" "$LOG/moto.log.old"
    spawn moto "$LOG/moto.log" "${AS_OWNER[@]}" "$VENV/bin/moto_server" -H 127.0.0.1 -p "$port"
}

moto_wait() {
    if [ ! -s "$DIR/state/moto-port" ]; then
        wait_for 30 moto_port
        moto_port >"$DIR/state/moto-port"
    fi
    wait_for 30 moto_healthy
}

# The port that moto says it listens on.
moto_port() {
    sed -nE 's/.*Running on http:\/\/127\.0\.0\.1:([0-9]+).*/\1/p' "$LOG/moto.log" | grep .
}

port_answers() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

moto_healthy() {
    local port answer
    port=$(cat "$DIR/state/moto-port") || return 1
    answer=$(
        exec 3<>"/dev/tcp/127.0.0.1/$port" || exit
        printf 'GET /moto-api/ HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3
        timeout 5 head -n 1 <&3
    ) || return 1
    [[ $answer == *" 200 "* ]]
}
