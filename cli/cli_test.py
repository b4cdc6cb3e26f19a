"""usage: cli_test.py SOCKERLESS FRONTEND [TEST...]

`sockerless` with the real frontend and a backend that this test plays: a script of the backend's name beside the programs."""
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAMS = []

BACKEND = r'''#!%s
import http.server, json, os, signal, socketserver, sys, threading, time
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
data = options["--data"]
def note(name, text):
    with open(data + "/" + name + ".new", "w") as out:
        out.write(text)
    os.rename(data + "/" + name + ".new", data + "/" + name)
if os.path.exists(data + "/refuse"):
    print("refused", file=sys.stderr)
    sys.exit(1)
note("argv", json.dumps(sys.argv[1:]))
note("environ", json.dumps(dict(os.environ)))
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self):
        return "unix"
    def log_message(self, *_):
        pass
    def do_GET(self):
        name = self.path.rsplit("/", 1)[1]
        if name == "_ping" and os.path.exists(data + "/no-ping"):
            time.sleep(60)
        body = json.dumps({"version": {"Platform": {"Name": "Sockerless"}, "Version": "9.9", "ApiVersion": "1.44", "MinAPIVersion": "1.24"},
                           "info": {"Driver": "overlay", "Containers": 3, "ContainersRunning": 1, "ContainersPaused": 0,
                                    "ContainersStopped": 2, "Images": 4, "Pid": os.getpid()}, "_ping": {}}[name]).encode()
        if name == "info" and os.path.exists(data + "/hang"):
            time.sleep(1)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
def end(*_):
    note("ended", "")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
path = options["--addr"].removeprefix("unix://")
if os.path.exists(path):
    os.unlink(path)
server = Server(path, Handler)
note("pid", str(os.getpid()))
server.serve_forever()
''' % sys.executable


def eventually(condition, what):
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if (result := condition()):
            return result
        time.sleep(0.005)
    raise AssertionError(f"never: {what}")


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


class CliTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="cli-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.bin, self.data, self.path = self.folder + "/bin", self.folder + "/data", self.folder + "/d.sock"
        os.mkdir(self.bin)
        os.mkdir(self.data)
        for program in PROGRAMS:
            shutil.copy(program, self.bin)
        with open(self.bin + "/sockerless-backend-memory", "w", encoding="utf-8") as script:
            script.write(BACKEND)
        os.chmod(self.bin + "/sockerless-backend-memory", 0o755)
        self.program = self.bin + "/sockerless"
        self.environ = {name: value for name, value in os.environ.items()
                        if not name.startswith(("SOCKERLESS_", "DOCKER_", "NOTIFY_", "LISTEN_"))}
        self.environ.update(XDG_RUNTIME_DIR=self.folder + "/run", SOCKERLESS_CONFIG="")

    def run_cli(self, *args, **environ):
        return subprocess.run([self.program, *args], capture_output=True, text=True, timeout=30, env={**self.environ, **environ})

    def serve(self, *args, **environ):
        """Starts it and waits until it says that it is ready."""
        self.log = open(self.folder + "/log", "w+", encoding="utf-8")
        process = subprocess.Popen([self.program, "serve", "--addr", "unix://" + self.path, "--data", self.data, *args], text=True,
                                   stdout=subprocess.PIPE, stderr=self.log, env={**self.environ, **environ})
        self.addCleanup(self.end, process, self.log)
        self.said = process.stdout.readline()
        return process

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def end(self, process, log):
        if process.poll() is None:
            process.terminate()
            process.wait(40)
        process.stdout.close()
        log.seek(0)
        self.assertNotIn("Sanitizer", log.read())
        log.close()

    def get(self, target):
        """Status and JSON (or text) of a GET over the daemon's socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(self.path)
            connection.sendall(f"GET {target} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
            answer = b""
            while (piece := connection.recv(65536)):
                answer += piece
        head, body = answer.split(b"\r\n\r\n", 1)
        return int(head.split(b" ")[1]), json.loads(body) if b"application/json" in head else body

    def read(self, name):
        with open(self.data + "/" + name, encoding="utf-8") as file:
            return file.read()

    @staticmethod
    def sockets_of(pid):
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        return [link[8:-1] for link in links if link.startswith("socket:[")]

    # ---- serve ----

    def test_ready_means_that_both_answer(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(self.folder + "/notify")
            notify.settimeout(20)
            self.serve(NOTIFY_SOCKET=self.folder + "/notify")
            self.assertEqual(self.said, f"export DOCKER_HOST=unix://{self.path}\n")
            self.assertEqual(self.get("/_ping"), (200, b"OK"))
            self.assertEqual(self.get("/version")[1]["Version"], "9.9")
            self.assertEqual(notify.recv(100), b"READY=1")
            self.assertNotIn("NOTIFY_SOCKET", json.loads(self.read("environ")))
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o660)

    def test_backend_gets_its_options(self):
        with open(self.folder + "/conf", "w", encoding="utf-8") as file:
            file.write("[sockerless]\nregistry-mirror=http://m1,http://m2\nlog-level=warn\nforeign=1\n")
        self.serve("--builtin-images", "always", "--insecure-registry=r:5000", "--base-image", "/b", "--agent", "/a", "--sandbox", "/s",
                   "--config", self.folder + "/conf", SOCKERLESS_LOG_FORMAT="json", SOCKERLESS_ADDR="unix:///never")
        argv = json.loads(self.read("argv"))
        self.assertRegex(argv[1], r"^unix:///.*/internal/[0-9a-f]{12}\.sock$")
        self.assertEqual(argv[0], "--addr")
        self.assertEqual(argv[2:], ["--data", self.data, "--builtin-images", "always", "--registry-mirror", "http://m1",
                                    "--registry-mirror", "http://m2", "--insecure-registry", "r:5000", "--base-image", "/b", "--agent", "/a",
                                    "--sandbox", "/s", "--log-level", "warn", "--log-format", "json"])
        environ = json.loads(self.read("environ"))
        self.assertEqual(environ["SOCKERLESS_CONFIG"], self.folder + "/conf")
        self.assertNotIn("SOCKERLESS_ADDR", environ)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(argv[1][7:])).st_mode), 0o700)

    def test_several_addresses(self):
        self.process = self.serve("--addr", "127.0.0.1:0")
        sockets = self.sockets_of(children(self.process.pid)[1])
        with open("/proc/net/tcp", encoding="ascii") as file:
            lines = [line.split() for line in file.readlines()[1:]]
        ports = [line[1].rsplit(":", 1)[1] for line in lines if line[9] in sockets]
        with socket.create_connection(("127.0.0.1", int(ports[0], 16)), 20) as connection:
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            self.assertIn(b"200 OK", connection.recv(1000))
        self.assertEqual(self.get("/_ping")[0], 200)

    def test_frontend_that_dies_comes_back_and_loses_no_caller(self):
        process = self.serve()
        backend = int(self.read("pid"))
        front = next(pid for pid in children(process.pid) if pid != backend)
        os.kill(front, signal.SIGKILL)
        # The socket is serve's: a call that comes now waits for the next frontend.
        self.assertEqual(self.get("/version")[0], 200)
        self.assertFalse(is_alive(front))
        self.assertTrue(is_alive(backend))

    def test_backend_that_dies_comes_back(self):
        self.serve()
        first = int(self.read("pid"))
        os.kill(first, signal.SIGKILL)
        eventually(lambda: int(self.read("pid")) != first, "another backend")
        eventually(lambda: self.get("/info")[0] == 200, "an answer")
        self.assertIn("starting again role=backend", self.text())

    def test_program_that_hangs_is_started_again(self):
        process = self.serve("--hung-after", "600ms")
        backend = int(self.read("pid"))
        front = next(pid for pid in children(process.pid) if pid != backend)
        os.kill(front, signal.SIGSTOP)
        eventually(lambda: not is_alive(front), "the end of a frontend that hangs")
        eventually(lambda: self.get("/info")[0] == 200, "an answer")
        self.assertEqual(int(self.read("pid")), backend)
        os.kill(backend, signal.SIGSTOP)
        eventually(lambda: int(self.read("pid")) != backend, "another backend")
        eventually(lambda: self.get("/info")[0] == 200, "an answer")
        for role in ("frontend", "backend"):
            self.assertRegex(self.text(), f"does not answer, killed role={role} pid=[0-9]+ open_ms=[0-9]+")

    def test_stop_of_serve_itself_is_no_hanging(self):
        process = self.serve("--hung-after", "600ms")
        pids = children(process.pid)
        open(self.data + "/no-ping", "w", encoding="utf-8").close()
        eventually(lambda: "does not answer" in self.text(), "a hanging backend, so the watch works")
        os.unlink(self.data + "/no-ping")
        eventually(lambda: self.get("/info")[0] == 200, "an answer")
        told = self.text().count("does not answer")
        for pid in (process.pid, *children(process.pid)):
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 1.5, "a while")
        for pid in (*children(process.pid), process.pid):
            os.kill(pid, signal.SIGCONT)
        self.assertEqual(self.get("/info")[0], 200)
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 1, "some looks")
        self.assertEqual(self.text().count("does not answer"), told)
        self.assertEqual(len(pids), 2)

    def test_activation_as_by_systemd(self):
        """Socket and readiness passed by a supervisor; one that starts it again loses no caller."""
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(self.path)
        listener.listen(5)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(notify.close)
        notify.bind(self.folder + "/notify")
        notify.settimeout(20)
        program = ("import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
                   "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='sockerless.socket');"
                   "os.execv(sys.argv[2], sys.argv[2:])")
        for _ in range(2):
            caller = socket.socket(socket.AF_UNIX)
            caller.settimeout(20)
            caller.connect(self.path)  # before anybody is there
            caller.sendall(b"GET /version HTTP/1.0\r\nHost: x\r\n\r\n")
            with open(self.folder + "/log", "a", encoding="utf-8") as log:
                process = subprocess.Popen([sys.executable, "-c", program, str(listener.fileno()), self.program, "serve", "--data", self.data],
                                           pass_fds=[listener.fileno()], stdout=subprocess.DEVNULL, stderr=log,
                                           env={**self.environ, "NOTIFY_SOCKET": self.folder + "/notify"})
            try:
                self.assertEqual(notify.recv(100), b"READY=1")
                self.assertIn(b" 200 ", caller.recv(1000))
            finally:
                caller.close()
                process.terminate()
                self.assertEqual(process.wait(40), 0)
            self.assertEqual(notify.recv(100), b"STOPPING=1")
            self.assertTrue(os.path.exists(self.path))

    def test_nobody_is_left_when_serve_is_killed(self):
        process = self.serve()
        pids = children(process.pid)
        self.assertEqual(len(pids), 2)
        process.kill()
        process.wait(20)
        eventually(lambda: not any(is_alive(pid) for pid in pids), "the children end")
        self.serve()
        self.assertEqual(self.get("/info")[0], 200)

    def test_end_is_in_order_and_leaves_nothing(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            process = self.serve()
            inner = json.loads(self.read("argv"))[1].removeprefix("unix://")
            pids = children(process.pid)
            process.send_signal(number)
            self.assertEqual(process.wait(40), 0)
            self.assertFalse(any(is_alive(pid) for pid in pids))
            self.assertFalse(os.path.exists(self.path) or os.path.exists(inner))
            self.assertEqual(self.read("ended"), "")
            os.unlink(self.data + "/ended")

    def test_backend_that_cannot_start_ends_serve(self):
        open(self.data + "/refuse", "w", encoding="utf-8").close()
        process = self.serve()
        self.assertEqual((self.said, process.wait(20)), ("", 1))
        self.assertIn("refused", self.text())
        self.assertIn("cannot serve: the backend ended before it was ready", self.text())

    def test_second_daemon_is_refused(self):
        self.serve()
        second = self.run_cli("serve", "--addr", "unix://" + self.path, "--data", self.folder + "/other")
        self.assertEqual(second.returncode, 1)
        self.assertIn(self.path, second.stderr)
        self.assertEqual(self.get("/_ping")[0], 200)
        self.assertFalse(os.path.exists(self.folder + "/other"))

    def test_second_daemon_on_the_same_data_is_refused_and_harms_nobody(self):
        self.serve()
        inner = json.loads(self.read("argv"))[1].removeprefix("unix://")
        second = self.run_cli("serve", "--addr", "unix://" + self.folder + "/e.sock", "--data", self.data)
        self.assertEqual(second.returncode, 1)
        self.assertIn(f"another sockerless serve uses the data folder {self.data}", second.stderr)
        self.assertTrue(os.path.exists(inner))
        self.assertEqual(self.get("/info")[0], 200)

    def test_missing_program_is_named(self):
        os.unlink(self.bin + "/sockerless-backend-memory")
        done = self.run_cli("serve", "--addr", "unix://" + self.path, "--data", self.data)
        self.assertEqual(done.returncode, 1)
        self.assertIn("sockerless-backend-memory", done.stderr)
        self.assertFalse(os.path.exists(self.path))

    def test_passed_sockets_are_handed_on(self):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(5)
        program = ("import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
                   "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); os.execv(sys.argv[2], sys.argv[2:])")
        process = subprocess.Popen([sys.executable, "-c", program, str(listener.fileno()), self.program, "serve", "--data", self.data],
                                   pass_fds=[listener.fileno()], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                   env=self.environ)
        try:
            self.assertEqual(process.stdout.readline(), f"export DOCKER_HOST=unix://{self.path}\n")
            self.assertEqual(self.get("/version")[0], 200)
        finally:
            process.terminate()
            self.assertEqual(process.wait(40), 0)
            process.stdout.close()
            listener.close()
        self.assertTrue(os.path.exists(self.path))  # not ours to remove

    # ---- the other verbs ----

    def test_status(self):
        self.serve()
        for environ, args in (({"DOCKER_HOST": "unix://" + self.path}, []), ({}, ["--addr", "unix://" + self.path])):
            done = self.run_cli("status", *args, **environ)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(done.stdout.split("\n"), [
                f"address     unix://{self.path}", "server      Sockerless 9.9, API 1.44 (oldest 1.24)", "driver      overlay",
                "containers  3 (1 running, 0 paused, 2 stopped)", "images      4", ""])
        open(self.data + "/hang", "w", encoding="utf-8").close()
        done = self.run_cli("status", "--addr", "unix://" + self.path, "--timeout", "200ms")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("no answer within 200 ms", done.stderr)

    def test_status_of_nobody(self):
        done = self.run_cli("status", "--addr", "unix:///nonexistent/d.sock")
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stderr.startswith("sockerless status: the daemon at unix:///nonexistent/d.sock: "), done.stderr)

    def test_version_and_help(self):
        for args in (["version"], ["--version"]):
            done = self.run_cli(*args)
            self.assertEqual(done.returncode, 0)
            self.assertRegex(done.stdout, r"^sockerless \d+\.\d+\.\d+\nDocker Engine API 1\.44 \(oldest 1\.24\)\n$")
        for args in (["--help"], ["help"], ["-h"]):
            done = self.run_cli(*args)
            self.assertEqual((done.returncode, "serve" in done.stdout and "status" in done.stdout), (0, True))
        for verb in ("serve", "status", "version", "completion"):
            done = self.run_cli(verb, "--help")
            self.assertEqual(done.returncode, 0)
            self.assertTrue(done.stdout.startswith(f"Usage: sockerless {verb}"))

    def test_wrong_usage_is_2(self):
        for args, sentence in (([], "Usage"), (["nope"], "no command \"nope\""), (["serve", "--nope"], "unknown option --nope"),
                               (["serve", "extra"], "unexpected argument"), (["serve", "--backend", "x"], "not one of memory"),
                               (["completion"], "bash, zsh, fish"), (["version", "x"], "unexpected argument")):
            done = self.run_cli(*args)
            self.assertEqual(done.returncode, 2, args)
            self.assertIn(sentence, done.stderr)
        done = self.run_cli("serve", SOCKERLESS_LOG_LEVEL="loud")
        self.assertEqual(done.returncode, 2)
        self.assertIn("SOCKERLESS_LOG_LEVEL", done.stderr)

    def test_completion_completes(self):
        def complete(*words):
            script = (self.run_cli("completion", "bash").stdout + "\nCOMP_WORDS=(" + " ".join(f"'{word}'" for word in words) +
                      f"); COMP_CWORD={len(words) - 1}; _sockerless; echo \"${{COMPREPLY[@]}}\"")
            done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=20)
            self.assertEqual(done.stderr, "")
            return done.stdout.split()
        self.assertEqual(complete("sockerless", "se"), ["serve"])
        self.assertIn("--data", complete("sockerless", "serve", "--d"))
        self.assertEqual(complete("sockerless", "serve", "--log-level", "w"), ["warn"])
        self.assertEqual(complete("sockerless", "completion", "z"), ["zsh"])
        for shell in ("zsh", "fish"):
            done = self.run_cli("completion", shell)
            self.assertEqual(done.returncode, 0)
            self.assertIn("log-level", done.stdout)
            if shutil.which(shell):
                self.assertEqual(subprocess.run([shell, "-n"], input=done.stdout, text=True, timeout=20).returncode, 0)


if __name__ == "__main__":
    PROGRAMS[:] = [sys.argv.pop(1), sys.argv.pop(1)]
    unittest.main()
