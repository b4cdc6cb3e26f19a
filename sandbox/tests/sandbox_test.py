"""What the sandbox promises, one case a promise.

usage: sandbox_test.py SANDBOX EVIL SIGRACE [PART-OF-NAME...]

EVIL and SIGRACE are the sandbox with evil.c and sigrace.c as its guest. Speaks TAP.
"""

import ctypes
import fcntl
import mmap
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

SANDBOX, EVIL, SIGRACE = map(os.path.abspath, sys.argv[1:4])
ENVIRONMENT = {'PATH': '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', 'HOME': '/root', 'TERM': 'xterm'}
TIMEOUT = 20
TABLE_MAGIC, TABLE_VERSION, TABLE_PROCESSES = 0x534C5054, 1, 4096
PROCESS_SIZE = 304  # sizeof(SlSandboxProcess)
CASES = []


def case(function):
    """Registers test_a_promise as /sandbox/a-promise."""
    CASES.append(('/sandbox/' + function.__name__.removeprefix('test_').replace('_', '-'), function))
    return function


def check(condition, *what):
    if not condition:
        raise AssertionError(' '.join(str(part) for part in what))


def make_root(folder):
    for name in 'bin dev etc home proc root sbin tmp usr/bin usr/sbin usr/local/bin'.split():
        os.makedirs(f'{folder}/{name}')
    os.chmod(folder, 0o755)
    os.chmod(f'{folder}/tmp', 0o1777)
    with open(f'{folder}/bin/busybox', 'wb') as file:
        file.write(b'\x7fELF stub')
    os.chmod(f'{folder}/bin/busybox', 0o755)
    for path in subprocess.check_output([SANDBOX, '--applets'], text=True).split():
        if path != '/bin/busybox':
            os.symlink('/bin/busybox', folder + path)
    write(f'{folder}/etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n')
    write(f'{folder}/etc/group', 'root:x:0:\nuser:x:1000:\n')


def write(path, text, mode=0o644):
    with open(path, 'w') as file:
        file.write(text)
    os.chmod(path, mode)


def run(*argv, options=(), program=None, prefix=(), timeout=TIMEOUT, **more):
    return subprocess.run(
        [*prefix, program or SANDBOX, '--root', ROOT, *options, '--', *argv],
        env=ENVIRONMENT,
        text=True,
        stdin=more.pop('stdin', subprocess.DEVNULL),
        capture_output=True,
        timeout=timeout,
        **more,
    )


def sh(script, **more):
    return run('sh', '-c', script, **more)


def expect(script, out, rc=0, **more):
    result = sh('cd /tmp; ' + script, **more)
    check(
        result.stdout == out and result.returncode == rc,
        repr(result.stdout),
        'instead of',
        repr(out),
        'rc',
        result.returncode,
        result.stderr,
    )


AS_NOBODY = ('setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups')


# ---- busybox works as anywhere ----

SHELL_CASES = [
    ('echo', 'echo hello', 'hello\n'),
    ('pipeline', r"printf 'a\nb\nc\n' | grep -v b | wc -l", '2\n'),
    ('loop-into-pipe-and-file', 'for i in 1 2 3; do echo $i; done | grep 2 > x; cat x', '2\n'),
    ('nested-substitution', 'echo $(echo $(echo deep))', 'deep\n'),
    ('exit-code', "sh -c 'exit 42'; echo $?", '42\n'),
    ('background-and-wait', '(sleep 0.1; echo bg) & p=$!; wait $p; echo $?', 'bg\n0\n'),
    ('killed-child-is-143', 'sleep 30 & p=$!; kill -TERM $p; wait $p; echo $?', '143\n'),
    (
        'trap-in-sleep-loop',
        "sh -c 'trap \"echo trapped; exit 5\" TERM; (sleep 0.1; "
        "kill -TERM $$) & while :; do sleep 0.05; done'; echo $?",
        'trapped\n5\n',
    ),
    (
        'trap-in-cpu-loop',
        "sh -c 'trap \"echo usr1; exit 6\" USR1; (sleep 0.1; kill -USR1 $$) & while :; do :; done'; echo $?",
        'usr1\n6\n',
    ),
    ('heredoc', 'cat <<EOT | tr a-z A-Z\nheredoc $((6*7))\nEOT\n', 'HEREDOC 42\n'),
    ('find', 'mkdir -p f/g; touch f/g/h; find f | sort', 'f\nf/g\nf/g/h\n'),
    ('find-all-without-complaint', 'find / >/dev/null; echo $?', '0\n'),
    (
        'tar',
        'mkdir -p d/e; echo data > d/e/f; tar czf t.tgz d; '
        'rm -r d; tar xzf t.tgz; cat d/e/f; tar tf t.tgz | wc -l',
        'data\n3\n',
    ),
    ('awk', "echo '1 2 3' | awk '{print $1+$2+$3, sqrt(2), toupper(\"x\")}'", '6 1.41421 X\n'),
    ('sed', r"echo foobar | sed -E 's/(foo)(bar)/\2-\1/'", 'bar-foo\n'),
    (
        'sort-cut-uniq',
        r"printf 'b:2\na:1\nb:3\n' | sort | cut -d: -f1 | uniq -c | tr -s ' \n' ' '",
        ' 1 a 2 b ',
    ),
    ('recursive-function', 'f() { local v=$1; [ $v -le 0 ] && return 3; f $((v-1)); }; f 20; echo $?', '3\n'),
    ('arguments', 'set -- a "b c"; for x in "$@"; do echo "<$x>"; done', '<a>\n<b c>\n'),
    ('parameter-expansion', 'x=abc.tar.gz; echo ${x%.gz} ${x##*.} ${#x}', 'abc.tar gz 10\n'),
    ('dot-dot-stays-in-root', 'head -n1 ../../../../../etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n'),
    ('absolute-symlink-stays-in-root', 'ln -s /../../../etc/shadow s; cat s 2>/dev/null; echo $?', '1\n'),
    (
        'relative-symlink-stays-in-root',
        'ln -s ../../../../../../etc/passwd s2; head -n1 s2 | cut -c1-4',
        'root\n',
    ),
    ('sigpipe', "yes | head -n 3 | tr '\\n' ' '", 'y y y '),
    ('redirections', 'ls /nonexist 2>err; cat err', 'ls: /nonexist: No such file or directory\n'),
    (
        'sha256',
        'echo -n abc | sha256sum',
        'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -\n',
    ),
    ('read-lines', 'seq 40 > l; n=0; while read -r x; do n=$((n+1)); done < l; echo $n', '40\n'),
    (
        'script-runs-its-interpreter',
        r"printf '#!/bin/sh\necho script $0 $1\n' > s.sh; chmod +x s.sh; ./s.sh A",
        'script ./s.sh A\n',
    ),
    ('xargs', 'echo p q | xargs -n1 echo', 'p\nq\n'),
    ('pipefail', 'set -o pipefail; false | true; echo $?', '1\n'),
    ('timeout', 'timeout 1 sleep 5; echo $?', '143\n'),
    (
        'diff-and-patch',
        'seq 3 > a; seq 2 4 > b; diff -u a b > p; patch a p >/dev/null; cmp a b; echo $?',
        '0\n',
    ),
    (
        'gzip-and-bzip2',
        'seq 9 > g; gzip -c g | gunzip | cmp - g && bzip2 -c g | bunzip2 | cmp - g; echo $?',
        '0\n',
    ),
    (
        'bc-expr-dd',
        "echo '2^64' | bc; expr 3 \\* 4; dd if=/dev/zero bs=1k count=4 2>/dev/null | wc -c",
        '18446744073709551616\n12\n4096\n',
    ),
    (
        'parallel-children',
        '(for i in 1 2 3 4 5 6 7 8; do (sleep 0.05; echo $i) & done; wait) | sort | tr -d "\\n"',
        '12345678',
    ),
    ('fifo', 'mkfifo ff; (echo via > ff) & cat ff; rm ff', 'via\n'),
    ('ed', 'seq 3 > e; printf "1p\\nq\\n" | ed e', '6\n1\n'),
    (
        'metadata',
        "touch -d '2020-01-02 03:04:05' m; chmod 600 m; mv m m2; cp -a m2 m3; stat -c %a m3; date -r m3 +%F",
        '600\n2020-01-02\n',
    ),
    ('descriptors-above-2', 'exec 3>o.txt; echo to3 >&3; exec 3>&-; cat o.txt', 'to3\n'),
    (
        'users-program-before-applet',
        "printf '#!/bin/sh\\necho mine\\n' > seq; chmod +x seq; PATH=/tmp:$PATH; seq 3",
        'mine\n',
    ),
    ('many-forks', 'i=0; while [ $i -lt 300 ]; do (:); i=$((i+1)); done; echo $i', '300\n'),
    (
        'exec-again-and-again',
        'echo "[ \\$1 -gt 0 ] || exit 7; exec sh ./again \\$((\\$1-1))" > again; sh again 200; echo $?',
        '7\n',
    ),
    ('current-folder-is-kept-by-exec', 'mkdir -p c/d; cd c/d; sh -c pwd', '/tmp/c/d\n'),
    (
        'rename-and-link-between-folders',
        'mkdir -p r1 r2; echo x > r1/a; mv r1/a r2/b; ln r2/b r1/c; cat r1/c',
        'x\n',
    ),
    # ---- pids ----
    ('first-process-is-1', 'echo $$', '1\n'),
    ('children-count-from-2', 'sh -c "echo \\$\\$; exit 0"; sh -c "echo \\$PPID; exit 0"; exit 0', '2\n1\n'),
    (
        'unknown-pid-is-no-such-process',
        'kill -0 99 2>&1; kill -0 1; echo $?',
        "sh: can't kill pid 99: No such process\n0\n",
    ),
    ('signals-from-inside-spare-pid-1', 'kill -9 1; kill -TERM 1; kill -HUP $$; echo alive', 'alive\n'),
    ('child-of-pid-1-has-default-actions', 'sh -c "kill -TERM \\$\\$; echo no"; echo $?', '143\n'),
    (
        'group-is-killed-at-once',
        'setsid sh -c "sleep 30 | sleep 30" & until [ "$(ps -o comm | grep -c "^sleep")" = 2 ]; do sleep 0.05; done; '
        'kill -TERM -$!; wait $!; echo $?; sleep 0.3; ps -o stat,comm | grep -c "^S.*sleep"',
        '143\n0\n',
        1,
    ),
    (
        'orphan-belongs-to-pid-1',
        "sh -c 'sleep 0.5 & exit 0'; sleep 0.1; ps -o ppid,comm | grep sleep",
        '    1 sleep\n',
    ),
    (
        'ignored-children-are-reaped',
        "sh -c 'trap \"\" CHLD; sleep 0.1 & usleep 300000; ps -o comm | grep -c sleep; exit 0'",
        '0\n',
    ),
    # ---- /proc and /dev ----
    (
        'ps-shows-the-container',
        'sleep 9 & sleep 0.1; ps -o pid,ppid,comm | grep sleep; kill $!',
        '    2     1 sleep\n',
    ),
    ('proc-has-no-other-pids', 'cd /proc; [ $(ls -d [0-9]* | wc -w) -le 4 ]; echo $?', '0\n'),
    ('proc-self-is-who-asks', 'readlink /proc/self; exit 0', '2\n'),
    (
        'proc-exe-and-cwd',
        'readlink /proc/self/exe; readlink /proc/self/cwd; exit 0',
        '/usr/bin/readlink\n/tmp\n',
    ),
    (
        'proc-status-is-ours',
        'grep -E "^(Pid|Seccomp|NoNewPrivs)" /proc/self/status; exit 0',
        'Pid:\t2\nNoNewPrivs:\t1\nSeccomp:\t2\n',
    ),
    ('proc-is-read-only', 'echo x > /proc/sys/kernel/hostname; echo $?', '1\n'),
    (
        'proc-mounts',
        'mount | cut -d" " -f3; df / | tail -n1 | cut -d" " -f1',
        '/\n/proc\n/dev\n/dev/pts\noverlay\n',
    ),
    ('mtab-symlink-leads-to-proc', 'ln -s /proc/mounts mtab; grep -c overlay mtab', '1\n'),
    ('environ-of-others-is-not-there', 'cat /proc/1/environ 2>/dev/null; echo $?', '1\n'),
    ('free-top-uptime-work', 'free >/dev/null && top -bn1 >/dev/null && uptime >/dev/null; echo $?', '0\n'),
    (
        'pgrep-and-pkill',
        'sleep 9 & sleep 0.1; pgrep -l sleep; pkill sleep; wait $!; echo $?',
        '2 sleep\n143\n',
    ),
    ('uname', 'uname -srm', 'Linux 6.1.0-sockerless wasm32\n'),
    (
        'devices',
        'head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c; '
        'echo x > /dev/null; echo x > /dev/full; echo $?',
        '3\n5\n1\n',
    ),
    ('dev-stdout-and-stderr', 'echo a > /dev/stdout; echo b > /dev/stderr; echo c > /dev/fd/1', 'a\nc\n'),
    ('symlink-to-dev-stdout', 'ln -s /dev/stdout log; echo logged > log', 'logged\n'),
    (
        'dev-null-cannot-be-replaced',
        'rm /dev/null 2>/dev/null; echo x > /dev/null; test -c /dev/null; echo $?',
        '0\n',
    ),
    ('trees-with-a-trailing-slash', 'ls -d /proc/1/ /dev/pts/ /proc/', '/dev/pts/\n/proc/\n/proc/1/\n'),
    ('own-files-in-dev', 'mkdir /dev/shm; echo x > /dev/shm/y; cat /dev/shm/y; rm -r /dev/shm', 'x\n'),
    ('not-a-tty', 'tty; test -t 0; echo $?', 'not a tty\n1\n'),
    ('no-device-nodes', 'mknod n c 1 3 2>/dev/null; echo $?', '1\n'),
    ('no-mounts', 'mount -t tmpfs x /tmp 2>/dev/null; echo $?', '1\n'),
    ('hostname-cannot-be-changed', 'hostname other 2>/dev/null; echo $?; hostname', '1\nsandbox\n'),
    ('descriptor-limit-is-honest', 'ulimit -n', '256\n'),
]


def shell_case(name, script, out, rc=0):
    CASES.append(('/sandbox/shell/' + name, lambda: expect(script, out, rc)))
    CASES.append(('/sandbox/shell-as-nobody/' + name, lambda: expect(script, out, rc, prefix=AS_NOBODY)))


for arguments in SHELL_CASES:
    shell_case(*arguments)


# ---- start report and exit status ----


def start_report(*argv, options=()):
    read, end = os.pipe()
    process = subprocess.Popen(
        [SANDBOX, '--root', ROOT, '--status', str(end), *options, '--', *argv],
        env=ENVIRONMENT,
        pass_fds=[end],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    os.close(end)
    report = b''
    while chunk := os.read(read, 4096):
        report += chunk
    os.close(read)
    return report.decode(), process.wait(timeout=TIMEOUT)


@case
def test_started_is_end_of_file_before_the_program_ends():
    read, end = os.pipe()
    process = subprocess.Popen(
        [SANDBOX, '--root', ROOT, '--status', str(end), '--', 'sleep', '30'], env=ENVIRONMENT, pass_fds=[end]
    )
    os.close(end)
    check(os.read(read, 10) == b'' and process.poll() is None)
    os.close(read)
    process.kill()
    process.wait(timeout=TIMEOUT)


@case
def test_program_not_in_path_is_127():
    check(start_report('nothere') == ('127 exec: "nothere": executable file not found in $PATH', 127))


@case
def test_path_not_there_is_127():
    report, status = start_report('/not/here')
    check(status == 127 and report.startswith('127 ') and 'no such file or directory' in report, report)


@case
def test_file_without_x_bit_is_126():
    report, status = start_report('/etc/passwd')
    check(status == 126 and report.startswith('126 ') and 'permission denied' in report, report)


@case
def test_folder_is_126():
    report, status = start_report('/tmp')
    check(status == 126 and 'permission denied' in report, report)


@case
def test_working_folder_that_is_missing_is_reported():
    report, status = start_report('true', options=('--cwd', '/missing'))
    check(status == 127 and 'no such file or directory' in report, report)


@case
def test_native_program_is_126_with_advice():
    write(f'{ROOT}/usr/bin/native', '\x7fELF', 0o755)
    report, status = start_report('native')
    check(
        (report, status)
        == ('126 /usr/bin/native: native programs need --runtime native or another backend', 126),
        report,
    )
    result = sh('native; echo $?')
    check(result.stdout == '126\n' and 'native programs need' in result.stderr, result)


@case
def test_applet_stands_in_only_where_distributions_put_it():
    os.makedirs(f'{ROOT}/opt', exist_ok=True)
    for path in ('/opt/ls', '/usr/bin/su', '/sbin/init', '/bin/login', '/usr/bin/dpkg'):
        write(ROOT + path, '\x7fELF', 0o755)
        report, status = start_report(path)
        check(status == 126 and 'native programs need' in report, path, report)
        os.unlink(ROOT + path)
    write(f'{ROOT}/usr/local/bin/tac', '\x7fELF', 0o755)
    check(run('tac', '/etc/group').stdout == 'user:x:1000:\nroot:x:0:\n')
    os.unlink(f'{ROOT}/usr/local/bin/tac')


@case
def test_folder_of_applets_may_be_a_symlink():
    os.symlink('usr/bin', f'{ROOT}/lib-bin')
    check(run('/lib-bin/env').returncode == 0)
    os.unlink(f'{ROOT}/lib-bin')


@case
def test_wasi_program_is_126_with_a_sentence():
    write(f'{ROOT}/usr/bin/module', '\0asm', 0o755)
    report, status = start_report('module')
    check(status == 126 and 'WebAssembly programs (WASI) are not supported by this build' in report, report)


@case
def test_script_with_missing_interpreter_is_127():
    write(f'{ROOT}/tmp/script', '#!/no/such\n', 0o755)
    check(start_report('/tmp/script')[1] == 127)


@case
def test_exit_status_is_the_guests():
    check(
        sh('exit 0').returncode == 0 and sh('exit 42').returncode == 42 and sh('exit 255').returncode == 255
    )


@case
def test_guest_killed_by_a_signal_dies_of_it():
    process = subprocess.Popen([SANDBOX, '--root', ROOT, '--', 'sleep', '30'], env=ENVIRONMENT)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    check(process.wait(timeout=TIMEOUT) == -signal.SIGKILL)


@case
def test_first_process_ignores_what_it_does_not_handle():
    process = subprocess.Popen([SANDBOX, '--root', ROOT, '--', 'sleep', '1'], env=ENVIRONMENT)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    check(process.wait(timeout=TIMEOUT) == 0)


@case
def test_first_process_handles_a_signal_from_outside():
    process = subprocess.Popen(
        [
            SANDBOX,
            '--root',
            ROOT,
            '--',
            'sh',
            '-c',
            'trap "exit 9" TERM; echo up; while :; do sleep 0.05; done',
        ],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    check(process.wait(timeout=TIMEOUT) == 9)
    process.stdout.close()


@case
def test_signals_ignored_by_the_caller_are_reset():
    result = run('sh', '-c', 'yes | head -n1', prefix=('sh', '-c', 'trap "" PIPE CHLD TERM; exec "$@"', 'sh'))
    check(result.stdout == 'y\n' and result.returncode == 0, result)


@case
def test_trap_is_139_with_a_line():
    result = run('/bin/busybox', 'trap', program=EVIL)
    check(result.returncode == 139 and 'Out-of-bounds' in result.stderr and result.stdout == '', result)


@case
def test_environment_is_passed_on_whole():
    result = run('env')
    check(sorted(result.stdout.split()) == sorted(f'{k}={v}' for k, v in ENVIRONMENT.items()), result.stdout)


@case
def test_hostname_and_cwd():
    result = sh(
        'hostname; cat /proc/sys/kernel/hostname; pwd', options=('--hostname', 'box7', '--cwd', '/usr/bin')
    )
    check(result.stdout == 'box7\nbox7\n/usr/bin\n', result)


@case
def test_bad_option_is_125():
    check(
        run('true', options=('--user', 'root')).returncode == 125
        and run('true', options=('--rlimit', 'x=1:2')).returncode == 125
    )


@case
def test_root_is_the_current_folder_by_default():
    result = subprocess.run(
        [SANDBOX, '--', 'ls', '/etc'],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    check(result.stdout == 'group\npasswd\n', result)


# ---- users ----


@case
def test_user_is_enforced_as_root():
    if os.geteuid():
        return 'needs root'
    script = 'id; touch /tmp/own; stat -c %u:%g /tmp/own; echo > /etc/passwd; chown 0 /tmp/own; echo $?'
    result = sh(script, options=('--user', '1000:1001,7'))
    check(result.stdout == 'uid=1000(user) gid=1001 groups=7\n1000:1001\n1\n', result)
    os.unlink(f'{ROOT}/tmp/own')
    return None


@case
def test_user_may_change_its_own_files():
    if os.geteuid():
        return 'needs root'
    result = sh(
        'cd /tmp; touch f; chmod 640 f; mv f g; stat -c %a g; readlink /proc/self/fd/0; '
        '(sleep 9 & kill $!; wait $!; echo $?)',
        options=('--user', '1000:1000'),
    )
    check(result.stdout == '640\n/dev/null\n143\n', result)
    return None


@case
def test_root_of_a_user_namespace_is_an_ordinary_user():
    if os.geteuid() or subprocess.run([*AS_NOBODY, 'unshare', '-Ur', 'true'], capture_output=True).returncode:
        return 'no user namespaces'
    result = sh(
        'id -u; touch /tmp/f; chown 5 /tmp/f; stat -c %u /tmp/f',
        prefix=(*AS_NOBODY, 'unshare', '-Ur'),
        options=('--user', '77:77'),
    )
    check(result.stdout == '77\n77\n', result)
    return None


@case
def test_root_may_chown_and_drop():
    if os.geteuid():
        return 'needs root'
    result = sh('touch /tmp/f; chown 33:44 /tmp/f; stat -c %u:%g /tmp/f; setuidgid user id -u')
    check(result.stdout == '33:44\n1000\n', result)
    return None


@case
def test_no_capability_beyond_a_containers_own():
    if os.geteuid():
        return 'needs root'
    process = subprocess.Popen([SANDBOX, '--root', ROOT, '--', 'sleep', '9'], env=ENVIRONMENT)
    time.sleep(0.1)
    with open(f'/proc/{process.pid}/status') as file:
        status = dict(line.split(':', 1) for line in file)
    process.kill()
    process.wait()
    # CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID
    allowed = sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7))
    check(
        int(status['CapPrm'], 16) & ~allowed == 0 and int(status['CapEff'], 16) & ~allowed == 0,
        status['CapPrm'],
    )
    check(status['Seccomp'].strip() == '2' and status['NoNewPrivs'].strip() == '1')
    return None


@case
def test_ordinary_user_sees_itself_as_root():
    result = sh(
        'id -u; touch /tmp/n; stat -c %u /tmp/n; chown 5 /tmp/n; echo $?; stat -c %u /etc/passwd',
        prefix=AS_NOBODY,
    )
    check(result.stdout == '0\n0\n0\n0\n', result)
    result = sh('id -u; touch /tmp/n2; stat -c %u /tmp/n2', options=('--user', '12:13'), prefix=AS_NOBODY)
    check(result.stdout == '12\n12\n', result)


# ---- limits ----


@case
def test_memory_stops_at_the_limit():
    grown = int(
        run('/bin/busybox', 'grow', program=EVIL, options=('--rlimit', 'as=67108864:67108864')).stdout
    )
    check(40 < grown < 64, grown)


@case
def test_forks_stop_at_the_limit():
    result = sh('for i in 1 2 3 4 5 6; do sleep 9 & done; echo no', options=('--rlimit', 'nproc=4:4'))
    check('no' not in result.stdout.split() and "can't fork" in result.stderr, result)


@case
def test_descriptors_stop_at_the_limit():
    result = sh(
        'ulimit -n; exec 3</dev/null 4</dev/null 5</dev/null 6</dev/null 7</dev/null; cat /dev/null; echo $?',
        options=('--rlimit', 'nofile=8:8'),
    )
    check(result.stdout == '8\n1\n', result)


# ---- escapes ----


@case
def test_nothing_evil_succeeds():
    result = run('/bin/busybox', program=EVIL)
    lines = result.stdout.splitlines()
    check(result.returncode == 0 and len(lines) > 20, result)
    for line in lines:
        check(': -1 ' in line, line)


@case
def test_nothing_evil_succeeds_as_nobody():
    for line in run('/bin/busybox', program=EVIL, prefix=AS_NOBODY).stdout.splitlines():
        check(': -1 ' in line, line)


@case
def test_no_network():
    result = sh('wget -T1 http://127.0.0.1/; ping -c1 127.0.0.1; nc -w1 127.0.0.1 22; ifconfig; echo end')
    check(
        result.stdout.endswith('end\n')
        and result.stderr.count('denied') + result.stderr.count('permitted') >= 3,
        result.stderr,
    )


@case
def test_inherited_descriptors_are_not_the_guests():
    with open('/etc/hostname') as secret:
        result = subprocess.run(
            [SANDBOX, '--root', ROOT, '--', 'ls', '/proc/self/fd'],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            pass_fds=[secret.fileno()],
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
        )
    check(set(result.stdout.split()) <= {'0', '1', '2', '3'}, result.stdout)


@case
def test_nothing_of_the_host_shows_in_proc():
    result = sh("for f in $(find /proc -type f); do cat $f; done; ls -lR /proc; exit 0")
    for leak in (WORK, os.path.basename(WORK), SANDBOX, f' {os.getpid()} '):
        check(leak not in result.stdout, leak)


@case
def test_folder_renamed_meanwhile_leads_nowhere():
    # One guest swaps a folder and a symlink to "/", another looks through it: only its own root may answer.
    swap = sh_start(
        'mkdir -p /tmp/race/a; cd /tmp/race; ln -s ../../../../../../.. b; '
        'while :; do mv a c; mv b a; mv a b; mv c a; done'
    )
    result = sh(
        'cd /tmp; n=0; while [ $n -lt 300 ]; '
        'do cat race/a/etc/hostname race/a/../../../etc/shadow; n=$((n+1)); done'
    )
    swap.kill()
    swap.wait()
    check(result.stdout == '', result.stdout)


def sh_start(script, **more):
    return subprocess.Popen([SANDBOX, '--root', ROOT, '--', 'sh', '-c', script], env=ENVIRONMENT, **more)


@case
def test_no_wakeup_is_lost():
    for argument in ((), ('restart',)):
        result = run('/bin/busybox', '3000', *argument, program=SIGRACE)
        check(result.stdout == '0 lost\n', result.stdout)


# ---- a shared table ----


class Table:
    def __init__(self):
        self.size = 16 + PROCESS_SIZE * TABLE_PROCESSES
        self.fd = os.memfd_create('table', 0)
        os.ftruncate(self.fd, self.size)
        self.bytes = mmap.mmap(self.fd, self.size)
        self.bytes[:8] = struct.pack('<II', TABLE_MAGIC, TABLE_VERSION)

    def start(self, script, **more):
        return subprocess.Popen(
            [SANDBOX, '--root', ROOT, '--table', str(self.fd), '--', 'sh', '-c', script],
            env=ENVIRONMENT,
            pass_fds=[self.fd],
            stdout=subprocess.PIPE,
            text=True,
            **more,
        )

    def pids(self):
        found = {}
        for at in range(16, self.size, PROCESS_SIZE):
            host, pid = struct.unpack_from('<ii', self.bytes, at)
            if host > 0:
                found[host] = pid
        return found


@case
def test_second_start_on_the_table_joins_the_container():
    table = Table()
    first = table.start('trap "exit 3" USR1; echo up; while :; do sleep 0.02; done')
    first.stdout.readline()
    second = table.start('echo $$; ps -o pid,args | grep -c "^ *1 sh"; kill -USR1 1; exit 0')
    out, _ = second.communicate(timeout=TIMEOUT)
    check(int(out.split()[0]) > 1 and out.split()[1] == '1', out)
    check(first.wait(timeout=TIMEOUT) == 3)
    first.stdout.close()


@case
def test_joined_process_has_default_actions():
    table = Table()
    first = table.start('echo up; sleep 9')
    first.stdout.readline()
    second = table.start('kill -TERM $$; echo no')
    out, _ = second.communicate(timeout=TIMEOUT)
    check(second.returncode == -signal.SIGTERM and out == '', second.returncode, out)
    first.kill()
    first.communicate()


@case
def test_table_maps_host_pids():
    table = Table()
    first = table.start('echo up; sleep 9')
    first.stdout.readline()
    check(table.pids().get(first.pid) == 1, table.pids())
    for pid in table.pids():
        os.kill(pid, signal.SIGKILL)
    first.communicate()


@case
def test_closing_table_refuses_forks():
    table = Table()
    table.bytes[12:16] = struct.pack('<i', 1)
    out, _ = table.start('(echo child); echo $?', stderr=subprocess.DEVNULL).communicate(timeout=TIMEOUT)
    check('child' not in out, out)


@case
def test_foreign_table_is_refused():
    with tempfile.TemporaryFile() as file:
        file.truncate(64)
        result = subprocess.run(
            [SANDBOX, '--root', ROOT, '--table', str(file.fileno()), '--', 'true'],
            pass_fds=[file.fileno()],
            capture_output=True,
            timeout=TIMEOUT,
        )
    check(result.returncode == 125, result)


# ---- terminals ----


class Terminal:
    def __init__(self, *argv):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 25, 80, 0, 0))
        self.process = subprocess.Popen(
            [SANDBOX, '--root', ROOT, '--tty', '--', *argv],
            env=ENVIRONMENT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self.out = b''

    def read_until(self, text):
        deadline = time.monotonic() + TIMEOUT
        while text.encode() not in self.out:
            check(
                time.monotonic() < deadline and select.select([self.master], [], [], TIMEOUT)[0],
                text,
                'not in',
                self.out,
            )
            try:
                chunk = os.read(self.master, 4096)
            except OSError:
                chunk = b''
            check(chunk, text, 'not in', self.out)
            self.out += chunk
        before, self.out = self.out.split(text.encode(), 1)
        return before.decode()

    def type(self, text):
        os.write(self.master, text.encode())

    def close(self):
        os.close(self.master)
        self.process.kill()
        self.process.wait()


@case
def test_terminal_is_pts_0():
    terminal = Terminal(
        'sh',
        '-c',
        'tty; stty size; echo /dev/pts/*; readlink /proc/self/fd/0; '
        'echo x > /dev/tty; ps -o tty,pid; echo d""one',
    )
    out = terminal.read_until('done')
    terminal.close()
    check(out.startswith('/dev/pts/0\r\n25 80\r\n/dev/pts/0\r\n/dev/pts/0\r\nx\r\n') and '136,0' in out, out)


@case
def test_terminal_interrupts_and_jobs():
    terminal = Terminal('sh', '-i')
    terminal.read_until('# ')
    terminal.type('sleep 100\n')
    time.sleep(0.3)
    terminal.type('\x03')
    terminal.read_until('# ')
    terminal.type('echo rc=$?.\n')
    terminal.read_until('rc=130.')
    terminal.type('sleep 50\n')
    time.sleep(0.3)
    terminal.type('\x1a')
    terminal.read_until('Stopped')
    terminal.type('kill -9 %1\n')
    terminal.read_until('# ')
    time.sleep(0.3)
    terminal.type('true\n')
    terminal.read_until('Killed')
    terminal.type('exit 9\n')
    check(terminal.process.wait(timeout=TIMEOUT) == 9)
    terminal.close()


@case
def test_guest_makes_terminals_of_its_own():
    terminal = Terminal('script', '-q', '-c', 'tty', '/tmp/typescript')
    out = terminal.read_until('/dev/pts/')
    terminal.close()
    check('error' not in out, out)


# ---- a detached mount as root ----


@case
def test_root_may_be_a_detached_mount():
    if os.geteuid():
        return 'needs root'
    libc = ctypes.CDLL(None, use_errno=True)
    tree = libc.syscall(
        428, -100, ROOT.encode(), 1 | 0x80000
    )  # open_tree(OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
    if tree < 0:
        return 'no open_tree'
    script = (
        'mkdir -p /tmp/x/y; cd /tmp/x/y; pwd; cd ..; pwd; ls /etc; '
        'find . -type d; readlink /proc/self/cwd; exit 0'
    )
    result = subprocess.run(
        [SANDBOX, '--', 'sh', '-c', script],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        preexec_fn=lambda: os.fchdir(tree),
        stdin=subprocess.DEVNULL,
    )
    os.close(tree)
    check(result.stdout == '/tmp/x/y\n/tmp/x\ngroup\npasswd\n.\n./y\n/tmp/x\n', result)
    return None


def main():
    wanted = [
        (name, function)
        for name, function in CASES
        if not sys.argv[4:] or any(part in name for part in sys.argv[4:])
    ]
    print(f'1..{len(wanted)}', flush=True)
    failed = 0
    for number, (name, function) in enumerate(wanted, 1):
        global ROOT
        ROOT = f'{WORK}/nobodys' if 'as-nobody' in name else f'{WORK}/root'
        shutil.rmtree(f'{ROOT}/tmp', ignore_errors=True)
        os.mkdir(f'{ROOT}/tmp')
        os.chmod(f'{ROOT}/tmp', 0o1777)
        try:
            if 'as-nobody' in name and os.geteuid():
                skipped = 'needs root'
            else:
                skipped = function()
            print(f'ok {number} {name}' + (f' # SKIP {skipped}' if skipped else ''), flush=True)
        except Exception as error:  # a failing case must not stop the others
            failed += 1
            print(f'not ok {number} {name}\n# ' + str(error).replace('\n', '\n# '), flush=True)
    return failed != 0


ROOT = None
with tempfile.TemporaryDirectory() as WORK:
    os.chmod(WORK, 0o755)
    make_root(f'{WORK}/root')
    make_root(f'{WORK}/nobodys')
    if os.geteuid() == 0:
        subprocess.run(['chown', '-R', '65534:65534', f'{WORK}/nobodys'], check=True)
    result = main()
sys.exit(result)
