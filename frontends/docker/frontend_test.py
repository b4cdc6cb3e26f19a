"""usage: frontend_test.py FRONTEND [TEST...]

The frontend program against a backend that this test plays: what it is asked, what is made of its answers, how streams are joined."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from urllib.parse import quote

PROGRAM = None
HOST = {"Host": "docker"}


def read_head(stream):
    """First line and headers (lower case) of a message; None at the end."""
    first = stream.readline()
    if not first:
        return None
    headers = {}
    while (line := stream.readline().rstrip(b"\r\n")):
        name, value = line.split(b":", 1)
        headers[name.decode().lower()] = value.decode().strip()
    return first.decode().rstrip("\r\n"), headers


def read_body(stream, headers):
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while (size := int(stream.readline(), 16)):
            body += stream.read(size)
            stream.readline()
        stream.readline()
        return body
    return stream.read(int(headers.get("content-length", 0)))


class Request:
    def __init__(self, method, target, headers, body):
        self.method, self.target, self.headers, self.body = method, target, headers, body


class Backend:
    """Remembers what it is asked; answers with `answer(socket, stream, request)`, by default 200 and {}."""

    def __init__(self, path):
        self.requests, self.answer, self.connections = [], None, 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(50)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        stream = connection.makefile("rb")
        with connection:
            while (head := read_head(stream)):
                method, target, _ = head[0].split(" ")
                request = Request(method, target, head[1], read_body(stream, head[1]))
                self.requests.append(request)
                if self.answer:
                    if self.answer(connection, stream, request) == "close":
                        return
                else:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")


def plain(status, body, kind="application/json"):
    def answer(connection, _stream, _request):
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return answer


class FrontendTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="frontend-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.path = self.folder + "/front.sock"
        self.backend = Backend(self.folder + "/back.sock")
        self.addCleanup(self.backend.listener.close)
        self.log = open(self.folder + "/log", "w+b")
        self.addCleanup(self.log.close)
        self.process = subprocess.Popen([PROGRAM, "--addr", "unix://" + self.path, "--addr", "127.0.0.1:0", "--backend",
                                         "unix://" + self.folder + "/back.sock"], stderr=self.log)
        self.addCleanup(self.end)
        self.port = int(self.logged(rb"address=tcp://[\d.]+:(\d+)"))

    def logged(self, pattern):
        """Waits for a line of the log; its first group."""
        until = time.monotonic() + 20
        while time.monotonic() < until and self.process.poll() is None:
            self.log.seek(0)
            if (found := re.search(pattern, self.log.read())):
                return found.group(1)
            time.sleep(0.005)
        self.fail(f"the log does not say {pattern}: {self.text()}")

    def text(self):
        self.log.seek(0)
        return self.log.read().decode()

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        self.assertNotIn("Sanitizer", self.text())

    def connect(self):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(self.path)
        self.addCleanup(connection.close)
        return connection

    def send(self, connection, method, target, headers=None, body=None, version="1.1"):
        headers = dict(HOST, **(headers or {}))
        if body is not None:
            headers.setdefault("Content-Length", len(body))
        lines = [f"{method} {target} HTTP/{version}"] + [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))

    def ask(self, method, target, value=None, headers=None, connection=None):
        """Status, headers, body."""
        connection = connection or self.connect()
        body = None if value is None else value if isinstance(value, bytes) else json.dumps(value).encode()
        headers = dict({"Content-Type": "application/json"} if body is not None else {}, **(headers or {}))
        self.send(connection, method, target, headers, body)
        stream = connection.makefile("rb")
        first, got = read_head(stream)
        status = int(first.split(" ")[1])
        return status, got, b"" if method == "HEAD" or status in (204, 304) else read_body(stream, got)

    def message(self, *args, **more):
        status, headers, body = self.ask(*args, **more)
        self.assertEqual(headers["content-type"], "application/json")
        return status, json.loads(body)["message"]

    # ---- answered here ----

    def test_ping(self):
        for method, body in (("GET", b"OK"), ("HEAD", b"")):
            status, headers, got = self.ask(method, "/v1.41/_ping")
            self.assertEqual((status, got), (200, body))
            self.assertEqual(headers["api-version"], "1.44")
            self.assertEqual(headers["docker-experimental"], "false")
            self.assertEqual(headers["ostype"], "linux")
            self.assertRegex(headers["server"], r"^Sockerless/\S+ \(linux\)$")
            self.assertEqual(headers["builder-version"], "1")
            self.assertEqual(headers["swarm"], "inactive")
            self.assertEqual(headers["cache-control"], "no-cache, no-store, must-revalidate")
            self.assertEqual(headers["pragma"], "no-cache")
            self.assertEqual(headers["content-type"], "text/plain; charset=utf-8")
            self.assertEqual(headers["content-length"], str(len(body)))
        self.assertEqual(self.backend.requests, [])

    def test_versions(self):
        self.assertEqual(self.message("GET", "/v1.99/info"),
                         (400, "client version 1.99 is too new. Maximum supported API version is 1.44"))
        self.assertEqual(self.message("GET", "/v1.12/info"),
                         (400, "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your "
                               "client to a newer version"))
        for path, version in (("/info", "1.44"), ("/v1.24/info", "1.24"), ("/v1.44/info", "1.44")):
            self.assertEqual(self.ask("GET", path)[0], 200)
            self.assertEqual(self.backend.requests[-1].headers["x-sockerless-api-version"], version)

    def test_unknown_and_unsupported(self):
        self.assertEqual(self.message("GET", "/nope"), (404, "page not found"))
        self.assertEqual(self.message("GET", "/v1.41/containers/x/nope"), (404, "page not found"))
        for method, path in (("POST", "/build"), ("POST", "/commit"), ("GET", "/swarm"), ("PUT", "/containers/x/archive"),
                             ("POST", "/swarm/init"), ("POST", "/images/a/b/push"), ("POST", "/volumes/create")):
            self.assertEqual(self.message(method, "/v1.41" + path), (501, f"{method} {path} is not supported by Sockerless yet"))
        self.assertEqual(self.backend.requests, [])

    def test_version_is_asked_once(self):
        self.backend.answer = plain("200 OK", b'{"Version":"1"}')
        for _ in range(3):
            self.assertEqual(self.ask("GET", "/v1.41/version")[2], b'{"Version":"1"}')
        self.assertEqual([request.target for request in self.backend.requests], ["/internal/v1/version"])

    # ---- normalised ----

    def test_targets(self):
        filters = quote('{"label":{"a=b":true,"c":false},"name":["x"]}')
        both = quote('{"label":["a=b"],"name":["x"]}', safe="/:@,")
        cases = [
            ("GET", "/v1.41/containers/json?all=1&size=False&limit=3&unknown=1", "/containers/json?all=1&limit=3"),
            ("GET", "/containers/json?all=True&limit=", "/containers/json?all=1"),
            ("GET", "/containers/json?all=none&filters=" + filters, "/containers/json?filters=" + both),
            ("GET", "/containers/json?filters=%7B%7D", "/containers/json"),
            ("GET", "/containers/my%20name/json?size=true", "/containers/my%20name/json?size=1"),
            ("POST", "/containers/a/start", "/containers/a/start"),
            ("POST", "/containers/a/stop?t=5&signal=INT", "/containers/a/stop?t=5&signal=INT"),
            ("POST", "/v1.41/containers/a/stop?t=-1&signal=INT", "/containers/a/stop?t=-1"),
            ("POST", "/containers/a/restart?t=", "/containers/a/restart"),
            ("POST", "/containers/a/kill?signal=SIGRTMIN%2B3", "/containers/a/kill?signal=SIGRTMIN%2B3"),
            ("POST", "/containers/a/rename?name=b%26c", "/containers/a/rename?name=b%26c"),
            ("POST", "/containers/a/resize?h=24&w=80", "/containers/a/resize?h=24&w=80"),
            ("GET", "/containers/a/top?ps_args=-o+pid", "/containers/a/top?ps_args=-o%20pid"),
            ("DELETE", "/containers/a?force=True&v=1&link=0", "/containers/a?force=1&v=1"),
            ("POST", "/containers/prune?filters=" + filters, "/containers/prune?filters=" + both),
            ("GET", "/containers/a/logs?follow=0&stdout=yes&stderr=1&timestamps=true&tail=all&details=no&since=1.5",
             "/containers/a/logs?stdout=1&stderr=1&timestamps=1&since=1.5&tail=all"),
            ("POST", "/v1.29/containers/a/wait?condition=removed", "/containers/a/wait"),
            ("POST", "/v1.30/containers/a/wait?condition=removed", "/containers/a/wait?condition=removed"),
            ("POST", "/containers/a/attach?stream=1&stdin=True&stdout=1&stderr=1&logs=0&detachKeys=ctrl-p",
             "/containers/a/attach?stream=1&stdin=1&stdout=1&stderr=1&detachKeys=ctrl-p"),
            ("GET", "/events?since=1&until=2&filters=" + filters, "/events?since=1&until=2&filters=" + both),
            ("GET", "/exec/e/json", "/exec/e/json"),
            ("POST", "/exec/e/resize?h=1&w=2", "/exec/e/resize?h=1&w=2"),
            ("GET", "/images/json?all=0&digests=1&shared-size=1", "/images/json?digests=1&shared-size=1"),
            ("GET", "/v1.41/images/json?shared-size=1", "/images/json"),
            ("GET", "/images/docker.io/library/alpine:3/json", "/images/docker.io/library/alpine:3/json"),
            ("GET", "/images/a@sha256:00/history", "/images/a@sha256:00/history"),
            ("POST", "/images/create?fromImage=alpine&tag=3&platform=", "/images/create?fromImage=alpine&tag=3"),
            ("POST", "/images/a/b/tag?repo=r:5000/x&tag=1", "/images/a/b/tag?repo=r:5000/x&tag=1"),
            ("DELETE", "/images/a/b:1?force=1&noprune=True", "/images/a/b:1?force=1&noprune=1"),
            ("GET", "/networks?filters=" + filters, "/networks?filters=" + both),
            ("GET", "/networks/bridge?verbose=0&scope=local", "/networks/bridge?scope=local"),
            ("GET", "/volumes", "/volumes"),
            ("GET", "/volumes/v", "/volumes/v"),
            ("GET", "/plugins", "/plugins"),
            ("GET", "/plugins/a/b/json", "/plugins/a/b/json"),
            ("GET", "/info", "/info"),
        ]
        for method, target, want in cases:
            with self.subTest(target=target):
                self.assertEqual(self.ask(method, target)[0], 200)
                self.assertEqual((self.backend.requests[-1].method, self.backend.requests[-1].target), (method, "/internal/v1" + want))

    def test_wrong_parameters_are_named(self):
        self.assertEqual(self.message("GET", "/containers/json?filters=%5B")[0], 400)
        for path in ("/containers/json?limit=x", "/containers/a/stop?t=1s"):
            status, message = self.message("GET" if "json" in path else "POST", path)
            self.assertEqual(status, 400)
            self.assertRegex(message, r"\b(limit|t)\b")
        self.assertEqual(self.backend.requests, [])

    def test_create_is_checked_and_exact(self):
        status, _, _ = self.ask("POST", "/v1.44/containers/create?name=web&platform=linux/amd64",
                                {"image": "a", "Cmd": "sh", "Other": 1, "HostConfig": {"memory": 5}})
        request = self.backend.requests[-1]
        body = json.loads(request.body)
        self.assertEqual((status, request.target), (200, "/internal/v1/containers/create?name=web&platform=linux/amd64"))
        self.assertEqual(request.headers["content-type"], "application/json")
        self.assertEqual((body["Image"], body["Cmd"], body["HostConfig"]["Memory"]), ("a", ["sh"], 5))
        self.assertNotIn("Other", body)
        self.assertEqual(list(body)[:3], ["Hostname", "Domainname", "User"])
        self.assertEqual(self.message("POST", "/containers/create", {"HostConfig": {"Memory": "1g"}}),
                         (400, "invalid request body: HostConfig.Memory must be an integer"))
        self.assertEqual(self.message("POST", "/containers/create", b"{")[0], 400)
        self.assertEqual(self.message("POST", "/containers/create"), (400, "invalid JSON: got EOF while reading request body"))
        self.assertEqual(len(self.backend.requests), 1)

    def test_other_bodies(self):
        self.ask("POST", "/v1.41/containers/a/exec", {"Cmd": ["ls"], "AttachStdout": True, "ConsoleSize": [1, 2]})
        body = json.loads(self.backend.requests[-1].body)
        self.assertEqual((body["Cmd"], body["AttachStdout"], "ConsoleSize" in body), (["ls"], True, False))
        self.assertEqual(self.message("POST", "/containers/a/exec", {"Cmd": []}), (400, "No exec command specified"))
        self.ask("POST", "/exec/e/start", {"Detach": True})
        self.assertNotIn("upgrade", self.backend.requests[-1].headers)
        self.ask("POST", "/auth", {"Username": "u", "serveraddress": "r"})
        self.assertEqual(json.loads(self.backend.requests[-1].body), {"username": "u", "serveraddress": "r"})
        self.ask("POST", "/images/create?fromImage=a", headers={"X-Registry-Auth": "e30="})
        self.assertEqual(self.backend.requests[-1].headers["x-registry-auth"], "e30=")
        self.assertEqual(self.ask("POST", "/containers/a/start", b"null")[0], 200)
        self.assertEqual(self.message("POST", "/containers/a/start", {"Binds": []})[0], 400)

    def test_request_id_goes_through(self):
        self.ask("GET", "/info", headers={"X-Request-Id": "abc-1"})
        self.assertEqual(self.backend.requests[-1].headers["x-request-id"], "abc-1")

    # ---- answers ----

    def test_answers_pass_untouched(self):
        large = b'["' + b"x" * 3_000_000 + b'"]'
        for status, body in (("201 Created", b'{"Id":"1"}'), ("404 Not Found", b'{"message":"No such container: a"}'),
                             ("200 OK", b""), ("200 OK", large)):
            self.backend.answer = plain(status, body)
            got, headers, data = self.ask("GET", "/containers/a/json")
            self.assertEqual((got, data == body), (int(status.split(" ")[0]), True))
            self.assertEqual((headers["content-type"], headers["api-version"]), ("application/json", "1.44"))
        for status in ("204 No Content", "304 Not Modified"):
            self.backend.answer = lambda connection, _stream, _request, line=status: connection.sendall(f"HTTP/1.1 {line}\r\n\r\n".encode())
            self.assertEqual(self.ask("POST", "/containers/a/start")[0], int(status[:3]))

    def test_chunked_answers_of_plain_calls(self):
        def answer(connection, _stream, _request):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                               b"2\r\n[1\r\n3\r\n,2]\r\n0\r\n\r\n")
        self.backend.answer = answer
        self.assertEqual(self.ask("GET", "/containers/json")[2], b"[1,2]")

    def test_connections_are_kept(self):
        client = self.connect()
        for _ in range(10):
            self.assertEqual(self.ask("GET", "/info", connection=client)[0], 200)
        self.assertEqual(self.backend.connections, 1)

    def test_backend_that_is_not_there(self):
        self.backend.listener.close()
        os.unlink(self.folder + "/back.sock")
        status, message = self.message("GET", "/info")
        self.assertEqual(status, 503)
        self.assertTrue(message.startswith(f"the backend at unix://{self.folder}/back.sock cannot be reached: "), message)
        self.assertEqual(self.ask("GET", "/_ping")[0], 200)

    def test_backend_that_breaks_off(self):
        self.backend.answer = lambda connection, _stream, _request: "close"
        self.assertGreaterEqual(self.message("GET", "/info")[0], 500)

    # ---- streams ----

    def stream(self, target, kind, method="POST", version="1.1"):
        """A call whose answer flows: the backend's end and ours."""
        there, ended = [], threading.Event()
        self.addCleanup(ended.set)

        def answer(connection, stream, request):
            head = {"chunks": "200 OK\r\nContent-Type: application/json\r\nConnection: close" +
                              ("" if version == "1.0" else "\r\nTransfer-Encoding: chunked"),
                    "raw": "101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp"}[kind]
            connection.sendall(f"HTTP/1.1 {head}\r\n\r\n".encode())
            there.append((connection, stream, request))
            ended.wait(30)
            return "close"

        self.backend.answer = answer
        client = self.connect()
        self.send(client, method, target, {"Connection": "Upgrade", "Upgrade": "tcp"} if kind == "raw" else {}, version=version,
                  body=None if method == "GET" else b"")
        stream = client.makefile("rb")
        first, headers = read_head(stream)
        until = time.monotonic() + 10
        while not there and time.monotonic() < until:
            time.sleep(0.001)
        return there[0], (client, stream), first, headers, ended

    def test_head_of_a_wait_comes_at_once(self):
        (back, _, _), (_, stream), first, headers, _ = self.stream("/containers/a/wait?condition=removed", "chunks")
        self.assertEqual(first, "HTTP/1.1 200 OK")
        self.assertEqual((headers["transfer-encoding"], headers["content-type"]), ("chunked", "application/json"))
        self.assertEqual((headers["api-version"], headers["connection"]), ("1.44", "close"))
        back.sendall(b"11\r\n{\"StatusCode\":0}\n\r\n0\r\n\r\n")
        back.shutdown(socket.SHUT_RDWR)
        self.assertEqual(stream.read(), b"11\r\n{\"StatusCode\":0}\n\r\n0\r\n\r\n")

    def test_stream_for_http_1_0_has_no_chunks(self):
        (back, _, _), (_, stream), first, headers, _ = self.stream("/events", "chunks", method="GET", version="1.0")
        self.assertEqual(first, "HTTP/1.0 200 OK")
        self.assertNotIn("transfer-encoding", headers)
        back.sendall(b"{}\n")
        back.shutdown(socket.SHUT_RDWR)
        self.assertEqual(stream.read(), b"{}\n")

    def test_error_before_a_stream_is_an_answer(self):
        self.backend.answer = plain("404 Not Found", b'{"message":"No such container: a"}')
        for path in ("wait", "attach"):
            self.assertEqual(self.message("POST", f"/containers/a/{path}"), (404, "No such container: a"))

    def test_attach_half_closes_both_ways(self):
        (back, theirs, request), (client, stream), first, headers, _ = self.stream("/containers/a/attach?stdin=1&stream=1", "raw")
        self.assertEqual(first, "HTTP/1.1 101 UPGRADED")
        self.assertEqual((headers["upgrade"], headers["content-type"]), ("tcp", "application/vnd.docker.raw-stream"))
        self.assertEqual(request.headers["upgrade"], "tcp")
        def type_in():
            client.sendall(b"input" * 100_000)
            client.shutdown(socket.SHUT_WR)

        threading.Thread(target=type_in, daemon=True).start()
        self.assertEqual(theirs.read(), b"input" * 100_000)
        back.sendall(b"late output")
        back.shutdown(socket.SHUT_WR)
        self.assertEqual(stream.read(), b"late output")

    def test_hijack_without_upgrade_answers_200(self):
        ended = threading.Event()
        self.addCleanup(ended.set)

        def answer(connection, stream, _request):
            connection.sendall(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n"
                               b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\nat once")
            connection.sendall(stream.read())
            return "close"

        self.backend.answer = answer
        client = self.connect()
        body = b'{"Detach":false}'
        self.send(client, "POST", "/exec/e/start", {"Content-Type": "application/json"}, body)
        stream = client.makefile("rb")
        first, headers = read_head(stream)
        self.assertEqual(first, "HTTP/1.1 200 OK")
        self.assertEqual(headers["content-type"], "application/vnd.docker.multiplexed-stream")
        self.assertNotIn("transfer-encoding", headers)
        self.assertNotIn("content-length", headers)
        self.assertEqual(stream.read(7), b"at once")
        client.sendall(b"echo")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(stream.read(), b"echo")

    def test_client_that_leaves_ends_the_stream(self):
        (_, theirs, _), (client, stream), _, _, _ = self.stream("/events", "chunks", method="GET")
        stream.close()
        client.close()
        self.assertEqual(theirs.read(), b"")

    # ---- the program ----

    def test_tcp_refuses_other_origins(self):
        def over_tcp(headers):
            with socket.create_connection(("127.0.0.1", self.port), 20) as connection:
                self.send(connection, "GET", "/_ping", headers)
                return read_head(connection.makefile("rb"))[0].split(" ")[1]
        self.assertEqual(over_tcp({"Host": f"127.0.0.1:{self.port}"}), "200")
        self.assertEqual(over_tcp({"Host": "evil.example"}), "403")
        self.assertEqual(over_tcp({"Host": "localhost", "Origin": "http://evil.example"}), "403")

    def test_end_drains(self):
        def answer(connection, _stream, _request):
            self.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            plain("200 OK", b"[]")(connection, None, None)
        self.backend.answer = answer
        self.assertEqual(self.ask("GET", "/info")[0], 200)
        self.assertEqual(self.process.wait(20), 0)

    def test_settings_are_checked(self):
        for args, sentence in (([], "--backend"), (["--backend", "unix:///x"], "--addr"), (["--nope"], "unknown option --nope"),
                               (["--log-level", "loud"], "--log-level"), (["--addr", "0.0.0.0:0", "--backend", "unix:///x"], "0.0.0.0")):
            done = subprocess.run([PROGRAM, *args], capture_output=True, timeout=20)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(sentence, done.stderr.decode())
        help_text = subprocess.run([PROGRAM, "--help"], capture_output=True, timeout=20)
        self.assertEqual((help_text.returncode, b"--backend URL" in help_text.stdout), (0, True))

    def test_passed_sockets_and_readiness(self):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(self.folder + "/notify")
        notify.settimeout(20)
        program = ("import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
                   "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', NOTIFY_SOCKET=sys.argv[2]);"
                   "os.execv(sys.argv[3], sys.argv[3:])")
        process = subprocess.Popen([sys.executable, "-c", program, str(listener.fileno()), self.folder + "/notify", PROGRAM, "--backend",
                                    "unix:///nowhere"], pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL)
        try:
            self.assertEqual(notify.recv(100), b"READY=1")
            with socket.create_connection(listener.getsockname(), 20) as connection:
                self.send(connection, "GET", "/_ping", {"Host": "localhost"})
                self.assertIn("200", read_head(connection.makefile("rb"))[0])
        finally:
            process.terminate()
            self.assertEqual(process.wait(20), 0)
            listener.close()
            notify.close()


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
