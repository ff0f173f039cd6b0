#!/bin/sh
# Writes examples/documents anew from a run of the quickstart's pipeline over a lab, one document
# after each step. What names the place of that run is replaced by example names.
set -eu
project=$(cd -- "$(dirname -- "$0")/.." && pwd)
# shellcheck source-path=SCRIPTDIR/.. source=tests/common.sh
. "$project/tests/common.sh"

need_compiler
build_tools "$project"
PATH=$BIN:$PATH
own_lab "$project"

set --
if [ -r "${PIP_CERT-}" ]; then set -- --secret "id=pip_ca,src=$PIP_CERT"; fi
cd "$WORK"
imgbuild --no-input "$project/app" --tag web:1.4.2 "$@" >1-imgbuild.json
ecrlogin --ensure-repository <1-imgbuild.json >2-ecrlogin.json
ecrlogin <2-ecrlogin.json | imgpush >3-imgpush.json
ecrlogin <3-imgpush.json | remote-swap --host "$LAB_SSH" --identity "$LAB_SSH_KEY" \
    --known-hosts "$LAB_KNOWN_HOSTS" --publish 8000:5000 >4-remote-swap.json
healthwait <4-remote-swap.json >5-healthwait.json

mkdir -p "$project/examples/documents"
for file in *.json; do
    python3 -m json.tool --no-ensure-ascii --indent 2 "$file" | sed "s/$LAB_APP_ADDR/app.example.com/g" >"$project/examples/documents/$file"
done
say "wrote examples/documents"
