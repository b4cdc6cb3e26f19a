#!/bin/bash
# usage: CLIENTS_KIT=FOLDER clients.sh BUILD [CASE...]
#
# Runs the cli/* cases of a client kit (a folder with run-all) that use only what is served today, against `sockerless serve` from BUILD.
# The kit is not part of this repository; without it nothing is run and that is said.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
shift || true
kit=${CLIENTS_KIT:-../shared/clients}
[ -x "$kit/run-all" ] || { echo "clients: no kit at $kit; set CLIENTS_KIT"; exit 77; }
cases=("$@")
if [ ${#cases[@]} = 0 ]; then
    cases=(version run run_exit run_nocmd run_noimage run_d run_i run_it run_it_rc exec exec_it logs logs_f ps_a events top inspect
           rename wait attach start_a restart images rm_errors log_signal cli29)
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/slkit.XXXXXX")
server=
finish() {
    [ -z "$server" ] || { kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; } || true
    rm -rf "$work"
}
trap finish EXIT
export DOCKER_HOST=unix://$work/docker.sock KIT_WORK=$work/kit KIT_BIN=$work/bin
tools/run.sh "$build" --addr "$DOCKER_HOST" --data "$work/data" >"$work/serve.log" 2>&1 &
server=$!
for _ in $(seq 100); do
    docker version >/dev/null 2>&1 && break
    kill -0 "$server" || { cat "$work/serve.log"; exit 1; }
    sleep 0.1
done
docker tag sockerless/base busybox:latest
status=0
"$kit/run-all" "${cases[@]/#/cli/}" || status=$?
if [ $status != 0 ]; then
    for log in "$work"/kit/case-logs/*.log; do
        echo "== $log"
        tail -n 15 "$log"
    done
fi
exit $status
