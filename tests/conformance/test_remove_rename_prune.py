"""DELETE, rename, prune."""
import json
import threading


def test_remove_takes_the_container_away(engine):
    cid = engine.finish("true")
    reply = engine.delete(f"/containers/{cid}")
    assert (reply.status, reply.body) == (204, b"")
    assert engine.get(f"/containers/{cid}/json").status == 404
    assert cid not in [row["Id"] for row in engine.list(all=1)]


def test_remove_of_a_running_container_is_409_in_dockers_words(engine):
    """Lesson 18."""
    cid = engine.run("sleep", "60")
    reply = engine.delete(f"/containers/{cid}")
    assert reply.status == 409
    assert reply.message == (f"You cannot remove a running container {cid}. Stop the container before attempting removal or force "
                             "remove")


def test_force_removes_a_running_container(engine):
    cid = engine.run("sleep", "60")
    assert engine.delete(f"/containers/{cid}", force=1, v=1).status == 204
    assert engine.get(f"/containers/{cid}/json").status == 404


def test_remove_of_nothing_is_404(engine):
    for query in ({}, {"force": 1, "v": 1}):
        reply = engine.delete("/containers/ct-none", **query)
        assert (reply.status, reply.message) == (404, "No such container: ct-none")


def test_a_removed_name_is_free_at_once(engine):
    name = engine.name()
    for _ in range(5):
        cid = engine.create("true", name=name)
        assert engine.delete(f"/containers/{cid}").status == 204


def test_removals_at_once_make_one_winner(engine):
    """compose and act race here (lesson 18)."""
    cid = engine.run("sleep", "60")
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(engine.delete(f"/containers/{cid}", force=1).status)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert 204 in statuses and set(statuses) <= {204, 404, 409}
    assert engine.get(f"/containers/{cid}/json").status == 404


def test_cli_rm_errors(engine):
    cid = engine.run("sleep", "60")
    assert "running container" in engine.cli("rm", cid).err or "container is running" in engine.cli("rm", cid).err
    engine.docker("rm", "-f", cid)
    done = engine.cli("rm", cid)
    assert done.returncode == 1 and "No such container" in done.err


def test_rename_moves_the_name(engine):
    old, new = engine.name(), engine.name()
    cid = engine.create("true", name=old)
    assert engine.post(f"/containers/{old}/rename", name=new).status == 204
    assert engine.inspect(new)["Id"] == cid and engine.inspect(cid)["Name"] == "/" + new
    assert engine.get(f"/containers/{old}/json").status == 404


def test_rename_to_a_name_in_use_is_409(engine):
    taken, name = engine.name(), engine.name()
    holder = engine.create("true", name=taken)
    engine.create("true", name=name)
    reply = engine.post(f"/containers/{name}/rename", name=taken)
    assert reply.status == 409
    assert f'The container name "/{taken}" is already in use by container "{holder}"' in reply.message
    assert engine.get(f"/containers/{name}/json").status == 200


def test_rename_without_a_name_is_400(engine):
    cid = engine.create("true")
    assert engine.post(f"/containers/{cid}/rename").status in (400, 500)
    assert engine.post(f"/containers/{cid}/rename", name="no/slash").status in (400, 500)


def test_rename_to_its_own_name_is_refused(engine):
    name = engine.name()
    engine.create("true", name=name)
    reply = engine.post(f"/containers/{name}/rename", name=name)
    assert reply.status in (400, 409, 500)
    assert engine.inspect(name)["Name"] == "/" + name


def test_a_running_container_can_be_renamed(engine):
    cid = engine.run("sleep", "60")
    new = engine.name()
    assert engine.post(f"/containers/{cid}/rename", name=new).status == 204
    assert engine.exec(new, "true")[0] == 0


def test_cli_rename(engine):
    old, new = engine.name(), engine.name()
    engine.create("true", name=old)
    engine.docker("rename", old, new)
    assert engine.inspect(new)["Name"] == "/" + new


def test_prune_takes_stopped_containers_by_label(engine):
    label = engine.name()
    gone = {engine.finish("true", Labels={"p": label}), engine.create("true", Labels={"p": label})}
    stays = engine.run("sleep", "60", Labels={"p": label})
    other = engine.create("true")
    reply = engine.post("/containers/prune", filters=json.dumps({"label": [f"p={label}"]}))
    assert reply.status == 200
    assert set(reply.json["ContainersDeleted"]) == gone and reply.json["SpaceReclaimed"] >= 0
    assert engine.state(stays)["Running"] and engine.state(other)["Status"] == "created"


def test_prune_with_nothing_to_take(engine):
    reply = engine.post("/containers/prune", filters=json.dumps({"label": ["p=ct-none"]}))
    assert reply.status == 200 and not reply.json["ContainersDeleted"]


def test_prune_until_spares_the_young(engine):
    label = engine.name()
    cid = engine.create("true", Labels={"p": label})
    reply = engine.post("/containers/prune", filters=json.dumps({"label": [f"p={label}"], "until": ["24h"]}))
    assert reply.status == 200 and not reply.json["ContainersDeleted"]
    assert engine.state(cid)["Status"] == "created"


def test_cli_container_prune(engine):
    label = engine.name()
    cid = engine.create("true", Labels={"p": label})
    assert "Total reclaimed space" in engine.docker("container", "prune", "-f", "--filter", f"label=p={label}")
    assert engine.get(f"/containers/{cid}/json").status == 404
