"""The two programs apart over TCP, as the specification says: frontend on :2375, backend on :9100."""
import subprocess

import pytest
from daemon import Program
from registry import free_port

pytestmark = pytest.mark.ours


@pytest.fixture
def pair(apart):
    return apart(backend_addr=f":{free_port()}", frontend_addr=f":{free_port()}")


def test_run_exec_and_logs_over_tcp(pair):
    engine = pair.engine
    done = engine.cli("run", "--rm", "-i", engine.image, "sh", "-c", "cat; exit 3", input=b"over tcp\n")
    assert (done.returncode, done.out) == (3, "over tcp\n")
    cid = engine.run("sh", "-c", "echo up; sleep 60")
    assert engine.docker("exec", cid, "echo", "hi") == "hi\n"
    with engine.attach(cid, logs=1, stream=1, stdout=1) as stream:
        assert stream.text(b"up\n")
    assert engine.docker("logs", cid) == "up\n"


def test_half_close_passes_both_programs(pair):
    engine = pair.engine
    cid = engine.create("sh", "-c", "cat; echo end", OpenStdin=True, StdinOnce=True)
    with engine.attach(cid) as stream:
        engine.start(cid)
        stream.write(b"x" * 300000 + b"\n")
        stream.close_write()
        assert stream.frames()[0] == b"x" * 300000 + b"\nend\n"


def test_a_foreign_host_or_origin_is_403_on_tcp(pair):
    """DNS rebinding (SECURITY 15)."""
    assert pair.engine.request("GET", "/version", headers={"Host": "evil.example"}).status == 403
    assert pair.engine.request("GET", "/version", headers={"Host": "localhost", "Origin": "http://evil.example"}).status == 403
    assert pair.engine.request("GET", "/version", headers={"Host": "127.0.0.1:1"}).status == 200


def test_beyond_loopback_without_tls_is_refused(programs, folder, logs):
    for name in ("sockerless-frontend-docker", "sockerless-backend-memory"):
        arguments = [programs / name, "--addr", f"0.0.0.0:{free_port()}"]
        arguments += ["--backend", "http://127.0.0.1:1"] if "frontend" in name else ["--data", folder / "data"]
        log = logs / f"refused-{name}.log"
        assert Program(arguments, log).process.wait(10) != 0
        assert "--allow-insecure-tcp" in log.read_text()


def test_a_wrong_setting_stops_the_start_and_is_named(programs):
    for arguments in (["sockerless", "serve", "--ct-none"], ["sockerless-backend-memory", "--builtin-images", "ct-none"],
                      ["sockerless-frontend-docker", "--backend", "http://localhost:1", "--addr", "ct:none:x"]):
        done = subprocess.run([programs / arguments[0], *arguments[1:]], capture_output=True, text=True, timeout=10)
        assert done.returncode != 0 and "ct" in done.stderr


def test_two_backends_do_not_share_a_data_folder(pair):
    """A second one must say so and leave the first alone."""
    arguments = [pair.programs / "sockerless-backend-memory", "--addr", f":{free_port()}", "--data", pair.folder / "data"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=10)
    assert done.returncode != 0
    assert "another backend" in done.stderr and str(pair.folder / "data") in done.stderr
    assert pair.engine.get("/info").status == 200


def test_a_frontend_without_a_backend_says_so(programs, apart):
    pair = apart()
    pair.backend.end()
    reply = pair.engine.get("/info")
    assert reply.status == 503 and "cannot be reached" in reply.message


def test_programs_say_their_version_and_help(programs):
    for name in ("sockerless", "sockerless-frontend-docker", "sockerless-backend-memory"):
        for option in ("--version", "--help"):
            done = subprocess.run([programs / name, option], capture_output=True, text=True, timeout=10)
            assert done.returncode == 0 and "sockerless" in done.stdout, (name, option)
