"""Version prefixes: none, 1.24 to 1.44, refused ones (lesson 10)."""
import pytest


@pytest.mark.parametrize("prefix", ["", "/v1.24", "/v1.25", "/v1.32", "/v1.40", "/v1.41"])
def test_old_and_unversioned_paths_work(engine, prefix):
    cid = engine.create("true")
    assert engine.get(f"{prefix}/containers/{cid}/json").json["Id"] == cid
    assert engine.get(f"{prefix}/_ping").body == b"OK"
    assert engine.get(f"{prefix}/version").json["ApiVersion"]


@pytest.mark.differs("Engine 20.10 speaks 1.41")
@pytest.mark.parametrize("prefix", ["/v1.42", "/v1.43", "/v1.44"])
def test_newer_versions_work(engine, prefix):
    cid = engine.create("true")
    assert engine.get(f"{prefix}/containers/{cid}/json").json["Id"] == cid


@pytest.mark.parametrize("version", ["1.45", "1.99", "2.0"])
def test_a_version_too_new_is_400_in_dockers_words(engine, version):
    newest = engine.get("/version").json["ApiVersion"]
    reply = engine.get(f"/v{version}/containers/json")
    assert reply.status == 400
    assert reply.message == f"client version {version} is too new. Maximum supported API version is {newest}"


def test_a_version_too_old_is_400_in_dockers_words(engine):
    oldest = engine.get("/version").json["MinAPIVersion"]
    reply = engine.get("/v1.10/containers/json")
    assert reply.status == 400
    assert f"client version 1.10 is too old. Minimum supported API version is {oldest}, please upgrade".encode() in reply.body


def test_a_version_that_is_none_is_404(engine):
    for path in ("/vx/containers/json", "/v1/containers/json", "/v1./containers/json"):
        assert engine.get(path).status in (400, 404), path


@pytest.mark.parametrize("version", ["1.24", "1.41"])
def test_cli_of_an_older_version_works(engine, version):
    old = engine.environment()
    engine.environment = lambda: {**old, "DOCKER_API_VERSION": version}
    assert engine.docker("run", "--rm", engine.image, "echo", "hi") == "hi\n"


def test_every_endpoint_answers_under_the_oldest_version(engine):
    cid = engine.run("sleep", "60")
    v = "/v1.24"
    assert engine.get(f"{v}/containers/json").status == 200
    assert engine.get(f"{v}/images/json").status == 200
    assert engine.get(f"{v}/info").status == 200
    assert engine.get(f"{v}/containers/{cid}/top").status == 200
    assert engine.get(f"{v}/containers/{cid}/logs", stdout=1).status == 200
    exec_id = engine.post(f"{v}/containers/{cid}/exec", {"Cmd": ["true"], "AttachStdout": True}).json["Id"]
    assert engine.post(f"{v}/exec/{exec_id}/start", {"Detach": True}).status == 200
    assert engine.post(f"{v}/containers/{cid}/kill").status == 204
    assert engine.post(f"{v}/containers/{cid}/wait").json["StatusCode"] == 137
    assert engine.delete(f"{v}/containers/{cid}").status == 204
