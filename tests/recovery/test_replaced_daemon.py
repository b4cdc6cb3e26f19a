"""The daemon is replaced while containers print: what `logs -f` gave before and after, joined, is what they printed; streams end, processes go on.

SL_REPLACED_CONTAINERS: how many (20; `make test-recovery` takes 500)."""
import calendar
import os
import signal
import struct
import threading
import time

import pytest
from daemon import READY_S, answers
from engine import Stream, dial, until

pytestmark = pytest.mark.ours

CONTAINERS = int(os.environ.get("SL_REPLACED_CONTAINERS", "20"))
PATIENCE = 30 + CONTAINERS
ROUNDS, LINES = 12, 40
PAUSE = max(0.3, CONTAINERS / 100)  # a sleep is a process: the machine is to be busy, not swamped
SCRIPT = (f'i=0; while [ $i -lt {ROUNDS} ]; do j=0; while [ $j -lt {LINES} ]; do echo "$0 $i.$j"; j=$((j+1)); done; '
          f'i=$((i+1)); sleep {PAUSE}; done')


def printed(name):
    return [f"{name} {i}.{j}".encode() for i in range(ROUNDS) for j in range(LINES)]


def whole_frames(data):
    """The payloads of the frames that are wholly there; a killed daemon may tear the last."""
    while len(data) >= 8:
        kind, zero, n = struct.unpack(">B3sI", data[:8])
        assert kind == 1 and zero == b"\0\0\0", data[:80]
        if len(data) < 8 + n:
            return
        yield data[8:8 + n]
        data = data[8 + n:]


class Follower:
    """Reads one container's log in a thread, from where it was to the stream's end, as often as it is told to."""

    def __init__(self, engine, name):
        self.engine, self.name, self.cid = engine, name, None
        self.lines, self.last, self.n_last = [], "0", 0  # time of the last line, and how many lines have it
        self.thread = self.error = None

    def follow(self):
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            self.read()
        except Exception as error:  # the thread's, shown by the case
            self.error = error

    def read(self):
        path = f"/containers/{self.cid}/logs?follow=1&stdout=1&stderr=1&timestamps=1&since={unix_time(self.last)}"
        skip = self.n_last
        with Stream(dial(self.engine.host, PATIENCE)) as stream:
            stream.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            stream.head(PATIENCE)
            assert stream.status == 200
            for line in whole_frames(stream.rest(PATIENCE)):
                stamp, _, text = line.rstrip(b"\n").partition(b" ")
                if skip and stamp.decode() == self.last:
                    skip -= 1
                    continue
                self.n_last = self.n_last + 1 if stamp.decode() == self.last else 1
                self.last = stamp.decode()
                self.lines.append(text)

    def ended(self):
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), f"{self.name}: its stream does not end"
        if self.error:
            raise self.error


def unix_time(stamp):
    if stamp == "0":
        return "0"
    return f"{calendar.timegm(time.strptime(stamp[:19], '%Y-%m-%dT%H:%M:%S'))}.{stamp[20:29]}"


def has_printed(site, followers, n_rounds):
    """Whether every container's log holds so many rounds."""
    def size(follower):
        folder = site.data / "containers" / follower.cid
        return sum(path.stat().st_size for path in folder.glob("log*") if not path.name.endswith(".idx"))
    return lambda: all(size(follower) >= n_rounds * LINES * 16 for follower in followers)


def replace(site, how):
    if how == signal.SIGKILL:
        site.backend.kill()
    else:
        site.backend.end(how, 30)


def test_logs_before_and_after_joined_are_what_was_printed(site):
    engine = site.engine
    followers = [Follower(engine, f"c{i}") for i in range(CONTAINERS)]
    for i, follower in enumerate(followers):
        # Every second one in many segments, none of which goes.
        config = {"Type": "json-file", "Config": {"max-size": "2k", "max-file": "1000"} if i % 2 else {}}
        follower.cid = engine.create("sh", "-c", SCRIPT, follower.name, host={"LogConfig": config})
    for follower in followers:
        engine.start(follower.cid)
        follower.follow()
    idle = engine.run("sleep", "600")
    exec_id = engine.exec_create(idle, "sleep", "601")

    with engine.attach(idle, stream=1, stdout=1) as attached, engine.exec_start(exec_id) as executed:
        for n_rounds, how in ((2, signal.SIGKILL), (5, signal.SIGTERM)):
            until(has_printed(site, followers, n_rounds), PATIENCE, f"{n_rounds} rounds of lines")
            replace(site, how)
            for follower in followers:
                follower.ended()
            if how == signal.SIGKILL:
                assert (attached.rest(10), executed.rest(10)) == (b"", b"")  # their ends, and nothing invented
            site.start_backend()
            until(lambda: answers(engine, "/containers/json"), READY_S, "the backend behind the frontend")
            for follower in followers:
                follower.follow()

    assert engine.inspect(idle)["State"]["Running"]
    assert engine.get(f"/exec/{exec_id}/json").json["Running"]
    for follower in followers:
        follower.ended()
        assert follower.lines == printed(follower.name), f"{follower.name}: {len(follower.lines)} lines"
        assert engine.wait(follower.cid) == 0
    assert engine.logs(followers[0].cid)[0].split(b"\n")[:-1] == printed("c0")
