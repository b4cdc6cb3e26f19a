"""Clients that leave, or end their input, while an answer without an end is told to them."""
import os

import pytest
from daemon import answers
from engine import until
from registry import free_port

OPEN_ENDED = [("GET", "/events", {}), ("GET", "/containers/{}/logs", {"stdout": 1, "follow": 1}), ("POST", "/containers/{}/wait", {})]


@pytest.mark.parametrize("method, path, query", OPEN_ENDED)
def test_an_open_ended_answer_ends_with_its_clients_input(engine, method, path, query):
    cid = engine.run("sleep", "60")
    with engine.open(method, path.format(cid), query=query) as stream:
        assert stream.status == 200
        stream.close_write()
        stream.rest(5)  # the engine closes; else this times out


@pytest.mark.differs("20.10 breaks the answer off in the middle")
def test_an_answer_with_an_end_is_told_to_a_client_that_ended_its_input(engine):
    cid = engine.finish("sh", "-c", "seq 1 20000")
    with engine.open("GET", f"/containers/{cid}/logs", query={"stdout": 1}) as stream:
        stream.close_write()
        assert b"20000\n" in stream.rest(10)


@pytest.mark.ours
@pytest.mark.parametrize("method, path, query", OPEN_ENDED)
def test_streams_of_tcp_clients_that_left_are_closed_without_output(apart, method, path, query):
    pair = apart(frontend_addr=f":{free_port()}")
    assert answers(pair.engine)
    cid = pair.engine.run("sleep", "60")

    def descriptors():
        return sum(len(os.listdir(f"/proc/{program.process.pid}/fd")) for program in (pair.backend, pair.frontend))
    before = descriptors()
    streams = [pair.engine.open(method, path.format(cid), query=query) for _ in range(20)]
    assert descriptors() >= before + 50
    for stream in streams:
        stream.close()
    until(lambda: descriptors() <= before + 10, 8, "the end of streams that nobody reads")
