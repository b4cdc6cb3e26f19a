"""Images: pull from a real registry, list, inspect, history, tag, delete, and the built-in image."""
import base64
import json
import uuid

import pytest
from registry import Registry, free_port


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    one = Registry(tmp_path_factory.mktemp("registry"))
    yield one
    one.stop()


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    one = Registry(tmp_path_factory.mktemp("locked"), "ann", "secret")
    yield one
    one.stop()


class Image:
    """An image of its own in a registry."""

    def __init__(self, registry, **config):
        self.repository = "ct/" + uuid.uuid4().hex[:10]
        files = {"etc/about": self.repository.encode()}
        self.digest, self.id = registry.push(self.repository, "1", files, **config)
        self.repo = f"{registry.address}/{self.repository}"
        self.name = self.repo + ":1"


@pytest.fixture
def image(engine, registry):
    one = Image(registry, Cmd=["/bin/true"], Env=["A=b"], Labels={"l": "v"}, WorkingDir="/w")
    yield one
    engine.delete(f"/images/{one.id}", force=1)


def pull(engine, name, headers=None, **query):
    repo, _, tag = name.rpartition(":")
    return engine.request("POST", "/images/create", headers=headers, query={"fromImage": repo, "tag": tag, **query})


def lines(reply):
    return [json.loads(line) for line in reply.body.splitlines()]


def test_pull_streams_progress_and_ends_with_the_digest(engine, image):
    reply = pull(engine, image.name)
    assert reply.status == 200 and reply.headers["content-type"] == "application/json"
    status = [line.get("status", "") for line in lines(reply)]
    assert status[0] == f"Pulling from {image.repository}"
    assert {"Pulling fs layer", "Download complete", "Pull complete"} <= set(status)
    assert f"Digest: {image.digest}" in status
    assert status[-1] == f"Status: Downloaded newer image for {image.name}"


def test_a_second_pull_says_up_to_date(engine, image):
    pull(engine, image.name)
    assert lines(pull(engine, image.name))[-1]["status"] == f"Status: Image is up to date for {image.name}"


def test_cli_pull_and_q(engine, image):
    assert f"Digest: {image.digest}" in engine.docker("pull", image.name)
    assert engine.docker("pull", "-q", image.name).strip() == image.name


def test_a_pulled_image_is_known_by_every_name(engine, image):
    """gitlab-runner creates by id (lesson 31)."""
    pull(engine, image.name)
    for ref in (image.name, image.id, image.id[7:], image.id[7:19], f"{image.repo}@{image.digest}"):
        reply = engine.get(f"/images/{ref}/json")
        assert reply.status == 200 and reply.json["Id"] == image.id, ref


def test_image_inspect_has_what_clients_read(engine, image):
    pull(engine, image.name)
    reply = engine.get(f"/images/{image.name}/json").json
    assert reply["RepoTags"] == [image.name] and reply["RepoDigests"] == [f"{image.repo}@{image.digest}"]
    assert (reply["Architecture"], reply["Os"]) == ("amd64", "linux")
    assert reply["Config"]["Cmd"] == ["/bin/true"] and reply["Config"]["Env"] == ["A=b"] and reply["Config"]["Labels"] == {"l": "v"}
    assert reply["Created"].startswith("2024-01-02T03:04:05") and reply["Size"] > 0
    assert len(reply["RootFS"]["Layers"]) == 1


def test_create_from_a_pulled_image_takes_its_config(engine, image):
    pull(engine, image.name)
    reply = engine.post("/containers/create", {"Image": image.id, "Env": ["C=d"]})
    assert reply.status == 201, reply
    engine.made.append(reply.json["Id"])
    config = engine.inspect(reply.json["Id"])["Config"]
    assert config["Cmd"] == ["/bin/true"] and config["WorkingDir"] == "/w" and {"A=b", "C=d"} <= set(config["Env"])
    assert config["Labels"] == {"l": "v"}


def test_pull_by_digest(engine, image):
    reply = engine.post("/images/create", fromImage=f"{image.repo}@{image.digest}")
    assert reply.status == 200 and f"Digest: {image.digest}" in [line.get("status") for line in lines(reply)]
    assert engine.get(f"/images/{image.repo}@{image.digest}/json").json["Id"] == image.id


def test_pull_of_a_missing_tag_is_404_before_the_first_line(engine, registry, image):
    """Lesson 32."""
    reply = pull(engine, image.repo + ":none")
    assert reply.status == 404
    assert reply.message == f"manifest for {image.repo}:none not found: manifest unknown: manifest unknown"


def test_cli_pull_of_a_missing_repository_fails(engine, registry):
    done = engine.cli("pull", f"{registry.address}/ct/none:1")
    assert done.returncode == 1 and "not found" in done.err


def test_pull_from_nobody_is_an_error(engine):
    reply = pull(engine, f"127.0.0.1:{free_port()}/ct/none:1")
    assert reply.status in (500, 503) and "127.0.0.1" in reply.message


def test_pull_with_a_login(engine, locked):
    image = Image(locked)
    auth = {"username": "ann", "password": "secret", "serveraddress": locked.address}
    header = {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()}
    assert pull(engine, image.name).status in (401, 404, 500), "without a login"
    reply = pull(engine, image.name, header)
    assert reply.status == 200 and lines(reply)[-1]["status"].startswith("Status: Downloaded"), reply
    engine.delete(f"/images/{image.id}", force=1)


def test_pull_over_tls_with_a_login(engine, tmp_path):
    """On loopback any certificate will do, as with Docker."""
    registry = Registry(tmp_path, "ann", "secret", with_tls=True)
    try:
        image = Image(registry)
        auth = {"username": "ann", "password": "secret", "serveraddress": registry.address}
        header = {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()}
        reply = pull(engine, image.name, header)
        assert reply.status == 200 and lines(reply)[-1]["status"].startswith("Status: Downloaded"), reply
        engine.delete(f"/images/{image.id}", force=1)
        engine.docker("login", "-u", "ann", "--password-stdin", registry.address, input=b"secret")
        assert f"Digest: {image.digest}" in engine.docker("pull", image.name)
        engine.delete(f"/images/{image.id}", force=1)
        engine.cli("logout", registry.address)
    finally:
        registry.stop()


def test_pull_with_a_wrong_login_is_refused(engine, locked):
    image = Image(locked)
    auth = {"username": "ann", "password": "wrong", "serveraddress": locked.address}
    header = {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()}
    reply = pull(engine, image.name, header)
    assert reply.status in (401, 404, 500)
    assert "secret" not in reply.message and "wrong" not in reply.message


@pytest.mark.parametrize("header", ["", "e30="])
def test_pull_with_an_empty_login_is_no_login(engine, image, header):
    """Lesson 32."""
    assert pull(engine, image.name, {"X-Registry-Auth": header}).status == 200


def test_cli_login_checks_the_password(engine, locked):
    assert "Login Succeeded" in engine.docker("login", "-u", "ann", "--password-stdin", locked.address, input=b"secret")
    done = engine.cli("login", "-u", "ann", "--password-stdin", locked.address, input=b"wrong")
    assert done.returncode == 1
    engine.cli("logout", locked.address)


@pytest.mark.parametrize("name", ["UPPER/case", "a//b", "-x", "a:b:c"])
def test_pull_of_what_is_no_reference_is_400(engine, name):
    reply = engine.post("/images/create", fromImage=name, tag="")
    assert reply.status == 400
    assert "invalid reference format" in reply.message or "must be lowercase" in reply.message


def test_images_are_listed(engine, image):
    pull(engine, image.name)
    rows = engine.get("/images/json", filters={"reference": [image.repo]}).json
    assert [row["Id"] for row in rows] == [image.id]
    row = rows[0]
    assert row["RepoTags"] == [image.name] and row["RepoDigests"] == [f"{image.repo}@{image.digest}"]
    assert row["Labels"] == {"l": "v"} and row["Size"] > 0 and row["Created"] == 1704164645


def test_images_are_filtered(engine, image):
    pull(engine, image.name)

    def has(**filters):
        return image.id in [row["Id"] for row in engine.get("/images/json", filters=filters).json]
    assert has(reference=[image.name]) and has(reference=[f"{image.repo}*"]) and has(label=["l"]) and has(label=["l=v"])
    assert not has(reference=["ct-none"]) and not has(label=["l=w"]) and not has(dangling=["true"])
    assert has(dangling=["false"])


def test_cli_images(engine, image):
    pull(engine, image.name)
    assert image.repo in engine.docker("images", "--digests")
    assert engine.docker("images", "-q", "--no-trunc", image.repo).strip() == image.id


def test_history(engine, image):
    pull(engine, image.name)
    rows = engine.get(f"/images/{image.name}/history").json
    assert rows[0]["Id"] == image.id and rows[0]["CreatedBy"] == "made by a test" and rows[0]["Tags"] == [image.name]
    assert "made by a test" in engine.docker("history", "--no-trunc", image.name)


def test_tag_and_untag(engine, image):
    pull(engine, image.name)
    name = "ct-tag-" + uuid.uuid4().hex[:8]
    assert engine.post(f"/images/{image.name}/tag", repo=name, tag="2").status == 201
    assert engine.get(f"/images/{name}:2/json").json["Id"] == image.id
    reply = engine.delete(f"/images/{name}:2")
    assert reply.status == 200 and reply.json == [{"Untagged": f"{name}:2"}]
    assert engine.get(f"/images/{name}:2/json").status == 404
    assert engine.get(f"/images/{image.name}/json").status == 200


def test_tag_without_a_tag_is_latest(engine, image):
    pull(engine, image.name)
    name = "ct-tag-" + uuid.uuid4().hex[:8]
    engine.docker("tag", image.name, name)
    assert f"{name}:latest" in engine.get(f"/images/{image.id}/json").json["RepoTags"]


def test_tag_of_what_is_no_reference_is_400(engine):
    assert engine.post(f"/images/{engine.image}/tag", repo="UPPER", tag="1").status in ((400, 500) if engine.is_control else (400,))


def test_delete_of_the_last_tag_deletes_the_image(engine, image):
    pull(engine, image.name)
    reply = engine.delete(f"/images/{image.name}")
    assert {"Untagged": image.name} in reply.json and {"Deleted": image.id} in reply.json
    assert engine.get(f"/images/{image.id}/json").status == 404


def test_delete_of_an_image_in_use_is_409(engine, image):
    pull(engine, image.name)
    reply = engine.post("/containers/create", {"Image": image.name})
    engine.made.append(reply.json["Id"])
    reply = engine.delete(f"/images/{image.name}")
    assert reply.status == 409
    assert "conflict: unable to remove repository reference" in reply.message and "container" in reply.message


def test_delete_of_nothing_is_404(engine):
    reply = engine.delete("/images/ct-none:1")
    assert reply.status == 404 and reply.message.endswith("No such image: ct-none:1")


def test_cli_rmi(engine, image):
    pull(engine, image.name)
    assert f"Untagged: {image.name}" in engine.docker("rmi", image.name)


def test_image_inspect_of_nothing_is_404(engine):
    reply = engine.get("/images/ct-none/json")
    assert reply.status == 404 and reply.message.endswith("No such image: ct-none:latest")


def test_cli_run_pulls_what_is_missing(engine, image):
    done = engine.cli("create", image.name)
    assert done.returncode == 0, done.err
    engine.made.append(done.out.strip())
    assert "Unable to find image" in done.err and "Status: Downloaded newer image" in done.err


def test_cli_run_without_pull_fails(engine):
    done = engine.cli("run", "--rm", "--pull=never", "ct-none")
    assert done.returncode == 125 and "No such image: ct-none:latest" in done.err


def test_import_is_501_or_works(engine):
    reply = engine.request("POST", "/images/create", b"", query={"fromSrc": "-", "repo": "ct-import"})
    assert reply.status in (200, 400, 500, 501) and reply.body


@pytest.mark.ours
def test_our_own_image_is_there_from_the_start(engine):
    reply = engine.get("/images/sockerless/base/json").json
    assert "sockerless/base:latest" in reply["RepoTags"] and reply["RepoDigests"] == []
    assert b"Sockerless" in engine.logs(engine.finish("cat", "/etc/os-release"))[0]


@pytest.mark.ours
def test_without_a_registry_alpine_is_the_built_in_image_and_says_so(serve):
    """The whole of `docker run alpine` on a machine without network (DESIGN 6a)."""
    engine = serve("--registry-mirror", f"http://127.0.0.1:{free_port()}", "--builtin-images", "always")
    done = engine.cli("run", "--rm", "alpine", "echo", "hi")
    assert (done.returncode, done.out) == (0, "hi\n")
    assert "sockerless/base" in done.err
    assert engine.get("/images/alpine/json").status == 404, "never tagged as the other"


@pytest.mark.ours
def test_without_a_registry_other_images_are_missing(serve):
    engine = serve("--builtin-images", "off")
    reply = engine.post("/containers/create", {"Image": "alpine"})
    assert (reply.status, reply.message) == (404, "No such image: alpine:latest")
    assert engine.get("/images/sockerless/base/json").status == 404
