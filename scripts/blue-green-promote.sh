#!/bin/sh
# Moves the traffic to the colour that is prepared, then drains and stops the old one.
#   scripts/blue-green-promote.sh [option of `changeover promote`...]
# CHANGEOVER names the tool, CHANGEOVER_SPEC the spec, if they are not where they usually are.
set -eu
exec "${CHANGEOVER:-changeover}" -f "${CHANGEOVER_SPEC:-changeover.yml}" promote "$@"
