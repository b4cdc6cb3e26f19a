"""Cuts wasm2c's one file into several, so that the compiler uses all cores.

usage: wasm2c-split.py FILE.c OUTDIR PARTS

Function prototypes lose "static" and go to OUTDIR/guest-impl.h; data, tables and exports stay in part 0.
"""
import re
import sys

VALUE = r'(?:void|u32|u64|f32|f64)'
DEFINITION = re.compile(r'^static ' + VALUE + r' w2c_\w+\(Z_guest_instance_t\* instance.*(?:\{|,\s*)$')
PROTOTYPE = re.compile(r'^static (' + VALUE + r' w2c_\w+\(Z_guest_instance_t\*.*\);)$')
SHARED = re.compile(r'^static (u32 (?:func_types\[\d+\]|w2c_e\d+_\d+);)$')


def split(lines):
    cut = lines.index('static bool s_module_initialized = false;')
    head, rest, functions = lines[:cut], [], []
    i = cut
    while i < len(lines):
        line = lines[i]
        if DEFINITION.match(line):
            end = lines.index('}', i)
            functions.append([line.removeprefix('static ')] + lines[i + 1:end + 1])
            i = end + 1
            continue
        shared = SHARED.match(line)
        declared = shared or PROTOTYPE.match(line)
        if declared:
            head.append('extern ' + declared.group(1))
        if shared:
            rest.append(shared.group(1))
        elif not declared:
            rest.append(line)
        i += 1
    return head, rest, functions


def write_part(outdir, number, lines):
    with open(f'{outdir}/part{number:02d}.c', 'w') as file:
        file.write('#include "guest-impl.h"\n' + '\n'.join(lines) + '\n')


def main():
    source, outdir, parts = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with open(source) as file:
        head, rest, functions = split(file.read().split('\n'))
    with open(f'{outdir}/guest-impl.h', 'w') as file:
        file.write('\n'.join(head) + '\n')
    write_part(outdir, 0, rest)

    total = sum(len(line) for function in functions for line in function)
    written, number, lines = 0, 1, []
    for function in functions:
        lines += function
        written += sum(map(len, function))
        if written >= total * number / parts:
            write_part(outdir, number, lines)
            number, lines = number + 1, []
    if lines:
        write_part(outdir, number, lines)


main()
