"""A small certificate authority for tests, by the openssl program."""
import ssl
import subprocess

CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr


class Authority:
    """folder/NAME.pem and NAME-key.pem of everything that it issues; its own certificate is `ca`."""

    def __init__(self, folder, name="ca"):
        folder.mkdir(exist_ok=True)
        self.folder, self.name = folder, name
        self.ca = folder / f"{name}.pem"
        openssl("req", "-x509", *CURVE, "-days", 30, "-subj", f"/CN=test {name}", "-out", self.ca, "-keyout", self.key(name))

    def key(self, name):
        return self.folder / f"{name}-key.pem"

    def issue(self, name, common_name=None, days=30, names="DNS:localhost,IP:127.0.0.1", purpose="clientAuth"):
        """Returns (certificate, key). days below zero: expired."""
        request, extensions, cert = (self.folder / f"{name}.{end}" for end in ("csr", "ext", "pem"))
        extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage={purpose}\n")
        openssl("req", *CURVE, "-subj", f"/CN={common_name or name}", "-out", request, "-keyout", self.key(name))
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.key(self.name), "-CAcreateserial", "-days", days,
                "-extfile", extensions, "-out", cert)
        return cert, self.key(name)

    def server(self, name="server", **options):
        return self.issue(name, purpose="serverAuth", **options)

    def context(self, pair=None, ca=None):
        """A client's ssl context that shows pair."""
        context = ssl.create_default_context(cafile=str(ca or self.ca))
        if pair:
            context.load_cert_chain(*map(str, pair))
        return context
