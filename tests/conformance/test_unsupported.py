"""What is not there yet says so: 501 naming the endpoint; what never was: 404."""
import pytest

LATER = [
    ("POST", "/build"), ("POST", "/commit"), ("GET", "/system/df"), ("GET", "/images/search"),
    ("POST", "/images/x/push"), ("GET", "/containers/x/archive"), ("PUT", "/containers/x/archive"),
    ("GET", "/containers/x/export"), ("GET", "/containers/x/changes"), ("GET", "/containers/x/stats"),
    ("GET", "/containers/x/attach/ws"),
    ("POST", "/volumes/create"),
    ("DELETE", "/volumes/x"), ("POST", "/session"), ("POST", "/grpc"), ("GET", "/swarm"), ("GET", "/services"), ("GET", "/nodes"),
    ("GET", "/tasks"), ("GET", "/secrets"), ("GET", "/configs"), ("GET", "/distribution/x/json"), ("POST", "/plugins/pull"),
]


@pytest.mark.differs("a Docker Engine supports these")
@pytest.mark.parametrize("method, path", LATER, ids=[f"{method} {path}" for method, path in LATER])
def test_an_endpoint_of_later_is_501_and_named(engine, method, path):
    reply = engine.request(method, path)
    assert reply.status == 501
    assert method in reply.message and path in reply.message
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.differs("a Docker Engine supports it")
def test_head_archive_is_501_without_a_body(engine):
    with engine.open("HEAD", "/containers/x/archive", query={"path": "/"}) as stream:
        assert stream.status == 501
        assert stream.is_silent(0.1)


@pytest.mark.parametrize("method, path", [("GET", "/ct-none"), ("GET", "/"), ("DELETE", "/containers/json"), ("GET", "/containers"),
                                          ("PATCH", "/containers/create"), ("GET", "/containers/x/ct-none")])
def test_an_unknown_path_is_404(engine, method, path):
    reply = engine.request(method, path)
    assert reply.status == 404
    assert reply.message == "page not found" or "No such container: json" in reply.message


@pytest.mark.differs("a Docker Engine supports cp")
def test_cli_cp_fails_with_a_sentence(engine):
    cid = engine.create("true")
    done = engine.cli("cp", f"{cid}:/etc/passwd", "-")
    assert done.returncode == 1 and done.err.strip()
