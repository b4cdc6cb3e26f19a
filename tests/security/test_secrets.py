"""What must not be found: secrets in logs, state and answers; control characters in our own logs."""
import base64
import json
from pathlib import Path

import pytest

CANARY = "c4n4ry-5ecret-value"
HOSTILE = "a\nERROR forged\x1b[31m\x1b]52;c;QUJD\x07b"


@pytest.fixture
def pair(apart):
    return apart()


def logs_of(pair):
    return "".join(path.read_text(errors="replace") for path in sorted(pair.logs.glob(f"*{pair.folder.name}.log")))


def holders(folder, secret, *known):
    """Files below folder that hold secret, but for the known ones."""
    found = []
    for path in Path(folder).rglob("*"):
        if path.is_file() and not path.is_symlink() and path.name not in known and secret.encode() in path.read_bytes():
            found.append(str(path.relative_to(folder)))
    return found


def test_registry_credentials_are_nowhere_after_a_pull(pair):
    auth = base64.urlsafe_b64encode(json.dumps({"username": "u", "password": CANARY, "serveraddress": "127.0.0.1:1"}).encode()).decode()
    reply = pair.engine.request("POST", "/images/create", None, {"X-Registry-Auth": auth}, {"fromImage": "127.0.0.1:1/x", "tag": "1"})
    assert CANARY not in str(reply.body) and auth not in str(reply.body)
    pair.engine.request("POST", "/auth", {"username": "u", "password": CANARY, "serveraddress": "127.0.0.1:1"})
    for secret in (CANARY, auth):
        assert secret not in logs_of(pair)
        assert holders(pair.folder, secret) == []


def test_secrets_of_a_containers_environment_are_in_its_config_only(pair):
    cid = pair.engine.run("sh", "-c", "sleep 60", Env=[f"PASSWORD={CANARY}"])
    assert pair.engine.exec(cid, "true")
    assert CANARY not in logs_of(pair)
    assert f"PASSWORD={CANARY}" in pair.engine.inspect(cid)["Config"]["Env"]
    assert CANARY not in json.dumps(pair.engine.list(all=1)) and CANARY not in str(pair.engine.get("/info").body)
    state = holders(pair.folder, CANARY)
    assert all(name.startswith("data/state.db") or name.endswith("container.json") for name in state), state
    for path in (pair.folder / "data").rglob("state.db*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_agents_token_is_in_no_answer_and_no_environment(pair):
    cid = pair.engine.run("sh", "-c", "env; cat /proc/self/environ /proc/1/environ; sleep 60")
    names = pair.engine.exec(cid, "env")[1]
    assert b"SOCKERLESS" not in names
    assert "AGENT_TOKEN" not in json.dumps(pair.engine.inspect(cid)) + logs_of(pair)
    assert b"SOCKERLESS" not in pair.engine.logs(cid)[0]


@pytest.mark.parametrize("field", ["name", "label", "cmd", "path"])
def test_nobody_writes_lines_of_our_log(pair, field):
    engine = pair.engine
    before = len(logs_of(pair).splitlines())
    if field == "name":
        assert engine.post("/containers/create", {"Image": "alpine"}, name=HOSTILE).status == 400
    elif field == "label":
        engine.finish("true", Labels={HOSTILE: HOSTILE})
    elif field == "cmd":
        engine.finish("echo", HOSTILE)
    else:
        assert engine.get("/containers/" + "a%0AERROR%20forged%1B%5B31m/json").status in (400, 404)
    added = logs_of(pair).splitlines()[before:]
    assert not any(line.startswith("ERROR forged") or "\x1b" in line or "\x07" in line for line in added), added
