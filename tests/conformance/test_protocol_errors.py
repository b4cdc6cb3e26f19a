"""Malformed HTTP and JSON of every kind: the right 4xx, the field's name, and an engine that goes on."""
import json

import pytest
from engine import Stream, dial

RAW = {
    "no host": b"GET /_ping HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /_ping HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "length and chunked": b"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "negative length": b"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "length that is no number": b"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: 2x\r\n\r\n{}",
    "unknown coding": b"POST /containers/create HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    "blank before colon": b"GET /_ping HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
    "folded header": b"GET /_ping HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
    "NUL in header": b"GET /_ping HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    "bad version": b"GET /_ping HTTP/3.7\r\nHost: a\r\n\r\n",
    "no version": b"GET /_ping\r\nHost: a\r\n\r\n",
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "bad chunk size": b"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                      b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
}
LENIENT = {"folded header", "unknown coding", "no version", "length and chunked", "two lengths",
           "blank before colon", "bad chunk size"}


@pytest.mark.parametrize("kind", RAW)
def test_malformed_http_is_4xx_and_the_connection_ends(engine, kind):
    if engine.is_control and kind in LENIENT:
        pytest.skip("net/http of Engine 20.10 reads this its own way")
    reply = engine.raw(RAW[kind], timeout=5)
    assert reply[:9] == b"HTTP/1.1 " and reply[9:10] in (b"4", b"5") and reply[9:12] in (b"400", b"501", b"505"), reply[:200]


@pytest.mark.differs("net/http takes a bare LF")
def test_bare_lf_is_refused(engine):
    assert b" 400 " in engine.raw(b"GET /_ping HTTP/1.1\nHost: a\n\n", timeout=5)[:20]


@pytest.mark.differs("the control words it otherwise")
@pytest.mark.parametrize("path", ["/containers/%zz/json", "/containers/a%00b/json"])
def test_bad_escapes_in_the_path_are_400(engine, path):
    assert engine.get(path).status == 400


def test_a_head_of_megabytes_is_refused(engine):
    reply = engine.raw(b"GET /_ping HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 3_000_000 + b"\r\n\r\n", timeout=5)
    assert reply == b"" or b" 431 " in reply[:20] or b" 400 " in reply[:20]
    assert engine.get("/_ping").status == 200


def create(engine, body, **headers):
    return engine.request("POST", "/containers/create", body, headers)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"nonsense", b'{"Image": }', b'{"Image": "x"', b"\xff\xfe", b"{'Image': 'x'}"])
def test_a_body_that_is_no_json_object_is_400(engine, body):
    reply = create(engine, body)
    assert reply.status in ((400, 500) if engine.is_control else (400,)), reply
    assert reply.message


WRONG_TYPES = [
    ({"Image": 3}, "Image"), ({"Cmd": 3}, "Cmd"), ({"Cmd": ["a", 1]}, "Cmd"), ({"Env": "A=b"}, "Env"), ({"Env": [{}]}, "Env"),
    ({"Tty": "yes"}, "Tty"), ({"Labels": ["a"]}, "Labels"), ({"Labels": {"a": 1}}, "Labels"), ({"Hostname": []}, "Hostname"),
    ({"StopTimeout": "x"}, "StopTimeout"), ({"ExposedPorts": []}, "ExposedPorts"), ({"HostConfig": []}, "HostConfig"),
    ({"HostConfig": {"Memory": "1g"}}, "HostConfig.Memory"), ({"HostConfig": {"AutoRemove": 1}}, "HostConfig.AutoRemove"),
    ({"HostConfig": {"Binds": "x"}}, "HostConfig.Binds"), ({"HostConfig": {"Ulimits": [1]}}, "HostConfig.Ulimits"),
    ({"HostConfig": {"RestartPolicy": {"MaximumRetryCount": "x"}}}, "HostConfig.RestartPolicy.MaximumRetryCount"),
    ({"NetworkingConfig": {"EndpointsConfig": 3}}, "NetworkingConfig.EndpointsConfig"),
]


@pytest.mark.parametrize("body, field", WRONG_TYPES, ids=[json.dumps(body) for body, _ in WRONG_TYPES])
def test_a_wrong_type_is_400_and_names_the_field(engine, body, field):
    reply = create(engine, {"Image": engine.image, "Cmd": ["true"], **body})
    assert reply.status in ((400, 500) if engine.is_control else (400,)), reply
    if not engine.is_control:
        assert field in reply.message, reply.message


@pytest.mark.differs("Engine 20.10 lets it overflow in its own words")
def test_a_number_beyond_64_bits_is_400(engine):
    reply = create(engine, b'{"Image": "alpine", "HostConfig": {"Memory": 99999999999999999999999}}')
    assert reply.status == 400 and reply.message


def test_json_nested_very_deep_is_refused_and_harmless(engine):
    reply = create(engine, b'{"Image": ' + b"[" * 100000 + b"]" * 100000 + b"}")
    assert reply.status in (400, 500)
    assert engine.get("/_ping").status == 200


def test_a_second_document_behind_the_first_is_refused(engine):
    reply = create(engine, b'{"Image": "ct-none"} {"Image": "other"}')
    assert reply.status in ((400, 404) if engine.is_control else (400,)), reply


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_another_content_type_is_refused(engine, content_type):
    """A web page can send these without asking (SECURITY 15)."""
    body = json.dumps({"Image": engine.image, "Cmd": ["true"]}).encode()
    reply = create(engine, body, **{"Content-Type": content_type})
    assert reply.status in (400, 415, 500), reply


def test_wrong_types_of_exec_are_400(engine):
    cid = engine.run("sleep", "60")
    for body in ({"Cmd": 3}, {"Cmd": ["true"], "Tty": "x"}, {"Cmd": ["true"], "Env": {}}):
        reply = engine.post(f"/containers/{cid}/exec", body)
        assert reply.status in ((400, 500) if engine.is_control else (400,)), (body, reply)


def test_keep_alive_and_pipelining(engine):
    one = b"GET /_ping HTTP/1.1\r\nHost: a\r\n\r\n"
    with Stream(dial(engine.host)) as stream:
        stream.write(one * 3)
        for _ in range(3):
            assert stream.head().status == 200
            assert stream.body() == b"OK"
        stream.write(one)
        assert stream.head().status == 200


def test_http_1_0_gets_an_answer_and_a_close(engine):
    reply = engine.raw(b"GET /_ping HTTP/1.0\r\n\r\n")
    assert b" 200 " in reply[:20] and reply.endswith(b"OK")


def test_expect_100_continue(engine):
    body = json.dumps({"Image": "ct-none"}).encode()
    with Stream(dial(engine.host)) as stream:
        stream.write(b"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
                     b"Content-Length: %d\r\n\r\n" % len(body))
        assert stream.head().status == 100
        stream.write(body)
        assert stream.head().status == 404


def test_a_chunked_body_is_read(engine):
    body = json.dumps({"Image": "ct-none"}).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, body[i:i + 1]) for i in range(len(body)))
    reply = engine.raw(b"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\n"
                       b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    assert b" 404 " in reply[:20]


def test_errors_are_json_with_a_message(engine):
    """Lesson 13."""
    for path in ("/containers/ct-none/json", "/images/ct-none/json", "/exec/ct-none/json"):
        reply = engine.get(path)
        assert reply.status == 404 and reply.headers["content-type"] == "application/json"
        assert list(reply.json) == ["message"]


def test_a_client_that_vanishes_in_mid_request_harms_nobody(engine):
    for data in (b"POST /containers/cre", b"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
                 b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n"):
        with Stream(dial(engine.host)) as stream:
            stream.write(data)
    assert engine.get("/_ping").status == 200


def test_many_idle_connections_are_carried(engine):
    streams = [Stream(dial(engine.host)) for _ in range(300)]
    assert engine.get("/_ping").status == 200
    for stream in streams:
        stream.close()
