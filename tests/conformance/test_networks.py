"""Networks of users: made, joined, left; containers that speak over them; addresses that last as long as their container."""
import time

import pytest
from engine import until

needs_bridge = pytest.mark.differs("the control runs without a bridge")
SERVE = ("sh", "-c", "mkdir -p /srv && echo hello > /srv/index.html && exec httpd -f -p 80 -h /srv")
MEGABYTES = 100


@pytest.fixture
def make(engine):
    """Makes networks that are gone after the case."""
    made = []

    def create(*options, name=None):
        name = name or engine.name()
        engine.docker("network", "create", *options, name)
        made.append(name)
        return name

    yield create
    engine.clean()
    for name in made:
        engine.delete(f"/networks/{name}")


def serve(engine, network, *options, name=None):
    name = name or engine.name()
    cid = engine.docker("run", "-d", "--name", name, "--network", network, *options, "alpine", *SERVE).strip()
    engine.made.append(cid)
    until(lambda: engine.exec(cid, "wget", "-qO-", "http://127.0.0.1/")[0] == 0, what="the server")
    return name


def ask(engine, network, *command):
    return engine.cli("run", "--rm", "--network", network, "alpine", *command, timeout=60)


def endpoint(engine, container, network):
    return engine.inspect(container)["NetworkSettings"]["Networks"][network]


# ---- the API ----


@needs_bridge
def test_a_network_is_made_listed_inspected_and_removed(engine):
    since = f"{time.time():.9f}"
    reply = engine.post("/networks/create", {"Name": "ct-api", "Labels": {"k": "v"}, "Options": {"o": "p"}, "Internal": True})
    assert reply.status == 201 and len(reply.json["Id"]) == 64
    network = engine.get("/networks/ct-api").json
    assert (network["Id"], network["Driver"], network["Internal"]) == (reply.json["Id"], "bridge", True)
    assert network["Labels"] == {"k": "v"} and network["Options"] == {"o": "p"} and network["Containers"] == {}
    pool, = network["IPAM"]["Config"]
    assert pool["Subnet"].startswith(pool["Gateway"].rsplit(".", 1)[0])
    assert engine.get(f"/networks/{network['Id'][:10]}").json["Name"] == "ct-api"
    for filters in ({"name": ["ct-ap"]}, {"label": ["k=v"]}, {"driver": ["bridge"], "type": ["custom"]}, {"dangling": ["true"]}):
        assert "ct-api" in [one["Name"] for one in engine.get("/networks", filters=filters).json], filters
    assert engine.delete("/networks/ct-api").status == 204
    assert engine.get("/networks/ct-api").status == 404
    events = engine.events(since, type=["network"], network=[network["Id"]])
    assert [event["Action"] for event in events] == ["create", "destroy"]
    assert events[0]["Actor"] == {"ID": network["Id"], "Attributes": {"name": "ct-api", "type": "bridge"}}


@needs_bridge
def test_names_are_taken_once(engine, make):
    name = make()
    reply = engine.post("/networks/create", {"Name": name, "CheckDuplicate": True})
    assert (reply.status, reply.message) == (409, f"network with name {name} already exists")


@pytest.mark.parametrize("name", ["bridge", "host", "none"])
def test_predefined_networks_cannot_be_made_or_removed(engine, name):
    assert engine.post("/networks/create", {"Name": name}).status == 403
    if name != "bridge" or not engine.is_control:
        reply = engine.delete(f"/networks/{name}")
        assert (reply.status, reply.message) == (403, f"{name} is a pre-defined network and cannot be removed")


@pytest.mark.differs("an engine has other drivers, and says it in other words")
@pytest.mark.parametrize("body, status, words", [
    ({"Name": "ct-x", "Driver": "overlay"}, 501, "overlay"),
    ({"Name": "ct-x", "EnableIPv6": True}, 501, "EnableIPv6"),
    ({"Name": "ct-x", "ConfigOnly": True}, 501, "ConfigOnly"),
    ({"Name": "ct-x", "IPAM": {"Driver": "dhcp"}}, 501, "IPAM.Driver"),
    ({"Name": "ct-x", "IPAM": {"Config": [{"Subnet": "fd00::/64"}]}}, 400, "fd00::/64"),
    ({"Name": "ct-x", "IPAM": {"Config": [{"Subnet": "10.99.0.0/16", "Gateway": "10.98.0.1"}]}}, 400, "subnet"),
    ({"Name": "ct-x", "IPAM": {"Config": [{"Subnet": "10.99.0.0/16", "IPRange": "10.98.0.0/24"}]}}, 400, "IPRange"),
    ({"Name": "../up"}, 400, "network name"),
    ({"Name": ""}, 400, "network name"),
    ({"Name": 5}, 400, "Name"),
])
def test_what_cannot_be_made_is_refused_by_name(engine, body, status, words):
    reply = engine.post("/networks/create", body)
    assert reply.status == status and words in reply.message, reply
    assert engine.get("/networks/ct-x").status == 404


@needs_bridge
def test_pools_do_not_overlap(engine, make):
    make("--subnet", "10.77.0.0/16")
    reply = engine.post("/networks/create", {"Name": "ct-over", "IPAM": {"Config": [{"Subnet": "10.77.3.0/24"}]}})
    assert (reply.status, reply.message) == (403, "Pool overlaps with other one on this address space")
    subnets = [engine.get(f"/networks/{make()}").json["IPAM"]["Config"][0]["Subnet"] for _ in range(3)]
    assert len(set(subnets)) == 3


@needs_bridge
def test_a_network_in_use_stays(engine, make):
    name = make()
    cid = engine.run("sleep", "60", host={"NetworkMode": name})
    reply = engine.delete(f"/networks/{name}")
    assert reply.status == 403 and "has active endpoints" in reply.message
    assert name not in (engine.post("/networks/prune").json["NetworksDeleted"] or [])
    members = engine.get(f"/networks/{name}").json["Containers"]
    assert list(members) == [cid]
    assert members[cid]["IPv4Address"].split("/")[0] == endpoint(engine, cid, name)["IPAddress"]
    engine.post(f"/containers/{cid}/kill")
    engine.wait(cid)
    until(lambda: engine.get(f"/networks/{name}").json["Containers"] == {}, what="an empty network")
    assert name in engine.post("/networks/prune").json["NetworksDeleted"]


@needs_bridge
def test_a_missing_network_stops_the_start(engine):
    cid = engine.create("true", host={"NetworkMode": "ct-none"})
    reply = engine.post(f"/containers/{cid}/start")
    assert (reply.status, reply.message) == (404, "network ct-none not found")


# ---- addresses ----


@needs_bridge
def test_inspect_shows_the_address_on_the_default_bridge(engine):
    cid = engine.run("sleep", "60")
    settings = engine.inspect(cid)["NetworkSettings"]
    bridge = settings["Networks"]["bridge"]
    assert bridge["IPAddress"].startswith("172.17.0.") and bridge["Gateway"] == "172.17.0.1" and bridge["IPPrefixLen"] == 16
    for member in ("IPAddress", "Gateway", "IPPrefixLen", "MacAddress", "EndpointID"):
        assert settings[member] == bridge[member]
    assert bridge["MacAddress"].startswith("02:42:ac:11:00:")
    assert bridge["NetworkID"] == engine.get("/networks/bridge").json["Id"]
    hosts = engine.exec(cid, "cat", "/etc/hosts")[1].decode()
    assert f"{bridge['IPAddress']}\t{cid[:12]}\n" in hosts
    engine.post(f"/containers/{cid}/kill")
    engine.wait(cid)
    until(lambda: endpoint(engine, cid, "bridge")["IPAddress"] == "", what="no address")


@needs_bridge
def test_addresses_are_given_back_and_given_again(engine, make):
    name = make("--subnet", "10.88.0.0/29")
    cids = [engine.run("sleep", "60", host={"NetworkMode": name}) for _ in range(5)]
    addresses = [endpoint(engine, cid, name)["IPAddress"] for cid in cids]
    assert sorted(addresses) == [f"10.88.0.{n}" for n in range(2, 7)]
    sixth = engine.create("true", host={"NetworkMode": name})
    reply = engine.post(f"/containers/{sixth}/start")
    assert reply.status >= 400 and "no available" in reply.message
    engine.delete(f"/containers/{cids[2]}", force=1)
    engine.start(sixth)
    engine.wait(sixth)


@needs_bridge
def test_an_address_may_be_asked_for(engine, make):
    name = make("--subnet", "10.89.0.0/24")
    engine.made.append(engine.docker("run", "-d", "--network", name, "--ip", "10.89.0.77", "alpine", "sleep", "60").strip())
    assert endpoint(engine, engine.made[-1], name)["IPAddress"] == "10.89.0.77"
    done = engine.cli("run", "--rm", "--network", name, "--ip", "10.89.0.77", "alpine", "true")
    assert done.returncode == 125 and "Address already in use" in done.err
    done = engine.cli("run", "--rm", "--network", make(), "--ip", "10.89.0.77", "alpine", "true")
    assert done.returncode == 125 and "user configured subnets" in done.err


# ---- between containers ----


@needs_bridge
def test_a_server_is_found_by_name_alias_and_address(engine, make):
    network = make()
    name = serve(engine, network, "--network-alias", "shop")
    settings = endpoint(engine, name, network)
    assert settings["Aliases"][0] == "shop" and engine.inspect(name)["Id"][:12] in settings["Aliases"]
    for host in (name, "shop", settings["IPAddress"], engine.inspect(name)["Id"][:12], f"{name}.{network}"):
        done = ask(engine, network, "wget", "-qO-", f"http://{host}/")
        assert (done.out, done.returncode) == ("hello\n", 0), (host, done.err)


@needs_bridge
def test_the_default_bridge_has_addresses_and_no_names(engine):
    name = serve(engine, "bridge")
    address = endpoint(engine, name, "bridge")["IPAddress"]
    assert ask(engine, "bridge", "wget", "-qO-", f"http://{address}/").out == "hello\n"
    assert ask(engine, "bridge", "wget", "-T", "3", "-qO-", f"http://{name}/").returncode != 0


@needs_bridge
def test_networks_are_apart(engine, make):
    first, second = make(), make()
    name = serve(engine, first)
    address = endpoint(engine, name, first)["IPAddress"]
    for target in (name, address):
        for network in (second, "bridge", "none"):
            assert ask(engine, network, "wget", "-T", "3", "-qO-", f"http://{target}/").returncode != 0, (target, network)


@needs_bridge
def test_a_running_container_joins_and_leaves(engine, make):
    first, second = make(), make()
    name = serve(engine, first)
    since = f"{time.time():.9f}"
    engine.docker("network", "connect", "--alias", "extra", second, name)
    assert ask(engine, second, "wget", "-qO-", "http://extra/").out == "hello\n"
    assert set(engine.inspect(name)["NetworkSettings"]["Networks"]) == {first, second}
    done = engine.cli("network", "connect", second, name)
    assert done.returncode == 1 and "already exists in network" in done.err
    engine.docker("network", "disconnect", second, name)
    assert ask(engine, second, "wget", "-T", "3", "-qO-", "http://extra/").returncode != 0
    assert ask(engine, first, "wget", "-qO-", f"http://{name}/").out == "hello\n"
    cid = engine.inspect(name)["Id"]
    events = engine.events(since, type=["network"], network=[second])
    mine = [event["Action"] for event in events if event["Actor"]["Attributes"]["container"] == cid]
    assert mine == ["connect", "disconnect"]
    assert "is not connected" in engine.cli("network", "disconnect", second, name).err


@needs_bridge
def test_networks_joined_before_the_start_count(engine, make):
    first, second = make(), make()
    cid = engine.create("sleep", "60", host={"NetworkMode": first})
    engine.docker("network", "connect", second, cid)
    assert set(engine.inspect(cid)["NetworkSettings"]["Networks"]) == {first, second}
    engine.start(cid)
    assert endpoint(engine, cid, first)["IPAddress"] and endpoint(engine, cid, second)["IPAddress"]
    assert cid in engine.get(f"/networks/{second}").json["Containers"]
    assert [one["Id"] for one in engine.list(filters={"network": [second]})] == [cid]


@needs_bridge
def test_internal_networks_and_none_have_no_way_out(engine, make):
    for network in (make("--internal"), "none"):
        done = ask(engine, network, "wget", "-T", "3", "-qO-", "http://203.0.113.1/")
        assert done.returncode == 1 and "unreachable" in done.err
    assert ask(engine, "none", "sh", "-c", "(echo in | nc -l -p 9) & sleep .3; nc 127.0.0.1 9").out == "in\n"


@pytest.mark.differs("an engine may reach them")
def test_link_local_addresses_are_out_of_reach(engine):
    for network in ("bridge", "host"):
        done = ask(engine, network, "wget", "-T", "3", "-qO-", "http://169.254.169.254/")
        assert done.returncode == 1 and "unreachable" in done.err


@needs_bridge
def test_datagrams(engine, make):
    network = make()
    name = engine.name()
    engine.docker("run", "-d", "--name", name, "--network", network, "alpine", "nc", "-u", "-l", "-p", "5000")
    engine.made.append(name)
    until(lambda: ask(engine, network, "sh", "-c", f"echo datagram | nc -u -w 1 {name} 5000") and
          engine.logs(name)[0].startswith(b"datagram\n"), what="the datagram")


@needs_bridge
def test_many_connections_and_many_bytes(engine, make):
    network = make()
    name = serve(engine, network)
    script = f"i=0; while [ $i -lt 100 ]; do wget -qO- http://{name}/ & i=$((i+1)); done; wait"
    assert ask(engine, network, "sh", "-c", script).out == "hello\n" * 100
    size = MEGABYTES << 20
    code, digest, _ = engine.exec(name, "sh", "-c", f"head -c {size} /dev/urandom > /srv/big; sha256sum < /srv/big")
    assert code == 0
    assert ask(engine, network, "sh", "-c", f"wget -qO- http://{name}/big | sha256sum").out.encode() == digest


@needs_bridge
def test_a_killed_servers_name_and_port_are_free(engine, make):
    network = make()
    serve(engine, network, name="ct-again")
    engine.delete("/containers/ct-again", force=1)
    done = ask(engine, network, "wget", "-T", "3", "-qO-", "http://ct-again/")
    assert done.returncode != 0
    serve(engine, network, name="ct-again")
    assert ask(engine, network, "wget", "-qO-", "http://ct-again/").out == "hello\n"


# ---- restarts of the daemon ----


@pytest.mark.ours
def test_networks_and_addresses_survive_a_killed_backend(apart):
    pair = apart()
    engine = pair.engine
    engine.docker("network", "create", "ct-kept", "--label", "k=v")
    name = serve(engine, "ct-kept")
    stopped = engine.finish("true", host={"NetworkMode": "ct-kept"})
    before = engine.get("/networks/ct-kept").json, engine.inspect(name)["NetworkSettings"]
    pair.backend.kill()
    pair.start_backend()
    until(lambda: engine.get("/networks/ct-kept").status == 200, what="the backend behind the frontend")
    assert (engine.get("/networks/ct-kept").json, engine.inspect(name)["NetworkSettings"]) == before
    assert ask(engine, "ct-kept", "wget", "-qO-", f"http://{name}/").out == "hello\n"
    assert endpoint(engine, stopped, "ct-kept")["IPAddress"] == ""
    taken = endpoint(engine, name, "ct-kept")["IPAddress"]
    other = engine.run("sleep", "60", host={"NetworkMode": "ct-kept"})
    assert endpoint(engine, other, "ct-kept")["IPAddress"] != taken
    engine.clean()
