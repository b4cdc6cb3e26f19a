"""What a container, or another user of the machine, can reach of us: nothing."""
import os
import re
import socket
import stat
from pathlib import Path

import pytest


@pytest.fixture
def pair(apart):
    return apart()


def test_no_environment_of_the_daemon_reaches_a_container(programs, folder, logs, monkeypatch, apart):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-the-daemon")
    monkeypatch.setenv("SOCKERLESS_CANARY", "canary-of-the-daemon")
    pair = apart()
    cid = pair.engine.run("sh", "-c", "env; cat /proc/*/environ; sleep 60")
    assert b"canary-of-the-daemon" not in pair.engine.exec(cid, "sh", "-c", "env; cat /proc/*/environ")[1]
    agents = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(programs / "sockerless-agent").encode() in path.read_bytes()]
    assert agents
    for path in agents:
        environment = path.with_name("environ")
        assert b"canary-of-the-daemon" not in environment.read_bytes()


def test_a_container_sees_no_socket_of_ours(pair):
    cid = pair.engine.run("sh", "-c", "sleep 60")
    out = pair.engine.exec(cid, "sh", "-c", "find / -type s 2>/dev/null; find / -name '*.sock' 2>/dev/null; cat /proc/net/unix 2>/dev/null; ls /run")[1]
    assert str(pair.folder).encode() not in out and b".sock" not in out, out


def test_the_agents_socket_wants_its_token(pair):
    cid = pair.engine.run("sh", "-c", "sleep 60")
    other = pair.engine.run("sh", "-c", "sleep 60")
    sockets = list((pair.folder / "data" / "containers" / cid).glob("*.sock"))
    assert sockets
    for token in ("", "0" * 64, other):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            here = os.open(sockets[0].parent, os.O_PATH)
            sock.connect(f"/proc/self/fd/{here}/{sockets[0].name}")
            os.close(here)
            sock.sendall((f"GET /agent/v1 HTTP/1.1\r\nHost: agent\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                          f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer {token}\r\n\r\n").encode())
            assert b" 401 " in sock.recv(200)[:20]
    assert pair.engine.state(cid)["Running"]


def test_sockets_and_files_are_closed_to_others(pair):
    for path in pair.folder.glob("*.sock"):
        assert path.stat().st_mode & 0o007 == 0, path
    cid = pair.engine.run("sh", "-c", "echo x; sleep 60")
    data = pair.folder / "data"
    for path in [data, data / "containers", data / "containers" / cid, *data.glob("state.db*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, (path, oct(path.stat().st_mode))


def test_ids_are_random(pair):
    ids = [pair.engine.create("true") for _ in range(50)]
    assert all(re.fullmatch("[0-9a-f]{64}", cid) for cid in ids)
    assert len({cid[:8] for cid in ids}) == 50 and len({cid[-8:] for cid in ids}) == 50


def test_labels_of_a_client_change_nothing_on_the_host(pair):
    cid = pair.engine.run("sh", "-c", "id -u; sleep 60", Labels={"com.sockerless.privileged": "true", "com.sockerless.runtime": "native"})
    assert pair.engine.inspect(cid)["HostConfig"]["Privileged"] is False
    assert pair.engine.exec(cid, "cat", "/proc/version")[1].startswith(b"Linux version 6.1.0-sockerless")
