#!/bin/sh
# Clones the live colour's data and starts the new version beside it, up to the gate.
#   scripts/blue-green-prepare.sh --target-version V [option of `changeover prepare`...]
# CHANGEOVER names the tool, CHANGEOVER_SPEC the spec, if they are not where they usually are.
set -eu
exec "${CHANGEOVER:-changeover}" -f "${CHANGEOVER_SPEC:-changeover.yml}" prepare "$@"
