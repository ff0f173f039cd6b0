#!/bin/sh
# Deploys app/ to an application server that this script brings along: the whole pipeline on real
# parts, on one machine. Run it again after a change in app/ and see it replaced.
#
#     sh examples/quickstart.sh          build, push, deploy, verify; prints the release document
#     sh examples/quickstart.sh --down   remove everything that it started
set -eu

project=$(cd -- "$(dirname -- "$0")/.." && pwd)
lab="$project/tests/lab/lab.sh"
# shellcheck source-path=SCRIPTDIR/.. source=tests/common.sh
. "$project/tests/common.sh"

case ${1-} in
'') ;;
--down) exec bash "$lab" down ;;
*)
    say "usage: sh examples/quickstart.sh [--down]"
    exit 2
    ;;
esac

need_compiler
build_tools "$project"

say "starting the stand-ins for AWS, the CI server and the application server (a first start takes a minute or two)"
bash "$lab" up
eval "$(bash "$lab" env)"

# Behind a TLS proxy pip needs its CA in the build, as a secret: it is in no layer.
set --
if [ -r "${PIP_CERT-}" ]; then set -- --secret "id=pip_ca,src=$PIP_CERT"; fi

say "the pipeline:
    imgbuild app $* \\
        | ecrlogin --ensure-repository \\
        | imgpush \\
        | remote-swap --host $LAB_SSH --identity $LAB_SSH_KEY \\
              --known-hosts $LAB_KNOWN_HOSTS --publish 8000:5000 \\
        | healthwait"
export PATH="$BIN:$PATH"
# sh looks at the last command only: that suffices, since an error travels in the document.
"$BIN/imgbuild" --no-input "$project/app" "$@" |
    ecrlogin --ensure-repository |
    imgpush |
    remote-swap --host "$LAB_SSH" --identity "$LAB_SSH_KEY" \
        --known-hosts "$LAB_KNOWN_HOSTS" --publish 8000:5000 |
    healthwait || {
    status=$?
    say "the deploy failed with exit code $status; what served before serves on"
    exit "$status"
}

say "the application answers at http://$LAB_APP_ADDR:8000/
    change something in app/webapp and run this again to see it replaced
    sh examples/quickstart.sh --down removes everything"
