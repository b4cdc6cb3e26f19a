"""events: live and stored, filters, what one run tells."""
import json
import time

import pytest


def follow(engine, **query):
    stream = engine.open("GET", "/events", query=query)
    assert stream.status == 200
    return stream


def next_event(stream, action, cid=None):
    """Reads up to the next event with that action (of that container); everything else is passed over."""
    pending = b""
    while True:
        pending += stream.chunk()
        while b"\n" in pending:
            line, pending = pending.split(b"\n", 1)
            event = json.loads(line)
            if event["Action"] == action and cid in (None, event["Actor"]["ID"]):
                return event


def actions(events):
    return [event["Action"] for event in events if event["Type"] == "container"]


def test_events_answer_their_head_at_once(engine):
    """Lesson 1."""
    with follow(engine, filters={"container": ["ct-none"]}) as stream:
        assert stream.headers["content-type"] == "application/json"
        assert stream.is_silent(0.1)


def test_one_run_tells_create_attach_start_die_destroy(engine):
    """Lesson 28."""
    since, label = f"{time.time():.9f}", engine.name()
    engine.docker("run", "--rm", "--label", f"ev={label}", engine.image, "sh", "-c", "exit 0")
    seen = actions(engine.events(since, label=[f"ev={label}"]))
    assert [action for action in seen if action in ("create", "attach", "start", "die", "destroy")] == [
        "create", "attach", "start", "die", "destroy"]


def test_die_carries_the_exit_code(engine):
    since = f"{time.time():.9f}"
    cid = engine.finish("sh", "-c", "exit 7")
    die = next(event for event in engine.events(since, container=[cid], event=["die"]))
    assert die["Actor"]["Attributes"]["exitCode"] == "7"


def test_an_event_has_every_key_of_docker(engine):
    since, name = f"{time.time():.9f}", engine.name()
    cid = engine.create("true", name=name, Labels={"some": "label"})
    event = engine.events(since, container=[cid])[0]
    assert (event["Type"], event["Action"], event["status"], event["id"]) == ("container", "create", "create", cid)
    assert event["from"] == engine.image and event["scope"] == "local"
    assert event["Actor"]["ID"] == cid
    assert event["Actor"]["Attributes"].items() >= {"image": engine.image, "name": name, "some": "label"}.items()
    assert event["time"] == event["timeNano"] // 10**9 and abs(event["time"] - time.time()) < 60


def test_events_come_live_with_all_labels(engine):
    """devcontainer waits for start so (lesson 27)."""
    label = engine.name()
    with follow(engine, filters={"event": ["start"], "label": [f"l={label}"]}) as stream:
        cid = engine.run("sleep", "60", Labels={"l": label, "other": "x"})
        event = next_event(stream, "start")
        assert event["Actor"]["ID"] == cid
        assert event["Actor"]["Attributes"].items() >= {"l": label, "other": "x"}.items()


def test_until_in_the_past_ends_the_stream(engine):
    assert engine.get("/events", since="1", until="2").body == b""


def test_until_in_the_future_ends_it_then(engine):
    started = time.monotonic()
    engine.get("/events", since=f"{time.time():.9f}", until=f"{time.time() + 1:.9f}")
    assert 0.5 < time.monotonic() - started < 4


def test_since_replays_and_goes_on_live(engine):
    since = f"{time.time():.9f}"
    cid = engine.create("sleep", "60")
    with follow(engine, since=since, filters={"container": [cid]}) as stream:
        assert next_event(stream, "create")["Actor"]["ID"] == cid
        engine.start(cid)
        assert next_event(stream, "start")["Actor"]["ID"] == cid


def test_filters_by_type_event_container_image_and_label(engine):
    since, label, name = f"{time.time():.9f}", engine.name(), engine.name()
    cid = engine.create("true", name=name, Labels={"l": label})
    other = engine.create("true")
    for filters in ({"container": [name]}, {"container": [cid]}, {"label": [f"l={label}"]}, {"label": [f"l={label}"], "type": ["container"]}):
        assert [event["Actor"]["ID"] for event in engine.events(since, **filters)] == [cid], filters
    assert engine.events(since, container=[cid], event=["die"]) == []
    assert engine.events(since, container=[cid], type=["image"]) == []
    assert {event["Actor"]["ID"] for event in engine.events(since, image=[engine.image], container=[cid, other])} == {cid, other}


def test_rename_kill_stop_and_exec_are_told(engine):
    since = f"{time.time():.9f}"
    cid = engine.run("sleep", "60")
    engine.exec(cid, "true")
    engine.post(f"/containers/{cid}/rename", name=engine.name())
    engine.post(f"/containers/{cid}/stop", t=0)
    seen = actions(engine.events(since, container=[cid]))
    for action in ("create", "start", "rename", "kill", "die", "stop"):
        assert action in seen, (action, seen)
    assert any(action.startswith("exec_create: true") for action in seen)
    assert any(action.startswith("exec_start: true") for action in seen)
    assert "exec_die" in seen
    assert seen.index("kill") < seen.index("die") < seen.index("stop")


def test_restart_is_told_in_order(engine):
    cid = engine.run("sleep", "60")
    since = f"{time.time():.9f}"
    engine.post(f"/containers/{cid}/restart", t=0)
    seen = actions(engine.events(since, container=[cid]))
    assert [action for action in seen if action in ("die", "start", "restart")] == ["die", "start", "restart"]


def test_two_followers_see_the_same(engine):
    label = engine.name()
    filters = {"label": [f"l={label}"]}
    with follow(engine, filters=filters) as one, follow(engine, filters=filters) as two:
        cid = engine.create("true", Labels={"l": label})
        assert next_event(one, "create")["Actor"]["ID"] == next_event(two, "create")["Actor"]["ID"] == cid


def test_cli_events_prints_a_run(engine):
    since, label = f"{time.time():.9f}", engine.name()
    engine.docker("run", "--rm", "--label", f"ev={label}", engine.image, "true")
    out = engine.docker("events", "--since", since, "--until", f"{time.time():.9f}", "--filter", f"label=ev={label}", "--format",
                        "{{.Type}} {{.Action}}")
    assert "container create\n" in out and "container destroy\n" in out


@pytest.mark.parametrize("query", [{"since": "x"}, {"until": "ct"}, {"filters": "{"}])
def test_events_refuse_what_they_cannot_read(engine, query):
    reply = engine.get("/events", **{"until": f"{time.time():.9f}", **query})
    assert reply.status in (400, 500) and reply.message
