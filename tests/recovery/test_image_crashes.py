"""kill -9, and full disks, at every step of pull, load and removal of images: whole or not there, and the next try works."""
import contextlib
import hashlib
import io
import json
import tarfile
import uuid

import pytest
from engine import until
from registry import Registry

pytestmark = pytest.mark.ours

POINTS = ["content.blob.written", "content.blob.synced", "content.blob.stored", "content.blob.stored:2", "content.blob.stored:3",
          "image.layers.unpacked", "image.rootfs.stored", "store.begin.before", "store.begin.after", "store.commit.before", "store.commit.after"]
CASES = [(kind, point) for kind in ("pull", "load") for point in POINTS] + [
    ("remove", point) for point in ("image.removed", "store.begin.before", "store.commit.before", "store.commit.after", "store.commit.before:2")]


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(files):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return raw.getvalue()


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    one = Registry(tmp_path_factory.mktemp("registry"))
    yield one
    one.stop()


class Case:
    def __init__(self, site, registry, kind):
        self.site, self.engine, self.kind = site, site.engine, kind
        self.tag = uuid.uuid4().hex[:8]
        if kind == "pull":
            _, self.id = registry.push("ct/crash", self.tag, {"file": self.tag.encode()})
            self.name = f"{registry.address}/ct/crash:{self.tag}"
        else:
            layer = tar_of({"file": self.tag.encode()})
            config = json.dumps({"os": "linux", "architecture": "amd64", "author": self.tag,
                                 "rootfs": {"type": "layers", "diff_ids": [sha256(layer)]}}).encode()
            self.id, self.name = sha256(config), f"ct-crash:{self.tag}"
            listing = [{"Config": "c", "RepoTags": [self.name], "Layers": ["l"]}]
            self.archive = tar_of({"l": layer, "c": config, "manifest.json": json.dumps(listing).encode()})
        if kind == "remove":
            assert self.load() is None

    def request(self):
        """None: it was done; else what was said, or that the connection broke."""
        try:
            return getattr(self, self.kind)()
        except (OSError, EOFError, ValueError) as broken:
            return f"broken: {broken}"

    def pull(self):
        repository, _, tag = self.name.rpartition(":")
        return self.outcome(self.engine.request("POST", "/images/create", query={"fromImage": repository, "tag": tag}))

    def load(self):
        return self.outcome(self.engine.request("POST", "/images/load", self.archive, {"Content-Type": "application/x-tar"}))

    def remove(self):
        reply = self.engine.delete(f"/images/{self.id}")
        return None if reply.status in (200, 404) else reply.message

    @staticmethod
    def outcome(reply):
        if reply.status != 200:
            return reply.message
        return json.loads(reply.body.splitlines()[-1]).get("error")

    def assert_whole_or_gone(self):
        reply = self.engine.get(f"/images/{self.id}/json")
        assert reply.status in (200, 404)
        if reply.status == 200:
            archive = tarfile.open(fileobj=io.BytesIO(self.engine.get(f"/images/{self.id}/get").body))
            item, = json.load(archive.extractfile("manifest.json"))
            assert tarfile.open(fileobj=archive.extractfile(item["Layers"][0])).extractfile("file").read() == self.tag.encode()

    def assert_nothing_left(self):
        """Blobs and folders are those of the images that are known."""
        ids = {row["Id"][7:] for row in self.engine.get("/images/json", all=1).json}
        folders = {path.name for path in (self.site.data / "rootfs").glob("*") if path.is_dir()}
        assert {name for name in folders if not name.startswith(".")} <= ids and not [name for name in folders if name.startswith(".")]
        blobs = {path.name for path in (self.site.data / "content/blobs/sha256").iterdir()}
        assert ids <= blobs and len(blobs) <= 3 * len(ids), f"{len(blobs)} blobs of {len(ids)} images"


def settle(case):
    case.assert_whole_or_gone()
    case.assert_nothing_left()
    assert case.request() is None, "the next try works"
    if case.kind == "remove":
        assert case.engine.get(f"/images/{case.id}/json").status == 404
    else:
        assert case.engine.get(f"/images/{case.name}/json").json["Id"] == case.id
    case.assert_nothing_left()


@pytest.mark.parametrize("kind,point", CASES)
def test_a_crash_at(site, registry, kind, point):
    case = Case(site, registry, kind)
    site.arm(point)
    case.request()
    until(lambda: not site.trigger.exists(), 5, f"{kind} passing {point}")
    until(lambda: site.backend.process.poll() is not None, what="the backend's end")
    site.restart()
    site.check()
    settle(case)


@pytest.mark.parametrize("kind,point", [case for case in CASES if case[1] not in ("store.commit.after", "image.removed")])
def test_a_full_disk_at(site, registry, kind, point):
    case = Case(site, registry, kind)
    site.engine.events("0")  # a replay stores what was only noted: nobody else passes the point first
    site.arm(f"{point}=ENOSPC")
    said = case.request()
    until(lambda: not site.trigger.exists(), 5, f"{kind} passing {point}")
    assert said and "No space left on device" in said, said
    settle(case)
