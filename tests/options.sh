#!/bin/sh
# Prints docs/options.md: what each built tool says to --help.
set -eu
project=$(cd -- "$(dirname -- "$0")/.." && pwd)
# shellcheck source-path=SCRIPTDIR/.. source=tests/common.sh
. "$project/tests/common.sh"
build_tools "$project"

# shellcheck disable=SC2016 # the backquotes are Markdown's
printf '# Options\n\nWhat each tool says to `--help`. How an option is given in the environment or in the document is told in\n[the contract](contract.md#options).\n'
for tool in imgbuild ecrlogin imgpush remote-swap healthwait; do
    printf '\n## %s\n\n```\n' "$tool"
    env -i "$BIN/$tool" --help
    printf '```\n'
done
