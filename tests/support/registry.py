"""Debian's docker-registry on a free port of loopback, filled by plain HTTP: images without another engine's help."""
import base64
import contextlib
import crypt
import gzip
import hashlib
import io
import json
import socket
import ssl
import subprocess
import tarfile
import urllib.request

from engine import until


trusting = ssl.create_default_context()  # a certificate of our own making will do
trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE


def free_port():
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def layer(files):
    """A gzipped tar of {path: bytes}; the same files make the same bytes."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path, data in sorted(files.items()):
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(data), 0o755
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0), raw.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    def __init__(self, folder, user=None, password=None, with_tls=False):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.login = f"{user}:{password}" if user else None
        text = (f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
                f"http: {{addr: '{self.address}'}}\n")
        if user:
            (folder / "htpasswd").write_text(f"{user}:{crypt.crypt(password, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))}\n")
            text += f"auth: {{htpasswd: {{realm: ct, path: {folder}/htpasswd}}}}\n"
        self.scheme = "https" if with_tls else "http"
        if with_tls:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                            "/CN=127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
            text = text.replace(f"addr: '{self.address}'", f"addr: '{self.address}', tls: {{certificate: {folder}/cert.pem, key: {folder}/key.pem}}")
        (folder / "config.yml").write_text(text)
        self.process = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=open(folder / "log", "wb"))
        until(self.listens, what="the registry's port")

    def listens(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def call(self, method, url, data=None, headers=None):
        headers = dict(headers or {})
        if self.login:
            headers["Authorization"] = "Basic " + base64.b64encode(self.login.encode()).decode()
        url = url if url.startswith("http") else f"{self.scheme}://{self.address}{url}"
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=10, context=trusting) as reply:
            return reply.headers

    def push_blob(self, repository, data):
        location = self.call("POST", f"/v2/{repository}/blobs/uploads/", b"")["Location"]
        mark = "&" if "?" in location else "?"
        self.call("PUT", f"{location}{mark}digest={digest(data)}", data, {"Content-Type": "application/octet-stream"})

    def push(self, repository, tag, files, **config):
        """Pushes a one-layer image; returns its manifest digest and image id."""
        packed, raw = layer(files)
        document = json.dumps({"architecture": "amd64", "os": "linux", "config": config, "created": "2024-01-02T03:04:05Z",
                               "rootfs": {"type": "layers", "diff_ids": [digest(raw)]},
                               "history": [{"created": "2024-01-02T03:04:05Z", "created_by": "made by a test"}]}).encode()
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": kind,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(document),
                       "digest": digest(document)},
            "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(packed),
                        "digest": digest(packed)}]}).encode()
        self.push_blob(repository, packed)
        self.push_blob(repository, document)
        self.call("PUT", f"/v2/{repository}/manifests/{tag}", manifest, {"Content-Type": kind})
        return digest(manifest), digest(document)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
