"""A small Docker Engine API client on plain sockets, for looking at what really goes over the wire.

Every read has a deadline; nothing is retried or hidden. Engine.cli() runs the real docker CLI against the same engine."""
import contextlib
import json
import os
import socket
import struct
import subprocess
import time
import uuid
from urllib.parse import quote, urlencode, urlparse

TIMEOUT = 10
UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}


def until(condition, timeout=TIMEOUT, what="the condition"):
    """Polls condition until it is true and returns its value; the bound on things that no event announces."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not come true within {timeout} s"
        time.sleep(0.01)  # the bounded poll itself


def dial(host, timeout=TIMEOUT):
    url = urlparse(host)
    if url.scheme == "unix":
        sock = socket.socket(socket.AF_UNIX)
        address = url.path
    else:
        sock = socket.socket(socket.AF_INET)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = (url.hostname, url.port)
    sock.settimeout(timeout)
    sock.connect(address)
    return sock


class Reply:
    def __init__(self, status, headers, body=b""):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def message(self):
        return self.json["message"]

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Stream:
    """One connection, with what was read of it and not yet used."""

    def __init__(self, sock):
        self.sock, self.buffer, self.status, self.headers = sock, b"", None, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def write(self, data):
        self.sock.sendall(data)

    def close_write(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.close()

    def fill(self, timeout=TIMEOUT):
        """Reads once more. False at the end of the stream."""
        self.sock.settimeout(max(timeout, 0.001))
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        self.buffer += data
        return bool(data)

    def until(self, mark, timeout=TIMEOUT):
        """Takes everything up to and with mark."""
        end = time.monotonic() + timeout
        while mark not in self.buffer:
            if not self.fill(end - time.monotonic()):
                raise EOFError(f"end of stream before {mark!r}: {self.buffer[-300:]!r}")
        head, self.buffer = self.buffer.split(mark, 1)
        return head + mark

    def exactly(self, n, timeout=TIMEOUT):
        end = time.monotonic() + timeout
        while len(self.buffer) < n:
            if not self.fill(end - time.monotonic()):
                raise EOFError(f"end of stream after {len(self.buffer)} of {n} bytes")
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def rest(self, timeout=TIMEOUT):
        """Everything up to the end of the stream."""
        end = time.monotonic() + timeout
        while self.fill(end - time.monotonic()):
            pass
        data, self.buffer = self.buffer, b""
        return data

    def is_silent(self, seconds):
        """Nothing comes, and the stream does not end, for that long."""
        if self.buffer:
            return False
        with contextlib.suppress(TimeoutError):
            self.fill(seconds)
            return False
        return True

    def head(self, timeout=TIMEOUT):
        """Reads a reply's head into status and headers."""
        lines = self.until(b"\r\n\r\n", timeout).decode("latin1").split("\r\n")
        self.reason = lines[0]
        self.status = int(lines[0].split(" ", 2)[1])
        self.headers = {}
        for line in lines[1:]:
            if line:
                name, _, value = line.partition(":")
                self.headers[name.strip().lower()] = value.strip()
        return self

    def chunk(self, timeout=TIMEOUT):
        """One chunk of a chunked reply; b"" is the last."""
        n = int(self.until(b"\r\n", timeout).split(b";")[0], 16)
        data = self.exactly(n + 2, timeout)
        return data[:-2]

    def body(self, method="GET", timeout=TIMEOUT):
        if method == "HEAD" or self.status in (204, 304) or 100 <= self.status < 200:
            return b""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            out = b""
            while True:
                data = self.chunk(timeout)
                if not data:
                    return out
                out += data
        if "content-length" in self.headers:
            return self.exactly(int(self.headers["content-length"]), timeout)
        return self.rest(timeout)

    def frames(self, timeout=TIMEOUT):
        """Takes the stream apart to its end: (stdout, stderr). Checks the framing."""
        return demux(self.rest(timeout))

    def frame(self, timeout=TIMEOUT):
        kind, zero, n = struct.unpack(">B3sI", self.exactly(8, timeout))
        assert kind in (1, 2) and zero == b"\0\0\0"
        return kind, self.exactly(n, timeout)

    def text(self, mark, timeout=TIMEOUT):
        """Reads frames until their payloads hold mark."""
        end, seen = time.monotonic() + timeout, b""
        while mark not in seen:
            seen += self.frame(end - time.monotonic())[1]
        return seen


def demux(data):
    out = {1: b"", 2: b""}
    while data:
        assert len(data) >= 8, f"torn frame header {data!r}"
        kind, zero, n = struct.unpack(">B3sI", data[:8])
        assert kind in (1, 2) and zero == b"\0\0\0", f"not a frame header: {data[:8]!r}"
        assert len(data) >= 8 + n, "torn frame"
        out[kind] += data[8:8 + n]
        data = data[8 + n:]
    return out[1], out[2]


class Engine:
    """The engine at one address. image is one that it has; made containers are removed by clean()."""

    def __init__(self, host, config, is_control, image="alpine"):
        self.host, self.config, self.is_control, self.image = host, str(config), is_control, image
        self.authority = urlparse(host).netloc or "docker"
        self.made = []

    # Plain HTTP

    def open(self, method, path, body=None, headers=None, query=None, timeout=TIMEOUT):
        """Sends a request and returns the stream with the reply's head read."""
        stream = Stream(dial(self.host, timeout))
        try:
            stream.write(request_bytes(method, path, body, {"Host": self.authority, **(headers or {})}, query))
            return stream.head(timeout)
        except BaseException:
            stream.close()
            raise

    def request(self, method, path, body=None, headers=None, query=None, timeout=TIMEOUT):
        with self.open(method, path, body, {"Connection": "close", **(headers or {})}, query, timeout) as stream:
            return Reply(stream.status, stream.headers, stream.body(method, timeout))

    def get(self, path, **query):
        return self.request("GET", path, query=query)

    def post(self, path, body=None, **query):
        return self.request("POST", path, body, query=query)

    def delete(self, path, **query):
        return self.request("DELETE", path, query=query)

    def raw(self, data, timeout=TIMEOUT):
        """Sends bytes as they are; returns all that comes until the engine closes (or goes silent for timeout)."""
        with Stream(dial(self.host, timeout)) as stream:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                stream.write(data)
            with contextlib.suppress(TimeoutError):
                return stream.rest(timeout)
            return stream.buffer

    # Containers

    def name(self):
        return "ct-" + uuid.uuid4().hex[:12]

    def create(self, *cmd, name=None, host=None, **config):
        """Creates a container and returns its id."""
        name = name or self.name()
        body = {"Image": self.image, "Cmd": list(cmd), **config}
        if host:
            body["HostConfig"] = host
        reply = self.post("/containers/create", body, name=name)
        assert reply.status == 201, reply
        self.made.append(reply.json["Id"])
        return reply.json["Id"]

    def start(self, cid):
        reply = self.post(f"/containers/{cid}/start")
        assert reply.status == 204, reply

    def run(self, *cmd, **config):
        cid = self.create(*cmd, **config)
        self.start(cid)
        return cid

    def finish(self, *cmd, **config):
        """Runs a container to its end and returns its id."""
        cid = self.run(*cmd, **config)
        self.wait(cid)
        return cid

    def wait(self, cid, condition=None, timeout=TIMEOUT):
        query = {"condition": condition} if condition else {}
        reply = self.request("POST", f"/containers/{cid}/wait", query=query, timeout=timeout)
        assert reply.status == 200, reply
        return reply.json["StatusCode"]

    def inspect(self, ref):
        reply = self.get(f"/containers/{ref}/json")
        assert reply.status == 200, reply
        return reply.json

    def state(self, ref):
        return self.inspect(ref)["State"]

    def list(self, **query):
        reply = self.get("/containers/json", **query)
        assert reply.status == 200, reply
        return reply.json

    def attach(self, cid, headers=UPGRADE, **query):
        query = query or {"stream": 1, "stdin": 1, "stdout": 1, "stderr": 1}
        stream = self.open("POST", f"/containers/{cid}/attach", headers=headers, query=query)
        assert stream.status in (101, 200), (stream.status, stream.body())
        return stream

    def logs(self, cid, **query):
        """(stdout, stderr) of a container without a terminal."""
        reply = self.get(f"/containers/{cid}/logs", **{"stdout": 1, "stderr": 1, **query})
        assert reply.status == 200, reply
        return demux(reply.body)

    def exec_create(self, cid, *cmd, **config):
        body = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(cmd), **config}
        reply = self.post(f"/containers/{cid}/exec", body)
        assert reply.status == 201, reply
        return reply.json["Id"]

    def exec_start(self, exec_id, headers=UPGRADE, **body):
        stream = self.open("POST", f"/exec/{exec_id}/start", {"Detach": False, "Tty": False, **body}, headers)
        assert stream.status in (101, 200), (stream.status, stream.body())
        return stream

    def exec(self, cid, *cmd, **config):
        """(exit code, stdout, stderr) of one exec."""
        exec_id = self.exec_create(cid, *cmd, **config)
        with self.exec_start(exec_id) as stream:
            out, err = stream.frames()
        return self.get(f"/exec/{exec_id}/json").json["ExitCode"], out, err

    def events(self, since, until=None, **filters):
        """The events that are over, as Docker's JSON documents."""
        query = {"since": since, "until": until or f"{time.time():.9f}", "filters": json.dumps(filters)}
        return [json.loads(line) for line in self.get("/events", **query).body.splitlines()]

    # The real docker CLI

    def environment(self):
        env = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
        return {**env, "DOCKER_HOST": self.host, "DOCKER_CONFIG": self.config, "DOCKER_CLI_HINTS": "false"}

    def popen(self, *args, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(["docker", *map(str, args)], env=self.environment(), **options)

    def cli(self, *args, input=b"", timeout=20):
        """Runs docker ARGS; returns the process with text in stdout and stderr, whatever its exit status."""
        done = subprocess.run(["docker", *map(str, args)], env=self.environment(), input=input, capture_output=True, timeout=timeout)
        done.out, done.err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        return done

    def docker(self, *args, **options):
        """Runs docker ARGS, which must succeed; returns what it printed."""
        done = self.cli(*args, **options)
        assert done.returncode == 0, (args, done.returncode, done.out, done.err)
        return done.out

    def clean(self):
        for cid in self.made:
            self.delete(f"/containers/{cid}", force=1, v=1)
        self.made.clear()


def request_bytes(method, path, body=None, headers=None, query=None):
    if query:
        path += "?" + urlencode({key: json.dumps(value) if isinstance(value, dict) else value for key, value in query.items()},
                                quote_via=quote)
    lines = {"Host": "localhost", **(headers or {})}
    data = b""
    if body is not None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines.setdefault("Content-Type", "application/json")
    if body is not None or method == "POST":
        lines.setdefault("Content-Length", str(len(data)))
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in lines.items())
    return head.encode() + b"\r\n" + data
