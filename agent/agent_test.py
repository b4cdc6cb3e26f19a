#!/usr/bin/env python3
"""Tests of sockerless-agent as the daemon sees it: WebSocket by hand over its socket. TAP on standard output.

usage: agent_test.py AGENT TEST-RUNTIME [NAME...]

TEST-RUNTIME (agent/test_runtime.c) takes the place of sockerless-sandbox: it runs native programs and can be told to misbehave.
"""
import base64
import hashlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

AGENT, RUNTIME = map(os.path.abspath, sys.argv[1:3])
TOKEN = 'ab' * 32
DATA, WINDOW, END, GROWN, SEEN = 1, 2, 3, 4, 5
WINDOW_BYTES = 256 * 1024
PATIENCE = 20
tests = []


def test(function):
    tests.append(function)
    return function


class Closed(Exception):
    pass


class Link:
    """The daemon's end. Answers, notifications and frames are kept in order of arrival, by kind."""

    def __init__(self, agent, token=TOKEN, path='/agent/v1', early=b'', hello=True):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(agent.socket_path)
        self.buffer = bytearray()
        self.messages, self.frames = [], []
        self.last_id = 0
        self.auto_seen = True
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f'GET {path} HTTP/1.1\r\nHost: agent\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                             f'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n'
                             f'Authorization: Bearer {token}\r\n\r\n').encode() + early)
        self.status = self._status()
        if self.status == 101 and hello:
            self.hello = self.wait('hello')

    def _status(self):
        while b'\r\n\r\n' not in self.buffer:
            self._fill()
        head, _, rest = bytes(self.buffer).partition(b'\r\n\r\n')
        self.buffer = bytearray(rest)
        return int(head.split()[1])

    def _fill(self):
        data = self.socket.recv(1 << 20)
        if not data:
            raise Closed()
        self.buffer += data

    def _need(self, n):
        while len(self.buffer) < n:
            self._fill()

    def _pump(self):
        """Reads one message."""
        self._need(2)
        assert self.buffer[0] & 0x80 and not self.buffer[1] & 0x80
        op, n, at = self.buffer[0] & 15, self.buffer[1] & 127, 2
        if n >= 126:
            size = 2 if n == 126 else 8
            self._need(2 + size)
            n, at = int.from_bytes(self.buffer[2:2 + size], 'big'), 2 + size
        self._need(at + n)
        payload = bytes(self.buffer[at:at + n])
        del self.buffer[:at + n]
        if op == 8:
            raise Closed()
        if op == 1:
            self.messages.append(json.loads(payload))
        else:
            kind, _, _, channel, offset = struct.unpack('>BBHIQ', payload[:16])
            self.frames.append((kind, channel, offset, payload[16:]))
            if kind == GROWN and self.auto_seen:
                self.frame(SEEN, 0, offset)

    def wait(self, kind, **match):
        """The first message of that type that was not asked for before."""
        while True:
            for i, message in enumerate(self.messages):
                if message['type'] == kind and all(message.get(k) == v for k, v in match.items()):
                    return self.messages.pop(i)
            self._pump()

    def wait_frame(self, kind, channel):
        while True:
            for i, frame in enumerate(self.frames):
                if frame[:2] == (kind, channel):
                    return self.frames.pop(i)
            self._pump()

    @staticmethod
    def encode(op, payload):
        mask = b'\1\2\3\4'
        n = len(payload)
        head = bytes([0x80 | op]) + (bytes([0x80 | n]) if n < 126 else
                                     b'\xfe' + n.to_bytes(2, 'big') if n < 65536 else b'\xff' + n.to_bytes(8, 'big'))
        whole = (mask * (n // 4 + 1))[:n]
        return head + mask + (int.from_bytes(payload, 'big') ^ int.from_bytes(whole, 'big')).to_bytes(n, 'big')

    def send(self, message):
        self.socket.sendall(self.encode(1, json.dumps(message).encode()))

    def frame(self, kind, channel, offset, data=b''):
        self.socket.sendall(self.encode(2, struct.pack('>BBHIQ', kind, 0, 0, channel, offset) + data))

    def ask(self, kind, **members):
        """Sends a request and gives its answer, an error's as well."""
        self.last_id += 1
        self.send({'type': kind, 'id': self.last_id, **members})
        while True:
            for i, message in enumerate(self.messages):
                if message.get('id') == self.last_id:
                    return self.messages.pop(i)
            self._pump()

    def close(self):
        self.socket.close()

    def expect_closed(self):
        try:
            while True:
                self._pump()
        except (Closed, ConnectionResetError):
            return


class Agent:
    def __init__(self, folder=None, uid=None):
        self.folder = folder or tempfile.mkdtemp(prefix='agent-test-')
        self.socket_path = os.path.join(self.folder, 'agent.sock')
        self.root = os.path.join(self.folder, 'root')
        os.makedirs(os.path.join(self.root, 'etc'), exist_ok=True)
        self.uid = uid
        self.process = None
        self.spawn()

    def spawn(self):
        if os.path.exists(self.socket_path):
            os.unlink(self.socket_path)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.socket_path)
        listener.listen(16)
        if self.uid:
            subprocess.run(['chown', '-R', str(self.uid), self.folder], check=True)

        def prepare():
            if self.uid:
                os.setgroups([])
                os.setgid(self.uid)
                os.setuid(self.uid)
            os.dup2(listener.fileno(), 3)
            os.set_inheritable(3, True)

        with open(os.path.join(self.folder, 'agent.log'), 'ab') as log:
            self.process = subprocess.Popen([AGENT, 'c0ffee'], cwd=self.folder, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=log, close_fds=False,
                                            preexec_fn=prepare, env={'SOCKERLESS_AGENT_TOKEN': TOKEN,
                                                                     'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '')})
        listener.close()

    def start_message(self, argv, **more):
        if isinstance(argv, str):
            argv = ['/bin/sh', '-c', argv]
        return {'argv': argv, 'env': ['PATH=/usr/bin:/bin'], 'cwd': '/', 'user': '', 'hostname': 'box', 'tty': False,
                'open_stdin': False, 'stdin_once': False, 'rows': 0, 'cols': 0, 'rlimits': [],
                'root': {'kind': 'folder', 'path': 'root'}, 'runtime': [RUNTIME], **more}

    def exec_message(self, argv, channel, **more):
        if isinstance(argv, str):
            argv = ['/bin/sh', '-c', argv]
        return {'channel': channel, 'exec_id': f'exec{channel}', 'argv': argv, 'env': ['PATH=/usr/bin:/bin'], 'cwd': '/',
                'user': '', 'tty': False, 'stdin': False, 'stdout': True, 'stderr': True, 'rows': 0, 'cols': 0,
                'config': {'n': channel}, **more}

    def path(self, name):
        return os.path.join(self.folder, name)

    def log(self):
        with open(self.path('log'), 'rb') as file:
            return file.read()

    def exit_file(self):
        with open(self.path('exit.json')) as file:
            return json.load(file)

    def ended(self):
        """Waits for the agent's own end."""
        return self.process.wait(PATIENCE)

    def clean(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        code = self.process.returncode
        shutil.rmtree(self.folder, ignore_errors=True)
        assert code == 0, f'the agent ended with {code}'


def frames(data):
    """Takes stdcopy apart: [(stream, bytes)]; the last frame must be whole."""
    found, at = [], 0
    while at < len(data):
        stream, n = data[at], int.from_bytes(data[at + 4:at + 8], 'big')
        assert stream in (1, 2) and data[at + 1:at + 4] == b'\0\0\0' and at + 8 + n <= len(data), 'torn frame'
        found.append((stream, data[at + 8:at + 8 + n]))
        at += 8 + n
    return found


def text(data, stream=None):
    return b''.join(part for which, part in frames(data) if stream in (None, which))


def eventually(check, what):
    limit = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < limit, what
        time.sleep(0.005)


def run(agent, argv, **more):
    """Starts, waits for the end; the link stays open."""
    link = Link(agent)
    started = link.ask('start', **agent.start_message(argv, **more))
    assert started['type'] == 'started', started
    return link, link.wait('exited', channel=0)


def alive(pid):
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


# ---- start and exit ----

@test
def start_runs_and_exit_comes_with_the_sealed_log(agent):
    link = Link(agent)
    assert link.hello['state'] == 'idle' and link.hello['container'] == 'c0ffee' and link.hello['version'] == 1
    started = link.ask('start', **agent.start_message('echo out; echo err >&2; exit 3'))
    assert started['type'] == 'started' and started['pid'] > 1 and started['started_ns'] > 10 ** 18
    exited = link.wait('exited')
    assert (exited['channel'], exited['exit_code'], exited['signal']) == (0, 3, 0)
    data = agent.log()
    assert exited['length'] == len(data)
    assert text(data, 1) == b'out\n' and text(data, 2) == b'err\n'
    stored = agent.exit_file()
    assert stored['exit_code'] == 3 and stored['length'] == len(data) and stored['finished_ns'] >= started['started_ns']


@test
def a_killing_signal_is_told(agent):
    link, exited = run(agent, 'kill -9 $$')
    assert (exited['exit_code'], exited['signal']) == (137, 9)


@test
def signals_reach_the_first_process(agent):
    link = Link(agent)
    link.ask('start', **agent.start_message('trap "echo caught; exit 7" USR1; echo ready; while :; do sleep 0.01; done'))
    eventually(lambda: b'ready' in agent.log(), 'no output')
    assert link.ask('signal', signal=10, channel=0)['type'] == 'ok'
    assert link.wait('exited')['exit_code'] == 7
    assert text(agent.log()) == b'ready\ncaught\n'


@test
def a_program_that_is_not_there_is_127_and_leaves_nothing(agent):
    link = Link(agent)
    answer = link.ask('start', **agent.start_message(['/no/such/program']))
    assert (answer['type'], answer['exit_code']) == ('error', 127) and 'not found' in answer['message'], answer
    assert not os.path.exists(agent.path('exit.json'))
    # The container is where it was: it can be started.
    assert link.ask('start', **agent.start_message('exit 5'))['type'] == 'started'
    assert link.wait('exited')['exit_code'] == 5


@test
def a_program_that_may_not_run_is_126(agent):
    program = agent.path('root/plain')
    with open(program, 'w'):
        pass
    answer = Link(agent).ask('start', **agent.start_message([program]))
    assert (answer['type'], answer['exit_code']) == ('error', 126) and 'permission denied' in answer['message'], answer


@test
def a_runtime_that_is_missing_is_an_error(agent):
    link = Link(agent)
    answer = link.ask('start', **agent.start_message('true', runtime=['/no/runtime']))
    assert answer['type'] == 'error' and answer['status'] == 500 and '/no/runtime' in answer['message'], answer
    assert link.ask('start', **agent.start_message('true', runtime=['runtime']))['status'] == 400
    assert link.ask('start', **agent.start_message([]))['status'] == 400


@test
def a_runtime_that_never_reports_can_be_shut_down(agent):
    link = Link(agent)
    link.send({'type': 'start', 'id': 77, **agent.start_message('true', runtime=[RUNTIME, 'never-reports'])})
    assert link.ask('start', **agent.start_message('true'))['status'] == 409
    link.send({'type': 'shutdown'})
    link.expect_closed()
    assert agent.ended() == 0


@test
def a_runtime_that_reports_an_error_and_stays_is_killed(agent):
    link = Link(agent)
    answer = link.ask('start', **agent.start_message('true', runtime=[RUNTIME, 'lingers']))
    assert (answer['type'], answer['exit_code']) == ('error', 127), answer


@test
def a_runtime_killed_before_its_report_is_an_exit(agent):
    link = Link(agent)
    link.send({'type': 'start', 'id': 1, **agent.start_message('true', runtime=[RUNTIME, 'dies-unreported'])})
    link.wait('started')
    assert link.wait('exited')['signal'] == 9


@test
def a_second_run_follows_the_first_in_the_log(agent):
    link, first = run(agent, 'echo one')
    assert link.ask('start', **agent.start_message('echo two; exit 4'))['type'] == 'started'
    second = link.wait('exited')
    assert second['exit_code'] == 4 and second['length'] > first['length']
    assert text(agent.log()) == b'one\ntwo\n'


@test
def a_running_container_is_not_started_again(agent):
    link = Link(agent)
    link.ask('start', **agent.start_message('sleep 60'))
    assert link.ask('start', **agent.start_message('true'))['status'] == 409


@test
def environment_folder_user_and_host_name_reach_the_process(agent):
    with open(agent.path('root/etc/passwd'), 'w') as file:
        file.write('root:x:0:0:root:/root:/bin/sh\nbuilder:x:1234:1000::/home/builder:/bin/sh\n')
    with open(agent.path('root/etc/group'), 'w') as file:
        file.write('root:x:0:\nstaff:x:50:other,builder\nusers:x:1000:\n')
    run(agent, 'echo $TEST_USER $TEST_CWD $TEST_HOSTNAME $HOME $GREETING $TEST_RLIMITS', user='builder', cwd='/made/here',
        hostname='castle', env=['PATH=/usr/bin:/bin', 'GREETING=hello'], rlimits=['nofile=100:200'])
    assert text(agent.log()) == b'1234:1000,50 /made/here castle /home/builder hello yes\n', agent.log()
    assert os.path.isdir(agent.path('root/made/here'))


@test
def an_unknown_user_is_an_error_in_dockers_words(agent):
    answer = Link(agent).ask('start', **agent.start_message('true', user='nobody-here'))
    assert answer['message'] == 'unable to find user nobody-here: no matching entries in passwd file', answer


@test
def the_process_inherits_nothing_of_the_agent(agent):
    link = Link(agent)
    link.ask('start', **agent.start_message('ls /proc/self/fd | tr "\\n" " "; env; kill -PIPE $$', env=['PATH=/usr/bin:/bin']))
    exited = link.wait('exited')
    output = text(agent.log())
    assert exited['signal'] == signal.SIGPIPE, 'an ignored signal was passed on'
    assert output.startswith(b'0 1 2 3 '), output # 3 is ls's own
    assert b'TOKEN' not in output and TOKEN.encode() not in output
    with open(f'/proc/{agent.process.pid}/environ', 'rb') as file:
        assert TOKEN.encode() not in file.read()


# ---- output ----

@test
def fifty_megabytes_come_out_as_they_went_in(agent):
    link = Link(agent)
    command = 'seq 1 7000000; seq 1 100000 >&2'
    link.ask('start', **agent.start_message(command))
    exited = link.wait('exited')
    data = agent.log()
    assert exited['length'] == len(data)
    for stream, top in ((1, 7000000), (2, 100000)):
        wanted = hashlib.sha256(subprocess.run(['seq', '1', str(top)], capture_output=True, check=True).stdout)
        assert hashlib.sha256(text(data, stream)).digest() == wanted.digest()
    with open(agent.path('log.idx'), 'rb') as file:
        marks = list(struct.iter_unpack('<QQ', file.read()))
    starts, at = [], 0
    for _, part in frames(data):
        starts.append(at)
        at += 8 + len(part)
    assert [offset for offset, _ in marks] == starts
    assert all(a[1] <= b[1] for a, b in zip(marks, marks[1:]))


@test
def a_daemon_that_never_says_seen_loses_nothing(agent):
    link = Link(agent)
    link.auto_seen = False
    link.ask('start', **agent.start_message('for i in 1 2 3 4 5 6 7 8; do seq 1 50000; done'))
    exited = link.wait('exited')
    assert exited['length'] == len(agent.log()) and len(text(agent.log())) == 8 * 288894
    assert len([f for f in link.frames if f[0] == GROWN]) == 1, 'GROWN was sent without SEEN'


@test
def growth_is_told_and_can_be_read_at_once(agent):
    link = Link(agent)
    link.ask('start', **agent.start_message('echo a; sleep 0.05; echo b; read x', open_stdin=True))
    seen = b''
    while seen != b'a\nb\n':
        offset = link.wait_frame(GROWN, 0)[2]
        assert len(agent.log()) >= offset
        seen = text(agent.log()[:offset])


@test
def a_held_pipe_is_drained_for_two_seconds(agent):
    link = Link(agent)
    started = link.ask('start', **agent.start_message('echo before; read x; exit 3', open_stdin=True))
    with open(f'/proc/{started["pid"]}/fd/1', 'wb', buffering=0) as held:
        link.frame(DATA, 0, 0, b'go\n')
        eventually(lambda: not alive(started['pid']), 'the process stays')
        began = time.monotonic()
        held.write(b'after\n')
        assert link.wait('exited')['exit_code'] == 3
        assert 1.5 < time.monotonic() - began < 4
    assert text(agent.log()) == b'before\nafter\n'


@test
def children_die_with_the_first_process(agent):
    link = Link(agent)
    link.ask('start', **agent.start_message('sleep 300 & echo $!; setsid sh -c "sleep 300 & echo \\$!; wait" & '
                                            '(sleep 300 & echo $!) ; sleep 0.2; exit 6'))
    began = time.monotonic()
    assert link.wait('exited')['exit_code'] == 6
    assert time.monotonic() - began < 1.5, 'waited for the drain limit'
    pids = text(agent.log()).split()
    assert len(pids) == 3 and not any(alive(int(pid)) for pid in pids)


@test
def a_torn_log_is_repaired_when_it_is_opened(agent):
    link, exited = run(agent, 'echo one')
    whole = agent.log()
    link.close()
    assert agent.ended() == 0
    # A whole frame without a mark, then half a frame; and half a mark.
    with open(agent.path('log'), 'ab') as file:
        file.write(b'\1\0\0\0\0\0\0\4two\n' + b'\1\0\0\0\0\0\0\x09thr')
    with open(agent.path('log.idx'), 'ab') as file:
        file.write(b'\0' * 7)
    agent.spawn()
    run(agent, 'echo four')
    assert text(agent.log()) == b'one\ntwo\nfour\n'
    with open(agent.path('log.idx'), 'rb') as file:
        offsets = [offset for offset, _ in struct.iter_unpack('<QQ', file.read())]
    assert offsets == [0, len(whole), len(whole) + 12], offsets


# ---- stdin ----

@test
def stdin_goes_in_and_its_end_closes_it(agent):
    link = Link(agent)
    link.ask('start', **agent.start_message('cat; echo done', open_stdin=True))
    link.frame(DATA, 0, 0, b'hello ')
    link.frame(DATA, 0, 6, b'world\n')
    link.frame(END, 0, 12)
    assert link.wait('exited')['exit_code'] == 0
    assert text(agent.log()) == b'hello world\ndone\n'


@test
def stdin_that_nobody_opened_is_empty(agent):
    run(agent, 'cat; echo done')
    assert text(agent.log()) == b'done\n'


@test
def stdin_is_granted_as_the_process_takes_it(agent):
    link = Link(agent)
    link.ask('start', **agent.start_message('while [ ! -e go ]; do sleep 0.01; done; md5sum', open_stdin=True,
                                            cwd='/'))
    body = os.urandom(3 << 20)
    window, sent = WINDOW_BYTES, 0
    while sent < window:
        link.frame(DATA, 0, sent, body[sent:sent + 65536])
        sent += 65536
    link.socket.settimeout(0.3)
    try:
        window = link.wait_frame(WINDOW, 0)[2]
        assert window <= WINDOW_BYTES + 65536, 'granted before anything was taken' # the pipe takes 64 KiB
    except TimeoutError:
        pass
    link.socket.settimeout(PATIENCE)
    with open(agent.path('root/go'), 'w'):
        pass
    while sent < len(body):
        while sent >= window:
            window = link.wait_frame(WINDOW, 0)[2]
        n = min(65536, window - sent, len(body) - sent)
        link.frame(DATA, 0, sent, body[sent:sent + n])
        sent += n
    link.frame(END, 0, sent)
    link.wait('exited')
    assert text(agent.log()).split()[0].decode() == hashlib.md5(body).hexdigest()


@test
def a_process_that_closed_its_stdin_does_not_stop_the_daemon(agent):
    link = Link(agent)
    link.ask('start', **agent.start_message('exec <&-; read x < /dev/null; while [ ! -e go ]; do sleep 0.01; done',
                                            open_stdin=True))
    sent, window = 0, WINDOW_BYTES
    while sent < 4 * WINDOW_BYTES:
        while sent >= window:
            window = link.wait_frame(WINDOW, 0)[2]
        link.frame(DATA, 0, sent, b'x' * 65536)
        sent += 65536
    with open(agent.path('root/go'), 'w'):
        pass
    assert link.wait('exited')['exit_code'] == 0


@test
def overrunning_the_window_closes_the_link_and_nothing_else(agent):
    link = Link(agent)
    started = link.ask('start', **agent.start_message('sleep 60', open_stdin=True))
    for i in range(5):
        try:
            link.frame(DATA, 0, i * 65536, b'x' * 65536)
        except (BrokenPipeError, ConnectionResetError):
            break
    link.expect_closed()
    assert Link(agent).hello['state'] == 'running' and alive(started['pid'])


# ---- terminals ----

@test
def a_terminal_has_its_size_echoes_and_is_logged_bare(agent):
    link = Link(agent)
    link.ask('start', **agent.start_message('stty size; read x; stty size; tty >/dev/null && echo tty=$x', tty=True,
                                            open_stdin=True, rows=24, cols=100))
    eventually(lambda: b'24 100' in agent.log(), 'no size')
    assert link.ask('resize', channel=0, rows=50, cols=120)['type'] == 'ok'
    link.frame(DATA, 0, 0, b'yes\n')
    link.wait('exited')
    assert agent.log() == b'24 100\r\nyes\r\n50 120\r\ntty=yes\r\n', agent.log()


@test
def control_c_at_a_terminal_interrupts(agent):
    link = Link(agent)
    # A shell that is interrupted just before it forks runs its trap only when the command ends: commands are short.
    link.ask('start', **agent.start_message('trap "exit 9" INT; echo ready; while :; do sleep 1; done', tty=True,
                                            open_stdin=True))
    eventually(lambda: b'ready' in agent.log(), 'no output')
    link.frame(DATA, 0, 0, b'\3')
    assert link.wait('exited')['exit_code'] == 9


@test
def a_process_without_a_terminal_is_not_resized(agent):
    link = Link(agent)
    link.ask('start', **agent.start_message('sleep 60'))
    assert link.ask('resize', channel=0, rows=5, cols=5)['status'] == 409


# ---- exec ----

def start_sleeper(agent, **more):
    link = Link(agent)
    link.ask('start', **agent.start_message('sleep 60', **more))
    return link


def exec_output(link, channel, raw=False):
    """Everything up to the exec's end; grants as it reads."""
    data = b''
    while not any(f[:2] == (END, channel) for f in link.frames):
        offset, part = link.wait_frame(DATA, channel)[2:] if any(
            f[:2] == (DATA, channel) for f in link.frames) else (None, None)
        if part is None:
            link._pump()
            continue
        assert offset == len(data)
        data += part
        link.frame(WINDOW, channel, len(data) + WINDOW_BYTES)
    for frame in [f for f in link.frames if f[:2] == (DATA, channel)]:
        data += frame[3]
    link.frames = [f for f in link.frames if f[:2] != (DATA, channel)]
    assert link.wait_frame(END, channel)[2] == len(data)
    return data if raw else frames(data)


@test
def exec_has_its_own_output_and_exit(agent):
    link = start_sleeper(agent)
    started = link.ask('exec', **agent.exec_message('echo out; echo err >&2; exit 8', 1))
    assert started['type'] == 'started' and started['pid'] > 1
    assert sorted(exec_output(link, 1)) == [(1, b'out\n'), (2, b'err\n')]
    exited = link.wait('exited', channel=1)
    assert exited['exit_code'] == 8 and 'length' not in exited
    assert agent.log() == b''
    answer = link.ask('exec', **agent.exec_message(['/no/such'], 2))
    assert (answer['type'], answer['exit_code']) == ('error', 127)


@test
def exec_output_waits_for_its_window(agent):
    link = start_sleeper(agent)
    link.ask('exec', **agent.exec_message('seq 1 400000', 3))
    got = 0
    link.socket.settimeout(0.3)
    try:
        while True:
            link._pump()
    except TimeoutError:
        pass
    link.socket.settimeout(PATIENCE)
    got = sum(len(f[3]) for f in link.frames if f[:2] == (DATA, 3))
    assert WINDOW_BYTES - 65536 < got <= WINDOW_BYTES, got
    data = b''.join(part for _, part in exec_output(link, 3))
    wanted = subprocess.run(['seq', '1', '400000'], capture_output=True, check=True).stdout
    assert data == wanted
    assert link.wait('exited', channel=3)['exit_code'] == 0


@test
def exec_with_a_terminal_is_raw_both_ways(agent):
    link = start_sleeper(agent)
    link.ask('exec', **agent.exec_message('stty size; read x; echo got $x', 4, tty=True, stdin=True, rows=10, cols=20))
    assert link.ask('resize', channel=4, rows=11, cols=21)['type'] == 'ok'
    link.frame(DATA, 4, 0, b'it\n')
    assert b'got it\r\n' in exec_output(link, 4, raw=True)


@test
def exec_stdin_is_closed_by_its_end(agent):
    link = start_sleeper(agent)
    link.ask('exec', **agent.exec_message('cat', 5, stdin=True))
    link.frame(DATA, 5, 0, b'through')
    link.frame(END, 5, 7)
    assert exec_output(link, 5) == [(1, b'through')]
    assert link.wait('exited', channel=5)['exit_code'] == 0


@test
def execs_die_with_the_container_and_are_told_first(agent):
    link = Link(agent)
    link.ask('start', **agent.start_message('read x', open_stdin=True))
    link.ask('exec', **agent.exec_message('sleep 300', 6))
    link.frame(DATA, 0, 0, b'\n')
    while len([m for m in link.messages if m['type'] == 'exited']) < 2:
        link._pump()
    assert [(m['channel'], m['exit_code']) for m in link.messages if m['type'] == 'exited'] == [(6, 137), (0, 0)]
    assert link.ask('exec', **agent.exec_message('true', 7))['status'] == 409


@test
def signals_reach_an_exec(agent):
    link = start_sleeper(agent)
    link.ask('exec', **agent.exec_message(['sleep', '300'], 8))
    assert link.ask('signal', signal=15, channel=8)['type'] == 'ok'
    assert link.wait('exited', channel=8)['signal'] == 15
    assert link.ask('signal', signal=15, channel=8)['status'] == 409
    assert link.ask('signal', signal=15, channel=99)['status'] == 409
    assert link.ask('signal', signal=0, channel=0)['status'] == 400


@test
def a_channel_in_use_is_refused(agent):
    link = start_sleeper(agent)
    link.ask('exec', **agent.exec_message('sleep 60', 9))
    assert link.ask('exec', **agent.exec_message('true', 9))['status'] == 409
    assert link.ask('exec', **agent.exec_message('true', 0))['status'] == 400


@test
def top_shows_the_containers_processes(agent):
    link = start_sleeper(agent)
    top = link.ask('top')
    assert len(top['processes']) == 1
    first = top['processes'][0]
    assert first['pid'] == 1 and first['ppid'] == 0 and first['command'] == '/bin/sh -c sleep 60', top
    assert first['cpu_ms'] >= 0 and first['started_ms'] > 10 ** 12


# ---- links ----

@test
def a_wrong_token_is_refused_and_the_container_goes_on(agent):
    assert Link(agent, token='cd' * 32).status == 401
    assert Link(agent, token='').status == 401
    assert Link(agent, token=TOKEN[:-1]).status == 401
    assert Link(agent, path='/other').status == 404
    assert Link(agent).hello['state'] == 'idle'


@test
def messages_may_come_with_the_handshake(agent):
    message = {'type': 'start', 'id': 41, **agent.start_message('exit 2')}
    link = Link(agent, early=Link.encode(1, json.dumps(message).encode()))
    assert link.wait('started', id=41)
    assert link.wait('exited')['exit_code'] == 2


@test
def a_second_link_replaces_the_first(agent):
    first = start_sleeper(agent, open_stdin=True)
    first.frame(DATA, 0, 0, b'12345')
    eventually(lambda: Link(agent).hello['stdin_received'] == 5, 'stdin did not arrive')
    first.expect_closed()
    second = Link(agent)
    third = Link(agent)
    second.expect_closed()
    assert third.hello['state'] == 'running'


@test
def an_exit_without_a_link_is_kept_in_a_file_and_ends_the_agent(agent):
    link = Link(agent)
    link.ask('start', **agent.start_message('while [ ! -e go ]; do sleep 0.01; done; echo late; exit 12'))
    link.close()
    with open(agent.path('root/go'), 'w'):
        pass
    assert agent.ended() == 0
    stored = agent.exit_file()
    assert stored['exit_code'] == 12 and stored['length'] == len(agent.log())
    assert text(agent.log()) == b'late\n'


@test
def an_exited_container_says_so_to_a_new_link(agent):
    link, exited = run(agent, 'echo x; exit 13')
    other = Link(agent)
    assert other.hello['state'] == 'exited' and other.hello['exit']['exit_code'] == 13
    assert other.hello['exit']['length'] == other.hello['length'] == exited['length']


@test
def a_link_cut_at_any_point_loses_no_output_and_no_stdin(agent):
    link = Link(agent)
    link.ask('start', **agent.start_message('md5sum; seq 1 300000', open_stdin=True))
    body = os.urandom(2 << 20)
    sent, window, cuts = 0, WINDOW_BYTES, 0
    while sent < len(body):
        while sent >= window:
            window = link.wait_frame(WINDOW, 0)[2]
        n = min(40000, window - sent, len(body) - sent)
        link.frame(DATA, 0, sent, body[sent:sent + n])
        sent += n
        if sent > (cuts + 1) * 200000:
            cuts += 1
            half = Link.encode(2, struct.pack('>BBHIQ', DATA, 0, 0, 0, sent) + body[sent:sent + 100])
            link.socket.sendall(half[:7 + 13 * cuts])
            link.close()
            link = Link(agent)
            sent, window = link.hello['stdin_received'], link.wait_frame(WINDOW, 0)[2]
    assert cuts >= 8
    link.frame(END, 0, sent)
    link.close()
    link = Link(agent)
    if link.hello['state'] == 'running':
        link.frame(END, 0, sent)
        link.wait('exited')
    output = text(agent.log())
    assert output.split()[0].decode() == hashlib.md5(body).hexdigest()
    assert output.endswith(b'\n300000\n')


@test
def an_exec_goes_on_without_its_daemon(agent):
    link = start_sleeper(agent)
    link.ask('exec', **agent.exec_message('seq 1 500000; exit 21', 10))
    link.close()
    link = Link(agent)
    found = link.hello['execs'][0]
    assert found['exec_id'] == 'exec10' and found['config'] == {'n': 10}
    if found['is_running']:
        assert link.wait('exited', channel=10)['exit_code'] == 21
    assert Link(agent).hello['execs'][0]['exit_code'] == 21


@test
def nonsense_is_answered_or_ends_the_link_but_never_the_container(agent):
    started = start_sleeper(agent).hello
    for message in ({'type': 'dance', 'id': 5}, {'type': 'signal', 'id': 6}, {'type': 'start', 'id': 7, 'argv': 'x'},
                    {'type': 'exec', 'id': 8, 'channel': -1, 'exec_id': 'x', 'argv': ['x']}, {'id': 9},
                    {'type': 'resize', 'id': 10, 'rows': 10 ** 9}, {'type': 'exec', 'id': 11, 'channel': 2 ** 40}):
        link = Link(agent)
        link.send(message)
        assert link.wait('error')['id'] == message['id'], message
    link = Link(agent)
    link.socket.sendall(Link.encode(1, b'[1, 2'))
    assert link.wait('error')['status'] == 400
    for payload in (b'', b'\1', b'\x09' + b'\0' * 15, struct.pack('>BBHIQ', GROWN, 0, 0, 0, 0),
                    struct.pack('>BBHIQ', DATA, 0, 0, 0, 2 ** 64 - 1) + b'x', b'\1' + b'\0' * 70000):
        link = Link(agent)
        link.socket.sendall(Link.encode(2, payload))
        link.expect_closed()
    link = Link(agent)
    link.socket.sendall(b'\x82\xff' + (1 << 40).to_bytes(8, 'big') + b'\0' * 4)
    link.expect_closed()
    assert Link(agent).hello['state'] == 'running'


@test
def connections_that_say_nothing_keep_no_daemon_out(agent):
    idle = []
    for _ in range(4):
        idle.append(socket.socket(socket.AF_UNIX))
        idle[-1].connect(agent.socket_path)
        idle[-1].sendall(b'GET /agent/v1 HTTP/1.1\r\n')
    big = socket.socket(socket.AF_UNIX)
    big.connect(agent.socket_path)
    big.sendall(b'GET /agent/v1 HTTP/1.1\r\nX: ' + b'y' * 9000)
    assert big.recv(100).startswith(b'HTTP/1.1 431')
    assert Link(agent).hello['state'] == 'idle'
    for each in idle:
        each.close()


@test
def shutdown_kills_and_ends(agent):
    link = start_sleeper(agent)
    pid = link.ask('exec', **agent.exec_message('sleep 300', 1))['pid']
    link.send({'type': 'shutdown'})
    link.expect_closed()
    assert agent.ended() == 0 and not alive(pid)
    assert agent.exit_file()['exit_code'] == 137


# ---- root filesystems ----

def overlay(agent, kind, lower='lower', cwd='/new/deep'):
    for name in ('lower/bin', 'upper', 'work'):
        os.makedirs(agent.path(name), exist_ok=True)
    if agent.uid:
        subprocess.run(['chown', '-R', str(agent.uid), agent.folder], check=True)
    return {'root': {'kind': kind, 'lower': lower, 'upper': 'upper', 'work': 'work'}, 'cwd': cwd}


def check_overlay(agent, kind):
    """The test runtime stays in the folder it is started in, which is the root."""
    link, exited = run(agent, 'echo changed > file; ls', **overlay(agent, kind))
    assert exited['exit_code'] == 0, agent.log()
    assert text(agent.log(), 1) == b'bin\nfile\nnew\n', agent.log()
    assert os.path.isdir(agent.path('upper/new/deep')) and not os.path.exists(agent.path('lower/file'))
    with open(agent.path('upper/file')) as file:
        assert file.read() == 'changed\n'
    with open('/proc/mounts') as file:
        assert agent.folder not in file.read(), 'a mount can be seen'


@test
def an_overlay_is_mounted_where_nobody_sees_it(agent):
    if os.geteuid() != 0:
        return 'needs root'
    check_overlay(agent, 'overlay')


@test
def an_overlay_of_many_layers_is_mounted(agent):
    if os.geteuid() != 0:
        return 'needs root'
    names = [f'layers/{"x" * 60}{i}' for i in range(40)]
    for i, name in enumerate(names):
        os.makedirs(agent.path(name))
        with open(agent.path(name + '/top'), 'w') as file:
            file.write(str(i))
        with open(agent.path(f'{name}/{i}'), 'w'):
            pass
    more = overlay(agent, 'overlay')
    more['root']['lower'] = names
    link, exited = run(agent, 'cat top; ls | wc -l', **more)
    assert text(agent.log(), 1) == b'042\n', agent.log() # the topmost is first; 40 files, top and the working folder


@test
def a_user_without_privileges_gets_an_overlay_in_a_namespace(agent):
    if os.geteuid() != 0:
        return 'needs root to become another'
    Link(agent).close()  # it runs
    agent.clean()
    agent.__init__(uid=65534)
    check_overlay(agent, 'overlay-userns')


@test
def an_overlay_that_cannot_be_mounted_is_an_error_that_says_why(agent):
    link = Link(agent)
    answer = link.ask('start', **agent.start_message('true', **overlay(agent, 'overlay', lower='missing')))
    assert answer['type'] == 'error' and 'mounting the root filesystem' in answer['message'], answer
    assert link.ask('start', **agent.start_message('true'))['type'] == 'started'


def main():
    wanted = sys.argv[3:]
    chosen = [t for t in tests if not wanted or t.__name__ in wanted]
    print(f'1..{len(chosen)}', flush=True)
    failed = 0
    for number, function in enumerate(chosen, 1):
        name = '/agent/' + function.__name__.replace('_', '-')
        agent, problem, skipped, began = Agent(), None, None, time.monotonic()
        try:
            skipped = function(agent)
        except BaseException:
            problem = traceback.format_exc()
            with open(agent.path('agent.log')) as file:
                problem += file.read()
        try:
            agent.clean()
        except BaseException:
            problem = (problem or '') + traceback.format_exc()
        print(f'{"not ok" if problem else "ok"} {number} - {name}{f" # SKIP {skipped}" if skipped else ""}',
              flush=True)
        if os.environ.get('SL_TEST_TIMES'):
            print(f'# {time.monotonic() - began:.2f} s', flush=True)
        if problem:
            failed += 1
            print('# ' + problem.strip().replace('\n', '\n# '), flush=True)
    return 1 if failed else 0


sys.exit(main())
