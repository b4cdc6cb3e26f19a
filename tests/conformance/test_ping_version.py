"""_ping, version, info, auth: what every client asks first."""
import pytest


def test_ping_by_get_says_ok(engine):
    reply = engine.get("/_ping")
    assert (reply.status, reply.body) == (200, b"OK")
    assert reply.headers["content-type"].startswith("text/plain")


def test_ping_by_head_has_the_headers_and_no_body(engine):
    with engine.open("HEAD", "/_ping") as stream:
        assert stream.status == 200
        assert stream.is_silent(0.1), "a body came with HEAD"
        assert stream.headers["api-version"]
        assert stream.headers["docker-experimental"] == "false"
        assert stream.headers["ostype"] == "linux"


@pytest.mark.differs("Engine 20.10 sends no Builder-Version by default")
def test_ping_says_the_classic_builder(engine):
    """Without BuildKit the CLI must be told to use POST /build (lesson 11)."""
    assert engine.get("/_ping").headers["builder-version"] == "1"


def test_ping_is_not_cached(engine):
    headers = engine.get("/_ping").headers
    assert "no-cache" in headers["cache-control"]
    assert headers["pragma"] == "no-cache"


def test_every_reply_carries_the_api_version(engine):
    for path in ("/version", "/containers/json", "/containers/none/json", "/v1.30/images/json"):
        headers = engine.get(path).headers
        assert headers["api-version"] == engine.get("/_ping").headers["api-version"], path
        assert headers["ostype"] == "linux"


def test_version_names_the_api_and_its_minimum(engine):
    version = engine.get("/version").json
    assert version["ApiVersion"] == engine.get("/_ping").headers["api-version"]
    assert version["MinAPIVersion"] <= "1.24"
    assert version["Os"] == "linux" and version["Arch"]
    assert any(part["Name"] == "Engine" for part in version["Components"])


@pytest.mark.differs("Engine 20.10 speaks 1.41")
def test_version_is_1_44_from_1_24(engine):
    version = engine.get("/version").json
    assert (version["ApiVersion"], version["MinAPIVersion"]) == ("1.44", "1.24")


def test_cli_version_shows_both_sides(engine):
    out = engine.docker("version", "--format", "{{.Client.Version}} {{.Server.APIVersion}}")
    assert out.split()[1] == engine.get("/version").json["ApiVersion"]


def test_cli_info_shows_the_counts(engine):
    engine.create("true")
    assert int(engine.docker("info", "--format", "{{.Containers}}")) >= 1


def test_info_counts_containers_by_state(engine):
    engine.run("sleep", "60")
    info = engine.get("/info").json
    assert info["ContainersRunning"] >= 1
    assert info["Containers"] >= info["ContainersRunning"]
    assert info["OSType"] == "linux" and info["ID"] and info["NCPU"] >= 1 and info["MemTotal"] > 0


def test_info_names_the_default_registry(engine):
    info = engine.get("/info").json
    assert info["IndexServerAddress"] == "https://index.docker.io/v1/"
    assert "RegistryConfig" in info and "Plugins" in info


def test_auth_without_a_body_is_400(engine):
    assert engine.request("POST", "/auth", b"").status in (400, 500)
