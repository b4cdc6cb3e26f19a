"""kill -9 at every failure point of every request: after a start nothing is half-made, lost or doubled, and the request works when it is made again.

PASSED says which points a request passes; a case of its own holds it against what the programs say."""
import contextlib
import re

import pytest
from engine import until

pytestmark = pytest.mark.ours

STORE = {"store.begin.before", "store.begin.after", "store.commit.before", "store.commit.after"}
LINK = {"link.request.sent", "link.answer.received"}
LAUNCH = {"driver.folder.made", "driver.root.made", "driver.socket.bound", "driver.agent.spawned", "link.connected"}
# Points of the agent's: the daemon lives.
AGENT_START = {"agent.root.mounted", "agent.spawned"}
AGENT_EXIT = {"agent.exit.before", "agent.exit.stored"}
REMOVE = {"remove.committed", "remove.files.gone"}

PASSED = {
    "create": STORE | {"create.folder.made", "create.file.written"},
    "start": STORE | LINK | LAUNCH | AGENT_START,
    "exec": LINK,
    "stop": STORE | LINK | AGENT_EXIT,
    "kill": STORE | LINK | AGENT_EXIT,
    "remove": STORE | REMOVE,
    "force_remove": STORE | LINK | AGENT_EXIT | REMOVE,
    "exit": STORE | AGENT_EXIT,
}
CASES = [(operation, point) for operation, points in PASSED.items() for point in sorted(points)]
READER = ("sh", "-c", "trap 'echo term; exit 4' TERM; echo up; read x; echo got $x; exit 7")


def attempt(call, *args, **options):
    """The status of a request that the daemon's end may cut; None when it was."""
    with contextlib.suppress(OSError, EOFError):
        return call(*args, **options).status
    return None


class Case:
    """One operation: what it needs, the request, and what holds once it was made (again)."""

    def __init__(self, site, operation):
        self.site, self.engine, self.operation = site, site.engine, operation
        self.neighbour = self.engine.finish("sh", "-c", "echo neighbour; exit 3", name="neighbour")
        self.cid, self.lost_runs = None, b""
        if operation in ("start", "remove"):
            self.cid = self.engine.create(*READER, name="victim", OpenStdin=True, StdinOnce=True)
        elif operation != "create":
            self.cid = self.engine.create(*READER, name="victim", OpenStdin=True, StdinOnce=True)
            with self.engine.attach(self.cid, stream=1, stdout=1) as stream:
                self.engine.start(self.cid)
                stream.text(b"up\n")

    def request(self):
        return getattr(self, self.operation)()

    def create(self):
        body = {"Image": "alpine", "Cmd": ["true"], "Labels": {"k": "v"}}
        return attempt(self.engine.post, "/containers/create", body, name="victim")

    def start(self):
        return attempt(self.engine.post, f"/containers/{self.cid}/start")

    def exec(self):
        with contextlib.suppress(OSError, EOFError, AssertionError, KeyError):
            return self.engine.exec(self.cid, "echo", "inside")[0]
        return None

    def stop(self):
        return attempt(self.engine.post, f"/containers/{self.cid}/stop")

    def kill(self):
        return attempt(self.engine.post, f"/containers/{self.cid}/kill")

    def remove(self):
        return attempt(self.engine.delete, f"/containers/{self.cid}")

    def force_remove(self):
        return attempt(self.engine.delete, f"/containers/{self.cid}", force=1)

    def exit(self):
        """The process ends by itself."""
        with contextlib.suppress(OSError, EOFError, AssertionError), self.engine.attach(self.cid) as stream:
            stream.write(b"word\n")
            stream.rest()
            return attempt(self.engine.post, f"/containers/{self.cid}/wait")
        return None

    # After the crash

    def settle(self, point):
        """Makes the request again, and looks at the outcome."""
        getattr(self, "settle_" + self.operation)(point)
        assert self.engine.state("neighbour")["ExitCode"] == 3
        assert self.engine.logs("neighbour") == (b"neighbour\n", b"")

    def settle_create(self, point):
        assert self.create() in (201, 409)
        found = self.engine.inspect("victim")
        assert found["Config"]["Labels"]["k"] == "v" and found["State"]["Status"] == "created"
        self.engine.start("victim")
        assert self.engine.wait("victim") == 0

    def settle_start(self, point):
        assert self.start() in (204, 304)
        until(lambda: self.engine.logs(self.cid)[0], what="its first word")
        self.settle_exit(point)
        assert [event["Action"] for event in self.engine.events("0", container=[self.cid])].count("start") == 1

    def settle_exec(self, point):
        assert self.engine.exec(self.cid, "echo", "inside") == (0, b"inside\n", b"")
        self.settle_exit(point)

    def settle_exit(self, point):
        if self.engine.state(self.cid)["Running"]:
            self.exit()
        assert self.engine.wait(self.cid) == (255 if point == "agent.exit.before" else 7)
        assert self.engine.logs(self.cid) == (self.lost_runs + b"up\ngot word\n", b"")

    def settle_stop(self, point):
        assert self.stop() in (204, 304)
        self.settle_end(point, 4, b"up\nterm\n")

    def settle_kill(self, point):
        assert self.kill() in (204, 409)
        self.settle_end(point, 137, b"up\n")

    def settle_end(self, point, code, out):
        assert self.engine.wait(self.cid) == (255 if point == "agent.exit.before" else code)
        assert self.engine.logs(self.cid) == (out, b"")
        self.engine.start(self.cid)
        assert self.engine.state(self.cid)["Running"], "it starts anew"

    def settle_remove(self, point):
        assert self.remove() in (204, 404)
        self.settle_gone()

    def settle_force_remove(self, point):
        assert self.force_remove() in (204, 404, 409)
        self.settle_gone()

    def settle_gone(self):
        until(lambda: self.engine.get(f"/containers/{self.cid}/json").status == 404, what="its end")
        assert self.engine.create("true", name="victim") != self.cid, "its name is free"


@pytest.mark.parametrize("operation,point", CASES)
def test_a_crash_at(site, operation, point):
    case = Case(site, operation)
    site.arm(point)
    case.request()
    until(lambda: not site.trigger.exists(), 5, f"{operation} passing {point}")
    if not point.startswith("agent."):
        until(lambda: site.backend.process.poll() is not None, what="the backend's end")
        site.restart()
    site.check()
    case.settle(point)
    site.check()


@pytest.mark.parametrize("operation", PASSED)
def test_the_points_passed_by(site, operation):
    """PASSED is complete: a new point in a request's way is a new case of the matrix."""
    case = Case(site, operation)
    own_logs = {path: len(path.read_bytes()) for path in (site.data / "containers").glob("*/agent.log")}
    before = len(site.said())
    site.arm("trace")
    case.request()
    site.engine.create("true", name="a-later-commit")
    wanted = PASSED[operation] - (AGENT_EXIT if operation == "force_remove" else set())  # its log goes with it

    def passed():
        text = site.said()[before:]
        for path in (site.data / "containers").glob("*/agent.log"):
            text += path.read_bytes()[own_logs.get(path, 0):].decode()
        return set(re.findall(r"failure point passed name=(\S+)", text))
    until(lambda: passed() >= wanted, what=f"{wanted - passed()} being passed")
    assert passed() <= wanted | PASSED["create"]  # the later one


# Steps that can fail: the request says so, and nothing of it stays.
FAILING = [("create", "create.folder.made", "ENOSPC", 507), ("create", "store.begin.before", "ENOSPC", 507), ("create", "store.begin.after", "EIO", 500),
           ("create", "store.commit.before", "ENOSPC", 507), ("start", "driver.folder.made", "ENOSPC", 507),
           ("start", "driver.root.made", "EMFILE", 503), ("start", "driver.socket.bound", "ENOMEM", 503),
           ("start", "agent.root.mounted", "ENOSPC", 507), ("start", "store.commit.before", "ENOSPC", 507),
           ("remove", "store.commit.before:2", "ENOSPC", 507)]


@pytest.mark.parametrize("operation,point,error,status", FAILING)
def test_an_error_at(site, operation, point, error, status):
    case = Case(site, operation)
    case.engine.events("0")  # a replay stores what was only noted: nobody else passes the point first
    site.arm(f"{point}={error}")
    if (operation, point) == ("start", "store.commit.before"):
        case.lost_runs = b"up\n"  # it ran, could not be stored, and was ended
    assert case.request() == status
    until(lambda: not site.trigger.exists(), 5, f"{operation} passing {point}")
    site.check()
    case.settle(point)
    site.check()
