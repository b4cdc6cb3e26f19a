"""GET /containers/json: rows, order, limits, filters in every spelling."""
import json
import re

import pytest


def ids(rows):
    return [row["Id"] for row in rows]


@pytest.fixture
def label(engine):
    return engine.name()


def test_list_shows_only_the_running_unless_all(engine, label):
    running = engine.run("sleep", "60", Labels={"t": label})
    exited = engine.finish("true", Labels={"t": label})
    created = engine.create("true", Labels={"t": label})
    only = {"label": [f"t={label}"]}
    assert ids(engine.list(filters=only)) == [running]
    assert ids(engine.list(filters=only, all=1)) == [created, exited, running], "newest first"


@pytest.mark.parametrize("spelling", ["1", "true", "True"])
def test_list_reads_true_in_every_spelling(engine, label, spelling):
    """docker-py sends True (lesson 12)."""
    cid = engine.create("true", Labels={"t": label})
    assert ids(engine.list(all=spelling, filters={"label": [f"t={label}"]})) == [cid]


@pytest.mark.parametrize("spelling", ["0", "false", "False"])
def test_list_reads_false_in_every_spelling(engine, label, spelling):
    engine.create("true", Labels={"t": label})
    assert engine.list(all=spelling, filters={"label": [f"t={label}"]}) == []


def test_filters_come_as_maps_or_lists(engine, label):
    """Go sends maps, everyone else lists (lesson 12)."""
    cid = engine.create("true", Labels={"t": label})
    assert ids(engine.list(all=1, filters={"label": {f"t={label}": True}})) == [cid]
    assert ids(engine.list(all=1, filters={"label": [f"t={label}"]})) == [cid]


def test_a_row_has_what_clients_print(engine, label):
    name = engine.name()
    cid = engine.run("sh", "-c", "sleep 60", name=name, Labels={"t": label})
    row = engine.list(filters={"label": [f"t={label}"]})[0]
    assert (row["Id"], row["Names"], row["State"], row["Image"]) == (cid, ["/" + name], "running", engine.image)
    assert row["Command"] == "sh -c 'sleep 60'" and row["ImageID"].startswith("sha256:")
    assert row["Labels"].items() >= {"t": label}.items() and row["Created"] > 1.6e9
    assert re.fullmatch(r"Up (Less than a second|\d+ seconds?)", row["Status"])
    assert row["Ports"] == [] and "NetworkSettings" in row and "Mounts" in row and "HostConfig" in row


def test_status_words(engine, label):
    """They are printed as they come (lesson 25)."""
    exited = engine.finish("sh", "-c", "exit 3", Labels={"t": label})
    created = engine.create("true", Labels={"t": label})
    status = {row["Id"]: row["Status"] for row in engine.list(all=1, filters={"label": [f"t={label}"]})}
    assert re.fullmatch(r"Exited \(3\) (Less than a second|\d+ seconds?) ago", status[exited])
    assert status[created] == "Created"


def test_filter_by_label_key_and_value_are_anded(engine, label):
    """compose finds everything so (lesson 26)."""
    both = engine.create("true", Labels={"t": label, "x": "1"})
    one = engine.create("true", Labels={"t": label, "x": "2"})
    assert ids(engine.list(all=1, filters={"label": [f"t={label}", "x=1"]})) == [both]
    assert set(ids(engine.list(all=1, filters={"label": [f"t={label}", "x"]}))) == {both, one}
    assert engine.list(all=1, filters={"label": [f"t={label}", "y"]}) == []


def test_filter_by_name_matches_a_part(engine):
    name = engine.name()
    cid = engine.create("true", name=name + "-tail")
    assert ids(engine.list(all=1, filters={"name": [name]})) == [cid]
    assert ids(engine.list(all=1, filters={"name": [f"^/{name}-tail$"]})) == [cid]
    assert engine.list(all=1, filters={"name": [f"^{name}$"]}) == []


def test_filter_by_id_matches_a_prefix(engine):
    cid = engine.create("true")
    assert ids(engine.list(all=1, filters={"id": [cid[:12]]})) == [cid]


def test_filter_by_status_implies_all(engine, label):
    created = engine.create("true", Labels={"t": label})
    exited = engine.finish("true", Labels={"t": label})
    only = {"label": [f"t={label}"]}
    assert ids(engine.list(filters={**only, "status": ["created"]})) == [created]
    assert ids(engine.list(filters={**only, "status": ["exited"]})) == [exited]
    assert set(ids(engine.list(filters={**only, "status": ["exited", "created"]}))) == {exited, created}


def test_filter_by_exit_code(engine, label):
    three = engine.finish("sh", "-c", "exit 3", Labels={"t": label})
    engine.finish("true", Labels={"t": label})
    assert ids(engine.list(all=1, filters={"label": [f"t={label}"], "exited": ["3"]})) == [three]


def test_filter_by_ancestor(engine, label):
    cid = engine.create("true", Labels={"t": label})
    only = {"label": [f"t={label}"]}
    image = engine.inspect(cid)["Image"]
    for ancestor in (engine.image, engine.image + ":latest", image):
        assert ids(engine.list(all=1, filters={**only, "ancestor": [ancestor]})) == [cid], ancestor
    assert engine.list(all=1, filters={**only, "ancestor": ["ct-none"]}) == []


def test_filter_before_and_since(engine, label):
    made = [engine.create("true", Labels={"t": label}) for _ in range(3)]
    only = {"label": [f"t={label}"]}
    assert ids(engine.list(all=1, filters={**only, "before": [made[1]]})) == [made[0]]
    assert ids(engine.list(all=1, filters={**only, "since": [made[1]]})) == [made[2]]


def test_limit_takes_the_newest(engine, label):
    made = [engine.create("true", Labels={"t": label}) for _ in range(3)]
    assert ids(engine.list(limit=2, filters={"label": [f"t={label}"]})) == [made[2], made[1]]


def test_unknown_filter_is_400_and_named(engine):
    reply = engine.get("/containers/json", filters={"ct-none": ["x"]})
    assert reply.status == 400
    assert "ct-none" in reply.message


@pytest.mark.differs("Engine 20.10 answers 500")
@pytest.mark.parametrize("text", ["{", "[]", '{"label": 3}', '"x"', '{"label": {"a": {"b": 1}}}'])
def test_filters_that_are_no_filters_are_400(engine, text):
    reply = engine.get("/containers/json", filters=text)
    assert reply.status == 400, reply
    assert reply.message


@pytest.mark.differs("Engine 20.10 answers 500 to one of them")
def test_a_wrong_value_of_a_filter_is_400(engine):
    for filters in ({"status": ["ct-none"]}, {"exited": ["x"]}):
        reply = engine.get("/containers/json", filters=filters)
        assert reply.status == 400, (filters, reply)


def test_size_adds_sizes(engine, label):
    engine.create("true", Labels={"t": label})
    row = engine.list(all=1, size=1, filters={"label": [f"t={label}"]})[0]
    assert row.get("SizeRootFs", 0) > 0


def test_cli_ps_prints_rows(engine, label):
    name = engine.name()
    engine.run("sleep", "60", name=name, Labels={"t": label})
    out = engine.docker("ps", "--filter", f"label=t={label}", "--format", "{{json .}}")
    row = json.loads(out)
    assert row["Names"] == name and row["Command"] == '"sleep 60"' and row["State"] == "running"


def test_cli_ps_q_n_and_latest(engine):
    first, second = engine.create("true"), engine.create("true")
    assert engine.docker("ps", "-q", "--no-trunc", "-n", "2").split() == [second, first]
    assert engine.docker("ps", "-ql", "--no-trunc").strip() == second
