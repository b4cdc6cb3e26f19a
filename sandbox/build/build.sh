#!/bin/bash
# usage: build.sh OUTDIR
#
# Builds what the sandbox runs: busybox (Debian's source) with musl (Debian's source) for wasm32, translated
# to C by wasm2c and compiled for the host. OUTDIR gets
#     libguest.a  guest.h  guest-impl.h  wasm-rt.h  wasm-rt-impl.h   the module and its runtime
#     guest_numbers.h   the guest's system call numbers        applets.txt   busybox' applets with their paths
#     toolchain         link to the sysroot, for guest-program.sh
# All of it is kept in $SOCKERLESS_CACHE (or ~/.cache/sockerless) under the checksum of everything it is made
# from; a second run with the same inputs only copies. Needs no root. Debian 12 packages: clang-14 lld-14
# llvm-14 libclang-rt-14-dev-wasm32 wabt musl-tools gcc make patch bzip2 xz-utils python3 linux-libc-dev.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
guest=$(cd "$here/../guest" && pwd)
mkdir -p "$1"
outdir=$(cd "$1" && pwd)
busybox_version=1:1.35.0-4+deb12u1
musl_version=1.2.3-1
products=(libguest.a guest.h guest-impl.h wasm-rt.h wasm-rt-impl.h guest_numbers.h applets.txt)
export LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=1700000000 KCONFIG_NOTIMESTAMP=1
unset MAKEFLAGS MFLAGS
. "$here/translate.sh"

input_sum() {
    (cd "$here/.." && find build guest -type f | sort | xargs sha256sum
     clang-14 --version; wasm2c --version; gcc --version; dpkg-query -W musl-dev libclang-rt-14-dev-wasm32) |
        sha256sum | cut -c1-32
}

# Only the patches for security: the others are for Debian's own build.
unpack_busybox() {
    mkdir -p debian-busybox
    tar xf "$sources"/busybox_*.orig.tar.bz2
    mv busybox-* busybox
    tar xf "$sources"/busybox_*.debian.tar.xz -C debian-busybox
    grep '^CVE' debian-busybox/debian/patches/series | while read -r name; do
        patch -d busybox -p1 <"debian-busybox/debian/patches/$name"
    done
}

# The port starts from or1k: 32-bit, 64-bit times, the generic system call numbers.
unpack_musl() {
    tar xf "$sources"/musl_*.orig.tar.gz
    mv musl-* musl
    cp -r musl/arch/or1k musl/arch/wasm32
    rm musl/arch/wasm32/arch.mak
    cp -r "$guest/wasm32/." musl/arch/wasm32
    sed -i '/_REDIR_TIME64/d; s/^#define _Addr .*/#define _Addr long/
            s/^#define __BYTE_ORDER .*/#define __BYTE_ORDER 1234/' \
        musl/arch/wasm32/bits/alltypes.h.in
    # The compiler knows setjmp and longjmp only, and the mask is never changed behind the guest's back.
    sed -i 's/^int sigsetjmp (.*/#define sigsetjmp(b, s) setjmp(b)/
            s/^_Noreturn void siglongjmp.*/#define siglongjmp(b, v) longjmp(b, v)/' musl/include/setjmp.h
    grep -q '#define sigsetjmp' musl/include/setjmp.h
    # musl 1.2.3 gives the 32-bit call a 64-bit time, so that a timeout below a second became 0.
    sed -i 's/SYS_ppoll,/SYS_ppoll_time64,/
            s/&((struct timespec){ .tv_sec = /((long long[]){ /
            s/[.]tv_nsec = \(.*\) })/\1 })/' musl/src/select/poll.c
    grep -q ppoll_time64 musl/src/select/poll.c
    # A function pointer is a table index in wasm, so 1, the usual SIG_IGN, can be a real handler.
    sed -i 's/^#define SIG_IGN .*/#define SIG_IGN ((void (*)(int)) -2)/' musl/include/signal.h
    grep -q 'SIG_IGN.*-2' musl/include/signal.h
}

header_folder() { # header_folder linux/types.h: where the machine's compiler finds it
    echo "#include <$1>" | gcc -E - | sed -n "s,^# [0-9]* \"\(.*\)/$1\".*,\1,p" | head -1
}

# Linux' headers of this machine, the 64-bit x86 ones replaced by the generic ones.
kernel_headers() {
    local name
    mkdir -p sysroot/kernel
    cp -r "$(header_folder linux/types.h)"/{linux,asm-generic,mtd,rdma,scsi} sysroot/kernel
    cp -rL "$(header_folder asm/types.h)/asm" sysroot/kernel/asm
    for name in auxvec bitsperlong kvm_para mman msgbuf posix_types sembuf setup shmbuf siginfo signal stat \
                statfs swab ucontext unistd; do
        echo "#include <asm-generic/$name.h>" >"sysroot/kernel/asm/$name.h"
    done
}

libc_headers() {
    mkdir -p sysroot/include sysroot/lib musl/generated
    (cd musl
     cp -r include/. arch/generic/. arch/wasm32/. ../sysroot/include
     bits=../sysroot/include/bits
     sed -f tools/mkalltypes.sed arch/wasm32/bits/alltypes.h.in include/alltypes.h.in >$bits/alltypes.h
     cp arch/wasm32/bits/syscall.h.in $bits/syscall.h
     sed -n -e s/__NR_/SYS_/p <arch/wasm32/bits/syscall.h.in >>$bits/syscall.h
     echo "#define VERSION \"$musl_version\"" >generated/version.h)
    sed -n 's/^#define __NR_\([a-z0-9_]*\)[[:space:]]*\([0-9]*\)$/#define GUEST_NR_\1 \2/p' \
        musl/arch/wasm32/bits/syscall.h.in >guest_numbers.h
    grep -q 'GUEST_NR_openat 56' guest_numbers.h
}

# Threads, the dynamic loader and what guest/ has its own version of stay out; anything else must compile.
libc() {
    local left_out='src/(ldso|mq|setjmp)/|src/env/__init_tls|src/exit/abort\.c'
    left_out+='|src/string/(memcpy|memset|memmove)\.c|src/thread/(__set_thread_area|__unmapself|clone|tls)\.c'
    left_out+='|src/thread/(pthread_create|pthread_cancel|__timedwait_cp)\.c'
    local flags=(--target=wasm32-unknown-unknown -std=c99 -nostdinc -ffreestanding -fno-strict-aliasing -O2
                 -D_XOPEN_SOURCE=700 -Iarch/wasm32 -Iarch/generic -Igenerated -Isrc/include -Isrc/internal
                 -I../sysroot/include -Iinclude -Wno-everything -mbulk-memory)
    (cd musl
     mkdir objects
     ls src/*/*.c src/malloc/oldmalloc/*.c | grep -vE "$left_out" | xargs -P"$(nproc)" -n24 sh -c '
         flags=$1; shift
         for file; do
             clang-14 $flags -c "$file" -o "objects/$(echo "$file" | tr / _).o" || exit 255
         done' sh "${flags[*]}"
     for file in start signals memory setjmp; do
         clang-14 "${flags[@]}" -D_GNU_SOURCE -I"$guest" -mexception-handling -mllvm -wasm-enable-sjlj \
             -c "$guest/$file.c" -o "objects/sl_$file.o"
     done
     clang-14 "${flags[@]}" -O3 -c "$guest/string.c" -o objects/sl_string.o
     clang-14 --target=wasm32-unknown-unknown -O2 -c "$guest/syscall_functions.c" -o objects/sl_functions.o
     llvm-ar-14 rcsD ../sysroot/lib/libc.a objects/*.o)
}

busybox() {
    (cd busybox
     . "$here/busybox.config.sh"
     make -j"$(nproc)" CC="$here/guest-cc" AR=llvm-ar-14 NM=llvm-nm-14 STRIP=true OBJCOPY=true SKIP_STRIP=y \
         busybox_unstripped
     make CC="$here/guest-cc" AR=llvm-ar-14 NM=llvm-nm-14 STRIP=true OBJCOPY=true SKIP_STRIP=y busybox.links
     sort -u busybox.links >../applets.txt)
    grep -q '^/bin/sh$' applets.txt
}

build() {
    unpack_busybox
    unpack_musl
    kernel_headers
    libc_headers
    libc
    export SL_GUEST_SYSROOT=$PWD/sysroot
    busybox
    translate busybox/busybox_unstripped translated 8
    compile translated
    mv translated/libguest.a translated/*.h .
    rm -rf busybox musl debian-busybox translated
}

# A function, so that an edit of this file does not meet a shell that is still reading it.
main() {
    cache=${SOCKERLESS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sockerless}
    mkdir -p "$cache"
    cache=$(cd "$cache" && pwd)

    exec 9>"$cache/sandbox.lock"
    flock 9
    built=$cache/sandbox-$(input_sum) # only now: what waited may have been edited meanwhile
    if [ ! -d "$built" ]; then
        sources=$cache/sources
        "$here/../../scripts/fetch-source" busybox "$busybox_version" "$sources" 9>&-
        "$here/../../scripts/fetch-source" musl "$musl_version" "$sources" 9>&-
        work=$(mktemp -d "$cache/sandbox-building.XXXXXX")
        trap 'rm -rf "$work"' EXIT
        # A subshell of its own: "||" would switch off -e inside.
        set +e
        (set -e; cd "$work"; build) >"$work.log" 2>&1
        result=$?
        set -e
        if [ $result != 0 ]; then
            tail -20 "$work.log"
            echo "the sandbox's guest failed to build, see $work.log" >&2
            exit 1
        fi
        rm "$work.log"
        mv "$work" "$built"
    fi
    flock -u 9

    for name in "${products[@]}"; do
        cmp -s "$built/$name" "$outdir/$name" || cp "$built/$name" "$outdir/$name"
    done
    ln -sfn "$built/sysroot" "$outdir/toolchain"
}

main
exit
