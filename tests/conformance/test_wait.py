"""wait: headers at once, its three conditions, several waiters."""
import json
import threading

import pytest
from engine import until


def waiting(engine, cid, **query):
    stream = engine.open("POST", f"/containers/{cid}/wait", query=query)
    assert stream.status == 200
    return stream


@pytest.mark.parametrize("condition", ["next-exit", "removed"])
def test_wait_sends_its_head_before_anything_happens(engine, condition):
    """Without it every `docker run` hangs (lesson 1)."""
    cid = engine.create("true")
    with waiting(engine, cid, condition=condition) as stream:
        assert stream.headers["content-type"] == "application/json"
        assert stream.is_silent(0.1)


def test_wait_answers_when_the_container_ends(engine):
    cid = engine.run("sh", "-c", "read x; exit 5", OpenStdin=True, StdinOnce=True)
    with waiting(engine, cid) as stream:
        assert stream.is_silent(0.1)
        with engine.attach(cid) as client:
            client.write(b"go\n")
            assert json.loads(stream.body())["StatusCode"] == 5


def test_wait_not_running_answers_at_once_for_an_exited_container(engine):
    """SDKs and gitlab-runner (lesson 2)."""
    cid = engine.finish("sh", "-c", "exit 3")
    for _ in range(2):
        assert engine.wait(cid, "not-running") == 3


def test_wait_not_running_answers_at_once_for_a_created_container(engine):
    assert engine.wait(engine.create("sh", "-c", "exit 3"), "not-running") == 0


def test_wait_next_exit_waits_for_the_next_run(engine):
    """`docker run` waits so on a container that is only created (lesson 2)."""
    cid = engine.finish("sh", "-c", "test -e /second && exit 2; touch /second; exit 1")
    with waiting(engine, cid, condition="next-exit") as stream:
        assert stream.is_silent(0.1)
        engine.start(cid)
        assert json.loads(stream.body())["StatusCode"] == 2


def test_wait_removed_answers_when_the_name_is_free(engine):
    """Clients reuse the name right away (lesson 2)."""
    name = engine.name()
    for code in (4, 0, 1):
        cid = engine.create("sh", "-c", f"exit {code}", name=name, host={"AutoRemove": True})
        with waiting(engine, cid, condition="removed") as stream:
            engine.start(cid)
            assert json.loads(stream.body())["StatusCode"] == code


def test_wait_removed_waits_for_a_removal_by_hand(engine):
    cid = engine.finish("sh", "-c", "exit 6")
    with waiting(engine, cid, condition="removed") as stream:
        assert stream.is_silent(0.1)
        engine.delete(f"/containers/{cid}")
        assert json.loads(stream.body())["StatusCode"] == 6


def test_wait_of_a_missing_container_is_404(engine):
    reply = engine.post("/containers/ct-none/wait")
    assert (reply.status, reply.message) == (404, "No such container: ct-none")


@pytest.mark.differs("Engine 20.10 takes an unknown condition for the default")
def test_wait_refuses_an_unknown_condition(engine):
    cid = engine.create("true")
    reply = engine.post(f"/containers/{cid}/wait", condition="ct-never")
    assert reply.status == 400
    assert "ct-never" in reply.message


def test_every_waiter_gets_the_answer(engine):
    cid = engine.run("sh", "-c", "read x; exit 8", OpenStdin=True, StdinOnce=True)
    streams = [waiting(engine, cid) for _ in range(10)]
    with engine.attach(cid) as client:
        client.close_write()
        codes = [json.loads(stream.body())["StatusCode"] for stream in streams]
    for stream in streams:
        stream.close()
    assert codes == [8] * 10


def test_a_waiter_that_leaves_disturbs_nobody(engine):
    cid = engine.run("sh", "-c", "read x; exit 8", OpenStdin=True, StdinOnce=True)
    waiting(engine, cid).close()
    with waiting(engine, cid) as stream, engine.attach(cid) as client:
        client.close_write()
        assert json.loads(stream.body())["StatusCode"] == 8


def test_cli_wait_prints_the_code(engine):
    cid = engine.run("sh", "-c", "exit 5")
    assert engine.docker("wait", cid).strip() == "5"
    assert engine.docker("wait", cid).strip() == "5"


def test_cli_wait_for_several(engine):
    ids = [engine.run("sh", "-c", f"exit {code}") for code in (1, 2, 3)]
    assert engine.docker("wait", *ids).split() == ["1", "2", "3"]


def test_wait_ends_for_those_who_wait_while_it_is_killed(engine):
    cid = engine.run("sleep", "60")
    codes = []
    waiter = threading.Thread(target=lambda: codes.append(engine.wait(cid)))
    waiter.start()
    until(lambda: engine.state(cid)["Running"])
    assert engine.post(f"/containers/{cid}/kill").status == 204
    waiter.join(10)
    assert codes == [137]
