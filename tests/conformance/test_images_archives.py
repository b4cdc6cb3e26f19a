"""Load and save: docker-archive and OCI layouts, of one and several images, and what is wrong with an archive."""
import gzip
import hashlib
import io
import json
import lzma
import tarfile
import threading
import time
import uuid

import pytest


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(files):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(data, tuple):
                info.type, info.linkname = data
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return raw.getvalue()


class Image:
    """An image of some layers and a name of its own, as Docker before 25 and as OCI layouts have it."""

    def __init__(self, *layers, pack=lambda data: data):
        self.tars = [tar_of(files) for files in layers]
        self.packed = [pack(data) for data in self.tars]
        self.config = json.dumps({"os": "linux", "architecture": "amd64", "config": {"Cmd": ["/bin/true"]}, "author": uuid.uuid4().hex,
                                  "created": "2024-01-02T03:04:05Z",
                                  "history": [{"created": "2024-01-02T03:04:05Z", "created_by": f"step {i}"} for i in range(len(layers))],
                                  "rootfs": {"type": "layers", "diff_ids": [sha256(data) for data in self.tars]}}).encode()
        self.id = sha256(self.config)
        self.name = f"ct-load-{uuid.uuid4().hex[:8]}:1"

    def docker(self, **changes):
        names = [f"{i}/layer.tar" for i in range(len(self.packed))]
        files = dict(zip(names, self.packed))
        files["c.json"] = self.config
        files["manifest.json"] = json.dumps([{"Config": "c.json", "RepoTags": [self.name], "Layers": names, **changes}]).encode()
        return files

    def oci(self, media="application/vnd.oci.image.layer.v1.tar"):
        def blob(data, kind):
            files["blobs/sha256/" + sha256(data)[7:]] = data
            return {"mediaType": kind, "digest": sha256(data), "size": len(data)}
        files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "config": blob(self.config, "application/vnd.oci.image.config.v1+json"),
                    "layers": [blob(data, media) for data in self.packed]}
        entry = blob(json.dumps(manifest).encode(), manifest["mediaType"])
        entry["annotations"] = {"io.containerd.image.name": "docker.io/library/" + self.name}
        files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
        return files


LAYERS = ({"etc/a": b"a" * 1000, "etc/gone": b"x"}, {"etc/.wh.gone": b"", "etc/b": b"b" * 500})


def load(engine, data, **query):
    return engine.request("POST", "/images/load", data, {"Content-Type": "application/x-tar"}, {"quiet": 1, **query}, timeout=60)


def said(reply):
    return [json.loads(line) for line in reply.body.splitlines()]


@pytest.fixture
def image(engine):
    one = Image(*LAYERS)
    yield one
    engine.delete(f"/images/{one.id}", force=1)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress], ids=["plain", "gzip", "xz"])
def test_load_of_a_docker_archive(engine, image, pack):
    reply = load(engine, pack(tar_of(image.docker())))
    assert reply.status == 200 and said(reply)[-1] == {"stream": f"Loaded image: {image.name}\n"}
    shown = engine.get(f"/images/{image.name}/json").json
    assert shown["Id"] == image.id and shown["RepoTags"] == [image.name] and shown["RepoDigests"] == []
    assert shown["RootFS"]["Layers"] == [sha256(data) for data in image.tars] and shown["Size"] == 1501


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gzip", "xz"])
def test_load_of_compressed_layers(engine, pack):
    image = Image(*LAYERS, pack=pack)
    assert load(engine, tar_of(image.docker())).status == 200
    assert engine.get(f"/images/{image.name}/json").json["Id"] == image.id
    engine.delete(f"/images/{image.id}", force=1)


def test_load_follows_links_within_the_archive(engine):
    """Docker before 25 saves a layer that is there twice as a link."""
    image = Image(LAYERS[0], LAYERS[0])
    files = image.docker()
    files["1/layer.tar"] = (tarfile.SYMTYPE, "../0/layer.tar")
    assert load(engine, tar_of(files)).status == 200
    assert engine.get(f"/images/{image.name}/json").json["Id"] == image.id
    engine.delete(f"/images/{image.id}", force=1)


@pytest.mark.differs("20.10 knows no OCI layouts")
def test_load_of_an_oci_layout(engine, image):
    reply = load(engine, tar_of(image.oci()))
    assert reply.status == 200 and said(reply)[-1] == {"stream": f"Loaded image: {image.name}\n"}
    assert engine.get(f"/images/{image.name}/json").json["Id"] == image.id


def test_load_without_a_name_says_the_id(engine, image):
    reply = load(engine, tar_of(image.docker(RepoTags=None)))
    assert said(reply)[-1] == {"stream": f"Loaded image ID: {image.id}\n"}
    assert image.id in [row["Id"] for row in engine.get("/images/json", filters={"dangling": ["true"]}).json]


def test_load_tells_of_layers_unless_quiet(engine, image):
    status = {line.get("status") for line in said(load(engine, tar_of(image.docker()), quiet=0))}
    assert "Loading layer" in status


def test_history_has_the_sizes_of_files(engine, image):
    load(engine, tar_of(image.docker()))
    assert [(row["CreatedBy"], row["Size"]) for row in engine.get(f"/images/{image.name}/history").json] == [("step 1", 500), ("step 0", 1001)]


def test_saved_images_load_again(engine, image):
    load(engine, tar_of(image.docker()))
    other = "ct-load-" + uuid.uuid4().hex[:8]
    engine.docker("tag", image.name, other)
    saved = engine.get(f"/images/get?names={image.name}&names={other}")
    assert saved.status == 200 and saved.headers["content-type"] == "application/x-tar"
    assert engine.delete(f"/images/{image.id}", force=1).status == 200
    reply = load(engine, saved.body)
    assert {line["stream"] for line in said(reply)} == {f"Loaded image: {image.name}\n", f"Loaded image: {other}:latest\n"}
    assert sorted(engine.get(f"/images/{image.id}/json").json["RepoTags"]) == sorted([image.name, other + ":latest"])


def test_a_saved_archive_names_the_layers_of_the_config(engine, image):
    load(engine, tar_of(image.docker()))
    archive = tarfile.open(fileobj=io.BytesIO(engine.get(f"/images/{image.name}/get").body))
    item, = json.load(archive.extractfile("manifest.json"))
    assert item["RepoTags"] == [image.name] and sha256(archive.extractfile(item["Config"]).read()) == image.id
    assert [archive.extractfile(name).read() for name in item["Layers"]] == image.tars


@pytest.mark.differs("20.10 writes no OCI layouts")
def test_a_saved_archive_is_an_oci_layout_too(engine, image):
    load(engine, tar_of(image.docker()))
    archive = tarfile.open(fileobj=io.BytesIO(engine.get(f"/images/{image.name}/get").body))
    entry, = json.load(archive.extractfile("index.json"))["manifests"]
    manifest = archive.extractfile("blobs/sha256/" + entry["digest"][7:]).read()
    assert sha256(manifest) == entry["digest"] and json.loads(manifest)["config"]["digest"] == image.id
    for layer in json.loads(manifest)["layers"]:
        assert sha256(archive.extractfile("blobs/sha256/" + layer["digest"][7:]).read()) == layer["digest"]


def test_cli_save_and_load(engine, image, tmp_path):
    load(engine, tar_of(image.docker()))
    engine.docker("save", "-o", tmp_path / "image.tar", image.name)
    engine.docker("rmi", image.name)
    assert f"Loaded image: {image.name}" in engine.docker("load", "-i", tmp_path / "image.tar")
    assert engine.docker("images", "-q", "--no-trunc", image.name).strip() == image.id


def test_save_of_nothing_is_404(engine):
    assert engine.get("/images/ct-none:1/get").status in ((404, 500) if engine.is_control else (404,))


def test_save_of_a_repository_saves_all_its_tags(engine, image):
    load(engine, tar_of(image.docker()))
    repository = image.name.split(":")[0]
    engine.docker("tag", image.name, repository + ":2")
    archive = tarfile.open(fileobj=io.BytesIO(engine.get(f"/images/{repository}/get").body))
    item, = json.load(archive.extractfile("manifest.json"))
    assert sorted(item["RepoTags"]) == [repository + ":1", repository + ":2"]


def test_load_moves_a_tag_and_says_so(engine, image):
    other = Image(LAYERS[0])
    load(engine, tar_of(other.docker()))
    reply = load(engine, tar_of(image.docker(RepoTags=[other.name])))
    assert b"renaming the old one with ID" in reply.body
    assert engine.get(f"/images/{other.name}/json").json["Id"] == image.id
    engine.delete(f"/images/{other.id}", force=1)


def test_rmi_names_the_layers_that_went(engine, image):
    load(engine, tar_of(image.docker()))
    one, two = [sha256(data) for data in image.tars]
    chain = sha256(f"{one} {two}".encode())
    assert engine.delete(f"/images/{image.name}").json == [{"Untagged": image.name}, {"Deleted": image.id}, {"Deleted": chain}, {"Deleted": one}]


def test_prune_takes_dangling_images(engine, image):
    load(engine, tar_of(image.docker(RepoTags=None)))
    kept = engine.post("/images/prune", filters={"until": ["2020-01-01T00:00:00Z"]})
    assert kept.status == 200 and kept.json["SpaceReclaimed"] == 0
    report = engine.post("/images/prune", filters={"dangling": ["true"]}).json
    assert {"Deleted": image.id} in report["ImagesDeleted"] and report["SpaceReclaimed"] >= 1501
    assert engine.get(f"/images/{image.id}/json").status == 404


def test_archives_and_prunes_are_events(engine, image):
    since = str(int(time.time()) - 1)
    load(engine, tar_of(image.docker(RepoTags=None)))
    engine.get(f"/images/{image.id}/get")
    engine.post("/images/prune", filters={"dangling": ["true"]})
    events = engine.events(since, str(int(time.time()) + 1), type=["image"])
    assert ["load", "save", "delete"] == [event["Action"] for event in events if event["Actor"]["ID"] == image.id]
    assert [event for event in events if event["Action"] == "prune" and int(event["Actor"]["Attributes"]["reclaimed"]) > 0]


def test_cli_image_prune(engine, image):
    load(engine, tar_of(image.docker(RepoTags=None)))
    assert image.id[7:] in engine.docker("image", "prune", "-f").replace("sha256:", "")


@pytest.mark.ours
def test_an_image_removed_by_force_goes_with_its_last_container(serve, folder):
    engine = serve("--builtin-images", "off")
    image = Image(*LAYERS)
    load(engine, tar_of(image.docker()))
    rootfs = folder / "data" / "rootfs" / image.id[7:]
    created = engine.post("/containers/create", {"Image": image.name}).json["Id"]
    assert rootfs.is_dir()
    assert engine.delete(f"/images/{image.id}", force=1).status == 200
    assert rootfs.is_dir(), "the container still has its files"
    engine.delete(f"/containers/{created}")
    from engine import until
    until(lambda: not rootfs.exists(), what="the files' end")


@pytest.mark.ours
def test_what_a_crash_left_is_swept_at_start(apart, folder):
    pair = apart()
    blobs = folder / "data" / "content" / "blobs" / "sha256"
    rootfs = folder / "data" / "rootfs"
    image = Image(*LAYERS)
    load(pair.engine, tar_of(image.docker()))
    before = {path.name for path in blobs.iterdir()}
    pair.backend.kill()
    (blobs / ("0" * 64)).write_bytes(b"left")
    (rootfs / ("1" * 64)).mkdir()
    (rootfs / f".{'2' * 64}.tmp").mkdir()
    pair.start_backend()
    from engine import until
    until(lambda: pair.engine.get("/_ping").status == 200 and pair.engine.get("/info").status == 200, what="the backend")
    assert {path.name for path in blobs.iterdir()} == before
    assert not (rootfs / ("1" * 64)).exists() and not (rootfs / f".{'2' * 64}.tmp").exists()
    assert pair.engine.get(f"/images/{image.name}/json").json["Id"] == image.id


@pytest.mark.differs("20.10 answers some of these with 500")
def test_loads_removals_prunes_and_creates_side_by_side(engine):
    """Whoever loses a race hears so; what is accepted is whole, whatever is swept meanwhile."""
    images = [Image(LAYERS[0], {"own": bytes([i])}) for i in range(3)]
    archives = [tar_of(image.docker()) for image in images]
    wrong, rounds = [], 12

    def expect(reply, *allowed):
        if reply.status not in allowed:
            wrong.append(reply)
        return reply

    def loads():
        for i in range(rounds):
            if b"Loaded image" not in expect(load(engine, archives[i % 3]), 200).body:
                wrong.append("not loaded")

    def removals():
        for i in range(rounds):
            expect(engine.delete(f"/images/{images[i % 3].id}", force=1), 200, 404, 409)
            expect(engine.post("/images/prune"), 200, 409)

    def creates():
        for i in range(rounds):
            reply = expect(engine.post("/containers/create", {"Image": images[i % 3].id}), 201, 404)
            if reply.status == 201:
                expect(engine.delete(f"/containers/{reply.json['Id']}"), 204)

    def saves():
        for i in range(rounds):
            reply = expect(engine.get(f"/images/{images[i % 3].id}/get"), 200, 404)
            if reply.status == 200 and "manifest.json" not in tarfile.open(fileobj=io.BytesIO(reply.body)).getnames():
                wrong.append("cut short")
    threads = [threading.Thread(target=work) for work in (loads, loads, removals, creates, saves)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong, wrong[:3]
    for image, archive in zip(images, archives):
        assert load(engine, archive).status == 200
        assert engine.get(f"/images/{image.id}/get").status == 200
        created = engine.post("/containers/create", {"Image": image.id})
        assert created.status == 201
        engine.delete(f"/containers/{created.json['Id']}")
        engine.delete(f"/images/{image.id}", force=1)
