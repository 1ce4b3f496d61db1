#!/bin/sh
# Goes back to the colour that was live before, on its own untouched data.
#   scripts/blue-green-rollback.sh [option of `changeover rollback`...]
# CHANGEOVER names the tool, CHANGEOVER_SPEC the spec, if they are not where they usually are.
set -eu
exec "${CHANGEOVER:-changeover}" -f "${CHANGEOVER_SPEC:-changeover.yml}" rollback "$@"
