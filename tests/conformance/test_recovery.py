"""kill -9 of either program while containers run, then a start: nothing is lost (DESIGN 1, idea 4)."""
import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pytest
from engine import demux, until

pytestmark = pytest.mark.ours

COUNT = 'i=0; while test $i -lt %d; do echo line $i; i=$((i + 1)); sleep 0.01; done; exit 7'


def lines(n):
    return b"".join(b"line %d\n" % i for i in range(n))


def restart_backend(pair):
    pair.backend.kill()
    pair.start_backend()
    until(lambda: reachable(pair.engine), what="the backend behind the frontend")


def reachable(engine):
    with contextlib.suppress(OSError, EOFError):
        return engine.get("/containers/json").status == 200
    return False


def test_names_states_and_exit_codes_survive_a_killed_backend(apart):
    pair = apart()
    engine = pair.engine
    exited = engine.finish("sh", "-c", "echo out; exit 7", name="ct-exited", Labels={"k": "v"})
    created = engine.create("true", name="ct-created")
    running = engine.run("sleep", "60", name="ct-running")
    before = {cid: engine.inspect(cid) for cid in (exited, created, running)}
    restart_backend(pair)
    for cid, was in before.items():
        now = engine.inspect(cid)
        for key in ("Id", "Name", "Created", "Config", "HostConfig", "Image", "Path", "Args"):
            assert now[key] == was[key], key
        for key in ("Status", "ExitCode", "StartedAt", "FinishedAt", "Pid"):
            assert now["State"][key] == was["State"][key], key
    assert engine.wait(exited) == 7
    reply = engine.post("/containers/create", {"Image": engine.image}, name="ct-created")
    assert reply.status == 409
    assert engine.logs(exited)[0] == b"out\n"


def test_a_running_container_is_attached_execed_and_waited_for_after_a_kill(apart):
    pair = apart()
    engine = pair.engine
    cid = engine.run("sh", "-c", "echo up; while read x; do echo got $x; test $x = end && exit 5; done", OpenStdin=True)
    restart_backend(pair)
    assert engine.exec(cid, "echo", "inside") == (0, b"inside\n", b"")
    with engine.open("POST", f"/containers/{cid}/wait") as waiting, engine.attach(cid) as stream:
        stream.write(b"one\n")
        assert stream.text(b"\n") == b"got one\n"
        stream.write(b"end\n")
        assert stream.frames()[0] == b"got end\n"
        assert json.loads(waiting.body())["StatusCode"] == 5
    assert engine.logs(cid)[0] == b"up\ngot one\ngot end\n"


def test_not_a_byte_of_output_is_lost_while_the_backend_is_away(apart):
    pair = apart()
    engine = pair.engine
    cid = engine.run("sh", "-c", COUNT % 120)
    pair.backend.kill()
    pair.start_backend()
    until(lambda: reachable(engine), what="the backend")
    assert engine.wait(cid) == 7
    assert engine.logs(cid)[0] == lines(120)


def test_a_container_that_ended_while_the_backend_was_away_has_its_exit_code(apart):
    pair = apart()
    engine = pair.engine
    cid = engine.run("sh", "-c", "echo first; sleep 0.5; echo last; exit 9")
    pair.backend.kill()
    until(lambda: (pair.folder / "data").exists() and ended(pair.folder / "data", cid), what="the exit's file")
    pair.start_backend()
    until(lambda: reachable(engine), what="the backend")
    assert engine.wait(cid) == 9
    state = engine.state(cid)
    assert (state["Status"], state["ExitCode"]) == ("exited", 9) and state["FinishedAt"] > state["StartedAt"]
    assert engine.logs(cid)[0] == b"first\nlast\n"


def ended(data, cid):
    return any(path.parent.name.startswith(cid[:12]) or cid in str(path) for path in data.rglob("exit.json"))


def test_events_survive_and_the_exit_is_told_once(apart):
    pair = apart()
    engine = pair.engine
    since = f"{time.time():.9f}"
    cid = engine.run("sh", "-c", "read x; exit 3", OpenStdin=True, StdinOnce=True)
    restart_backend(pair)
    with engine.attach(cid) as stream:
        stream.close_write()
        stream.rest()
    assert engine.wait(cid) == 3
    seen = [event["Action"] for event in engine.events(since, container=[cid])]
    assert [action for action in seen if action in ("create", "start", "die")] == ["create", "start", "die"]


def test_a_killed_frontend_takes_nothing_with_it(apart):
    pair = apart()
    engine = pair.engine
    cid = engine.run("sh", "-c", COUNT % 60)
    with engine.attach(cid, stream=1, stdout=1) as stream:
        pair.frontend.kill()
        stream.rest()
    pair.start_frontend()
    until(lambda: reachable(engine), what="the frontend")
    assert engine.wait(cid) == 7
    assert engine.logs(cid)[0] == lines(60)


def test_clients_of_a_killed_backend_see_the_end_of_their_streams(apart):
    pair = apart()
    engine = pair.engine
    cid = engine.run("sleep", "60")
    with engine.attach(cid, stream=1, stdout=1) as stream, engine.open("GET", "/events") as events:
        pair.backend.kill()
        stream.rest(timeout=5)
        events.rest(timeout=5)
    reply = engine.get("/containers/json")
    assert reply.status == 503 and "cannot be reached" in reply.message
    assert engine.get("/_ping").status == 200, "the frontend itself goes on"
    pair.start_backend()
    until(lambda: reachable(engine), what="the backend")
    assert engine.state(cid)["Running"]


def test_stop_and_remove_work_on_an_adopted_container(apart):
    pair = apart()
    engine = pair.engine
    cid = engine.create("sh", "-c", 'trap "echo term; exit 4" TERM; echo ready; while :; do sleep 0.05; done')
    with engine.attach(cid, stream=1, stdout=1) as stream:
        engine.start(cid)
        stream.text(b"ready\n")
    restart_backend(pair)
    assert engine.post(f"/containers/{cid}/stop").status == 204
    assert engine.state(cid)["ExitCode"] == 4 and engine.logs(cid)[0] == b"ready\nterm\n"
    engine.start(cid)
    assert engine.delete(f"/containers/{cid}", force=1).status == 204
    assert engine.get(f"/containers/{cid}/json").status == 404


def test_auto_remove_survives_a_kill(apart):
    pair = apart()
    engine = pair.engine
    cid = engine.run("sh", "-c", "read x; true", OpenStdin=True, StdinOnce=True, host={"AutoRemove": True})
    restart_backend(pair)
    with engine.open("POST", f"/containers/{cid}/wait", query={"condition": "removed"}) as waiting:
        with engine.attach(cid) as stream:
            stream.close_write()
            assert json.loads(waiting.body())["StatusCode"] == 0
    assert engine.get(f"/containers/{cid}/json").status == 404


def test_killing_again_and_again_loses_nothing(apart):
    pair = apart()
    engine = pair.engine
    cid = engine.run("sh", "-c", COUNT % 200)
    made = []
    for round_number in range(4):
        made.append(engine.create("true", name=f"ct-round-{round_number}"))
        restart_backend(pair)
    assert {row["Id"] for row in engine.list(all=1)} == {cid, *made}
    assert engine.wait(cid) == 7
    assert engine.logs(cid)[0] == lines(200)


def test_a_followed_log_is_taken_up_again_where_it_broke(apart):
    """The client asks again with since; what it has and what it gets is everything."""
    pair = apart()
    engine = pair.engine
    cid = engine.run("sh", "-c", COUNT % 100)
    with engine.open("GET", f"/containers/{cid}/logs", query={"follow": 1, "stdout": 1}) as stream:
        stream.chunk()
        restart_backend(pair)
    with engine.open("GET", f"/containers/{cid}/logs", query={"follow": 1, "stdout": 1}) as stream:
        assert demux(stream.body())[0] == lines(100)


def test_a_stop_by_signal_leaves_containers_running(apart):
    """systemctl restart is no end of anybody's work."""
    pair = apart()
    engine = pair.engine
    cid = engine.run("sleep", "60")
    assert pair.backend.end() == 0
    pair.start_backend()
    until(lambda: reachable(engine), what="the backend")
    assert engine.state(cid)["Running"] and engine.exec(cid, "true")[0] == 0


def test_serve_restarts_a_program_that_dies(serve):
    engine = serve(is_tagged=True)
    cid = engine.create("true")
    for name in ("sockerless-backend-memory", "sockerless-frontend-docker"):
        kill_child_of(engine, name)
        until(lambda: reachable(engine), what=f"{name} again")
        assert engine.state(cid)["Status"] == "created"


def kill_child_of(engine, name):
    """Kills the program of that name that serves this engine: it has the engine's folder among its arguments or its parent's."""
    folder = engine.host.removeprefix("unix://").rpartition("/")[0]
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError, ValueError):
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            of_serve = folder.encode() in Path("/proc", parent, "cmdline").read_bytes()
            if arguments[0].rpartition(b"/")[2].decode() == name and of_serve:
                os.kill(int(entry.name), signal.SIGKILL)
                until(lambda: not entry.exists(), what="its end")
                return
    raise AssertionError(f"no {name} below serve")
