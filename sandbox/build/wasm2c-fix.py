"""Mends what wasm2c of wabt 1.0.32 gets wrong about exceptions.

usage: wasm2c-fix.py FILE.c (rewritten in place)

- The label of a try block that is a branch target is missing: added, and the unwind target restored there.
- Locals of a function with a try block must be volatile, else they have their old values after the longjmp.
"""
import re
import sys

VALUE = r'(?:u32|u64|f32|f64)'


def add_try_labels(lines):
    out, open_blocks = [], []
    for line in lines:
        match = re.match(r'( *)if \(!wasm_rt_try\((w2c_T\d+)_unwind_target\)\) \{$', line)
        if match:
            open_blocks.append(match.groups())
        out.append(line)
        if open_blocks and line == open_blocks[-1][0] + '}':
            indent, label = open_blocks.pop()
            out.append(f'{indent}{label}:; wasm_rt_set_unwind_target({label}_outer_target);')
    assert not open_blocks, open_blocks
    return out


def function_starts(lines):
    head = re.compile(r'^(static )?(void|' + VALUE + r') w2c_\w+'
                      r'\(Z_guest_instance_t\* instance.*(?:\) \{|,\s*)$')
    return [i for i, line in enumerate(lines) if head.match(line)] + [len(lines)]


def make_locals_volatile(lines):
    starts = function_starts(lines)
    for start, end in zip(starts, starts[1:]):
        if not any('wasm_rt_try(' in line for line in lines[start:end]):
            continue
        body = next(i for i in range(start, end) if lines[i].endswith('{'))
        for i in range(start, body + 1):
            lines[i] = re.sub(r'\b(' + VALUE + r') (w2c_p\d+)', r'volatile \1 \2', lines[i])
        for i in range(body + 1, end):
            if re.match(r'^  ' + VALUE + r' w2c_', lines[i]):
                lines[i] = '  volatile ' + lines[i].strip()
            elif not lines[i].startswith(' '):
                break
    return lines


def main():
    path = sys.argv[1]
    with open(path) as file:
        lines = file.read().split('\n')
    with open(path, 'w') as file:
        file.write('\n'.join(make_locals_volatile(add_try_labels(lines))))


main()
