#!/bin/bash
# usage: fuzz.sh SECONDS [TARGET...]
#
# Searches with libFuzzer under ASan and UBSan, SECONDS for each target (all without TARGET), starting from tests/fuzz/corpus. What was found
# new is kept in build-fuzz/found/TARGET; an input that broke a target is left as build-fuzz/broken/TARGET-*, and the exit status is 1.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1
shift
build=build-fuzz
test -e $build/build.ninja || CC=clang meson setup $build -Dfuzz=true -Dwerror=false -Db_sanitize=address,undefined -Db_lundef=false
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(find tests/fuzz -maxdepth 1 -name 'fuzz_*.c' -printf '%f\n' | sed 's/^fuzz_//; s/\.c$//' | sort)
ninja -C $build "${targets[@]/#/tests/fuzz_}"
export TMPDIR=/dev/shm # targets that write files are bound by the disk otherwise
export ASAN_OPTIONS=detect_leaks=1 G_SLICE=always-malloc UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
mkdir -p $build/broken
status=0
for target in "${targets[@]}"; do
    mkdir -p "$build/found/$target"
    echo "fuzz: $target for $seconds s"
    nice "$build/tests/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$build/broken/$target-" "$build/found/$target" "tests/fuzz/corpus/$target" 2>"$build/found/$target.log" || {
        status=1
        tail -n 40 "$build/found/$target.log"
        echo "fuzz: $target is broken: $build/broken/$target-*"
    }
    grep -h 'stat::number_of_executed_units\|stat::new_units_added' "$build/found/$target.log" || true
done
exit $status
