"""stop, kill, restart: signals, grace, 304 and 409."""
import time

import pytest
from engine import until

TRAP = 'trap "echo term; exit 3" TERM; trap "echo hup" HUP; echo ready; while :; do sleep 0.05; done'


@pytest.fixture
def trapper(engine):
    """A container that answers signals; ready when this returns."""
    cid = engine.create("sh", "-c", TRAP)
    with engine.attach(cid, stream=1, stdout=1) as stream:
        engine.start(cid)
        stream.text(b"ready\n")
    return cid


def test_stop_sends_term_and_waits(engine, trapper):
    assert engine.post(f"/containers/{trapper}/stop").status == 204
    assert engine.state(trapper)["ExitCode"] == 3
    assert engine.logs(trapper)[0] == b"ready\nterm\n"


def test_stop_kills_after_the_grace_period(engine):
    cid = engine.run("sleep", "60")
    started = time.monotonic()
    assert engine.post(f"/containers/{cid}/stop", t=1).status == 204
    assert 0.9 < time.monotonic() - started < 4
    assert engine.state(cid)["ExitCode"] == 137


def test_stop_with_no_grace_kills_at_once(engine):
    cid = engine.run("sleep", "60")
    started = time.monotonic()
    assert engine.post(f"/containers/{cid}/stop", t=0).status == 204
    assert time.monotonic() - started < 2
    assert engine.state(cid)["ExitCode"] == 137


def test_stop_of_a_stopped_container_is_304(engine):
    """gitlab-runner sends stop after every step (lesson 14)."""
    for cid in (engine.finish("true"), engine.create("true")):
        reply = engine.post(f"/containers/{cid}/stop")
        assert (reply.status, reply.body) == (304, b"")


def test_stop_uses_the_containers_own_signal_and_timeout(engine):
    cid = engine.create("sh", "-c", 'trap "exit 4" INT; echo ready; while :; do sleep 0.05; done', StopSignal="SIGINT", StopTimeout=1)
    with engine.attach(cid, stream=1, stdout=1) as stream:
        engine.start(cid)
        stream.text(b"ready\n")
    assert engine.post(f"/containers/{cid}/stop").status == 204
    assert engine.state(cid)["ExitCode"] == 4


def test_pid_1_ignores_what_it_has_no_handler_for(engine):
    """As a real pid 1: TERM does nothing to a plain sleep, KILL does."""
    cid = engine.run("sleep", "60")
    assert engine.post(f"/containers/{cid}/kill", signal="TERM").status == 204
    assert engine.exec(cid, "true")[0] == 0
    assert engine.state(cid)["Running"]


@pytest.mark.parametrize("spelling", ["HUP", "SIGHUP", "sighup", "1"])
def test_kill_takes_every_spelling_of_a_signal(engine, trapper, spelling):
    assert engine.post(f"/containers/{trapper}/kill", signal=spelling).status == 204
    until(lambda: b"hup\n" in engine.logs(trapper)[0], what="the trap's word")
    assert engine.state(trapper)["Running"]


@pytest.mark.parametrize("spelling", ["SIGNONE", "999", "-x"])
def test_kill_refuses_what_is_no_signal(engine, trapper, spelling):
    reply = engine.post(f"/containers/{trapper}/kill", signal=spelling)
    assert reply.status in (400, 500)
    assert "signal" in reply.message.lower() and spelling.lstrip("-").lower() in reply.message.lower()


def test_kill_without_a_signal_kills(engine):
    cid = engine.run("sleep", "60")
    assert engine.post(f"/containers/{cid}/kill").status == 204
    assert engine.wait(cid) == 137


def test_kill_of_a_stopped_container_is_409_in_dockers_words(engine):
    cid = engine.finish("true")
    reply = engine.post(f"/containers/{cid}/kill")
    assert reply.status == 409
    assert reply.message == f"Cannot kill container: {cid}: Container {cid} is not running"


def test_kill_ends_every_process(engine):
    cid = engine.run("sh", "-c", "sleep 50 & sleep 50 & wait")
    engine.post(f"/containers/{cid}/kill")
    assert engine.wait(cid) == 137
    assert engine.get(f"/containers/{cid}/top").status in (409, 500)


def test_restart_is_a_new_process(engine):
    cid = engine.run("sleep", "60")
    before = engine.state(cid)
    assert engine.post(f"/containers/{cid}/restart", t=0).status == 204
    after = engine.state(cid)
    assert after["Running"] and after["Pid"] != before["Pid"] and after["StartedAt"] > before["StartedAt"]


def test_restart_starts_a_stopped_container(engine):
    cid = engine.finish("sh", "-c", "test -e /once && exec sleep 60; touch /once")
    assert engine.post(f"/containers/{cid}/restart", t=0).status == 204
    assert engine.state(cid)["Running"]


def test_cli_stop_start_kill_wait(engine):
    cid = engine.run("sleep", "60")
    engine.docker("stop", "-t", "1", cid)
    assert engine.state(cid)["Status"] == "exited"
    engine.docker("start", cid)
    engine.docker("kill", cid)
    assert engine.docker("wait", cid).strip() == "137"


def test_cli_kill_of_a_stopped_container_fails(engine):
    done = engine.cli("kill", engine.finish("true"))
    assert done.returncode == 1 and "is not running" in done.err


def test_cli_proxies_signals(engine):
    name = engine.name()
    with engine.popen("run", "--name", name, engine.image, "sh", "-c", TRAP) as client:
        assert client.stdout.readline() == b"ready\n"
        engine.made.append(name)
        client.terminate()
        assert client.wait(10) == 3


@pytest.mark.parametrize("verb", ["stop", "kill", "restart", "start", "pause", "rename?name=x", "resize?h=1&w=1"])
def test_verbs_on_a_missing_container_are_404(engine, verb):
    if verb == "pause" and not engine.is_control:
        pytest.skip("pause is answered 501")
    reply = engine.request("POST", f"/containers/ct-none/{verb}")
    assert reply.status == 404
    assert reply.message.endswith("No such container: ct-none")


def test_stop_refuses_a_timeout_that_is_none(engine):
    cid = engine.run("sleep", "60")
    assert engine.post(f"/containers/{cid}/stop", t="x").status in (400, 500)
    assert engine.state(cid)["Running"]
