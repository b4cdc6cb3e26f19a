#!/usr/bin/env python3
"""The agent needs nothing of the image it runs in, as the linker left it. TAP.

usage: static_libc_test.py AGENT"""
import re
import subprocess
import sys

MAX_BYTES = 8 << 20
FORBIDDEN = re.compile(r'_*(libc_)?(dlopen\w*|dl_open|dlsym|getaddrinfo|gethostby\w+|getgr(nam|gid|ent)\w*|nss_lookup\w*|nss_database_get|'
                       r'nss_files_\w+|initgroups|getpwent)')


def main():
    agent = sys.argv[1]
    with open(agent, 'rb') as file:
        program = file.read()
    names = subprocess.run(['nm', agent], capture_output=True, text=True, check=True).stdout
    defined = [line.split()[-1] for line in names.splitlines() if len(line.split()) == 3]
    loaded = [name for name in defined if FORBIDDEN.fullmatch(name)]
    headers = subprocess.run(['readelf', '-lW', agent], capture_output=True, text=True, check=True).stdout
    checks = [
        ('the-agent-loads-no-library-and-asks-no-name-service', not loaded, loaded),
        ('the-agent-is-static', 'INTERP' not in headers, headers),
        ('the-agent-is-small', len(program) <= MAX_BYTES, len(program)),
    ]
    print(f'1..{len(checks)}')
    for number, (name, is_good, found) in enumerate(checks, 1):
        print(f'{"ok" if is_good else "not ok"} {number} - /agent/{name}')
        if not is_good:
            print(f'# {found}')
    return 0 if all(check[1] for check in checks) else 1


sys.exit(main())
