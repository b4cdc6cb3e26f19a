"""inspect of containers: shape, references, the CLI's search for what a name means."""
import json

import pytest


def test_inspect_has_every_key_of_docker(engine):
    cid = engine.create("echo", "a", "b")
    reply = engine.inspect(cid)
    assert {"Id", "Created", "Path", "Args", "State", "Image", "ResolvConfPath", "HostnamePath", "HostsPath", "LogPath", "Name",
            "RestartCount", "Driver", "Platform", "MountLabel", "ProcessLabel", "AppArmorProfile", "ExecIDs", "HostConfig",
            "GraphDriver", "Mounts", "Config", "NetworkSettings"} <= set(reply)
    assert (reply["Path"], reply["Args"], reply["RestartCount"]) == ("echo", ["a", "b"], 0)


def test_inspect_state_has_every_key_of_docker(engine):
    state = engine.state(engine.create("true"))
    assert {"Status", "Running", "Paused", "Restarting", "OOMKilled", "Dead", "Pid", "ExitCode", "Error", "StartedAt",
            "FinishedAt"} <= set(state)
    assert not any(state[key] for key in ("Running", "Paused", "Restarting", "OOMKilled", "Dead"))


def test_inspect_takes_id_prefix_and_name(engine):
    name = engine.name()
    cid = engine.create("true", name=name)
    for ref in (cid, cid[:12], cid[:6], name, "/" + name):
        assert engine.inspect(ref.lstrip("/"))["Id"] == cid


def test_a_name_wins_over_an_id_prefix(engine):
    cid = engine.create("true")
    named = engine.create("true", name=cid[:20])
    assert engine.inspect(cid[:20])["Id"] == named


def test_an_ambiguous_prefix_is_refused(engine):
    made = [engine.create("true") for _ in range(17)]
    seen = set()
    double = next(cid[0] for cid in made if cid[0] in seen or seen.add(cid[0]))
    reply = engine.get(f"/containers/{double}/json")
    assert reply.status in (400, 404, 500)
    assert reply.message


def test_inspect_of_nothing_is_404(engine):
    reply = engine.get("/containers/ct-none/json")
    assert (reply.status, reply.message) == (404, "No such container: ct-none")


def test_inspect_names_the_image_by_id(engine):
    reply = engine.inspect(engine.create("true"))
    assert reply["Image"].startswith("sha256:") and reply["Config"]["Image"] == engine.image


def test_inspect_keeps_labels_unchanged(engine):
    """Else compose recreates (lesson 26)."""
    labels = {"com.docker.compose.project": "p", "with space": "a=b,c", "unicode": "ünï"}
    assert engine.inspect(engine.create("true", Labels=labels))["Config"]["Labels"].items() >= labels.items()


def test_inspect_size(engine):
    cid = engine.create("true")
    assert "SizeRootFs" not in engine.inspect(cid)
    assert engine.get(f"/containers/{cid}/json", size=1).json["SizeRootFs"] > 0


def test_inspect_networks_have_the_keys_clients_read(engine):
    cid = engine.run("sleep", "60")
    networks = engine.inspect(cid)["NetworkSettings"]["Networks"]
    for endpoint in networks.values():
        assert {"IPAddress", "Gateway", "NetworkID", "Aliases", "MacAddress"} <= set(endpoint)


def test_cli_inspect_finds_containers_and_images(engine):
    name = engine.name()
    engine.create("true", name=name)
    out = json.loads(engine.docker("inspect", name, engine.image))
    assert out[0]["Name"] == "/" + name and out[1]["Id"].startswith("sha256:")


def test_cli_inspect_of_nothing_asks_everyone_and_says_so(engine):
    """Container, image, network, volume, plugin: each must answer 404 (lesson 17)."""
    done = engine.cli("inspect", "ct-none")
    assert done.returncode == 1
    assert "no such object: ct-none" in done.err.lower()


def test_cli_container_inspect_of_nothing(engine):
    done = engine.cli("container", "inspect", "ct-none")
    assert done.returncode == 1 and "No such container: ct-none" in done.err


def test_cli_inspect_formats_the_exit_code(engine):
    cid = engine.finish("sh", "-c", "exit 7")
    assert engine.docker("inspect", "-f", "{{.State.ExitCode}} {{.State.Status}}", cid) == "7 exited\n"


@pytest.mark.parametrize("key", ["Entrypoint", "Env", "Cmd", "Labels", "Volumes", "OnBuild"])
def test_inspect_config_has_the_keys_of_docker(engine, key):
    assert key in engine.inspect(engine.create("true"))["Config"]
