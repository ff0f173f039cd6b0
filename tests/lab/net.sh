# shellcheck shell=bash
# One cable (veth pair) from this machine to each node, and the rules that let a node out through it.
#
# A lab takes a block of 1,024 addresses, BASE.0 to BASE+3.255:
#   BASE.0/30  cable of the CI node: .1 here (the registry listens there), .2 the node
#   BASE.4/30  cable of the app node: .5 here (LAB_HOST_ADDR), .6 the node (LAB_APP_ADDR)
#   BASE+1.0/24, BASE+2.0/23  containers, inside a node only: both nodes use the same ones
# Names and rules carry ID, so that they are found again when nothing else is left.

net_link() { printf 'slw%s%s' "$ID" "${1:0:1}"; }

# net_address NODE host|node
net_address() {
    case $1-$2 in
    ci-host) net_offset 0 1 ;;
    ci-node) net_offset 0 2 ;;
    app-host) net_offset 0 5 ;;
    app-node) net_offset 0 6 ;;
    esac
}

# net_offset BLOCK LAST: an address in the lab's BASE
net_offset() {
    local a b c
    IFS=. read -r a b c <<<"$NET_BASE"
    printf '%d.%d.%d.%d' "$a" "$b" $((c + $1)) "$2"
}

net_number() {
    local -i a b c d
    IFS=. read -r a b c d <<<"$1"
    printf '%d' $(((a << 24) + (b << 16) + (c << 8) + d))
}

# The prefixes this machine knows a way to, and its resolvers. Anything as short as 0.0.0.0/1 is a default route in disguise.
net_used() {
    {
        ip -4 -o route show table all | sed -E 's/^(local|broadcast|unicast|blackhole|unreachable|prohibit|throw) //' |
            grep -v " dev slw${ID}[ca]" | awk '{print $1}'
        sed -n 's/^nameserver[[:space:]]*//p' /etc/resolv.conf
    } | grep -E '^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+(/[0-9]+)?$' | awk -F/ '{n = $2 == "" ? 32 : $2; if (n >= 8) print $1, n}' | sort -u
}

net_free() {
    local -i first last start size
    local address bits
    first=$(net_number "$1.0")
    last=$((first + 1023))
    while read -r address bits; do
        size=$((1 << (32 - bits)))
        start=$(($(net_number "$address") / size * size))
        ((start > last || start + size <= first)) || return 1
    done <<<"$2"
}

# The block 198.18.0.0/15 is set aside for test networks (RFC 2544), so hardly anyone routes it; private ranges come after.
net_choose() {
    local used candidate
    local -i i seed=$((16#${ID:0:4}))
    used=$(net_used)
    for ((i = 0; i < 256; i++)); do
        if ((i < 128)); then
            candidate=198.$((18 + (seed + i) / 64 % 2)).$(((seed + i) % 64 * 4))
        elif ((i < 192)); then
            candidate=10.217.$(((seed + i) % 64 * 4))
        else
            candidate=192.168.$(((seed + i) % 64 * 4))
        fi
        if net_free "$candidate" "$used"; then
            printf %s "$candidate"
            return
        fi
    done
    return 1
}

# Sets NET_BASE to the block in use; empty when there is none yet.
net_recall() { NET_BASE=$(cat "$DIR/state/net" 2>/dev/null || :); }

# Without the cable, traffic to its addresses would leave by the default route.
net_plugged() { [ -e "/sys/class/net/$(net_link "$1")" ]; }

net_up() {
    local node
    iptables_choose
    net_claim
    for node in "${NODES[@]}"; do
        net_cable "$node"
        node_hosts "$node"
    done
    net_rules
    if [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ]; then
        cat /proc/sys/kernel/random/boot_id >"$DIR/state/ip-forward-was-off"
        echo 1 >/proc/sys/net/ipv4/ip_forward
    fi
}

# Sets NET_BASE. The block counts as taken once an address of it is on a link, so two labs choose one after the other.
net_claim() {
    local node
    net_recall
    exec 8</run
    flock 8
    if [ -z "$NET_BASE" ] || ! net_free "$NET_BASE" "$(net_used)"; then
        NET_BASE=$(net_choose) || die "no free block of addresses" "look at: ip route show table all"
        printf '%s\n' "$NET_BASE" >"$DIR/state/net"
        # Cables of an earlier block lead nowhere now.
        for node in "${NODES[@]}"; do ip link delete "$(net_link "$node")" 2>/dev/null || :; done
        rules_remove
    fi
    net_cable ci
    exec 8<&-
}

net_cable() {
    local link near far holder
    link=$(net_link "$1")
    near=$(net_address "$1" host)
    far=$(net_address "$1" node)
    holder=$(node_holder "$1")
    if ! nsenter -t "$holder" -n ip -4 -o addr show dev eth0 2>/dev/null | grep -q " $far/" ||
        ! ip -4 -o addr show dev "$link" 2>/dev/null | grep -q " $near/"; then
        ip link delete "$link" 2>/dev/null || :
        ip link add "$link" type veth peer name eth0 netns "$holder"
        ip addr add "$near/30" dev "$link"
        nsenter -t "$holder" -n ip addr add "$far/30" dev eth0
    fi
    ip link set "$link" up
    nsenter -t "$holder" -n ip link set eth0 up
    nsenter -t "$holder" -n ip route replace default via "$near"
}

node_hosts() {
    {
        printf '127.0.0.1 localhost\n%s %s\n' "$(net_address "$1" node)" "$1"
        printf '%s %s\n' "$(net_address ci host)" "$LAB_REGISTRY"
    } >"$(node_root "$1")/etc/hosts"
}

# Sets IPTABLES. The distribution's choice decides, unless this kernel does not carry it out.
iptables_choose() {
    local try
    for try in iptables iptables-nft iptables-legacy; do
        # The matches that an engine needs, tried in a network namespace that is gone at once.
        if command -v "$try" >/dev/null && unshare --net sh -ec "
            $try -w -t nat -A POSTROUTING -m comment --comment probe -j MASQUERADE
            $try -w -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j ACCEPT
            $try -w -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"; then
            IPTABLES=$try
            return
        fi
    done
    die "iptables does not work here (see $LOG/lab.log)" "the lab needs NAT, conntrack and veth in the kernel"
}

# Each line is one rule: TABLE CHAIN MATCH... Ahead of the firewall's own ones, since its policy may be to drop.
net_rule_list() {
    local link
    printf 'nat POSTROUTING -s %s.0/29 ! -d %s.0/29 -j MASQUERADE\n' "$NET_BASE" "$NET_BASE"
    for link in $(net_link ci) $(net_link app); do
        printf 'filter INPUT -i %s -j ACCEPT\n' "$link"
        printf 'filter FORWARD -i %s -j ACCEPT\n' "$link"
        printf 'filter FORWARD -o %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n' "$link"
    done
}

net_rules() {
    local table chain match
    while read -r table chain match; do
        # shellcheck disable=SC2086 # a list of words
        "$IPTABLES" -w -t "$table" -C "$chain" -m comment --comment "slipway-lab-$ID" $match 2>/dev/null ||
            "$IPTABLES" -w -t "$table" -I "$chain" -m comment --comment "slipway-lab-$ID" $match
    done < <(net_rule_list)
}

# Rules are found by their comment, with both of iptables' backends where both are there: an update may have swapped them.
rules_remove() {
    local backend table chain rule
    for backend in iptables-nft iptables-legacy; do
        command -v "$backend" >/dev/null || continue
        # Listing creates the legacy tables; do not, where there are none.
        [ "$backend" = iptables-nft ] || grep -qs . /proc/net/ip_tables_names || continue
        for table in nat filter; do
            while read -r _ chain rule; do
                # shellcheck disable=SC2086 # a list of words
                "$backend" -w -t "$table" -D "$chain" $rule
            done < <("$backend" -w -t "$table" -S | tr -d '"' | grep -E -- "--comment slipway-lab-$ID( |$)")
        done
    done
}

net_down() {
    local node
    for node in "${NODES[@]}"; do
        # Deleting one end deletes the other; a node that has just died may have done so, or be about to.
        ip link delete "$(net_link "$node")" 2>/dev/null || :
    done
    rules_remove
    # Off again only if we turned it on since the last boot, and nobody else (an engine, virtual machines) routes by now.
    if [ "$(cat /proc/sys/kernel/random/boot_id)" = "$(cat "$DIR/state/ip-forward-was-off" 2>/dev/null)" ]; then
        if [ -n "$(ip -o link show type bridge)" ]; then
            say "leaving net.ipv4.ip_forward on: there is a bridge that may need it"
        elif ip -o link | grep -qE '^[0-9]+: slw[0-9a-f]{8}[ca]@'; then
            # The last lab to go turns it off.
            ip_forward_bequeath
        else
            echo 0 >/proc/sys/net/ipv4/ip_forward
        fi
    fi
}

# Hands the note that forwarding was off to a lab that still runs.
ip_forward_bequeath() {
    local heir
    heir=$({ sed -szn 's/^SLIPWAY_LAB=//p' /proc/[0-9]*/environ 2>/dev/null || :; } | tr '\0' '\n' | grep -vxF "$DIR" | sort -u | sed -n 1p)
    [ -z "$heir" ] || [ ! -d "$heir/state" ] || cp "$DIR/state/ip-forward-was-off" "$heir/state/"
}
