"""Many containers, and many runs: does it stay fast, and flat?

usage: many.py list PROGRAMS [N]          N (10000) created containers: create rate, list with filters, start to ready
       many.py runs PROGRAMS [SECONDS]    create + start + wait + remove for SECONDS (60) on 4 connections: rate, memory, disk, descriptors

Wrong answers are errors, never numbers; what is not flat is one too."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/support"))
sys.path.insert(0, str(HERE))
from bench import Wire, serve  # noqa: E402
from engine import Engine, until  # noqa: E402

CONNECTIONS = 4
# Growth of a process that has warmed up: below this it is noise of the allocator, above it a leak at 100 runs a second.
MAX_GROWTH_MIB = 4


def children(pid):
    """{program: pid} of what serve has started."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found[Path(os.readlink(entry / "exe")).name.removeprefix("sockerless-")] = int(entry.name)
            except OSError:
                continue  # it ended meanwhile
    return found


def rss_mib(pid):
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024


def disk_mib(folder):
    out = subprocess.run(["du", "-sk", str(folder)], capture_output=True, text=True)
    return int(out.stdout.split()[0]) / 1024


class Daemon:
    def __init__(self, programs, folder):
        self.programs, self.folder = programs, folder
        self.engine = Engine(f"unix://{folder}/s.sock", folder / "config", False)
        self.process = None

    def start(self):
        """Milliseconds until a list of all is answered."""
        self.process, _ = serve(self.programs, self.folder, self.engine)
        return self

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def look(self):
        programs = children(self.process.pid)
        view = {"disk": disk_mib(self.folder / "data")}
        for name, pid in programs.items():
            view[name + " MiB"] = rss_mib(pid)
            view[name + " fds"] = len(os.listdir(f"/proc/{pid}/fd"))
        return view


def body(number):
    return {"Image": "sockerless/base", "Cmd": ["true"], "Labels": {"bench": "1", "number": str(number), "tenth": str(number % 10)},
            "Env": ["A=1", "B=2"]}


def timed(what, call, n=5):
    times = []
    for _ in range(n):
        began = time.perf_counter()
        value = call()
        times.append((time.perf_counter() - began) * 1e3)
    print(f"{what:44} {sorted(times)[n // 2]:9.1f} ms")
    return value


def bench_list(daemon, n):
    def create(first):
        wire = Wire(daemon.engine)
        for number in range(first, n, CONNECTIONS):
            wire.call("POST", f"/containers/create?name=many-{number}", body(number))
    began = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(create, range(CONNECTIONS)))
    print(f"{'create':44} {n / (time.perf_counter() - began):9.0f} /s")
    wire = Wire(daemon.engine)

    def rows(filters=None):
        query = "&filters=" + json.dumps(filters).replace(" ", "").replace('"', "%22") if filters else ""
        return lambda: json.loads(wire.call("GET", f"/containers/json?all=1{query}"))
    assert len(timed(f"list all {n}", rows())) == n
    assert len(timed("list by label, a tenth", rows({"label": ["tenth=3"]}))) == n // 10
    assert len(timed("list by name, one", rows({"name": ["^/many-77$"]}))) == 1
    assert len(timed("list by status, none", rows({"status": ["exited"]}))) == 0
    print(daemon.look())
    for way in ("killed", "stopped"):
        for _ in range(3):
            backend = children(daemon.process.pid)["backend-memory"]
            if way == "killed":
                os.kill(backend, signal.SIGKILL)
            daemon.stop()
            daemon.process, took = serve(daemon.programs, daemon.folder, daemon.engine)
            print(f"{'start to the first list, ' + way + ' before':44} {took:9.1f} ms")
    assert len(json.loads(Wire(daemon.engine).call("GET", "/containers/json?all=1"))) == n


def bench_runs(daemon, seconds):
    counts, errors, end = [0] * CONNECTIONS, [], time.monotonic() + seconds

    def run(slot):
        wire = Wire(daemon.engine)
        try:
            while time.monotonic() < end:
                cid = wire.call("POST", "/containers/create", body(slot))["Id"]
                wire.call("POST", f"/containers/{cid}/start")
                code = wire.call("POST", f"/containers/{cid}/wait")["StatusCode"]
                assert code == 0, code
                wire.call("DELETE", f"/containers/{cid}")
                counts[slot] += 1
        except Exception as error:
            errors.append(error)
    threads = [threading.Thread(target=run, args=(slot,)) for slot in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    views, last = [], 0
    while any(thread.is_alive() for thread in threads):
        time.sleep(seconds / 6)
        total = sum(counts)
        views.append(daemon.look())
        print(f"{(total - last) / (seconds / 6):7.1f} runs/s", {key: round(value, 1) for key, value in views[-1].items()}, flush=True)
        last = total
    if errors:
        raise errors[0]
    print(f"{'create + start + wait + remove':44} {sum(counts) / seconds:9.1f} /s")
    until(lambda: not os.listdir(daemon.folder / "data/containers"), 20, "the last folder's end")
    first, final = views[len(views) // 3], daemon.look()
    for key, value in final.items():
        bound = 3 if key.endswith("fds") else MAX_GROWTH_MIB
        assert value - first[key] <= bound, f"{key} grew from {first[key]} to {value}"
    print("flat:", {key: round(value, 1) for key, value in final.items()})


def main(arguments):
    if len(arguments) not in (2, 3) or arguments[0] not in ("list", "runs"):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="slm-") as name:
        daemon = Daemon(arguments[1], Path(name)).start()
        try:
            if arguments[0] == "list":
                bench_list(daemon, int(arguments[2]) if len(arguments) == 3 else 10000)
            else:
                bench_runs(daemon, int(arguments[2]) if len(arguments) == 3 else 60)
        finally:
            daemon.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
