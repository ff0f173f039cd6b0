#!/bin/sh
# What the tools may depend on (deny.toml), by cargo-deny, which is built once below target/.
#
#     sh tests/deny.sh [advisories]     advisories, too, where their database can be reached
set -eu
cd -- "$(dirname -- "$0")/.."
version=0.20.2
tools=${CARGO_TARGET_DIR:-target}/tools
if [ "$("$tools/bin/cargo-deny" --version 2>/dev/null)" != "cargo-deny $version" ]; then
    cargo install --locked --quiet --root "$tools" "cargo-deny@$version"
fi
# The crates are there, and nothing is asked of the network for the rest.
cargo fetch --locked --quiet
"$tools/bin/cargo-deny" --locked --offline check --hide-inclusion-graph licenses bans sources
if [ "${1-}" = advisories ]; then
    "$tools/bin/cargo-deny" --locked check advisories
fi
