"""Images as an attacker makes them: archives through load (SECURITY rows 4 to 6, 9, 10)."""
import bz2
import gzip
import hashlib
import io
import json
import tarfile
import uuid

import pytest


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(entries):
    """entries: (name, data) or (name, type, link)."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data, *link in entries:
            info = tarfile.TarInfo(name)
            if link:
                info.type, info.linkname = data, link[0]
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return raw.getvalue()


def archive_of(layer, diff_id=None, name=None, tags=None, config=(), packed=None):
    name = name or f"ct-evil-{uuid.uuid4().hex[:8]}:1"
    document = json.dumps({"os": "linux", "architecture": "amd64", "author": uuid.uuid4().hex, "config": dict(config),
                           "rootfs": {"type": "layers", "diff_ids": [diff_id or sha256(layer)]}}).encode()
    listing = [{"Config": "c.json", "RepoTags": [name] if tags is None else tags, "Layers": ["l.tar"]}]
    return name, document, tar_of([("l.tar", packed or layer), ("c.json", document), ("manifest.json", json.dumps(listing).encode())])


def load(engine, data, timeout=60):
    return engine.request("POST", "/images/load", data, {"Content-Type": "application/x-tar"}, {"quiet": 1}, timeout=timeout)


@pytest.fixture
def site(serve, folder):
    """An engine of its own, with a canary beside its data."""
    engine = serve()
    (folder / "canary").write_text("alive")

    class Site:
        blobs = folder / "data" / "content" / "blobs" / "sha256"

        def __init__(self):
            self.engine = engine
            self.before = {path.name for path in self.blobs.iterdir()}

        def assert_untouched(self):
            assert (folder / "canary").read_text() == "alive"
            assert {path.name for path in self.blobs.iterdir()} == self.before, "nothing half made"
            assert len(list((folder / "data" / "rootfs").glob("[0-9a-f]*"))) <= 2, "the built-in image's at most"
            assert engine.get("/_ping").status == 200
    return Site()


UP = "../" * 12

# Layers that must not be taken.
REFUSED = {
    "traversal": [(UP + "tmp/evil", b"x")],
    "traversal-inside": [("a/../../evil", b"x")],
    "hardlink-out": [("etc/passwd2", tarfile.LNKTYPE, UP + "etc/passwd")],
    "hardlink-absolute-missing": [("p", tarfile.LNKTYPE, "/etc/shadow")],
    "hardlink-through-link": [("out", tarfile.SYMTYPE, "/"), ("p", tarfile.LNKTYPE, "out/etc/shadow")],
    "whiteout-of-dots": [(".wh...", b"")],
    "whiteout-traversal": [("../.wh.canary", b"")],
    "deep": [("/".join(["d"] * 400), b"x")],
}
# Layers that are taken, and stay within the image.
CONFINED = {
    "absolute": [("/evil", b"x")],
    "link-then-file": [("tmp", tarfile.DIRTYPE, ""), ("out", tarfile.SYMTYPE, "/tmp"), ("out/evil-sockerless", b"x")],
    "link-up-then-file": [("out", tarfile.SYMTYPE, UP), ("out/evil-sockerless", b"x")],
    "whiteout-through-link": [("out", tarfile.SYMTYPE, UP), ("out/.wh.canary", b"")],
    "device": [("sda", tarfile.BLKTYPE, "")],
}


@pytest.mark.ours
@pytest.mark.parametrize("entries", REFUSED.values(), ids=REFUSED)
def test_evil_layers_are_refused_and_leave_nothing(site, entries):
    _, _, archive = archive_of(tar_of(entries))
    reply = load(site.engine, archive)
    assert reply.status == 400 and "invalid archive" in reply.message, reply
    site.assert_untouched()


@pytest.mark.ours
@pytest.mark.parametrize("entries", CONFINED.values(), ids=CONFINED)
def test_evil_layers_stay_within_the_image(site, folder, entries):
    _, document, archive = archive_of(tar_of(entries))
    reply = load(site.engine, archive)
    assert reply.status == 200, reply
    assert (folder / "canary").read_text() == "alive"
    import os
    assert not os.path.exists("/tmp/evil-sockerless") and not os.path.exists("/evil")
    rootfs = folder / "data" / "rootfs" / sha256(document)[7:]
    assert rootfs.is_dir() and not any(os.stat(path, follow_symlinks=False).st_mode & 0o060000 == 0o060000 for path in rootfs.iterdir())


ARCHIVES = {
    "traversal": tar_of([("../evil", b"x")]),
    "link-out": tar_of([("manifest.json", tarfile.SYMTYPE, "../../../etc/passwd")]),
    "link-absolute": tar_of([("manifest.json", tarfile.SYMTYPE, "/etc/passwd")]),
    "link-loop": tar_of([("manifest.json", tarfile.SYMTYPE, "b"), ("b", tarfile.SYMTYPE, "manifest.json")]),
    "twice": tar_of([("manifest.json", b"[]"), ("manifest.json", b"[]")]),
    "empty": tar_of([]),
    "no-images": tar_of([("manifest.json", b"[]")]),
    "no-json": tar_of([("manifest.json", b"[")]),
    "smuggled-keys": tar_of([("manifest.json", b'[],"images":[]')]),
    "not-a-list": tar_of([("manifest.json", b"{}")]),
    "config-elsewhere": tar_of([("manifest.json", json.dumps([{"Config": "../../etc/passwd", "Layers": []}]).encode())]),
    "deep": tar_of([("manifest.json", b"[" * 100000)]),
    "garbage": b"\x00\x01garbage" * 1000,
    "cut": archive_of(tar_of([("a", b"x" * 5000)]))[2][:3000],
    "old": tar_of([("repositories", b"{}")]),
    "index-of-strangers": tar_of([("index.json", json.dumps({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": sha256(b"stranger"), "size": 8}]}).encode())]),
}


@pytest.mark.ours
@pytest.mark.parametrize("archive", ARCHIVES.values(), ids=ARCHIVES)
def test_broken_archives_are_refused_and_leave_nothing(site, archive):
    reply = load(site.engine, archive)
    assert reply.status == 400 and reply.message, reply
    site.assert_untouched()


@pytest.mark.ours
def test_a_layer_that_is_not_its_diff_id_is_refused(site):
    _, _, archive = archive_of(tar_of([("a", b"evil")]), diff_id=sha256(b"another"))
    reply = load(site.engine, archive)
    assert reply.status == 400 and "don't match image configuration" in reply.message
    site.assert_untouched()


@pytest.mark.ours
def test_an_archive_cannot_name_content_that_it_does_not_hold(site):
    """Whoever knows a digest of somebody's private layer does not get it by naming it."""
    secret = tar_of([("secret", b"of another")])
    name, document, archive = archive_of(secret)
    assert load(site.engine, archive).status == 200
    manifest = json.dumps({"schemaVersion": 2, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(document),
                                                          "size": len(document)},
                           "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": sha256(secret), "size": len(secret)}]}).encode()
    index = json.dumps({"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": sha256(manifest),
                                                           "size": len(manifest)}]}).encode()
    reply = load(site.engine, tar_of([("index.json", index), ("blobs/sha256/" + sha256(manifest)[7:], manifest),
                                      ("blobs/sha256/" + sha256(document)[7:], document)]))
    assert reply.status == 400 and "which is not in it" in reply.message


@pytest.mark.ours
def test_a_blob_under_a_false_digest_is_refused(site):
    """The name of a file is no digest: its content is."""
    manifest, evil = b'{"schemaVersion":2}', b'{"evil":1}'
    index = json.dumps({"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": sha256(manifest),
                                                           "size": len(manifest)}]}).encode()
    reply = load(site.engine, tar_of([("index.json", index), ("blobs/sha256/" + sha256(manifest)[7:], evil)]))
    assert reply.status == 400
    site.assert_untouched()


@pytest.mark.ours
@pytest.mark.parametrize("tags", [["sockerless/base:latest"], ["x@sha256:" + "0" * 64], ["UPPER:1"], ["a b:1"], ["x\n:1"], [7]], ids=repr)
def test_names_that_are_not_the_archives_to_give(site, tags):
    base = site.engine.get("/images/sockerless/base/json").json["Id"]
    _, _, archive = archive_of(tar_of([("a", b"x")]), tags=tags)
    reply = load(site.engine, archive)
    assert reply.status == 400, reply
    assert site.engine.get("/images/sockerless/base/json").json["Id"] == base
    site.assert_untouched()


@pytest.mark.ours
def test_one_bad_image_keeps_all_out(site):
    good, bad = tar_of([("a", b"x")]), tar_of([("../b", b"x")])
    documents = [json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [sha256(layer)]}}).encode()
                 for layer in (good, bad)]
    listing = [{"Config": f"{i}.json", "RepoTags": [f"ct-half-{i}:1"], "Layers": [f"{i}.tar"]} for i in (0, 1)]
    reply = load(site.engine, tar_of([("0.tar", good), ("1.tar", bad), ("0.json", documents[0]), ("1.json", documents[1]),
                                      ("manifest.json", json.dumps(listing).encode())]))
    assert reply.status == 400
    assert site.engine.get("/images/ct-half-0:1/json").status == 404
    site.assert_untouched()


@pytest.mark.ours
@pytest.mark.parametrize("config", [{"Volumes": {"/../../x": {}}}, {"Env": "A=b"}, {"Cmd": [1]}, {"Labels": {"a": 1}}], ids=repr)
def test_evil_configs_are_refused(site, config):
    _, _, archive = archive_of(tar_of([("a", b"x")]), config=config)
    reply = load(site.engine, archive)
    assert reply.status == 400 and "invalid image config" in reply.message
    site.assert_untouched()


@pytest.mark.ours
def test_an_images_labels_do_nothing_on_the_host(site):
    labels = {"com.sockerless.privileged": "true", "com.sockerless.runtime": "native", "com.sockerless.rootfs": "/", "devices": "/dev/sda"}
    name, _, archive = archive_of(tar_of([("a", b"x")]), config={"Labels": labels, "Cmd": ["/bin/true"]})
    assert load(site.engine, archive).status == 200
    created = site.engine.post("/containers/create", {"Image": name})
    assert created.status == 201
    shown = site.engine.get(f"/containers/{created.json['Id']}/json").json
    assert shown["Config"]["Labels"] == labels
    assert not shown["HostConfig"]["Privileged"] and not shown["HostConfig"].get("Binds") and not shown["HostConfig"].get("Devices")


@pytest.mark.ours
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress], ids=["gzip", "bzip2"])
def test_a_bomb_is_put_out_early(site, folder, pack):
    """A few kilobytes that unpack to gigabytes: refused after the first, with nothing left and little memory."""
    member = pack(b"\0" * (16 << 20))
    bomb = member * 192  # 3 GiB: both formats are read on behind a member's end
    reply = load(site.engine, bomb, timeout=120)
    assert reply.status in (400, 413), reply
    site.assert_untouched()


@pytest.mark.ours
def test_a_layer_that_is_a_bomb_is_put_out(site):
    info = tarfile.TarInfo("zeros")
    info.size = 3 << 30
    member = gzip.compress(b"\0" * (16 << 20))
    packed = gzip.compress(info.tobuf(tarfile.GNU_FORMAT)) + member * 192
    _, _, archive = archive_of(b"", diff_id=sha256(b"x"), packed=packed)
    reply = load(site.engine, archive, timeout=120)
    assert reply.status == 413 and "200 times" in reply.message, reply
    site.assert_untouched()
