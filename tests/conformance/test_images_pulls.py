"""Pulls side by side, broken off and resumed, from a registry of our own that can be held up and lies."""
import gzip
import hashlib
import http.server
import io
import json
import os
import tarfile
import threading
import uuid

import pytest
from engine import until

pytestmark = pytest.mark.ours
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """One image whose layer of 2 MB can be held up at half, or cut there."""

    def __init__(self):
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as tar:
            info = tarfile.TarInfo("noise")
            noise = os.urandom(2_000_000)
            info.size = len(noise)
            tar.addfile(info, io.BytesIO(noise))
        self.layer = gzip.compress(raw.getvalue(), 1)
        self.config = json.dumps({"os": "linux", "architecture": "amd64", "author": uuid.uuid4().hex,
                                  "rootfs": {"type": "layers", "diff_ids": [sha256(raw.getvalue())]}}).encode()
        self.id = sha256(self.config)
        self.manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST,
                                    "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": self.id, "size": len(self.config)},
                                    "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": sha256(self.layer),
                                                "size": len(self.layer)}]}).encode()
        self.go_on, self.half = threading.Event(), threading.Event()
        self.cuts = 0  # how many answers are cut at half
        self.ranges = []  # of each request for the layer
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, data, kind="application/octet-stream", status=200):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                if self.path == "/v2/":
                    self.answer(b"{}")
                elif "/manifests/" in self.path:
                    self.answer(outer.manifest, MANIFEST)
                elif self.path.endswith(outer.id):
                    self.answer(outer.config)
                else:
                    self.serve_layer()

            def serve_layer(self):
                asked = self.headers.get("Range")
                outer.ranges.append(asked)
                start = int(asked[6:-1]) if asked else 0
                middle = max(start, len(outer.layer) // 2)
                self.send_response(206 if asked else 200)
                self.send_header("Content-Length", str(len(outer.layer) - start))
                self.end_headers()
                self.wfile.write(outer.layer[start:middle])
                self.wfile.flush()
                outer.half.set()
                if outer.cuts:
                    outer.cuts -= 1
                    self.close_connection = True
                    return
                outer.go_on.wait(30)
                try:
                    self.wfile.write(outer.layer[middle:])
                except OSError:
                    self.close_connection = True

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.name = f"127.0.0.1:{self.server.server_address[1]}/ct/{uuid.uuid4().hex[:8]}"

    def stop(self):
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def registry(engine):
    one = Registry()
    yield one
    one.stop()
    engine.delete(f"/images/{one.id}", force=1)


class Pull(threading.Thread):
    def __init__(self, engine, registry, tag):
        super().__init__(daemon=True)
        self.stream = engine.open("POST", "/images/create", None, {"Connection": "close"}, {"fromImage": registry.name, "tag": tag}, 60)
        self.body = b""
        self.start()

    def run(self):
        self.body = self.stream.body("POST", 60)

    def lines(self):
        self.join(60)
        return [json.loads(line) for line in self.body.splitlines()]


def test_two_pulls_share_one_download(engine, registry):
    one = Pull(engine, registry, "1")
    assert registry.half.wait(20)
    two = engine.open("POST", "/images/create", None, None, {"fromImage": registry.name, "tag": "2"}, 60)
    two.until(b"Downloading", 20)  # the first one's bytes
    registry.go_on.set()
    assert one.lines()[-1]["status"] == f"Status: Downloaded newer image for {registry.name}:1"
    two.until(f"Status: Downloaded newer image for {registry.name}:2".encode(), 20)
    two.close()
    assert registry.ranges == [None], "one request for the layer"
    assert sorted(engine.get(f"/images/{registry.id}/json").json["RepoTags"]) == [registry.name + ":1", registry.name + ":2"]


def test_who_stays_goes_on_where_the_other_left(engine, registry):
    one = engine.open("POST", "/images/create", None, None, {"fromImage": registry.name, "tag": "1"}, 60)
    assert registry.half.wait(20)
    two = Pull(engine, registry, "2")
    one.close()
    until(lambda: len(registry.ranges) == 2, 20, "the second's request")
    registry.go_on.set()
    assert two.lines()[-1]["status"] == f"Status: Downloaded newer image for {registry.name}:2"
    assert registry.ranges[1] is not None, "it asked for the rest only"


def test_a_broken_layer_is_resumed(engine, registry):
    registry.go_on.set()
    registry.cuts = 2
    lines = Pull(engine, registry, "1").lines()
    assert lines[-1]["status"] == f"Status: Downloaded newer image for {registry.name}:1"
    assert "Retrying in 1 second" in [line.get("status") for line in lines]
    assert registry.ranges[0] is None and all(registry.ranges[1:])


def test_a_registry_that_dies_in_a_layer_is_an_error_and_leaves_no_image(engine, registry):
    registry.go_on.set()
    registry.cuts = 1000
    lines = Pull(engine, registry, "1").lines()
    assert "error" in lines[-1] and "EOF" in lines[-1]["error"], lines[-1]
    assert engine.get(f"/images/{registry.name}:1/json").status == 404
    assert engine.get(f"/images/{registry.id}/json").status == 404
    registry.cuts = 0
    assert Pull(engine, registry, "1").lines()[-1]["status"].startswith("Status: Downloaded newer image")
