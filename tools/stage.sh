#!/bin/bash
# usage: stage.sh BUILD
#
# Installs a build folder under BUILD/stage and prints the folder of its programs: what is tested and shown is what is installed.
set -euo pipefail
build=$(cd "$1" && pwd)
DESTDIR=$build/stage meson install -C "$build" --no-rebuild --only-changed >"$build/stage.log" 2>&1 ||
    { cat "$build/stage.log" >&2; exit 1; }
program=$(find "$build/stage" -name sockerless -type f -perm -u+x | head -n 1)
[ -n "$program" ] || { echo "stage: $build installs no program named sockerless" >&2; exit 1; }
dirname "$program"
