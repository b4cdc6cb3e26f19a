"""A full disk, no descriptors, memory or threads: the request says so, state stays whole, others are served, and all is well once there is room again."""
import concurrent.futures
import contextlib
import os
import subprocess
from pathlib import Path

import pytest
from engine import until

pytestmark = pytest.mark.ours


# ---- a full disk ----

@pytest.fixture
def small_site(make_site):
    """A daemon whose data folder is a small file system of its own."""
    site = make_site()
    site.data.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "none", site.data], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr}")
    try:
        site.start()
        yield site
    finally:
        site.end_all()
        subprocess.run(["umount", "-l", site.data], check=True)


def fill(site, leave=0):
    """Takes all the room there is but leave bytes."""
    path = site.data / "ballast"
    with open(path, "ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    if leave:
        os.truncate(path, path.stat().st_size - leave)
    return path


def test_a_full_disk_fails_requests_and_nothing_else(small_site):
    site, engine = small_site, small_site.engine
    running = engine.run("sh", "-c", "echo up; read x; echo down; exit 5", OpenStdin=True, StdinOnce=True)
    created = engine.create("true")
    until(lambda: engine.logs(running)[0], what="its first word")
    ballast = fill(site)

    reply = engine.post("/containers/create", {"Image": "alpine", "Cmd": ["true"]}, name="too-much")
    assert reply.status == 507 and "No space left" in reply.message or "full" in reply.message, reply
    reply = engine.post(f"/containers/{created}/start")
    assert reply.status == 507, reply
    assert engine.state(created)["Status"] == "created"
    assert engine.get("/containers/too-much/json").status == 404
    # Others are served, execs too: they need no disk.
    assert len(engine.list(all=1)) == 2
    assert engine.exec(running, "echo", "inside") == (0, b"inside\n", b"")
    assert engine.get("/info").json["ContainersRunning"] == 1

    ballast.unlink()
    engine.start(created)
    assert engine.wait(created) == 0
    assert engine.create("true", name="too-much")
    with engine.attach(running) as stream:
        stream.write(b"x\n")
        assert stream.frames()[0] == b"down\n"
    assert engine.wait(running) == 5 and engine.logs(running)[0] == b"up\ndown\n"
    site.check()
    site.restart()
    site.check()
    assert engine.state(running)["ExitCode"] == 5


def test_an_exit_on_a_full_disk_is_known_when_there_is_room(small_site):
    site, engine = small_site, small_site.engine
    cid = engine.run("sh", "-c", "read x; exit 6", OpenStdin=True, StdinOnce=True)
    ballast = fill(site)
    with engine.attach(cid) as stream:
        stream.close_write()
        stream.rest()
    assert engine.wait(cid) == 6, "whoever waits is told"
    assert engine.state(cid)["ExitCode"] == 6
    ballast.unlink()
    assert engine.create("true"), "there is room again"
    assert engine.state(cid)["ExitCode"] == 6
    site.check()


def test_a_container_can_be_removed_from_a_full_disk(small_site):
    site, engine = small_site, small_site.engine
    cid = engine.finish("sh", "-c", "yes | head -c 3000000")
    fill(site)
    status = engine.delete(f"/containers/{cid}").status
    assert status in (204, 507)
    if status == 507:  # the note of it has no room: then it is there as it was
        assert engine.state(cid)["Status"] == "exited"
        (site.data / "ballast").unlink()
        assert engine.delete(f"/containers/{cid}").status == 204
    site.check()


# ---- no descriptors ----

def limit(pid, **limits):
    """Sets soft limits of a running program; the hard ones stay."""
    for name, value in limits.items():
        subprocess.run(["prlimit", "--pid", str(pid), f"--{name}={value}:"], check=True)


def n_descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def in_parallel(n, call):
    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        return list(pool.map(call, range(n)))


def attempt(call):
    """A reply's status; None when the connection broke."""
    with contextlib.suppress(OSError, EOFError):
        return call().status
    return None


@pytest.mark.parametrize("spare", [0, 1, 2, 3, 4, 6])
def test_without_descriptors_requests_fail_and_later_ones_work(site, spare):
    engine, pid = site.engine, site.backend.process.pid
    running = engine.run("sleep", "60")
    created = [engine.create("true") for _ in range(4)]
    assert len(engine.list(all=1)) == 5
    before = n_descriptors(pid)
    limit(pid, nofile=before + spare)
    replies = [engine.request("POST", f"/containers/{cid}/start", timeout=20) for cid in created]
    for reply in replies:
        assert reply.status == 204 or reply.status == 503 and "oo many open files" in reply.message, reply
    assert any(reply.status == 503 for reply in replies) or spare > 4, replies
    limit(pid, nofile=20000)
    for cid in created:
        assert engine.post(f"/containers/{cid}/start").status in (204, 304)
        assert engine.wait(cid) == 0
    assert engine.state(running)["Running"] and engine.exec(running, "echo", "on")[1] == b"on\n"
    assert engine.list(all=1)
    site.check()
    until(lambda: n_descriptors(pid) <= before + 6, what=f"descriptors going back from {n_descriptors(pid)} to {before}")


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("which", ["backend", "frontend"])
def test_connections_beyond_the_limit_wait_or_are_refused_without_a_busy_loop(site, which):
    engine, pid = site.engine, getattr(site, which).process.pid
    limit(pid, nofile=n_descriptors(pid) + 4)
    began = cpu_seconds(pid)
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                stack.enter_context(engine.open("GET", "/events", timeout=0.3))
        assert cpu_seconds(pid) - began < 1.5
    limit(pid, nofile=20000)
    until(lambda: attempt(lambda: engine.get("/containers/json")) == 200, what="an answer")
    assert engine.wait(engine.run("true")) == 0


# ---- no memory, no threads ----

def address_space(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def test_without_threads_requests_are_refused_or_wait(site):
    """A thread's stack is the first thing that does not fit."""
    engine, pid = site.engine, site.backend.process.pid
    running = engine.run("sleep", "60")
    limit(pid, **{"as": address_space(pid) + 128 * 1024})
    statuses = in_parallel(12, lambda number: attempt(lambda: engine.post(f"/containers/{running}/kill", signal="CONT")))
    assert set(statuses) <= {204, 503, None}, statuses
    limit(pid, **{"as": "unlimited"})
    until(lambda: attempt(lambda: engine.get("/containers/json")) == 200, what="an answer")
    assert site.backend.process.poll() is None, "it goes on"
    assert engine.state(running)["Running"]
    assert engine.wait(engine.run("true")) == 0
    site.check()


@pytest.mark.parametrize("spare", [200_000, 1_000_000, 3_000_000])
def test_without_memory_a_large_request_costs_at_worst_the_process(site, spare):
    """An allocation that fails ends the program (STYLE 5); `serve` starts it again, and nothing is lost."""
    engine, pid = site.engine, site.backend.process.pid
    running = engine.run("sh", "-c", "read x; exit 5", OpenStdin=True, StdinOnce=True)
    limit(pid, **{"as": address_space(pid) + spare})
    body = {"Image": "alpine", "Cmd": ["true"], "Env": ["X=" + "x" * 100_000 for _ in range(30)]}
    status = attempt(lambda: engine.post("/containers/create", body, name="large"))
    assert status in (None, 201, 400, 413, 500, 503)
    if attempt(lambda: engine.get("/containers/json")) == 200 and site.backend.process.poll() is None:
        limit(pid, **{"as": "unlimited"})
    else:
        until(lambda: site.backend.process.poll() is not None, what="its end")
        site.restart()
    site.check()
    assert engine.state(running)["Running"]
    with engine.attach(running) as stream:
        stream.close_write()
        stream.rest()
    assert engine.wait(running) == 5
    assert engine.post("/containers/create", body, name="large").status == (409 if status == 201 else 201)
