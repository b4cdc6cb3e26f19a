"""TLS and mutual TLS, with the docker CLI's own options; and the internal API beyond this machine."""
import hashlib
import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest
from certificates import Authority
from daemon import Program, answers
from engine import Engine, Stream, demux, request_bytes, until
from registry import free_port

pytestmark = pytest.mark.ours


def server_flags(authority, pair, verify=True):
    return ["--tlsverify" if verify else "--tls", "--tlscacert", authority.ca, "--tlscert", pair[0], "--tlskey", pair[1]]


class Secured:
    """A daemon with mutual TLS, as the docker CLI and a plain client of ours see it."""

    def __init__(self, serve, folder):
        self.authority = Authority(folder / "pki")
        self.pair, self.client = self.authority.server(), self.authority.issue("alice")
        self.port = free_port()
        self.local = serve("--addr", f":{self.port}", *server_flags(self.authority, self.pair), is_tagged=True)
        self.engine = TlsEngine(f"tcp://127.0.0.1:{self.port}", folder / "config", self.authority.context(self.client))
        self.flags = self.options(self.client)

    def options(self, pair, ca=None):
        flags = ["--tlsverify", "--tlscacert", ca or self.authority.ca]
        return flags + (["--tlscert", pair[0], "--tlskey", pair[1]] if pair else [])

    def docker(self, *args, **options):
        return self.engine.docker(*self.flags, *args, **options)

    def cli(self, *args, **options):
        return self.engine.cli(*self.flags, *args, **options)


class TlsStream(Stream):
    """close_write sends close_notify and goes on reading, as the docker CLI does: TLS over memory buffers."""

    def __init__(self, sock, context):
        super().__init__(sock)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")
        self.drive(self.tls.do_handshake)

    def flush(self):
        data = self.outgoing.read()
        if data:
            self.sock.sendall(data)

    def drive(self, step):
        while True:
            try:
                value = step()
                self.flush()
                return value
            except ssl.SSLWantReadError:
                self.flush()
                data = self.sock.recv(65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()

    def write(self, data):
        self.tls.write(data)
        self.flush()

    def close_write(self):
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self.flush()

    def fill(self, timeout=10):
        self.sock.settimeout(timeout)
        try:
            data = self.drive(lambda: self.tls.read(65536))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            data = b""
        self.buffer += data
        return bool(data)


class TlsEngine(Engine):
    def __init__(self, host, config, context):
        super().__init__(host, config, False)
        self.context = context

    def open(self, method, path, body=None, headers=None, query=None, timeout=10):
        stream = TlsStream(socket.create_connection(("127.0.0.1", int(self.host.rsplit(":", 1)[1])), timeout), self.context)
        stream.write(request_bytes(method, path, body, {"Host": self.authority, **(headers or {})}, query))
        return stream.head(timeout)


@pytest.fixture
def secured(serve, folder):
    return Secured(serve, folder)


def test_the_cli_runs_execs_follows_and_watches_over_mutual_tls(secured):
    done = secured.cli("run", "--rm", "-i", "alpine", "sh", "-c", "cat; exit 3", input=b"over tls\n")
    assert (done.returncode, done.out) == (3, "over tls\n"), done.err
    name = secured.engine.name()
    secured.docker("run", "-d", "--name", name, "alpine", "sh", "-c", "echo up; cat /dev/zero | head -c 1000 >/dev/null; sleep 60")
    assert secured.docker("exec", "-i", name, "sh", "-c", "cat; echo end", input=b"in\n") == "in\nend\n"
    follower = secured.engine.popen(*secured.flags, "logs", "-f", name)
    watcher = secured.engine.popen(*secured.flags, "events", "--since", "2000-01-01T00:00:00", "--filter", f"container={name}")
    try:
        assert follower.stdout.readline() == b"up\n"
        assert b"create" in watcher.stdout.readline()
        secured.docker("rm", "-f", name)
        assert follower.wait(10) == 0
    finally:
        for process in (follower, watcher):
            process.kill()
            process.communicate()


def test_close_notify_is_a_half_close_both_ways(secured):
    engine = secured.engine
    cid = engine.create("sh", "-c", "cat; echo end", OpenStdin=True, StdinOnce=True)
    with engine.attach(cid) as stream:
        engine.start(cid)
        stream.write(b"x" * 300000 + b"\n")
        stream.close_write()
        out, _ = demux(stream.rest())
        assert out == b"x" * 300000 + b"\nend\n"
    assert engine.wait(cid) == 0
    engine.clean()


def test_a_hundred_megabytes_through_exec_are_the_same(secured, tmp_path):
    name, size = secured.engine.name(), 100 * 1024 * 1024
    secured.docker("run", "-d", "--name", name, "alpine", "sleep", "300")
    block = os.urandom(1024 * 1024)
    source, target = tmp_path / "in", tmp_path / "out"
    with open(source, "wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
    with open(source, "rb") as given, open(target, "wb") as got:
        process = secured.engine.popen(*secured.flags, "exec", "-i", name, "cat", stdin=given, stdout=got)
        assert process.wait(120) == 0, process.stderr.read()
    digests = [hashlib.sha256(path.read_bytes()).digest() for path in (source, target)]
    assert digests[0] == digests[1]
    secured.docker("rm", "-f", name)


def test_who_has_no_good_certificate_gets_nothing(secured, folder):
    stranger = Authority(folder / "other")
    expired = secured.authority.issue("late", days=-1)
    for pair in (None, stranger.issue("mallory"), expired):
        done = secured.engine.cli(*secured.options(pair), "version")
        assert done.returncode != 0 and "Server:" not in done.out, done.out
        assert "tls" in done.err or "certificate" in done.err or "reset" in done.err or "broken pipe" in done.err, done.err
    done = secured.engine.cli(*secured.options(secured.client, ca=stranger.ca), "version")
    assert done.returncode != 0 and "x509" in done.err
    assert secured.docker("version")


def test_tls_1_1_is_refused(secured):
    context = secured.authority.context(secured.client)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="(?i)alert protocol version"):  # said by the server
        context.wrap_socket(socket.create_connection(("127.0.0.1", secured.port), 10), server_hostname="localhost")
    context = secured.authority.context(secured.client)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with context.wrap_socket(socket.create_connection(("127.0.0.1", secured.port), 10), server_hostname="localhost") as tls:
        assert tls.version() == "TLSv1.2"


def test_plain_http_on_the_port_is_told_so(secured):
    plain = Engine(f"tcp://127.0.0.1:{secured.port}", secured.engine.config, False)
    assert b"Client sent an HTTP request to an HTTPS server" in plain.raw(b"GET /_ping HTTP/1.1\r\nHost: localhost\r\n\r\n")


def test_slow_handshakes_end_and_hold_up_nobody(secured):
    """SECURITY 21: each of these would hold a thread in a server that shakes hands while it waits."""
    idle = [socket.create_connection(("127.0.0.1", secured.port), 10) for _ in range(200)]
    try:
        for sock in idle[:100]:
            sock.sendall(b"\x16\x03\x01\x02")  # a record's first bytes, and no more
        started = time.monotonic()
        assert secured.engine.get("/_ping").status == 200
        assert time.monotonic() - started < 3
        idle[0].settimeout(20)
        idle[-1].settimeout(20)
        assert idle[0].recv(100) == b"" and idle[-1].recv(100) == b""
        assert time.monotonic() - started < 20
    finally:
        for sock in idle:
            sock.close()


def peer_serial(secured):
    context = secured.authority.context(secured.client)
    with context.wrap_socket(socket.create_connection(("127.0.0.1", secured.port), 10), server_hostname="localhost") as tls:
        return tls.getpeercert()["serialNumber"]


def test_sighup_reads_certificates_again_and_open_streams_live_on(secured, serve):
    before = peer_serial(secured)
    engine = secured.engine
    cid = engine.create("cat", OpenStdin=True, StdinOnce=True)
    fresh = secured.authority.server("fresh")
    with engine.attach(cid) as stream:
        engine.start(cid)
        for source, target in zip(fresh, secured.pair):
            shutil.copy(source, target)
        serve_pid = find_serve(secured.port)
        os.kill(serve_pid, signal.SIGHUP)
        until(lambda: peer_serial(secured) != before, what="the new certificate")
        secured.pair[0].write_text("no certificate")
        os.kill(serve_pid, signal.SIGHUP)
        assert engine.get("/_ping").status == 200
        stream.write(b"still here\n")
        stream.close_write()
        assert demux(stream.rest())[0] == b"still here\n"
    engine.clean()


def find_serve(port):
    """The `sockerless serve` that was told this port."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")
        except OSError:
            continue
        if b"serve" in words and f":{port}".encode() in words:
            return int(pid)
    raise AssertionError("no such serve")


@pytest.mark.parametrize("flags, sentence", [
    (["--tlsverify", "--tlscert", "server", "--tlskey", "server-key"], "--tlscacert: --tlsverify needs it"),
    (["--tls", "--tlscert", "server"], "--tlscert and --tlskey: TLS needs both"),
    (["--tls", "--tlscert", "none", "--tlskey", "server-key"], "--tlscert: Failed to open file"),
    (["--tls", "--tlscert", "junk", "--tlskey", "server-key"], "--tlscert: .*/junk.pem holds no certificate"),
    (["--tls", "--tlscert", "server", "--tlskey", "junk"], "--tlskey: .*/junk.pem holds no private key"),
    (["--tls", "--tlscert", "server", "--tlskey", "other-key"], "--tlskey: .*/other-key.pem is not the key of the certificate"),
    (["--tls", "--tlscert", "server", "--tlskey", "locked"], "--tlskey: .*/locked.pem holds no private key .* without a passphrase"),
    (["--tlsverify", "--tlscacert", "junk", "--tlscert", "server", "--tlskey", "server-key"], "--tlscacert: .*/junk.pem holds no"),
    (["--tlscert", "server"], "--tlscert is of no use without --tls or --tlsverify"),
])
def test_each_wrong_file_is_named(programs, folder, flags, sentence):
    authority = Authority(folder / "pki")
    authority.server()
    authority.server("other")
    (folder / "pki/junk.pem").write_text("-----BEGIN NOTHING-----\n")
    subprocess.run(["openssl", "ec", "-aes128", "-passout", "pass:secret", "-in", authority.key("server"), "-out",
                    folder / "pki/locked.pem"], check=True, capture_output=True)
    flags = [flag if flag.startswith("--") else folder / f"pki/{flag}.pem" for flag in flags]
    done = subprocess.run([programs / "sockerless-frontend-docker", "--addr", f":{free_port()}", "--backend", "http://localhost:1",
                           *flags], capture_output=True, text=True, timeout=10)
    assert done.returncode == 1
    assert re.search(sentence, done.stderr), done.stderr


def test_beyond_loopback_needs_verified_clients(programs, folder, logs):
    """SECURITY 14: TLS without client certificates lets everybody in."""
    authority = Authority(folder / "pki")
    flags = server_flags(authority, authority.server(), verify=False)
    log = logs / f"tls-{folder.name}.log"
    port = free_port()
    arguments = [programs / "sockerless-frontend-docker", "--addr", f"0.0.0.0:{port}", "--backend", "http://localhost:1", *flags]
    assert Program(arguments, log).process.wait(10) != 0
    assert "--tlsverify" in log.read_text()
    program = Program([*arguments, "--tlsverify"], log)
    try:
        client = TlsEngine(f"tcp://127.0.0.1:{port}", folder, authority.context(authority.issue("alice")))
        until(lambda: answers(client), what="the frontend")
        assert client.request("GET", "/_ping", headers={"Host": "build.example"}).status == 200  # a verified client is no browser's victim
        assert client.request("GET", "/_ping", headers={"Origin": "http://evil.example"}).status == 403
    finally:
        program.end()


class Hop:
    """Frontend and backend on TCP, with whatever protects the way between them."""

    def __init__(self, programs, folder, logs):
        self.programs, self.folder, self.logs, self.running = programs, folder, logs, []
        self.port, self.engine = free_port(), Engine(f"unix://{folder}/docker.sock", folder / "config", False)

    def backend(self, *flags):
        arguments = [self.programs / "sockerless-backend-memory", "--addr", f"0.0.0.0:{self.port}", "--data", self.folder / "data"]
        return self.program("backend", [*arguments, *flags])

    def frontend(self, url, *flags):
        arguments = [self.programs / "sockerless-frontend-docker", "--addr", self.engine.host, "--backend", url]
        return self.program("frontend", [*arguments, *flags])

    def program(self, role, arguments):
        program = Program(arguments, self.logs / f"hop-{role}-{self.folder.name}.log")
        self.running.insert(0, program)
        return program

    def end(self):
        for program in self.running:
            program.end()
        self.running = []


@pytest.fixture
def hop(programs, folder, logs):
    made = Hop(programs, folder, logs)
    yield made
    made.end()


def run_cat(engine):
    assert engine.post("/images/sockerless/base/tag", repo="alpine", tag="latest").status == 201
    cid = engine.create("cat", OpenStdin=True, StdinOnce=True)
    with engine.attach(cid) as stream:
        engine.start(cid)
        stream.write(b"y" * 200000)
        stream.close_write()
        assert stream.frames()[0] == b"y" * 200000
    assert engine.wait(cid) == 0
    engine.clean()


def test_the_internal_api_with_mutual_tls(hop, folder):
    authority = Authority(folder / "pki")
    hop.backend(*server_flags(authority, authority.server()))
    cert, key = authority.issue("frontend")
    url = f"https://127.0.0.1:{hop.port}"
    hop.frontend(url, "--backend-tlscacert", authority.ca, "--backend-tlscert", cert, "--backend-tlskey", key)
    until(lambda: answers(hop.engine, "/info"), 15, "the frontend")
    run_cat(hop.engine)
    hop.running[0].end()
    hop.frontend(url, "--backend-tlscacert", authority.ca)
    until(lambda: answers(hop.engine), 15, "the frontend")
    reply = hop.engine.get("/info")
    assert reply.status == 503 and "certificate required" in reply.message, reply


def test_the_internal_api_with_a_token(hop, folder):
    token, wrong = folder / "token", folder / "wrong"
    token.write_text("0123456789abcdef-right\n")
    wrong.write_text("0123456789abcdef-wrong\n")
    for path in (token, wrong):
        path.chmod(0o600)
    hop.backend("--internal-token-file", token)
    frontend = hop.frontend(f"http://127.0.0.1:{hop.port}", "--internal-token-file", token)
    until(lambda: answers(hop.engine, "/info"), 15, "the frontend")
    run_cat(hop.engine)
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic 0123456789abcdef-right"}):
        connection = http.client.HTTPConnection("127.0.0.1", hop.port, timeout=10)
        connection.request("GET", "/internal/v1/info", headers=headers)
        reply = connection.getresponse()
        assert reply.status == 401 and b"token" in reply.read()
    frontend.end()
    hop.frontend(f"http://127.0.0.1:{hop.port}", "--internal-token-file", wrong)
    until(lambda: answers(hop.engine), 15, "the frontend")
    reply = hop.engine.get("/info")
    assert reply.status == 500 and "--internal-token-file" in reply.message


def test_a_short_token_is_refused(programs, folder):
    (folder / "token").write_text("short\n")
    done = subprocess.run([programs / "sockerless-backend-memory", "--data", folder / "data", "--internal-token-file", folder / "token"],
                          capture_output=True, text=True, timeout=10)
    assert done.returncode == 1 and "--internal-token-file: the first line of" in done.stderr
