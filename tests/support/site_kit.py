"""A daemon to be hurt, and what must hold on its data folder whatever was done to it."""
import contextlib
import os
import shutil
import signal
import sqlite3
from pathlib import Path

from daemon import Apart, Program, READY_S, answers, listens
from engine import until


def processes():
    """pid: (parent, program, working folder) of every process that we may look at."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    found[int(entry.name)] = (int(fields[1]), os.readlink(entry / "exe"), os.readlink(entry / "cwd"))
    return found


class Site(Apart):
    """Backend and frontend apart on one folder. The backend is armed by arm(); prefix goes before its command line (prlimit, env …)."""

    def __init__(self, programs, folder, logs, prefix=(), data=None, options=()):
        super().__init__(programs, folder, logs, options=options)
        self.data = data or folder / "data"
        self.trigger = folder / "failpoint"
        self.prefix = list(prefix)

    def command(self):
        return [*self.prefix, "env", f"SOCKERLESS_FAILPOINT={self.trigger}", self.programs / "sockerless-backend-memory",
                "--addr", self.backend_addr, "--data", self.data, *self.options]

    def start_backend(self):
        self.backend = Program(self.command(), self.logs / f"backend-{self.folder.name}.log")
        until(lambda: listens(self.backend_addr) or self.backend.process.poll() is not None, READY_S, "the backend's socket")
        assert self.backend.process.poll() is None, self.said()[-2000:]

    def start_backend_that_dies(self):
        """Starts one that is to end by itself while it starts; returns what it said."""
        before = len(self.said())
        self.backend = Program(self.command(), self.logs / f"backend-{self.folder.name}.log")
        assert self.backend.process.wait(READY_S) != 0
        return self.said()[before:]

    def start(self):
        engine = super().start()
        assert engine.post("/images/sockerless/base/tag", repo="alpine", tag="latest").status == 201
        return engine

    def said(self):
        return (self.logs / f"backend-{self.folder.name}.log").read_text(errors="replace")

    def restart(self):
        """The backend again, whether it still runs or not."""
        if self.backend.process.poll() is None:
            self.backend.kill()
        self.backend.process.wait(10)
        self.start_backend()
        until(lambda: answers(self.engine, "/containers/json"), READY_S, "the backend behind the frontend")

    # Failure points

    def arm(self, specification):
        temporary = self.trigger.with_suffix(".new")
        temporary.write_text(specification)
        temporary.rename(self.trigger)

    def disarm(self):
        """Whether the point had not fired."""
        try:
            self.trigger.unlink()
            return True
        except FileNotFoundError:
            return False

    # What is there

    def agents(self):
        """pid: container's id, of the agents of this data folder."""
        folder = str(self.data / "containers") + "/"
        return {pid: Path(cwd.removesuffix(" (deleted)")).name for pid, (_, program, cwd) in processes().items()
                if program.endswith("/sockerless-agent") and cwd.startswith(folder)}

    def guests(self):
        """pid: parent, of the sandbox's processes of our programs."""
        sandbox = self.programs.parent / "libexec/sockerless/sockerless-sandbox"
        return {pid: parent for pid, (parent, program, _) in processes().items() if Path(program) == sandbox}

    def document_ids(self):
        with contextlib.closing(sqlite3.connect(f"file:{self.data}/state.db?mode=ro", uri=True)) as db:
            return {row[0] for row in db.execute("SELECT id FROM document WHERE kind = 'container'")}

    def leftovers(self):
        """What nobody owns, as sentences; [] when all is whole."""
        rows = {row["Id"]: row for row in self.engine.list(all=1)}
        running = sorted(cid for cid, row in rows.items() if row["State"] in ("running", "paused", "restarting"))
        agents, guests, found = self.agents(), self.guests(), []
        folders = {path.name for path in (self.data / "containers").iterdir() if not path.name.startswith(".")}
        ingest = self.data / "content/ingest"
        if self.document_ids() != set(rows):
            found.append(f"documents {self.document_ids()} but containers {set(rows)}")
        if folders - rows.keys():
            found.append(f"folders without a container: {folders - rows.keys()}")
        if sorted(agents.values()) != running:
            found.append(f"agents of {agents} but running are {running}")
        if any(parent not in agents and parent not in guests for parent in guests.values()):
            found.append(f"processes without an agent: {guests}, agents {agents}")
        if len({row["Names"][0] for row in rows.values()}) != len(rows):
            found.append(f"a name twice: {[row['Names'] for row in rows.values()]}")
        if ingest.exists() and os.listdir(ingest):
            found.append(f"half blobs: {os.listdir(ingest)}")
        if any(str(self.data) in line for line in Path("/proc/self/mountinfo").read_text().splitlines()
               if f" {self.data} " not in line):
            found.append("something is mounted")
        return found

    def check(self):
        """All is whole, within seconds: what a start sweeps and asks goes on behind the first answers."""
        until(lambda: not self.leftovers(), 5, f"{self.leftovers()}: its end")

    def end_all(self):
        """The containers, both programs, and agents that are left."""
        with contextlib.suppress(Exception):
            self.disarm()
            for row in self.engine.list(all=1):
                self.engine.delete(f"/containers/{row['Id']}", force=1)
        for program in (self.frontend, self.backend):
            if program and not program.log.closed:
                with contextlib.suppress(Exception):
                    program.end()
        for pid in self.agents():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def end(self):
        self.end_all()
        shutil.rmtree(self.folder, ignore_errors=True)
