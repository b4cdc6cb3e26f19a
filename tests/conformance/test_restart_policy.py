"""Restart policies, pause and update, as Docker Engine 20.10 does them; those marked ours also across a kill of the backend."""
import time

import pytest
from engine import until

RESTARTING = "is restarting, wait until the container is running"


def policy(name, retries=0):
    return {"RestartPolicy": {"Name": name, "MaximumRetryCount": retries}}


def acted(engine, since, cid):
    return [event["Action"] for event in engine.events(since, container=[cid])]


def wait_restarting(engine, cid, count=3):
    """Between two runs, with a back-off that is long enough to look at it."""
    def is_there():
        info = engine.inspect(cid)
        return info["RestartCount"] >= count and info["State"]["Restarting"] and info["State"]["Pid"] == 0
    until(is_there, 20, "a restarting container")


def settled_logs(engine, cid, seconds=.15):
    """The output once it has been silent for a while; what was on its way when the pause came may follow it, but not for ever."""
    with engine.open("GET", f"/containers/{cid}/logs", query={"follow": 1, "stdout": 1, "tail": "0"}) as stream:
        for _ in range(20):
            if stream.is_silent(seconds):
                return engine.logs(cid)
            stream.chunk()
    raise AssertionError("it goes on printing")


# ---- policies ----


@pytest.mark.parametrize("host, words", [
    ({"AutoRemove": True, **policy("always")}, "can't create 'AutoRemove' container with restart policy"),
    (policy("sometimes"), "invalid restart policy 'sometimes'"),
    (policy("always", 2), "maximum retry count cannot be used with restart policy 'always'"),
    (policy("on-failure", -1), "maximum retry count cannot be negative"),
])
def test_create_refuses_a_policy_that_makes_no_sense(engine, host, words):
    reply = engine.post("/containers/create", {"Image": engine.image, "Cmd": ["true"], "HostConfig": host})
    assert reply.status == 400 and words in reply.message


def test_on_failure_tries_so_many_times_with_a_growing_wait(engine):
    since = f"{time.time():.9f}"
    cid = engine.run("sh", "-c", "exit 3", host=policy("on-failure", 2))
    until(lambda: engine.inspect(cid)["RestartCount"] == 2 and engine.state(cid)["Status"] == "exited", 20, "the last try")
    assert engine.state(cid)["ExitCode"] == 3
    events = [event for event in engine.events(since, container=[cid]) if event["Action"] in ("start", "die")]
    assert [event["Action"] for event in events] == ["start", "die"] * 3
    waits = [(events[i + 1]["timeNano"] - events[i]["timeNano"]) / 1e9 for i in (1, 3)]
    assert waits[0] >= .09 and waits[1] >= .19


def test_on_failure_leaves_a_success_alone(engine):
    cid = engine.finish("true", host=policy("on-failure"))
    info = engine.inspect(cid)
    assert info["State"]["Status"] == "exited" and info["RestartCount"] == 0


def test_what_a_restarting_container_shows_and_takes(engine):
    cid = engine.run("sh", "-c", "exit 4", host=policy("always"))
    wait_restarting(engine, cid, 4)
    state = engine.state(cid)
    assert state["Status"] == "restarting" and state["Running"] and state["ExitCode"] == 4
    [entry] = engine.list(filters={"id": [cid]})
    assert entry["State"] == "restarting" and entry["Status"].startswith("Restarting (4) ")
    assert [found["Id"] for found in engine.list(filters={"status": ["restarting"], "id": [cid]})] == [cid]
    wait_restarting(engine, cid, 5)
    assert engine.post(f"/containers/{cid}/start").status == 304
    for reply in (engine.post(f"/containers/{cid}/pause"), engine.post(f"/containers/{cid}/exec", {"Cmd": ["true"]}),
                  engine.get(f"/containers/{cid}/top")):
        assert reply.status == 409 and RESTARTING in reply.message
    reply = engine.delete(f"/containers/{cid}")
    assert reply.status == 409 and "You cannot remove a restarting container" in reply.message
    since = f"{time.time():.9f}"
    assert engine.post(f"/containers/{cid}/stop").status == 204
    state = engine.state(cid)
    assert state["Status"] == "exited" and not state["Restarting"] and state["ExitCode"] == 4
    assert acted(engine, since, cid) == ["stop"]


def test_a_wait_ends_with_the_run_and_force_removes_between_runs(engine):
    cid = engine.run("sh", "-c", "exit 5", host=policy("always"))
    wait_restarting(engine, cid)
    assert engine.wait(cid) == 5
    wait_restarting(engine, cid)
    assert engine.delete(f"/containers/{cid}", force=1).status == 204
    assert engine.get(f"/containers/{cid}/json").status == 404


def test_a_stop_is_the_end_also_with_always(engine):
    cid = engine.run("sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done", host=policy("always"))
    query = {"filters": {"container": [cid], "event": ["start"]}}
    with engine.open("GET", "/events", query=query) as events:
        assert engine.post(f"/containers/{cid}/stop", t=5).status == 204
        assert events.is_silent(.5)
    info = engine.inspect(cid)
    assert info["State"]["Status"] == "exited" and info["RestartCount"] == 0


def test_a_restart_keeps_a_container_with_auto_remove(engine):
    cid = engine.run("sleep", "60", host={"AutoRemove": True})
    since = f"{time.time():.9f}"
    assert engine.post(f"/containers/{cid}/restart", t=0).status == 204
    assert engine.state(cid)["Running"]
    assert acted(engine, since, cid) == ["kill", "die", "stop", "start", "restart"]


# ---- pause ----


def test_a_paused_container_does_nothing_until_it_is_unpaused(engine):
    script = "trap 'exit 9' TERM; (while :; do echo a; sleep 0.02; done) & while :; do echo b; sleep 0.02; done"
    cid = engine.run("sh", "-c", script)
    until(lambda: b"a" in engine.logs(cid)[0] and b"b" in engine.logs(cid)[0], 10, "output")
    since = f"{time.time():.9f}"
    assert engine.post(f"/containers/{cid}/pause").status == 204
    before = settled_logs(engine, cid, .3)
    state = engine.state(cid)
    assert state["Status"] == "paused" and state["Paused"] and state["Running"]
    [entry] = engine.list(filters={"status": ["paused"], "id": [cid]})
    assert entry["State"] == "paused" and entry["Status"].startswith("Up ") and entry["Status"].endswith(" (Paused)")
    assert engine.logs(cid) == before
    assert engine.post(f"/containers/{cid}/unpause").status == 204
    until(lambda: len(engine.logs(cid)[0]) > len(before[0]) + 20, 10, "output after the pause")
    assert engine.state(cid)["Status"] == "running"
    assert acted(engine, since, cid) == ["pause", "unpause"]


def test_what_a_paused_container_refuses(engine):
    cid = engine.create("sleep", "60")
    reply = engine.post(f"/containers/{cid}/pause")
    assert reply.status == 409 and "is not running" in reply.message
    engine.start(cid)
    reply = engine.post(f"/containers/{cid}/unpause")
    assert reply.status == 500 and "is not paused" in reply.message
    assert engine.post(f"/containers/{cid}/pause").status == 204
    for reply, words in ((engine.post(f"/containers/{cid}/pause"), "is already paused"),
                         (engine.post(f"/containers/{cid}/start"), "cannot start a paused container, try unpause instead"),
                         (engine.post(f"/containers/{cid}/exec", {"Cmd": ["true"]}), "is paused, unpause the container before exec"),
                         (engine.post(f"/containers/{cid}/attach", stream=1, stdout=1), "is paused, unpause the container before attach"),
                         (engine.delete(f"/containers/{cid}"), "Unpause and then stop the container")):
        assert reply.status == 409 and words in reply.body.decode()
    assert engine.get(f"/containers/{cid}/top").status == 200


@pytest.mark.parametrize("end, actions", [
    ("stop", ["kill", "unpause", "die", "stop"]),
    ("kill", ["kill", "die"]),
])
def test_a_paused_container_is_stopped_and_killed(engine, end, actions):
    cid = engine.run("sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.02; done")
    engine.exec(cid, "true")
    assert engine.post(f"/containers/{cid}/pause").status == 204
    since = f"{time.time():.9f}"
    assert engine.post(f"/containers/{cid}/{end}").status == 204
    state = engine.state(cid)
    assert not state["Paused"] and state["ExitCode"] == (9 if end == "stop" else 137)
    assert acted(engine, since, cid) == actions


def test_a_fork_bomb_does_not_escape_a_pause(engine):
    """Every child prints once and is replaced; after the pause not a byte comes."""
    cid = engine.run("sh", "-c", "work() { while :; do (echo x) & wait $!; done; }; work & work & work & work")
    until(lambda: len(engine.logs(cid)[0]) > 200, 20, "children")
    for _ in range(5):
        assert engine.post(f"/containers/{cid}/pause").status == 204
        before = len(settled_logs(engine, cid)[0])
        assert engine.post(f"/containers/{cid}/unpause").status == 204
        until(lambda: len(engine.logs(cid)[0]) > before, 10, "children after the pause")


# ---- update ----


def test_update_changes_the_policy(engine):
    cid = engine.run("sleep", "60")
    since = f"{time.time():.9f}"
    assert engine.docker("update", "--restart", "on-failure:4", cid).strip() == cid
    assert engine.inspect(cid)["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 4}
    assert acted(engine, since, cid) == ["update"]
    for given, words in ((policy("foo"), "invalid restart policy 'foo'"), (policy("no", 1), "maximum retry count cannot be used")):
        reply = engine.post(f"/containers/{cid}/update", given)
        assert reply.status == 400 and words in reply.message
    assert engine.inspect(cid)["HostConfig"]["RestartPolicy"]["Name"] == "on-failure"


def test_update_gives_no_policy_to_a_container_with_auto_remove(engine):
    cid = engine.run("sleep", "60", host={"AutoRemove": True})
    reply = engine.post(f"/containers/{cid}/update", policy("always"))
    assert reply.status == 409 and "Restart policy cannot be updated because AutoRemove is enabled" in reply.message


# ---- across the daemon ----


def restart_backend(pair):
    pair.backend.kill()
    pair.start_backend()

    def is_back():
        try:
            return pair.engine.get("/containers/json").status == 200
        except (OSError, EOFError):
            return False
    until(is_back, 15, "the backend behind the frontend")


@pytest.mark.ours
def test_a_policy_goes_on_after_a_killed_backend(apart):
    pair = apart()
    engine = pair.engine
    between = engine.run("sh", "-c", "exit 4", host=policy("always"))
    wait_restarting(engine, between, 4)
    running = engine.run("sh", "-c", "sleep 1; exit 3", host=policy("on-failure"))
    count = engine.inspect(between)["RestartCount"]
    pair.backend.kill()
    until((pair.folder / "data/containers" / running / "exit.json").exists, 15, "the exit without a backend")
    pair.start_backend()
    until(lambda: engine.inspect(running)["RestartCount"] >= 1, 15, "a restart of what ended meanwhile")
    until(lambda: engine.inspect(between)["RestartCount"] > count, 15, "the next run after the back-off")


@pytest.mark.ours
def test_what_was_stopped_by_hand_comes_back_with_the_daemon_only_with_always(apart):
    pair = apart()
    engine = pair.engine
    cids = {name: engine.run("sleep", "60", host=policy(name)) for name in ("no", "always", "unless-stopped", "on-failure")}
    updated = engine.run("sleep", "60")
    created = engine.create("sleep", "60", host=policy("always"))
    for cid in (*cids.values(), updated):
        engine.post(f"/containers/{cid}/kill")
    engine.post(f"/containers/{updated}/update", policy("always"))
    restart_backend(pair)
    until(lambda: engine.state(cids["always"])["Running"] and engine.state(updated)["Running"], 15, "always")
    for name in ("no", "unless-stopped", "on-failure"):
        assert engine.state(cids[name])["Status"] == "exited", name
    assert engine.state(created)["Status"] == "created"
    assert engine.inspect(updated)["HostConfig"]["RestartPolicy"]["Name"] == "always"


@pytest.mark.ours
def test_a_pause_outlives_the_backend(apart):
    pair = apart()
    engine = pair.engine
    cid = engine.run("sh", "-c", "while :; do echo a; sleep 0.02; done")
    until(lambda: engine.logs(cid)[0], 10, "output")
    assert engine.post(f"/containers/{cid}/pause").status == 204
    before = settled_logs(engine, cid)
    restart_backend(pair)
    assert engine.state(cid)["Status"] == "paused" and engine.logs(cid) == before
    until(lambda: engine.post(f"/containers/{cid}/unpause").status == 204, 10, "the agent")
    until(lambda: len(engine.logs(cid)[0]) > len(before[0]), 10, "output after the pause")
