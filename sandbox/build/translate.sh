# Sourced by build.sh and guest-program.sh: from a wasm module to a static library for the host.

host_flags=(-O2 -w -fno-strict-aliasing -fno-math-errno -ffunction-sections)

# translate MODULE.wasm FOLDER PARTS: C files of the module, and the runtime of wasm2c, in FOLDER.
translate() {
    local here; here=$(dirname "${BASH_SOURCE[0]}")
    local runtime header
    runtime=$(dpkg -L wabt | grep 'share/wabt/wasm2c/wasm-rt-impl\.c$')
    header=$(dpkg -L wabt | grep 'include/wasm-rt\.h$')

    mkdir -p "$2"
    wasm2c --enable-exceptions -n guest "$1" -o "$2/guest.c"
    python3 "$here/wasm2c-fix.py" "$2/guest.c"
    python3 "$here/wasm2c-split.py" "$2/guest.c" "$2" "$3"
    rm "$2/guest.c"
    cp "$runtime" "${runtime%c}h" "$2"
    # A try block that saves the signal mask costs a system call, and nothing here needs the mask back.
    sed 's/sigsetjmp(buf, 1)/_setjmp(buf)/' "$header" >"$2/wasm-rt.h"
    grep -q '_setjmp(buf)' "$2/wasm-rt.h"
}

# compile FOLDER: FOLDER/libguest.a
compile() (
    cd "$1"
    ls -S -- *.c | xargs -P"$(nproc)" -n1 musl-gcc "${host_flags[@]}" -c
    rm -f libguest.a
    ar rcsD libguest.a ./*.o
    rm ./*.o
)
