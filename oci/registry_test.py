"""The registry client against Debian's docker-registry, and against registries that lie."""
import base64
import gzip
import hashlib
import http.client
import http.server
import io
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tarfile
import threading
import time

import pytest

PROBE = os.environ["SL_REGISTRY_PROBE"]
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer_of(files):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return raw.getvalue()


class Image:
    """One image of some layers, as blobs and a manifest."""

    def __init__(self, *layers, architecture="amd64"):
        tars = [layer_of(files) for files in layers]
        packed = [gzip.compress(tar, mtime=0) for tar in tars]
        config = json.dumps({"os": "linux", "architecture": architecture, "config": {"Cmd": ["sh"]},
                             "rootfs": {"type": "layers", "diff_ids": [sha256(tar) for tar in tars]}}).encode()
        self.id = sha256(config)
        self.blobs = {sha256(data): data for data in [config, *packed]}
        self.layers = [sha256(data) for data in packed]
        self.document = {"schemaVersion": 2, "mediaType": MANIFEST,
                         "config": {"mediaType": CONFIG, "digest": self.id, "size": len(config)},
                         "layers": [{"mediaType": LAYER, "digest": sha256(data), "size": len(data)} for data in packed]}

    @property
    def manifest(self):
        return json.dumps(self.document).encode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def login(user, password):
    return base64.urlsafe_b64encode(json.dumps({"username": user, "password": password}).encode()).decode()


class Result:
    def __init__(self, run):
        self.lines = [json.loads(line) for line in run.stdout.splitlines()]
        self.ok = run.returncode == 0
        assert run.returncode in (0, 1), run.stderr
        self.last = self.lines[-1] if self.lines else {}
        self.error = self.last.get("error", "")
        self.http = self.last.get("http")
        self.said = [(line["id"], line["status"]) for line in self.lines if "status" in line]


@pytest.fixture
def pull(tmp_path):
    def run(reference, *options):
        done = subprocess.run([PROBE, "--content", str(tmp_path / "content"), "--rootfs", str(tmp_path / "rootfs"), *options,
                               reference], capture_output=True, text=True, timeout=60)
        return Result(done)

    run.blobs = lambda: {"sha256:" + path.name for path in (tmp_path / "content/blobs/sha256").iterdir()}
    run.leftovers = lambda: list((tmp_path / "content/ingest").iterdir())
    return run


# ---- a real registry ----

class RealRegistry:
    def __init__(self, folder, auth=None):
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.auth = auth
        config = {"version": 0.1, "log": {"level": "error"}, "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
                  "http": {"addr": self.host}}
        if auth:
            (folder / "htpasswd").write_text(auth[2] + "\n")
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
        (folder / "config.yml").write_text(json.dumps(config))
        self.process = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, "docker-registry does not start"
                threading.Event().wait(0.05)

    def call(self, method, path, body=b"", headers=None):
        headers = dict(headers or {})
        if self.auth:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{self.auth[0]}:{self.auth[1]}".encode()).decode()
        connection = http.client.HTTPConnection(self.host, timeout=10)
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        reply.read()
        assert reply.status < 300, (method, path, reply.status)
        return reply

    def push(self, name, tag, image):
        for digest, data in image.blobs.items():
            place = self.call("POST", f"/v2/{name}/blobs/uploads/").headers["Location"]
            place = place[place.index("/v2/"):]
            self.call("PUT", f"{place}&digest={digest}", data, {"Content-Type": "application/octet-stream"})
        self.call("PUT", f"/v2/{name}/manifests/{tag}", image.manifest, {"Content-Type": MANIFEST})

    def close(self):
        self.process.kill()
        self.process.wait()


needs_registry = pytest.mark.skipif(not shutil.which("docker-registry"), reason="docker-registry is not installed")


@pytest.fixture
def registry(tmp_path):
    folder = tmp_path / "registry"
    folder.mkdir()
    real = RealRegistry(folder)
    yield real
    real.close()


@needs_registry
def test_pulls_from_a_real_registry(registry, pull, tmp_path):
    image = Image({"bin/sh": b"shell"}, {"etc/name": b"upper", "bin/.wh.sh": b""})
    registry.push("team/app", "1", image)
    done = pull(f"{registry.host}/team/app:1")
    assert done.ok, done.error
    assert done.last["id"] == image.id
    assert done.last["manifest"] == done.last["index"] == sha256(image.manifest)
    assert done.said[0] == ("1", "Pulling from team/app")
    for digest in image.layers:
        short = digest[7:19]
        assert [status for name, status in done.said if name == short and status != "Downloading"] == [
            "Pulling fs layer", "Verifying Checksum", "Download complete"]
    root = pathlib.Path(done.last["rootfs"])
    assert (root / "etc/name").read_bytes() == b"upper"
    assert not (root / "bin/sh").exists()

    again = pull(f"{registry.host}/team/app:1")
    assert {status for name, status in again.said if name != "1"} == {"Already exists"}
    by_digest = pull(f"{registry.host}/team/app@{sha256(image.manifest)}")
    assert by_digest.ok, by_digest.error


@needs_registry
def test_missing_in_docker_s_words(registry, pull):
    done = pull(f"{registry.host}/none:1")
    assert done.http == 404
    assert done.error == f"manifest for {registry.host}/none:1 not found: manifest unknown: manifest unknown"


@needs_registry
def test_password_of_a_real_registry(pull, tmp_path):
    crypt = pytest.importorskip("crypt")
    folder = tmp_path / "registry"
    folder.mkdir()
    hashed = crypt.crypt("secret", "$2b$05$abcdefghijklmnopqrstuu")
    real = RealRegistry(folder, ("me", "secret", f"me:{hashed}"))
    try:
        image = Image({"file": b"private"})
        real.push("app", "1", image)
        assert pull(f"{real.host}/app:1", "--auth", login("me", "secret")).ok
        nobody = pull(f"{real.host}/app:1")
        assert nobody.http == 401 and nobody.error.endswith("no basic auth credentials")
        wrong = pull(f"{real.host}/app:1", "--auth", login("me", "wrong"))
        assert wrong.http == 401 and "unauthorized" in wrong.error
        assert pull("x", "--login", real.host, "--auth", login("me", "secret")).ok
        assert pull("x", "--login", real.host, "--auth", login("me", "wrong")).http == 401
    finally:
        real.close()


# ---- registries that lie ----

class Liar(http.server.ThreadingHTTPServer):
    """Serves what `answers` says: path → function(handler). Everything that came is in `seen`."""

    daemon_threads = True

    def __init__(self, address="127.0.0.1"):
        super().__init__((address, 0), Handler)
        self.host = f"{address}:{self.server_address[1]}"
        self.answers = {"/v2/": lambda handler: handler.send(200)}
        self.seen = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def serve(self, name, tag, image):
        self.document(f"/v2/{name}/manifests/{tag}", image.manifest, MANIFEST)
        self.document(f"/v2/{name}/manifests/{sha256(image.manifest)}", image.manifest, MANIFEST)
        for digest, data in image.blobs.items():
            self.document(f"/v2/{name}/blobs/{digest}", data)

    def document(self, path, data, content_type="application/octet-stream", **headers):
        self.answers[path] = lambda handler: handler.send(200, data, {"Content-Type": content_type, **headers})

    def authorizations(self, prefix="/"):
        return [headers["Authorization"] for path, headers in self.seen if path.startswith(prefix) and "Authorization" in headers]

    def close(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append((self.path, self.headers))
        answer = self.server.answers.get(self.path.split("?")[0])
        if answer:
            answer(self)
        else:
            self.send(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')

    def do_POST(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def send(self, status, data=b"", headers=None):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def liar():
    server = Liar()
    yield server
    server.close()


@pytest.fixture
def other():
    server = Liar("127.0.0.2")
    yield server
    server.close()


IMAGE = Image({"file": b"content " * 1000})


def assert_nothing_kept(pull, *digests):
    assert not pull.leftovers()
    assert not set(digests) & pull.blobs()


def test_wrong_layer_digest(liar, pull):
    liar.serve("app", "latest", IMAGE)
    bad = bytearray(IMAGE.blobs[IMAGE.layers[0]])
    bad[len(bad) // 2] ^= 1
    liar.document(f"/v2/app/blobs/{IMAGE.layers[0]}", bytes(bad))
    done = pull(f"{liar.host}/app")
    assert done.http == 500 and "verification failed" in done.error
    assert_nothing_kept(pull, IMAGE.layers[0])


def test_layer_larger_than_announced_stops_early(liar, pull):
    liar.serve("app", "latest", IMAGE)
    sent = []

    def flood(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        try:
            while len(sent) < 4000:
                handler.wfile.write(b"x" * 65536)
                sent.append(1)
        except OSError:
            pass
        handler.close_connection = True

    liar.answers[f"/v2/app/blobs/{IMAGE.layers[0]}"] = flood
    done = pull(f"{liar.host}/app")
    assert done.http == 500 and "size validation failed" in done.error
    assert len(sent) < 1000
    assert_nothing_kept(pull, IMAGE.layers[0])


def test_layer_smaller_than_announced(liar, pull):
    liar.serve("app", "latest", IMAGE)
    liar.document(f"/v2/app/blobs/{IMAGE.layers[0]}", IMAGE.blobs[IMAGE.layers[0]][:-1])
    done = pull(f"{liar.host}/app")
    assert done.http == 500 and "size validation failed" in done.error
    assert_nothing_kept(pull, IMAGE.layers[0])


def cut_short(data, with_ranges):
    tries = []

    def answer(handler):
        start = 0
        asked = handler.headers.get("Range")
        tries.append(asked)
        if asked and with_ranges:
            start = int(asked[len("bytes="):].rstrip("-"))
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        handler.wfile.write(data[start:start + len(data) // 2] if len(tries) == 1 else data[start:])
        handler.close_connection = True

    return answer, tries


@pytest.mark.parametrize("with_ranges", [True, False])
def test_broken_download_is_resumed(liar, pull, with_ranges):
    liar.serve("app", "latest", IMAGE)
    data = IMAGE.blobs[IMAGE.layers[0]]
    answer, tries = cut_short(data, with_ranges)
    liar.answers[f"/v2/app/blobs/{IMAGE.layers[0]}"] = answer
    done = pull(f"{liar.host}/app")
    assert done.ok, done.error
    assert tries[0] is None and tries[1] == f"bytes={len(data) // 2}-"
    assert len(tries) == (2 if with_ranges else 3)


def test_manifest_that_is_not_what_the_digest_says(liar, pull):
    liar.serve("app", "latest", IMAGE)
    wrong = sha256(b"something else")
    liar.document(f"/v2/app/manifests/{wrong}", IMAGE.manifest, MANIFEST)
    done = pull(f"{liar.host}/app@{wrong}")
    assert done.http == 500 and "manifest verification failed" in done.error
    liar.document("/v2/app/manifests/latest", IMAGE.manifest, MANIFEST, **{"Docker-Content-Digest": wrong})
    assert "manifest verification failed" in pull(f"{liar.host}/app").error


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[" * 100000, b'{"schemaVersion":2}', b'{"schemaVersion":2,"config":7,"layers":[]}',
                                  b"\xff\xfe", json.dumps({"schemaVersion": 2, "config": {}, "layers": []}).encode()])
def test_malformed_manifests_are_errors(liar, pull, body):
    liar.document("/v2/app/manifests/latest", body, MANIFEST)
    done = pull(f"{liar.host}/app")
    assert done.http in (400, 500)


def test_media_type_confusion(liar, pull):
    document = dict(IMAGE.document, manifests=[])
    liar.document("/v2/app/manifests/latest", json.dumps(document).encode(), MANIFEST)
    assert pull(f"{liar.host}/app").http == 400
    liar.document("/v2/app/manifests/latest", IMAGE.manifest, INDEX)
    assert pull(f"{liar.host}/app").http == 400


def test_foreign_layers_are_not_fetched(liar, other, pull):
    document = json.loads(IMAGE.manifest)
    document["layers"][0].update(mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                                 urls=[f"http://{other.host}/layer"])
    liar.serve("app", "latest", IMAGE)
    liar.document("/v2/app/manifests/latest", json.dumps(document).encode(), MANIFEST)
    assert "foreign layers are not supported" in pull(f"{liar.host}/app").error
    assert not other.seen


def index_of(*entries):
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": sha256(image.manifest), "size": len(image.manifest),
         "platform": {"os": "linux", "architecture": architecture}} for architecture, image in entries]}).encode()


def test_index_by_platform(liar, pull):
    arm = Image({"file": b"arm"}, architecture="arm64")
    amd = Image({"file": b"amd"}, architecture="amd64")
    index = index_of(("arm64", arm), ("amd64", amd))
    for image in (arm, amd):
        liar.serve("app", "x", image)
    liar.document("/v2/app/manifests/latest", index, INDEX)
    done = pull(f"{liar.host}/app", "--platform", "linux/arm64")
    assert done.ok and done.last["id"] == arm.id and done.last["index"] == sha256(index)
    assert pull(f"{liar.host}/app", "--platform", "linux/amd64").last["id"] == amd.id
    missing = pull(f"{liar.host}/app", "--platform", "linux/s390x")
    assert missing.http == 404 and missing.error == "no matching manifest for linux/s390x in the manifest list entries"


def test_index_in_an_index_is_refused(liar, pull):
    inner = index_of(("amd64", IMAGE))
    outer = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": INDEX, "digest": sha256(inner), "size": len(inner), "platform": {"os": "linux", "architecture": "amd64"}}]}).encode()
    liar.document("/v2/app/manifests/latest", outer, INDEX)
    liar.document(f"/v2/app/manifests/{sha256(inner)}", inner, INDEX)
    assert pull(f"{liar.host}/app", "--platform", "linux/amd64").http == 400


def bearer(liar, realm, token="token-1"):
    """Asks for a token everywhere."""
    inner = dict(liar.answers)

    def guard(answer):
        def checked(handler):
            if handler.headers.get("Authorization") == f"Bearer {token}":
                answer(handler)
            else:
                handler.send(401, b"", {"WWW-Authenticate": f'Bearer realm="{realm}",service="the service",scope="x"'})
        return checked

    for path, answer in inner.items():
        liar.answers[path] = guard(answer)


def test_bearer_token_flow(liar, pull):
    liar.serve("app", "latest", IMAGE)
    bearer(liar, f"http://{liar.host}/token")
    liar.document("/token", b'{"token":"token-1"}')
    done = pull(f"{liar.host}/app", "--auth", login("me", "secret"))
    assert done.ok, done.error
    path, headers = next(seen for seen in liar.seen if seen[0].startswith("/token"))
    assert path == "/token?service=the%20service&scope=repository%3Aapp%3Apull"
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()
    assert set(liar.authorizations("/v2/app")) == {"Bearer token-1"}


def test_identity_token_goes_by_oauth(liar, pull):
    liar.serve("app", "latest", IMAGE)
    bearer(liar, f"http://{liar.host}/token")
    bodies = []

    def token(handler):
        bodies.append(handler.body)
        handler.send(200, b'{"access_token":"token-1"}')

    liar.answers["/token"] = token
    header = base64.urlsafe_b64encode(b'{"identitytoken":"refresh-me"}').decode().rstrip("=")
    assert pull(f"{liar.host}/app", "--auth", header).ok
    assert b"grant_type=refresh_token" in bodies[0] and b"refresh_token=refresh-me" in bodies[0]


def test_expired_token_is_renewed(liar, pull):
    liar.serve("app", "latest", IMAGE)
    valid = ["token-1"]
    n_tokens = []

    def guard(answer, expires):
        def checked(handler):
            if expires:
                valid[0] = "token-2"
                expires.clear()
            if handler.headers.get("Authorization") == f"Bearer {valid[0]}":
                answer(handler)
            else:
                handler.send(401, b"", {"WWW-Authenticate": f'Bearer realm="http://{liar.host}/token"'})
        return checked

    def token(handler):
        n_tokens.append(1)
        handler.send(200, json.dumps({"token": valid[0]}).encode())

    for path, answer in list(liar.answers.items()):
        liar.answers[path] = guard(answer, [1] if IMAGE.layers[0] in path else [])
    liar.answers["/token"] = token
    done = pull(f"{liar.host}/app")
    assert done.ok, done.error
    assert len(n_tokens) == 2


@pytest.mark.parametrize("realm", ["http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/t", "http://0.0.0.0:1/t",
                                   "http://[::ffff:169.254.169.254]/t", "http://2852039166/t", "http://metadata.google.internal/t",
                                   "file:///etc/passwd", "http://me:secret@127.0.0.1/t", "gopher://127.0.0.1/"])
def test_realm_at_a_forbidden_place(liar, pull, realm):
    liar.serve("app", "latest", IMAGE)
    bearer(liar, realm)
    started = time.monotonic()
    done = pull(f"{liar.host}/app", "--auth", login("me", "secret"))
    assert done.http == 403, done.error
    assert time.monotonic() - started < 5
    assert not liar.authorizations()


def test_login_does_not_follow_a_redirect(liar, other, pull):
    liar.serve("app", "latest", IMAGE)
    data = IMAGE.blobs[IMAGE.layers[0]]
    bearer(liar, f"http://{liar.host}/token")
    liar.document("/token", b'{"token":"token-1"}')
    liar.answers[f"/v2/app/blobs/{IMAGE.layers[0]}"] = lambda handler: handler.send(
        307, b"", {"Location": f"http://{other.host}/blob?signed=1"})
    other.document("/blob", data)
    done = pull(f"{liar.host}/app", "--auth", login("me", "secret"))
    assert done.ok, done.error
    assert other.seen and not other.authorizations()


def test_401_behind_a_redirect_gets_no_login(liar, other, pull):
    liar.serve("app", "latest", IMAGE)
    liar.answers[f"/v2/app/blobs/{IMAGE.layers[0]}"] = lambda handler: handler.send(
        307, b"", {"Location": f"http://{other.host}/blob"})
    other.answers["/blob"] = lambda handler: handler.send(
        401, b"", {"WWW-Authenticate": f'Bearer realm="http://{other.host}/token"'})
    done = pull(f"{liar.host}/app", "--auth", login("me", "secret"))
    assert done.http == 401
    assert [path for path, _ in other.seen] == ["/blob"]
    assert not other.authorizations()


@pytest.mark.parametrize("place", ["http://169.254.169.254/x", "ftp://127.0.0.1/x", "http://[fd00:ec2::254]/"])
def test_redirect_to_a_forbidden_place(liar, pull, place):
    liar.serve("app", "latest", IMAGE)
    liar.answers[f"/v2/app/blobs/{IMAGE.layers[0]}"] = lambda handler: handler.send(302, b"", {"Location": place})
    assert pull(f"{liar.host}/app").http == 403


def test_redirect_loop_ends(liar, pull):
    liar.serve("app", "latest", IMAGE)
    place = f"/v2/app/blobs/{IMAGE.layers[0]}"
    liar.answers[place] = lambda handler: handler.send(302, b"", {"Location": place})
    done = pull(f"{liar.host}/app")
    assert done.http == 500 and "redirects more than" in done.error


@pytest.mark.parametrize("host", ["169.254.169.254", "169.254.169.254:80", "0.0.0.0:5000", "[fe80::1]:5000"])
def test_metadata_service_is_no_registry(pull, host):
    done = pull(f"{host}/latest/meta-data")
    assert done.http == 403


def test_denied_in_docker_s_words(liar, pull):
    liar.answers["/v2/app/manifests/latest"] = lambda handler: handler.send(
        403, b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}')
    done = pull(f"{liar.host}/app")
    assert done.http == 404
    assert done.error == (f"pull access denied for {liar.host}/app, repository does not exist or may require 'docker login': "
                          "denied: requested access to the resource is denied")


def test_rate_limit_is_told(liar, pull):
    liar.answers["/v2/app/manifests/latest"] = lambda handler: handler.send(
        429, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}')
    done = pull(f"{liar.host}/app")
    assert done.http == 500 and done.error == "toomanyrequests: You have reached your pull rate limit."


def test_out_of_reach_is_unavailable_and_nothing_else_is(liar, pull):
    port = free_port()
    gone = pull(f"127.0.0.1:{port}/none:1")
    assert gone.http == 503
    assert gone.error == f'Get "http://127.0.0.1:{port}/v2/": dial tcp 127.0.0.1:{port}: connect: connection refused'
    liar.answers["/v2/"] = lambda handler: handler.send(503)
    assert pull(f"{liar.host}/app").http == 500

    def hang_up(handler):
        handler.close_connection = True

    liar.answers["/v2/"] = lambda handler: handler.send(200)
    liar.answers["/v2/app/manifests/latest"] = hang_up
    assert pull(f"{liar.host}/app").http == 500


def test_mirror_comes_first_and_gets_no_login(liar, pull):
    liar.serve("library/app", "latest", IMAGE)
    done = pull("app", "--mirror", f"http://{liar.host}/", "--auth", login("me", "secret"))
    assert done.ok, done.error
    assert not liar.authorizations()


def test_parallel_layers_and_duplicates(liar, pull):
    image = Image(*({f"f{i}": bytes([i]) * 50000} for i in range(7)))
    image.document["layers"].append(image.document["layers"][0])
    config = json.loads(image.blobs.pop(image.id))
    config["rootfs"]["diff_ids"].append(config["rootfs"]["diff_ids"][0])
    text = json.dumps(config).encode()
    image.blobs[sha256(text)] = text
    image.document["config"].update(digest=sha256(text), size=len(text))
    liar.serve("app", "latest", image)
    done = pull(f"{liar.host}/app")
    assert done.ok, done.error
    fetched = [path for path, _ in liar.seen if "/blobs/" in path]
    assert sorted(fetched) == sorted(f"/v2/app/blobs/{digest}" for digest in image.blobs)


def test_one_bad_layer_stops_the_others(liar, pull):
    image = Image(*({f"f{i}": os.urandom(100000)} for i in range(6)))
    liar.serve("app", "latest", image)
    del liar.answers[f"/v2/app/blobs/{image.layers[1]}"]
    done = pull(f"{liar.host}/app")
    assert done.http == 404
    assert not pull.leftovers()


@pytest.mark.parametrize("header, ok", [("e30=", True), ("e30", True), ("", True), ("!!!", False), ("bm8=", False), ("W10=", False)])
def test_registry_auth_header(liar, pull, header, ok):
    liar.serve("app", "latest", IMAGE)
    done = pull(f"{liar.host}/app", "--auth", header)
    assert done.ok == ok
    assert ok or done.http == 400
