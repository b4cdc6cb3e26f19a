#!/bin/bash
# usage: test.sh BUILD
#
# Every unit test of the build folder, then the suites that run its programs. Both run whatever the other says; the last line is the
# total of their cases, and the exit status is 0 only when none failed.
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
results=$build/meson-logs/testlog.json
cases=$build/conformance.xml
rm -f "$results" "$cases"

export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:strict_string_checks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-exitcode=66:second_deadlock_stack=1:suppressions=$PWD/tests/tsan.supp}
export G_SLICE=always-malloc # recycled slices look like races to ThreadSanitizer, and hide leaks from AddressSanitizer

nice meson test -C "$build" --print-errorlogs --num-processes 2 --timeout-multiplier 4
SL_BUILD=$build timeout -k 10 1500 nice python3 -B -m pytest -q -p no:cacheprovider --junit-xml="$cases" tests/tools_test.py $(ls -d tests/conformance tests/security tests/recovery 2>/dev/null)
exec python3 -B tools/totals.py "$results" "$cases"
