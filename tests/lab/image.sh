# shellcheck shell=bash
# The images that the engines hold beforehand: python:3-slim, the base of builds, in the CI's, and haproxy:3.2, the front of
# remote-swap, in the application server's. They are Docker's own where Docker Hub can be reached, else small ones of the
# distribution's programs with the same commands in them.

images_up() {
    names_resolve
    image_up ci python:3-slim python_make
    image_up app haproxy:3.2 haproxy_make
}

names_resolve() {
    local host
    # shellcheck disable=SC2016 # apt's own variable
    host=$(apt-get indextargets --format '$(REPO_URI)' | sed -n 's#^https\{0,1\}://\([^/:]*\).*#\1#p' | sort -u | sed -n 1p)
    [ -z "$host" ] || node_run ci timeout 10 getent hosts "$host" >/dev/null ||
        say "the engines cannot resolve names (see $(node_root ci)/etc/resolv.conf): builds that download will fail"
}

# image_up NODE IMAGE MAKE: MAKE NODE IMAGE is for where Docker Hub does not answer.
image_up() {
    local node=$1 image=$2 file
    file=$CACHE/${image/:/-}-$(dpkg --print-architecture).tar
    ! image_there "$node" "$image" || return 0
    if [ ! -s "$file" ]; then
        cache_lock
        [ -s "$file" ] || image_fetch "$@" "$file"
        cache_unlock
        ! image_there "$node" "$image" || return 0
    fi
    step "loading $image from $CACHE" engine "$node" load --input "$file"
}

image_there() { engine "$1" image inspect "$2" >/dev/null 2>&1; }

# image_fetch NODE IMAGE MAKE FILE: brings it into the engine, and from there into the file.
image_fetch() {
    local node=$1 image=$2
    proxies_find
    if ! hub_answers "$node" || ! step_try "pulling $image from Docker Hub" image_pull "$node" "$image"; then
        distribution_find
        say "Docker Hub cannot be reached; $image is made from the distribution instead, which takes a minute or two"
        command -v debootstrap >/dev/null ||
            step "installing from the distribution: debootstrap" packages_install debootstrap gpgv
        step "$image from $DISTRIBUTION $SUITE at ${MIRROR:-its own mirror}" "$3" "$node" "$image"
    fi
    step "keeping $image in $CACHE" image_keep "$node" "$image" "$4"
}

# Asked from where the engine stands. Without a login Docker Hub answers 401.
hub_answers() {
    node_run "$1" env -i PATH="$LAB_PATH" "${PROXIES[@]}" timeout 8 /usr/bin/python3 -I -c '
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen("https://registry-1.docker.io/v2/", timeout=4)
except urllib.error.HTTPError as error:
    sys.exit(error.code != 401)'
}

# A pull that fails after all is no end of the matter: the distribution can stand in.
image_pull() {
    timeout 300 docker --config "$DIR/docker-config" --host "$(engine_host "$1")" pull --quiet "$2" >>"$LOG/image.log" 2>&1
}

image_keep() {
    engine "$1" save --output "$3.new" "$2"
    mv "$3.new" "$3"
    chown "$OWNER_UID:$OWNER_GID" "$3"
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

# distribution_tree TREE PACKAGES: a minimal system with these in it besides. In namespaces of its own, so that debootstrap's
# mounts and processes end with it whatever happens.
distribution_tree() {
    local proxy=''
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    rm -rf --one-file-system -- "$1"
    mkdir -p "$1"
    env -i PATH="$LAB_PATH" LANG=C.UTF-8 http_proxy="${proxy:-${http_proxy:-}}" \
        unshare --mount --pid --fork --kill-child --propagation private \
        debootstrap --variant=minbase --components="$COMPONENTS" --include="$2" "$SUITE" "$1" ${MIRROR:+"$MIRROR"} \
        >>"$LOG/image.log" 2>&1
}

python_make() {
    local tree=$DIR/base-image
    distribution_tree "$tree" python3,python3-venv,python3-pip,ca-certificates
    [ -z "$SOURCES" ] || printf %s "$SOURCES" >"$tree/etc/apt/sources.list"
    image_trust "$tree"
    image_like_official "$tree"
    image_slim "$tree"
    tar -C "$tree" --numeric-owner --one-file-system -c . |
        engine "$1" import --change 'CMD ["python3"]' --change 'ENV LANG=C.UTF-8' \
            --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' - "$2" >>"$LOG/image.log"
    rm -rf --one-file-system -- "$tree"
}

# Of the system haproxy is taken with the commands of a shell and the libraries of both, laid out as in the official image.
haproxy_make() {
    local system=$DIR/front-system tree=$DIR/front-image/tree
    distribution_tree "$system" haproxy
    chroot "$system" groupmod --gid 99 haproxy
    chroot "$system" usermod --uid 99 --gid 99 haproxy
    mv "$system/usr/sbin/haproxy" "$system/usr/local/sbin/haproxy"
    rm -rf --one-file-system -- "$DIR/front-image"
    mkdir -p "$tree"
    tar -C "$system" --dereference -c --files-from <(haproxy_files "$system") | tar -C "$tree" -x
    mkdir -p "$tree"/{dev,proc,run,sys,tmp,usr/local/etc/haproxy,var/lib/haproxy}
    chmod 1777 "$tree/tmp"
    chown 99:99 "$tree/var/lib/haproxy"
    haproxy_entrypoint >"$tree/usr/local/bin/docker-entrypoint.sh"
    chmod 755 "$tree/usr/local/bin/docker-entrypoint.sh"
    # Added as an archive, which keeps owners.
    tar -C "$tree" --numeric-owner -cf "$DIR/front-image/tree.tar" .
    haproxy_dockerfile >"$DIR/front-image/Dockerfile"
    tar -C "$DIR/front-image" -c Dockerfile tree.tar | engine "$1" build --tag "$2" - >>"$LOG/image.log" 2>&1
    rm -rf --one-file-system -- "$DIR/front-image" "$system"
}

haproxy_dockerfile() {
    cat <<'DOCKERFILE'
FROM scratch
ADD tree.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
STOPSIGNAL SIGUSR1
ENTRYPOINT ["docker-entrypoint.sh"]
USER haproxy
WORKDIR /var/lib/haproxy
CMD ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
DOCKERFILE
}

# One path a line, relative to the system.
haproxy_files() {
    # shellcheck disable=SC2016 # expanded inside
    chroot "$1" sh -c '
        set -e
        programs=$(dpkg --listfiles coreutils dash bash sed grep findutils | grep -E "^(/usr)?/bin/.")
        programs="$programs /bin/sh /usr/local/sbin/haproxy"
        printf "%s\n" /usr/local/bin /etc/passwd /etc/group /etc/debian_version $programs
        ldd $programs 2>/dev/null | sed -n "s#^.*[[:space:]]\(/[^ :]*\) (0x.*#\1#p"' |
        sort -u | sed 's#^/##'
}

haproxy_entrypoint() {
    cat <<'ENTRYPOINT'
#!/bin/sh
set -e
case ${1:-} in
-*) set -- haproxy "$@" ;;
esac
if [ "${1:-}" = haproxy ]; then
    shift
    # In the foreground, with a master that reloads on SIGUSR2.
    set -- haproxy -W -db "$@"
fi
exec "$@"
ENTRYPOINT
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
