"""What exists by default, and 404 in Docker's words, so that `docker inspect X` works (lesson 17)."""
import pytest


def test_the_default_networks_are_listed(engine):
    names = {network["Name"] for network in engine.get("/networks").json}
    assert {"host", "none"} <= names
    assert "bridge" in names or engine.is_control  # the control runs without a bridge


@pytest.mark.parametrize("name", ["host", "none"])
def test_a_default_network_is_inspected(engine, name):
    network = engine.get(f"/networks/{name}").json
    assert (network["Name"], network["Scope"]) == (name, "local")
    assert {"Id", "Driver", "IPAM", "Internal", "Attachable", "Containers", "Options", "Labels"} <= set(network)
    assert engine.get(f"/networks/{network['Id']}").json["Name"] == name


@pytest.mark.differs("the control runs without a bridge")
def test_bridge_has_the_keys_that_testcontainers_read(engine):
    """IPAM.Config (lesson 30)."""
    network = engine.get("/networks/bridge").json
    assert network["Driver"] == "bridge" and isinstance(network["IPAM"]["Config"], list)


def test_networks_are_filtered(engine):
    assert [network["Name"] for network in engine.get("/networks", filters={"name": ["^host$"]}).json] in (["host"], [])
    assert "host" in [network["Name"] for network in engine.get("/networks", filters={"name": ["hos"]}).json]
    assert engine.get("/networks", filters={"name": ["ct-none"]}).json == []
    assert engine.get("/networks", filters={"label": ["ct=none"]}).json == []


def test_a_missing_network_is_404(engine):
    reply = engine.get("/networks/ct-none")
    assert (reply.status, reply.message) == (404, "network ct-none not found")


def test_volumes_are_listed_as_none(engine):
    reply = engine.get("/volumes", filters={"name": ["ct-none"]}).json
    assert reply["Volumes"] in ([], None) and "Warnings" in reply


def test_a_missing_volume_is_404(engine):
    reply = engine.get("/volumes/ct-none")
    assert reply.status == 404 and "no such volume" in reply.message


def test_a_missing_plugin_is_404(engine):
    reply = engine.get("/plugins/ct-none/json")
    assert (reply.status, reply.message) == (404, 'plugin "ct-none" not found')


def test_plugins_are_listed_as_none(engine):
    assert engine.get("/plugins").json == []


def test_cli_network_and_volume_ls(engine):
    assert "host" in engine.docker("network", "ls", "--format", "{{.Name}}").split()
    engine.docker("volume", "ls")
    done = engine.cli("network", "inspect", "ct-none")
    assert done.returncode == 1 and "ct-none" in done.err
