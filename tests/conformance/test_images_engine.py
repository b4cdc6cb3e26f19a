"""What Docker Engine saves we load, and what we save it loads: the same ids, names and layers on both sides."""
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest
from engine import Engine, dial, until
from test_images_archives import LAYERS, Image, load, tar_of

pytestmark = [pytest.mark.ours, pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("dockerd"), reason="needs root and docker.io's dockerd")]


@pytest.fixture(scope="module")
def docker():
    """A Docker Engine of its own, private in every way."""
    folder = Path(tempfile.mkdtemp(prefix="sldk-"))
    (folder / "config").mkdir()
    host = f"unix://{folder}/d.sock"
    process = subprocess.Popen(["dockerd", "-H", host, "--data-root", folder / "root", "--exec-root", folder / "exec", "-p", folder / "pid",
                                "--bridge=none", "--iptables=false", "--storage-driver=vfs", "--shutdown-timeout=2"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(folder / "log", "wb"))

    def is_up():
        try:
            dial(host).close()
            return True
        except OSError:
            return process.poll() is not None
    try:
        until(is_up, 30, "dockerd's socket")
        assert process.poll() is None, (folder / "log").read_text()[-2000:]
        yield Engine(host, folder / "config", True)
    finally:
        process.terminate()
        process.wait(20)
        for line in Path("/proc/mounts").read_text().splitlines():
            if f" {folder}/" in line:
                subprocess.run(["umount", "-l", line.split()[1]], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def facts(engine, name):
    shown = engine.get(f"/images/{name}/json").json
    history = [(row["CreatedBy"], row["Created"], row["Size"]) for row in engine.get(f"/images/{name}/history").json]
    return shown["Id"], shown["RepoTags"], shown["RootFS"]["Layers"], shown["Size"], shown["Created"], shown["Config"]["Cmd"], history


@pytest.mark.parametrize("ours_first", [True, False], ids=["ours-to-docker", "docker-to-ours"])
def test_saved_by_one_loaded_by_the_other(engine, docker, ours_first):
    giver, taker = (engine, docker) if ours_first else (docker, engine)
    # The same layer twice: Docker before 25 saves it as a link.
    images = [Image(*LAYERS), Image(LAYERS[0], LAYERS[0], {"etc/c": uuid.uuid4().bytes})]
    for image in images:
        assert load(giver, tar_of(image.docker())).status == 200
    saved = giver.get(f"/images/get?names={images[0].name}&names={images[1].name}")
    assert saved.status == 200
    assert b"Loaded image" in load(taker, saved.body).body
    for image in images:
        assert facts(taker, image.name) == facts(giver, image.name) and facts(taker, image.name)[0] == image.id
    for one in (engine, docker):
        for image in images:
            assert one.delete(f"/images/{image.name}").status == 200


def test_both_say_the_same_when_a_name_goes(engine, docker):
    image = Image(*LAYERS)
    said = []
    for one in (engine, docker):
        load(one, tar_of(image.docker()))
        said.append(one.delete(f"/images/{image.name}").json)
    assert said[0] == said[1]
