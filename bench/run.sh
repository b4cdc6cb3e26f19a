#!/bin/bash
# usage: run.sh BUILD
#
# Measures our daemon and, where dockerd is installed and we are root, a Docker Engine of its own in the same run; prints both and the targets.
# An unoptimised or sanitized build measures itself: use the ordinary one.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(cd "${1:-build}" && pwd)
ninja -C "$build" tests/bench_load >/dev/null
programs=$(tools/stage.sh "$build")
load=$build/tests/bench_load
echo "bench: ours"
timeout 600 python3 -B bench/bench.py ours "$programs" "$load" "$build/bench-ours.json"
engine=()
if command -v dockerd >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "bench: Docker Engine"
    timeout 900 tests/support/control.sh python3 -B bench/bench.py engine "$load" "$build/bench-engine.json"
    engine=("$build/bench-engine.json")
fi
nproc=$(nproc) load=$(cut -d' ' -f1-3 /proc/loadavg)
echo "machine: $nproc cores, load $load"
exec python3 -B bench/bench.py compare "$build/bench-ours.json" "${engine[@]}"
