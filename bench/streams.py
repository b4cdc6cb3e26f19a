"""Measures what open streams cost: memory of frontend and backend for each, and a ping's time meanwhile.

usage: streams.py PROGRAMS [N] [KIND]    N streams (5000) of KIND: logs (followed), attach, events; over 100 containers

The containers print a line a second each while the pings are timed, as `logs -f` is used. Prints one JSON object. Bounded."""
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/support"))
from engine import Engine, UPGRADE, request_bytes, until  # noqa: E402

CONTAINERS, PINGS, SCRIPT = 100, 2000, "for i in 1 2 3 4 5 6 7 8 9; do echo before $i; done; while sleep 1; do echo tick; done"
REQUESTS = {
    "logs": ("GET", "/containers/{}/logs", {"follow": 1, "stdout": 1, "stderr": 1}, {}),
    "attach": ("POST", "/containers/{}/attach", {"stream": 1, "stdout": 1, "stderr": 1}, UPGRADE),
    "events": ("GET", "/events", {}, {}),
}


def children(parent):
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, _, rest = (entry / "stat").read_text().partition(" (")[2].rpartition(")")
                if int(rest.split()[1]) == parent and name.startswith("sockerless"):
                    found["frontend" if "fron" in name else "backend"] = int(entry.name)
            except OSError:
                continue
    return found


def private_bytes(pid):
    return sum(int(line.split()[1]) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Private_")) * 1024


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def open_stream(path, request):
    """The stream's socket, once its answer's head is there."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(path)
    client.sendall(request)
    head = client.recv(4096)
    assert b" 200 " in head[:20] or b" 101 " in head[:20], head
    return client


def ping_times(path):
    client, times = socket.socket(socket.AF_UNIX), []
    client.connect(path)
    for _ in range(PINGS):
        started = time.perf_counter()
        client.sendall(b"GET /_ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        times.append((time.perf_counter() - started) * 1e3)
        time.sleep(0.002)
    client.close()
    return times


def measure(engine, parent, n, kind):
    method, path, query, headers = REQUESTS[kind]
    ids = [engine.run("sh", "-c", SCRIPT) for _ in range(CONTAINERS)]
    pids, socket_path = children(parent), engine.host.removeprefix("unix://")
    requests = [request_bytes(method, path.format(cid), headers={"Host": "localhost", **headers}, query=query) for cid in ids]
    # What the first streams warm up belongs to the programs.
    for client in [open_stream(socket_path, request) for request in requests]:
        client.close()
    until(lambda: all(descriptors(pid) < 1000 for pid in pids.values()), 30, "closed streams")
    before = {name: private_bytes(pid) for name, pid in pids.items()}
    fds_before = {name: descriptors(pid) for name, pid in pids.items()}
    streams = [open_stream(socket_path, requests[i % CONTAINERS]) for i in range(n)]
    time.sleep(3)
    times = ping_times(socket_path)
    after = {name: private_bytes(pid) for name, pid in pids.items()}
    for client in streams:
        if kind != "events":
            assert b"tick" in client.recv(1 << 16), "a stream that tells nothing"
        client.close()
    until(lambda: all(descriptors(pid) <= fds_before[name] + 4 for name, pid in pids.items()), 30, "closed descriptors")
    per = {name: round((after[name] - before[name]) / n) for name in pids}
    return {"kind": kind, "streams": n, "bytes_each": {**per, "together": sum(per.values())},
            "ping_ms": {"p50": round(statistics.median(times), 2), "p99": round(sorted(times)[int(len(times) * 0.99)], 2)}}


def main(arguments):
    programs, n, kind = Path(arguments[0]), int((arguments[1:2] or ["5000"])[0]), (arguments[2:3] or ["logs"])[0]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="sls-") as name:
        folder = Path(name)
        engine = Engine(f"unix://{folder}/s.sock", folder / "config", False)
        with open(folder / "log", "ab") as log:
            process = subprocess.Popen([programs / "sockerless", "serve", "--addr", engine.host, "--data", folder / "data", "--builtin-images",
                                        "always"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            until((folder / "s.sock").exists, 15, "the socket")
            until(lambda: engine.get("/info").status == 200, 15, "the daemon")
            print(json.dumps(measure(engine, process.pid, n, kind)))
            for item in engine.list(all=1):
                engine.delete(f"/containers/{item['Id']}", force=1)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4) or (len(sys.argv) == 4 and sys.argv[3] not in REQUESTS):
        sys.exit(__doc__)
    main(sys.argv[1:])
