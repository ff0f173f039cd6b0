# shellcheck shell=sh
# What examples/quickstart.sh and tests/run.sh share: the compiler's needs and the build.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# Installs the programs that the Rust crates with C code in them are built with.
need_compiler() {
    command -v cargo >/dev/null || {
        say "cargo is missing: install Rust, see https://rustup.rs, and run this again"
        return 1
    }
    missing=
    command -v cc >/dev/null || missing="$missing gcc libc6-dev"
    command -v make >/dev/null || missing="$missing make"
    # The build of OpenSSL needs more modules than a minimal Debian's Perl has.
    perl -MFindBin -MIPC::Cmd -e 1 2>/dev/null || missing="$missing perl"
    [ -n "$missing" ] || return 0
    say "installing$missing"
    sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update -q >&2
    # shellcheck disable=SC2086 # one word a package
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >&2
}

# build_tools PROJECT: builds the five tools and sets BIN to where they are.
build_tools() {
    say "building the tools (a first build takes some minutes)"
    (cd "$1" && cargo build --locked --bins) >&2
    # shellcheck disable=SC2034 # read by those who source this
    BIN=${CARGO_TARGET_DIR:-$1/target}/debug
}
