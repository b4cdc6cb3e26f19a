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

AGENT, RUNTIME = sys.argv[1:3]
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


def main():
    wanted = sys.argv[3:]
    chosen = [t for t in tests if not wanted or t.__name__ in wanted]
    print(f'1..{len(chosen)}', flush=True)
    failed = 0
    for number, function in enumerate(chosen, 1):
        name = '/agent/' + function.__name__.replace('_', '-')
        agent, problem, began = Agent(), None, time.monotonic()
        try:
            function(agent)
        except BaseException:
            problem = traceback.format_exc()
            with open(agent.path('agent.log')) as file:
                problem += file.read()
        try:
            agent.clean()
        except BaseException:
            problem = (problem or '') + traceback.format_exc()
        print(f'{"not ok" if problem else "ok"} {number} - {name}', flush=True)
        if os.environ.get('SL_TEST_TIMES'):
            print(f'# {time.monotonic() - began:.2f} s', flush=True)
        if problem:
            failed += 1
            print('# ' + problem.strip().replace('\n', '\n# '), flush=True)
    return 1 if failed else 0


sys.exit(main())
