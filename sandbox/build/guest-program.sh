#!/bin/bash
# usage: guest-program.sh TOOLCHAIN SOURCE.c OUTPUT.a
#
# A guest program of one file as a library like libguest.a, to link with the sandbox's host
# instead of busybox. For tests. TOOLCHAIN is what build.sh left in its OUTDIR.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/translate.sh"
export SL_GUEST_SYSROOT=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/guest-cc" -Os -c -o "$work/program.o" "$2"
"$here/guest-cc" -o "$work/program.wasm" "$work/program.o"
translate "$work/program.wasm" "$work/c" 1
compile "$work/c"
mv "$work/c/libguest.a" "$3"
