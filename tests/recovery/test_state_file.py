"""The state file damaged, lost, of an older or a newer version: containers are found again, and what happened is said."""
import contextlib
import json
import os
import sqlite3

import pytest
from engine import until

pytestmark = pytest.mark.ours
PAGE = 4096

# The schemas there were, as the versions made them. Only appended to.
SCHEMAS = {
    1: """CREATE TABLE document (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (kind, id));
          CREATE TABLE event (time_ns INTEGER PRIMARY KEY, body TEXT NOT NULL);
          PRAGMA user_version = 1;""",
}


class World:
    """One container of each kind, and whether they are still what they were."""

    def __init__(self, site):
        self.site, engine = site, site.engine
        self.exited = engine.finish("sh", "-c", "echo out; exit 3", name="exited", Labels={"k": "v"})
        self.created = engine.create("true", name="created", host={"RestartPolicy": {"Name": "no"}})
        self.renamed = engine.create("true", name="before")
        assert engine.post(f"/containers/{self.renamed}/rename", name="renamed").status == 204
        self.running = engine.run("sh", "-c", "echo up; read x; exit 5", name="running", OpenStdin=True, StdinOnce=True)
        self.removed = engine.create("true", name="removed")
        assert engine.delete(f"/containers/{self.removed}").status == 204
        # Many, so that the file has pages of every kind.
        self.many = [engine.create("true", name=f"many-{number}", Env=["X=" + "x" * 500]) for number in range(60)]
        until(lambda: engine.logs(self.running)[0], what="its first word")

    def check(self):
        engine = self.site.engine
        assert {row["Names"][0] for row in engine.list(all=1)} >= {"/exited", "/created", "/renamed", "/running"}
        assert {row["Id"] for row in engine.list(all=1)} == {self.exited, self.created, self.renamed, self.running, *self.many}
        exited = engine.inspect(self.exited)
        assert exited["State"]["Status"] == "exited" and exited["State"]["ExitCode"] == 3
        assert exited["State"]["FinishedAt"] > exited["State"]["StartedAt"] > exited["Created"]
        assert exited["Config"]["Labels"]["k"] == "v" and engine.logs(self.exited)[0] == b"out\n"
        assert engine.state(self.created)["Status"] == "created"
        until(lambda: engine.state(self.running)["Running"], what="the running one")
        assert engine.exec(self.running, "echo", "inside") == (0, b"inside\n", b"")

    def finish(self):
        """It all still works."""
        engine = self.site.engine
        with engine.attach(self.running) as stream:
            stream.write(b"x\n")
            stream.rest()
        assert engine.wait(self.running) == 5
        engine.start(self.created)
        assert engine.wait(self.created) == 0
        if engine.get("/images/alpine/json").status == 404:  # its tag was lost with the file
            assert engine.post("/images/sockerless/base/tag", repo="alpine", tag="latest").status == 201
        assert engine.post("/containers/create", {"Image": "alpine"}, name="renamed").status == 409
        assert engine.wait(engine.run("true", name="another")) == 0


def write_at(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def flip_pages(path):
    for page in range(4, path.stat().st_size // PAGE, 3):
        write_at(path, page * PAGE, os.urandom(PAGE))


DAMAGES = {
    "zeroed header": lambda path: write_at(path, 0, bytes(PAGE)),
    "noise": lambda path: path.write_bytes(os.urandom(50000)),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2 // PAGE * PAGE),
    "truncated in a page": lambda path: os.truncate(path, path.stat().st_size - 3 * PAGE - 1000),
    "flipped pages": flip_pages,
    "one flipped page": lambda path: write_at(path, 5 * PAGE, os.urandom(PAGE)),
}


def kept_files(site):
    return [path for path in site.data.iterdir() if ".damaged-" in path.name and not path.name.endswith("-wal")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_put_aside_and_containers_are_found_again(site, damage):
    world = World(site)
    site.backend.end()  # which leaves one file
    path = site.data / "state.db"
    DAMAGES[damage](path)
    damaged = path.read_bytes()
    site.restart()
    world.check()
    kept = kept_files(site)
    assert len(kept) == 1 and kept[0].read_bytes() == damaged, "it is kept as it was"
    assert "the state file is damaged" in site.said()
    warnings = site.engine.get("/info").json["Warnings"]
    assert len(warnings) == 1 and kept[0].name in warnings[0]
    site.restart()
    world.check()
    assert kept_files(site) == kept, "the new one is whole"
    world.finish()
    kept[0].unlink()
    assert site.engine.get("/info").json["Warnings"] == []
    site.check()


def test_a_lost_file_is_made_from_the_folders(site):
    world = World(site)
    site.backend.kill()
    for path in site.data.glob("state.db*"):
        path.unlink()
    site.restart()
    world.check()
    site.restart()
    world.check()
    world.finish()
    site.check()


def test_a_kill_while_containers_are_found_again_loses_none(site):
    world = World(site)
    site.backend.end()
    (site.data / "state.db").write_bytes(bytes(9999))
    for number in range(1, 4):
        site.arm(f"store.commit.{'before' if number % 2 else 'after'}:{(number + 1) // 2}")
        site.start_backend_that_dies()
    site.disarm()
    site.restart()
    world.check()
    world.finish()
    site.check()


def test_a_torn_write_ahead_log_loses_its_end_only(site):
    world = World(site)
    site.backend.kill()
    wal = site.data / "state.db-wal"
    os.truncate(wal, wal.stat().st_size - 3000)
    site.restart()
    # The last container's creation may be undone; all else is there.
    world.many = [cid for cid in world.many if site.engine.get(f"/containers/{cid}/json").status == 200]
    assert len(world.many) >= 59
    world.check()
    world.finish()
    site.check()


def documents(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return (db.execute("SELECT seq, kind, id, body FROM document").fetchall(),
                db.execute("SELECT time_ns, body FROM event").fetchall())


def test_a_document_that_the_disk_changed_comes_from_the_folder(site):
    world = World(site)
    site.backend.end()
    path = site.data / "state.db"
    data = path.read_bytes()
    at = data.index(b'"exit_code":3')
    write_at(path, at, b'"exit_code":9')
    site.restart()
    world.check()
    assert "a stored document is damaged" in site.said() and not kept_files(site)
    site.restart()
    world.check()


@pytest.mark.parametrize("version", SCHEMAS)
def test_an_older_schema_is_brought_up_to_date(site, version):
    world = World(site)
    site.backend.end()
    path = site.data / "state.db"
    rows, events = documents(path)
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(SCHEMAS[version])
        db.executemany("INSERT INTO document (seq, kind, id, body) VALUES (?, ?, ?, ?)", rows)
        db.executemany("INSERT INTO event (time_ns, body) VALUES (?, ?)", events)
        db.commit()
    for cid in (world.exited, world.created, world.renamed, world.running, *world.many):
        (site.data / "containers" / cid / "container.json").unlink()  # older versions wrote none
    site.restart()
    world.check()
    actions = [json.loads(body)["Action"] for _, body in events]
    seen = [event["Action"] for event in site.engine.events("0")]
    assert seen[:len(actions)] == actions
    world.finish()
    site.check()


def test_a_newer_schema_is_refused_and_left_alone(site):
    World(site)
    site.backend.end()
    path = site.data / "state.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("CREATE TABLE of_the_future (x)")
        db.commit()
    before = documents(path)
    said = site.start_backend_that_dies()
    assert "newer sockerless" in said and "99" in said and str(path) in said
    assert documents(path) == before and not kept_files(site)
