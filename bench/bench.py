"""Measures an engine at the level of its API, and compares two of them with the targets.

usage: bench.py ours PROGRAMS LOAD JSON     start our own daemon from the folder PROGRAMS and measure it
       bench.py engine LOAD JSON            measure the engine of $SL_TEST_HOST
       bench.py compare OURS [ENGINE]       print both, their ratio, and each target with reached or missed

LOAD is the program bench_load. Wrong answers are errors, never numbers. Everything is bounded."""
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/support"))
from engine import Engine, Stream, UPGRADE, demux, dial, request_bytes, until  # noqa: E402

RUNS, SECONDS, LIST, MEGABYTES = 60, 3, 1000, 200
LINE = "0123456789abcdef" * 8

# name: (what, unit, how many times better than the engine or None, absolute bound or None); ms and MiB: lower is better
TARGETS = {
    "run": ("run `true`: create to removed, median", "ms", 60, None),
    "exec": ("exec `true`, median", "ms", 20, None),
    "list": (f"list of {LIST} containers", "/s", 30, None),
    "create_rm": ("create + remove, 8 at once", "/s", 8, None),
    "attach_dd": ("attach, large writes", "MB/s", None, 500),
    "attach_lines": ("attach, 128-byte lines", "MB/s", None, 150),
    "logs": ("logs after exit", "MB/s", None, 300),
    "rss": ("frontend + backend idle", "MiB", None, 20),
    "ready": ("start to ready, median", "ms", None, 50),
    "ping": ("_ping, 8 connections", "/s", None, None),
    "inspect": ("inspect, 8 connections", "/s", None, None),
}
PHASES = ("create", "attach", "start", "start to EOF", "wait", "remove")
LOWER = ("ms", "MiB")


class Wire:
    """One kept connection; opened again when the engine closed it behind an answer, as it does after a wait."""

    def __init__(self, engine):
        self.host, self.stream = engine.host, None

    def call(self, method, path, body=None, good=(200, 201, 204, 304)):
        if not self.stream:
            self.stream = Stream(dial(self.host))
        self.stream.write(request_bytes(method, path, body))
        self.stream.head(30)
        data, status = self.stream.body(method, 30), self.stream.status
        if self.stream.headers.get("connection", "").lower() == "close":
            self.stream.close()
            self.stream = None
        if status not in good:
            raise RuntimeError(f"{method} {path}: {status} {data[:200]!r}")
        return json.loads(data) if data[:1] == b"{" else data


class Bench:
    def __init__(self, engine, load):
        self.engine, self.load, self.wire = engine, load, Wire(engine)
        self.socket = engine.host.removeprefix("unix://")

    def create(self, *cmd, wire=None):
        body = {"Image": self.engine.image, "Cmd": cmd, "AttachStdout": True, "AttachStderr": True, "Labels": {"bench": "1"}}
        return (wire or self.wire).call("POST", "/containers/create", body)["Id"]

    def attach(self, cid):
        stream = self.engine.open("POST", f"/containers/{cid}/attach", headers=UPGRADE, query={"stream": 1, "stdout": 1, "stderr": 1})
        assert stream.status == 101, stream.status
        return stream

    def one_run(self):
        """The milliseconds of each of PHASES."""
        marks = [time.perf_counter()]
        cid = self.create("true")
        marks.append(time.perf_counter())
        with self.attach(cid) as stream:
            marks.append(time.perf_counter())
            self.wire.call("POST", f"/containers/{cid}/start")
            marks.append(time.perf_counter())
            out = stream.rest(30)
        marks.append(time.perf_counter())
        code = self.wire.call("POST", f"/containers/{cid}/wait")["StatusCode"]
        marks.append(time.perf_counter())
        self.wire.call("DELETE", f"/containers/{cid}")
        marks.append(time.perf_counter())
        assert (out, code) == (b"", 0), (out, code)
        return [(b - a) * 1e3 for a, b in zip(marks, marks[1:])]

    def one_exec(self, cid):
        started = time.perf_counter()
        body = {"Cmd": ["echo", "hi"], "AttachStdout": True, "AttachStderr": True}
        exec_id = self.wire.call("POST", f"/containers/{cid}/exec", body)["Id"]
        with self.engine.exec_start(exec_id) as stream:
            out = demux(stream.rest(30))[0]
        code = self.wire.call("GET", f"/exec/{exec_id}/json")["ExitCode"]
        assert (out, code) == (b"hi\n", 0), (out, code)
        return (time.perf_counter() - started) * 1e3

    def loaded(self, kind, target, connections=8):
        done = subprocess.run([self.load, self.socket, kind, str(connections), str(SECONDS), str(target)], capture_output=True, text=True,
                              timeout=120)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return json.loads(done.stdout)["rate"]

    def streamed(self, method, path, start=None):
        """MB/s of one stream, from its first byte to its end; start: what sets it going once it is open."""
        with subprocess.Popen([self.load, self.socket, "stream", method, path], stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout.readline() == "open\n"
            if start:
                start()
            ready, _, _ = select.select([reader.stdout], [], [], 120)
            if not ready:
                reader.kill()
                raise TimeoutError(path)
            result = json.loads(reader.stdout.readline())
        assert not result["torn"]
        return result

    def output(self, *cmd, want):
        """(attach MB/s, container id) of a command that prints want bytes."""
        cid = self.create(*cmd)
        result = self.streamed("POST", f"/containers/{cid}/attach?stream=1&stdout=1",
                               lambda: self.wire.call("POST", f"/containers/{cid}/start"))
        assert result["bytes"] == want, (result, want)
        self.wire.call("POST", f"/containers/{cid}/wait")
        return want / result["seconds"] / 1e6, cid

    def remove(self, cid, wire=None):
        (wire or self.wire).call("DELETE", f"/containers/{cid}?force=1", good=(204, 404))

    # The metrics; each returns {name: value}

    def run(self):
        self.one_run()
        runs = [self.one_run() for _ in range(RUNS)]
        return {"run": statistics.median(sum(run) for run in runs), "phases": [statistics.median(times) for times in zip(*runs)]}

    def execs(self):
        cid = self.create("sleep", "300")
        self.wire.call("POST", f"/containers/{cid}/start")
        self.one_exec(cid)
        times = [self.one_exec(cid) for _ in range(RUNS)]
        self.remove(cid)
        return {"exec": statistics.median(times)}

    def rates(self):
        cid = self.create("true")
        values = {"ping": self.loaded("get", "/_ping"), "inspect": self.loaded("get", f"/containers/{cid}/json")}
        self.remove(cid)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"Image": self.engine.image, "Cmd": ["true"], "Labels": {"bench": "1"}}, file)
            file.flush()
            values["create_rm"] = self.loaded("create-rm", file.name)
        return values

    def lists(self):
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: self.create("true", wire=Wire(self.engine)), range(LIST)))
            try:
                assert len(json.loads(self.wire.call("GET", "/containers/json?all=1"))) >= LIST
                return {"list": self.loaded("get", "/containers/json?all=1")}
            finally:
                list(pool.map(lambda cid: self.remove(cid, Wire(self.engine)), made))

    def streams(self):
        n = MEGABYTES * 1000 * 1000 // 128 * 128
        lines, cid = self.output("sh", "-c", f"yes {LINE[:127]} | head -c {n}", want=n)
        logs = self.streamed("GET", f"/containers/{cid}/logs?stdout=1")
        assert logs["bytes"] == n, logs
        self.remove(cid)
        mib = MEGABYTES * 1000 * 1000 >> 20
        dd, cid = self.output("dd", "if=/dev/zero", "bs=1M", f"count={mib}", want=mib << 20)
        self.remove(cid)
        return {"attach_lines": lines, "logs": n / logs["seconds"] / 1e6, "attach_dd": dd}

    def all(self):
        values, errors = {}, {}
        for metric in (self.run, self.execs, self.rates, self.lists, self.streams):
            try:
                values.update(metric())
            except Exception as error:  # one that fails must not hide the others
                errors[metric.__name__] = f"{type(error).__name__}: {error}"[:300]
                self.wire = Wire(self.engine)
            print(f"  {metric.__name__}: {values if not errors.get(metric.__name__) else errors[metric.__name__]}", file=sys.stderr)
        return {"values": values, "errors": errors}


def rss_mib(parent):
    """Resident memory of the programs below serve; serve itself can be done without."""
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    status = dict(line.split(":", 1) for line in (entry / "status").read_text().splitlines())
                    total += int(status.get("VmRSS", "0 kB").split()[0])
            except (OSError, ValueError):
                continue  # it ended meanwhile
    return total / 1024


def serve(programs, folder, engine):
    """Starts serve; returns the process and the milliseconds until a list is answered."""
    log = open(folder / "log", "ab")
    started = time.perf_counter()
    process = subprocess.Popen([Path(programs) / "sockerless", "serve", "--addr", engine.host, "--data", folder / "data"], stdout=log,
                               stderr=log, stdin=subprocess.DEVNULL)

    def is_up():
        try:
            return engine.get("/containers/json").status == 200
        except (OSError, EOFError):
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            return False
    until(is_up, what="the daemon's answer")
    return process, (time.perf_counter() - started) * 1e3


def measure_ours(programs, load):
    with tempfile.TemporaryDirectory(prefix="slb-") as name:
        folder, ready = Path(name), []
        engine = Engine(f"unix://{folder}/s.sock", folder / "config", False)
        for _ in range(5):
            process, took = serve(programs, folder, engine)
            ready.append(took)
            memory = rss_mib(process.pid)
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        process, _ = serve(programs, folder, engine)
        try:
            reply = engine.post("/images/sockerless/base/tag", repo="alpine", tag="latest")
            assert reply.status == 201, reply
            result = Bench(engine, load).all()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        result["values"].update(rss=memory, ready=statistics.median(ready))
        return result


def verdict(name, ours, engine):
    _, unit, times, bound = TARGETS[name]
    ratio = None
    if ours and engine:
        ratio = engine / ours if unit in LOWER else ours / engine
    shown = f"{ratio:8.1f}x" if ratio else " " * 9
    if times is None and bound is None:
        return shown, ""
    target = f"{times} times the engine" if times else f"{'at most' if unit in LOWER else 'at least'} {bound} {unit}"
    if ours is None or (times and ratio is None):
        return shown, f"{target}: not measured"
    is_reached = ratio >= times if times else ours <= bound if unit in LOWER else ours >= bound
    return shown, f"{target}: {'reached' if is_reached else 'MISSED'}"


def compare(ours_path, engine_path=None):
    ours = json.loads(Path(ours_path).read_text())
    engine = json.loads(Path(engine_path).read_text()) if engine_path else {"values": {}, "errors": {}}
    print(f"{'':42} {'ours':>10}  {'engine':>10}      ratio  target")
    for name, (what, unit, *_) in TARGETS.items():
        mine, its = ours["values"].get(name), engine["values"].get(name)
        shown, target = verdict(name, mine, its)
        cells = [f"{value:10.2f}" if value is not None else f"{'-':>10}" for value in (mine, its)]
        print(f"{what + ', ' + unit:42} {cells[0]}  {cells[1]}  {shown}  {target}")
    for who, result in (("ours", ours), ("engine", engine)):
        if "phases" in result["values"]:
            print(f"{who}: run in ms:", *(f"{name} {took:.2f}" for name, took in zip(PHASES, result["values"]["phases"])))
        for name, error in result["errors"].items():
            print(f"{who}: {name}: {error}")


def main(arguments):
    if arguments[:1] == ["ours"] and len(arguments) == 4:
        Path(arguments[3]).write_text(json.dumps(measure_ours(arguments[1], arguments[2])))
    elif arguments[:1] == ["engine"] and len(arguments) == 3:
        with tempfile.TemporaryDirectory() as config:
            engine = Engine(os.environ["SL_TEST_HOST"], config, True)
            Path(arguments[2]).write_text(json.dumps(Bench(engine, arguments[1]).all()))
    elif arguments[:1] == ["compare"] and len(arguments) in (2, 3):
        compare(*arguments[1:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
