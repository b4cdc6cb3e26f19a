"""Start-to-exit times of the sandbox beside a native static busybox, in the same run: the ratio counts.

usage: sandbox_start.py SANDBOX [RUNS]      package: busybox-static
Prints one line a command: median and 99th percentile in milliseconds of both, and the ratio of the medians.
"""
import os
import subprocess
import sys
import tempfile
import time

COMMANDS = [['true'], ['echo', 'hi'], ['sh', '-c', 'for i in 1 2 3; do echo $i; done | grep 2']]
ENVIRONMENT = {'PATH': '/bin:/usr/bin:/sbin:/usr/sbin'}
NATIVE = '/bin/busybox'


def make_root(folder, sandbox):
    for path in subprocess.check_output([sandbox, '--applets'], text=True).split():
        os.makedirs(folder + os.path.dirname(path), exist_ok=True)
        if path == '/bin/busybox':
            with open(folder + path, 'wb') as file:
                file.write(b'\x7fELF')
            os.chmod(folder + path, 0o755)
        else:
            os.symlink('/bin/busybox', folder + path)


def one(argv, null):
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, ENVIRONMENT, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)])
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit(f'{argv}: status {status}')
    return (time.perf_counter() - start) * 1000


def main():
    sandbox, runs = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 400
    null = os.open('/dev/null', os.O_RDWR)
    with tempfile.TemporaryDirectory() as root:
        make_root(root, sandbox)
        for command in COMMANDS:
            times = {'native': [], 'sandbox': []}
            # in turns, so that the machine's other work meets both alike
            for i in range(-5, runs):
                pair = {'native': one([NATIVE, *command], null),
                        'sandbox': one([sandbox, '--root', root, '--', *command], null)}
                for name, value in pair.items() if i >= 0 else ():
                    times[name].append(value)
            middle = {name: sorted(values)[runs // 2] for name, values in times.items()}
            tail = {name: sorted(values)[runs * 99 // 100] for name, values in times.items()}
            ratio = middle['sandbox'] / middle['native']
            print(f'{" ".join(command)[:24]:24} native {middle["native"]:.2f} / {tail["native"]:.2f} ms   '
                  f'sandbox {middle["sandbox"]:.2f} / {tail["sandbox"]:.2f} ms   ratio {ratio:.2f}')


main()
