"""Hostile clients: whoever is slow, floods or lies is bounded, and the others are served meanwhile."""
import json
import os
import socket
import threading
import time

import pytest
from engine import Stream, dial, request_bytes, until

MIB = 1 << 20
SERVED_MS = 500  # far beyond a quiet answer; a hang is seconds


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024


@pytest.fixture
def pair(apart):
    return apart()


def programs_of(pair):
    return [program.process.pid for program in (pair.frontend, pair.backend)]


def assert_served(engine):
    began = time.monotonic()
    assert engine.get("/_ping").status == 200
    assert engine.get("/containers/json").status == 200
    assert (time.monotonic() - began) * 1000 < 10 * SERVED_MS


def pour(stream, block, most):
    """Writes block again and again until the peer gives up; how much it took."""
    sent = 0
    while sent < most:
        try:
            stream.write(block)
        except OSError:
            break
        sent += len(block)
    return sent


def test_a_gigabyte_of_header_is_cut_off_early_and_costs_no_memory(pair):
    before = [resident(pid) for pid in programs_of(pair)]
    with Stream(dial(pair.engine.host)) as stream:
        stream.write(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nX: ")
        assert pour(stream, b"x" * MIB, 1 << 30) < 16 * MIB
    assert_served(pair.engine)
    after = [resident(pid) for pid in programs_of(pair)]
    assert max(b - a for a, b in zip(before, after)) < 8 * MIB, (before, after)


def test_a_flood_of_header_lines_is_refused(pair):
    with Stream(dial(pair.engine.host)) as stream:
        stream.write(b"GET /_ping HTTP/1.1\r\nHost: docker\r\n")
        assert pour(stream, b"".join(b"X-%d: y\r\n" % i for i in range(1000)), 64 * MIB) < 16 * MIB
    assert_served(pair.engine)


def test_a_body_beyond_the_limit_is_413_or_cut_off(pair):
    before = [resident(pid) for pid in programs_of(pair)]
    with Stream(dial(pair.engine.host)) as stream:
        stream.write(b"POST /containers/create HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert pour(stream, b"100000\r\n" + b" " * MIB + b"\r\n", 1 << 30) < 64 * MIB
    assert_served(pair.engine)
    after = [resident(pid) for pid in programs_of(pair)]
    assert max(b - a for a, b in zip(before, after)) < 128 * MIB, (before, after)


def test_a_length_that_is_never_sent_is_not_reserved(pair):
    before = [resident(pid) for pid in programs_of(pair)]
    streams = []
    for _ in range(50):
        streams.append(Stream(dial(pair.engine.host)))
        streams[-1].write(b"POST /containers/create HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n{")
    assert_served(pair.engine)
    after = [resident(pid) for pid in programs_of(pair)]
    for stream in streams:
        stream.close()
    assert max(b - a for a, b in zip(before, after)) < 24 * MIB, (before, after)


@pytest.mark.parametrize("document", [
    b"[" * 200_000, b'{"HostConfig":' * 100_000, b'{"Labels":' + b"{" * 100_000,
], ids=["lists", "objects", "unclosed"])
def test_documents_nested_without_end_are_400(pair, document):
    reply = pair.engine.request("POST", "/containers/create", document, {"Content-Type": "application/json"})
    assert reply.status == 400, reply
    assert_served(pair.engine)


@pytest.mark.parametrize("path", ["/containers/json", "/events", "/images/json"])
def test_filters_nested_without_end_are_400(pair, path):
    reply = pair.engine.get(path, filters="[" * 3000)
    assert reply.status == 400, reply


def test_a_million_labels_are_refused_or_carried_and_others_are_served(pair):
    body = json.dumps({"Image": "alpine", "Cmd": ["true"], "Labels": {f"l{i}": "v" for i in range(1_000_000)}}).encode()
    done = {}

    def create():
        try:
            done["reply"] = pair.engine.request("POST", "/containers/create", body, {"Content-Type": "application/json"}, timeout=60)
        except OSError as error:
            done["reply"] = error  # the limit was reached while we still wrote

    thread = threading.Thread(target=create)
    thread.start()
    assert_served(pair.engine)
    thread.join(60)
    assert not thread.is_alive()
    reply = done["reply"]
    assert isinstance(reply, OSError) or reply.status in (201, 400, 413), reply
    assert_served(pair.engine)


def test_slow_heads_hold_nobody_up(pair):
    """200 clients that send a byte now and then; none holds a thread, so that the 201st is served at once."""
    slow = [Stream(dial(pair.engine.host)) for _ in range(200)]
    for stream in slow:
        stream.write(b"GET /_p")
    threads = len(os.listdir(f"/proc/{pair.frontend.process.pid}/task"))
    assert threads < 40, threads
    for _ in range(5):
        for stream in slow:
            stream.write(b"i")
        assert_served(pair.engine)
    for stream in slow:
        stream.close()


def test_readers_that_never_read_hold_nobody_up(pair):
    engine = pair.engine
    cid = engine.run("sh", "-c", "yes 0123456789abcdef | head -c 20000000; echo done >&2; sleep 60")
    deaf = []
    for _ in range(20):
        stream = Stream(dial(engine.host))
        stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.write(request_bytes("GET", f"/containers/{cid}/logs?stdout=1&follow=1", None, {"Host": "docker"}))
        deaf.append(stream)
    until(lambda: engine.logs(cid, stdout=0)[1] == b"done\n", 60, "the end of the output")
    assert_served(engine)
    after = [resident(pid) for pid in programs_of(pair)]
    assert max(after) < 80 * MIB, after
    for stream in deaf:
        stream.close()


@pytest.mark.parametrize("tail", [
    b"GET /containers/json HTTP/1.1\r\nHost: docker\r\n\r\n",
    b"0\r\n\r\nGET /x HTTP/1.1\r\nHost: docker\r\n\r\n",
])
def test_nothing_hides_behind_a_body(pair, tail):
    """Two framings in one head: no second request may come out of it."""
    reply = pair.engine.raw(b"POST /containers/create HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
                            b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + tail, timeout=5)
    assert reply.count(b"HTTP/1.1 ") == 1 and b" 400 " in reply[:20], reply


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}, {"Origin": "http://evil.example"},
                                     {"Host": "localhost", "Origin": "null"}])
def test_a_page_in_a_browser_gets_nothing_over_tcp(apart, headers):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pair = apart(frontend_addr=f":{port}")
    reply = pair.engine.request("POST", "/containers/create", b'{"Image":"alpine"}', {"Content-Type": "application/json", **headers})
    assert reply.status == 403, reply
    assert pair.engine.list(all=1) == []
