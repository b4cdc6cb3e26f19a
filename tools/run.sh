#!/bin/bash
# usage: run.sh BUILD [OPTION...]
#
# `sockerless serve` from a build folder, in this process. Without options on a socket and a data folder under BUILD/run.
set -euo pipefail
build=$(cd "${1:-build}" && pwd)
shift || true
# The programs look for each other beside themselves: an installed tree of links is the shortest way to that.
programs=$("$(dirname "$0")/stage.sh" "$build")
if [ $# = 0 ]; then
    mkdir -p "$build/run"
    set -- --addr "unix://$build/run/docker.sock" --data "$build/run/data"
fi
exec "$programs/sockerless" serve "$@"
