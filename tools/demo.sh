#!/bin/bash
# usage: demo.sh BUILD
#
# Starts `sockerless serve` on a socket and a data folder of its own and drives it with the docker CLI, showing each command and what it
# printed. Ends with 0 when everything did what it should, and takes away everything it made.
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
work=$(mktemp -d "${TMPDIR:-/tmp}/sockerless-demo.XXXXXX")
server=

finish() {
    if [ -n "$server" ]; then
        docker rm -f demo >/dev/null 2>&1
        kill "$server" 2>/dev/null
        wait "$server" 2>/dev/null
    fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

fail() {
    echo "demo: $1" >&2
    echo "--- the daemon's log" >&2
    tail -n 40 "$work/serve.log" >&2
    exit 1
}

say() { printf '\n\033[1m# %s\033[0m\n' "$1"; }

# show WANT COMMAND...: prints and runs it; its output must match the extended regular expression WANT.
show() {
    local want=$1 output status
    shift
    printf '$'
    for word; do
        [[ $word =~ ^[A-Za-z0-9_./:=-]+$ ]] || word=\'$word\'
        printf ' %s' "$word"
    done
    printf '\n'
    output=$(timeout 60 "$@" 2>&1)
    status=$?
    printf '%s\n' "$output"
    [ $status = 0 ] || fail "the command above ended with $status"
    grep -Eq -e "$want" <<<"$output" || fail "the output above should hold: $want"
}

export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/config DOCKER_CLI_HINTS=false
unset DOCKER_CONTEXT DOCKER_TLS_VERIFY
mkdir "$work/config"

say "A Docker Engine API in front of WebAssembly sandboxes: no Docker Engine, no root, no kernel namespaces"
echo "\$ sockerless serve --addr $DOCKER_HOST --data $work/data &"
tools/run.sh "$build" --addr "$DOCKER_HOST" --data "$work/data" >"$work/serve.log" 2>&1 &
server=$!
for _ in $(seq 200); do
    docker version >/dev/null 2>&1 && break
    kill -0 "$server" 2>/dev/null || fail "the daemon ended"
    sleep 0.05
done

show 'Sockerless|1\.44' docker version
say "The image is pulled; where no registry can be reached, the built-in one stands in for it, and says so"
show 'hello from sockerless' docker run --rm alpine echo "hello from sockerless"
say "A shell with a pipeline: real processes and pipes, each process a WebAssembly instance"
show '^3$' docker run --rm alpine sh -c 'printf "b\na\nc\n" | sort | tee /tmp/sorted | wc -l; uname -a; cat /tmp/sorted >&2'
say "A container in the background"
show '^[0-9a-f]{64}$' docker run -d --name demo alpine sh -c 'i=0; while :; do i=$((i + 1)); echo "tick $i"; sleep 1; done'
for _ in $(seq 100); do
    docker logs demo 2>/dev/null | grep -q tick && break
    sleep 0.05
done
show 'PID' docker exec demo ps
show 'Linux' docker exec demo sh -c 'echo "inside, as $(id -un), on $(uname -s)"'
show 'tick 1' docker logs demo
show 'demo' docker ps -a
show 'demo' docker rm -f demo
show 'CONTAINER ID' docker ps -a

say "Done: version, run, a pipeline, run -d, exec, logs, ps and rm, all through the unmodified docker CLI"
