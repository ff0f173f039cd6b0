#!/bin/sh
# Builds app/, pushes it to Amazon ECR and swaps it in on the application server, in plain POSIX sh.
# The application's configuration is slipway.json beside this script; what belongs to this place
# comes from the environment:
#
#     DEPLOY_HOST    user@host of the application server; its key is in ~/.ssh/known_hosts
#     RELEASE_FILE   where the release document is kept [default: release.json]
#
# AWS credentials and the SSH key are found as usual: a role or AWS_PROFILE, an agent or ~/.ssh.
set -eu
cd -- "$(dirname -- "$0")/.."

# No pipefail is needed: an error travels in the document, and the last tool exits with it. The
# document is saved by redirection, not by tee: into a file it goes without the registry's password.
# A deploy that healthwait finds bad is undone; the exit status is healthwait's all the same.
imgbuild <examples/slipway.json |
    ecrlogin |
    imgpush |
    remote-swap --host "$DEPLOY_HOST" |
    healthwait |
    remote-swap rollback --on-error >"${RELEASE_FILE:-release.json}"
