# shellcheck shell=bash
# Debian's docker-registry in the place of ECR: TLS for the name that ECR has, user AWS, and the password that moto hands out.
# It listens on this machine's end of the CI node's cable only, so that it takes port 443 from no one, and pulling the
# application server's cable does not take the registry away from the CI.

keys_make() {
    local node
    pki_make
    sshd_keys
    for node in "${NODES[@]}"; do engine_trust "$node"; done
}

# A certificate authority of this lab's own, and the registry's certificate signed by it.
pki_make() {
    (
        umask 077
        cd "$DIR/pki" || exit
        [ ! -s registry.crt ] || exit 0
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -keyout ca.key -out ca.crt \
            -subj "/CN=slipway lab $ID" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout registry.key -out registry.csr -subj "/CN=slipway lab registry"
        printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' "$LAB_REGISTRY" >registry.ext
        openssl x509 -req -in registry.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile registry.ext -out registry.new
        mv registry.new registry.crt
    )
    chmod 755 "$DIR/pki"
    chmod 644 "$DIR/pki/ca.crt"
}

registry_up() {
    python_part login "http://127.0.0.1:$(cat "$DIR/state/moto-port")" "$AWS_REGION" "$DIR/registry/htpasswd"
    if registry_healthy; then
        return
    fi
    stop_role registry
    mkdir -p "$DIR/registry/data"
    cat >"$DIR/registry/config.yml" <<YAML
version: 0.1
log:
  level: info
  accesslog:
    disabled: false
storage:
  filesystem:
    rootdirectory: '${DIR//\'/\'\'}/registry/data'
  delete:
    enabled: true
auth:
  htpasswd:
    realm: slipway-lab
    path: '${DIR//\'/\'\'}/registry/htpasswd'
http:
  addr: $(net_address ci host):443
  tls:
    certificate: '${DIR//\'/\'\'}/pki/registry.crt'
    key: '${DIR//\'/\'\'}/pki/registry.key'
YAML
    spawn registry "$LOG/registry.log" env OTEL_TRACES_EXPORTER=none docker-registry serve "$DIR/registry/config.yml"
    wait_for 20 registry_healthy
}

# Both engines have to get to it through this machine's firewall, whose rules iptables may know nothing of.
registry_reachable() {
    local node
    for node in "${NODES[@]}"; do
        # shellcheck disable=SC2016 # expanded inside
        node_run "$node" timeout 5 bash -c '</dev/tcp/"$0"/443' "$(net_address ci host)" ||
            die "a firewall on this machine keeps the $node node from reaching it" \
                "let $(net_link ci) and $(net_link app) in, with firewalld: firewall-cmd --zone=trusted --add-interface=…"
    done
}

# Healthy is what an engine needs: the name on the certificate, the authority's signature, and a login with moto's token.
registry_healthy() {
    net_plugged ci || return 1
    python_part check "http://127.0.0.1:$(cat "$DIR/state/moto-port")" "$AWS_REGION" "$(net_address ci host)" "$LAB_REGISTRY" "$DIR/pki/ca.crt"
}

python_part() { env -i PATH="$LAB_PATH" "$VENV/bin/python" -I "$LAB_SOURCE/login.py" "$@"; }
