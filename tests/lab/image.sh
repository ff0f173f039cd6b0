# shellcheck shell=bash
# The base image python:3-slim in the CI engine: Docker's own where Docker Hub can be reached, else a small one of the
# distribution's python with the same commands in it. The application server's engine gets nothing beforehand.

BASE_IMAGE=python:3-slim

image_up() {
    local file host
    file=$CACHE/python-3-slim-$(dpkg --print-architecture).tar
    if engine ci image inspect "$BASE_IMAGE" >/dev/null 2>&1; then
        return
    fi
    # shellcheck disable=SC2016 # apt's own variable
    host=$(apt-get indextargets --format '$(REPO_URI)' | sed -n 's#^https\{0,1\}://\([^/:]*\).*#\1#p' | sort -u | sed -n 1p)
    [ -z "$host" ] || node_run ci timeout 10 getent hosts "$host" >/dev/null ||
        say "the engines cannot resolve names (see $(node_root ci)/etc/resolv.conf): builds that download will fail"
    if [ ! -s "$file" ]; then
        cache_lock
        [ -s "$file" ] || image_fetch "$file"
        cache_unlock
        ! engine ci image inspect "$BASE_IMAGE" >/dev/null 2>&1 || return 0
    fi
    step "loading $BASE_IMAGE from $CACHE" engine ci load --input "$file"
}

# Brings it into the engine, and from there into the file.
image_fetch() {
    if ! hub_answers || ! step_try "pulling $BASE_IMAGE from Docker Hub" image_pull; then
        distribution_find
        say "Docker Hub cannot be reached; $BASE_IMAGE is made from the distribution instead, which takes a minute or two"
        command -v debootstrap >/dev/null ||
            step "installing from the distribution: debootstrap" packages_install debootstrap gpgv
        step "$BASE_IMAGE from $DISTRIBUTION $SUITE at ${MIRROR:-its own mirror}" image_make
    fi
    step "keeping $BASE_IMAGE in $CACHE" image_keep "$1"
}

# Asked from where the engine stands. Without a login Docker Hub answers 401.
hub_answers() {
    node_run ci env -i PATH="$LAB_PATH" "${PROXIES[@]}" timeout 8 /usr/bin/python3 -I -c '
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen("https://registry-1.docker.io/v2/", timeout=4)
except urllib.error.HTTPError as error:
    sys.exit(error.code != 401)'
}

# A pull that fails after all is no end of the matter: the distribution can stand in.
image_pull() {
    timeout 300 docker --config "$DIR/docker-config" --host "$(engine_host ci)" pull --quiet "$BASE_IMAGE" >>"$LOG/image.log" 2>&1
}

image_keep() {
    engine ci save --output "$1.new" "$BASE_IMAGE"
    mv "$1.new" "$1"
    chown "$OWNER_UID:$OWNER_GID" "$1"
}

# Sets DISTRIBUTION, SUITE, MIRROR, COMPONENTS and SOURCES (lines for sources.list) to what apt on this machine uses.
distribution_find() {
    local origin suite component uri
    # shellcheck source=/dev/null
    SUITE=$(. /etc/os-release && printf %s "${VERSION_CODENAME:-bookworm}")
    DISTRIBUTION=Debian MIRROR='' SOURCES=''
    # shellcheck disable=SC2016 # apt's own variables
    while IFS='|' read -r origin suite component uri; do
        # Not a disc, a file or a list of mirrors, which a container or debootstrap could not use.
        case $origin-$component-$uri in
        Debian-main-http* | Ubuntu-main-http* | Ubuntu-universe-http*) ;;
        *) continue ;;
        esac
        case $suite in
        "$SUITE") MIRROR=${MIRROR:-$uri} DISTRIBUTION=$origin ;;
        "$SUITE-updates" | "$SUITE-security") ;;
        *) continue ;;
        esac
        SOURCES+="deb $uri $suite $component"$'\n'
    done < <(apt-get indextargets --format '$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' | sort -u)
    if [ -z "$MIRROR" ]; then
        # apt here knows neither Debian's nor Ubuntu's archive by http; debootstrap knows where Debian's is.
        SUITE=bookworm
    fi
    COMPONENTS=main
    # Ubuntu has python3-venv and pip in universe.
    [ "$DISTRIBUTION" = Debian ] || COMPONENTS=main,universe
}

# In namespaces of its own, so that debootstrap's mounts and processes end with it whatever happens.
image_make() {
    local tree=$DIR/base-image proxy=''
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    rm -rf --one-file-system -- "$tree"
    mkdir -p "$tree"
    env -i PATH="$LAB_PATH" LANG=C.UTF-8 http_proxy="${proxy:-${http_proxy:-}}" \
        unshare --mount --pid --fork --kill-child --propagation private \
        debootstrap --variant=minbase --components="$COMPONENTS" --include=python3,python3-venv,python3-pip,ca-certificates \
        "$SUITE" "$tree" ${MIRROR:+"$MIRROR"} >>"$LOG/image.log" 2>&1
    [ -z "$SOURCES" ] || printf %s "$SOURCES" >"$tree/etc/apt/sources.list"
    image_trust "$tree"
    image_like_official "$tree"
    image_slim "$tree"
    tar -C "$tree" --numeric-owner --one-file-system -c . |
        engine ci import --change 'CMD ["python3"]' --change 'ENV LANG=C.UTF-8' \
            --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' - "$BASE_IMAGE" >>"$LOG/image.log"
    rm -rf --one-file-system -- "$tree"
}

# Where this machine was told to trust further authorities (a proxy that looks into TLS), builds need them as well.
image_trust() {
    [ -z "$(find /usr/local/share/ca-certificates -name '*.crt' 2>/dev/null)" ] ||
        cp -rL /usr/local/share/ca-certificates/. "$1/usr/local/share/ca-certificates/"
    chroot "$1" /usr/sbin/update-ca-certificates >>"$LOG/image.log" 2>&1
}

# Dockerfiles written for the official image call python and pip, and install into the system's python.
image_like_official() {
    ln -s /usr/bin/python3 "$1/usr/local/bin/python"
    [ -e "$1/usr/bin/pip" ] || ln -s /usr/bin/pip3 "$1/usr/local/bin/pip"
    find "$1/usr/lib" -maxdepth 2 -name EXTERNALLY-MANAGED -delete
}

image_slim() {
    find "$1/var/cache/apt" "$1/var/lib/apt/lists" "$1/var/log" -type f -delete
    find "$1/usr/share/doc" -type f ! -name copyright -delete
    rm -rf "$1"/usr/share/{man,info,locale}/* "$1"/usr/lib/python3*/test
    find "$1/usr" -type d -name __pycache__ -prune -exec rm -rf {} +
    # An image knows no machine: these are copies of ours.
    : >"$1/etc/resolv.conf"
    : >"$1/etc/hostname"
}
