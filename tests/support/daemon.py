"""Our own programs, started for tests: `sockerless serve`, or frontend and backend apart so that either can be killed."""
import os
import signal
import subprocess
from pathlib import Path

from engine import Engine, dial, until

ROOT = Path(__file__).resolve().parents[2]
READY_S = 15


def stage(build):
    """Installs the build below itself and returns the folder of its programs."""
    done = subprocess.run([ROOT / "tools/stage.sh", build], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


class Program:
    """One of our programs in a process of its own."""

    def __init__(self, arguments, log):
        self.log = open(log, "ab")
        self.process = subprocess.Popen([str(argument) for argument in arguments], stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, start_new_session=True)

    def end(self, number=signal.SIGTERM, timeout=10):
        """Sends a signal and waits for the end; what does not end is killed, and that is an error."""
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout)
            raise
        finally:
            self.log.close()

    def kill(self):
        self.end(signal.SIGKILL)


def answers(engine, path="/_ping"):
    """Whether the engine answers at all; a refused or broken connection is a no."""
    try:
        return engine.get(path).status == 200
    except OSError:
        return False
    except EOFError:
        return False


def listens(host):
    try:
        dial(host).close()
        return True
    except OSError:
        return False


class Serve:
    """`sockerless serve` with a socket and a data folder below folder."""

    def __init__(self, programs, folder, logs, *options):
        self.engine = Engine(f"unix://{folder}/docker.sock", folder / "config", False)
        self.arguments = [programs / "sockerless", "serve", "--addr", self.engine.host, "--data", folder / "data", *options]
        self.log = logs / f"serve-{folder.name}.log"
        self.program = None

    def start(self):
        self.program = Program(self.arguments, self.log)
        until(lambda: answers(self.engine, "/info") or self.program.process.poll() is not None, READY_S, "serve's answer")
        assert self.program.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
        return self.engine

    def stop(self):
        if self.program:
            self.program.end()


class Apart:
    """sockerless-backend-memory and sockerless-frontend-docker, each in a process of its own."""

    def __init__(self, programs, folder, logs, backend_addr=None, frontend_addr=None, options=()):
        self.programs, self.folder = programs, folder
        self.backend_addr = backend_addr or f"unix://{folder}/backend.sock"
        self.frontend_addr = frontend_addr or f"unix://{folder}/docker.sock"
        self.backend_url = self.backend_addr if "://" in self.backend_addr else f"http://127.0.0.1{self.backend_addr}"
        host = self.frontend_addr if "://" in self.frontend_addr else f"tcp://127.0.0.1{self.frontend_addr}"
        self.engine = Engine(host, folder / "config", False)
        self.logs, self.options = logs, options
        self.backend = self.frontend = None

    def start_backend(self):
        arguments = [self.programs / "sockerless-backend-memory", "--addr", self.backend_addr, "--data", self.folder / "data"]
        self.backend = Program([*arguments, *self.options], self.logs / f"backend-{self.folder.name}.log")
        host = self.backend_addr if "://" in self.backend_addr else f"tcp://127.0.0.1{self.backend_addr}"
        until(lambda: listens(host), READY_S, "the backend's socket")

    def start_frontend(self):
        arguments = [self.programs / "sockerless-frontend-docker", "--addr", self.frontend_addr, "--backend", self.backend_url]
        self.frontend = Program(arguments, self.logs / f"frontend-{self.folder.name}.log")

    def start(self):
        self.start_backend()
        self.start_frontend()
        until(lambda: answers(self.engine, "/info"), READY_S, "the frontend's answer")
        return self.engine

    def stop(self):
        for program in (self.frontend, self.backend):
            if program and not program.log.closed:
                program.end()
