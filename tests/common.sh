# shellcheck shell=sh
# What the quickstart, the tests and the benchmarks share: the compiler's needs, the build, and a
# lab that goes with the script.

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

# build_tools PROJECT [ARGUMENTS OF cargo build]: builds the five tools and sets BIN to where they
# are.
build_tools() {
    say "building the tools (a first build takes some minutes)"
    (cd "$1" && shift && cargo build --locked --bins "$@") >&2
    BIN=${CARGO_TARGET_DIR:-$1/target}/debug
    case " $* " in *' --release '*) BIN=${BIN%debug}release ;; esac
}

# own_lab PROJECT: starts a lab for this script alone, beside any other, and takes its addresses into
# the environment. It goes when the script ends, however that is; so does the directory WORK.
own_lab() {
    LAB_PROGRAM=$1/tests/lab/lab.sh
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/slipwayXXXXXX")
    trap remove_own_lab EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    bash "$LAB_PROGRAM" up --dir "$WORK/lab"
    eval "$(bash "$LAB_PROGRAM" env --dir "$WORK/lab")"
}

remove_own_lab() {
    status=$?
    trap - EXIT INT TERM
    if [ "$status" -ne 0 ] && [ -d "$WORK/lab/log" ]; then
        say "failed; the ends of the lab's logs:"
        tail -n 15 "$WORK"/lab/log/*.log >&2
    fi
    bash "$LAB_PROGRAM" down --dir "$WORK/lab"
    rm -rf -- "$WORK"
    exit "$status"
}
