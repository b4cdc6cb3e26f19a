"""POST /containers/create: the answer, defaults, names, refusals."""
import pytest


def test_create_answers_id_and_warnings(engine):
    reply = engine.post("/containers/create", {"Image": engine.image, "Cmd": ["true"]}, name=engine.name())
    assert reply.status == 201
    engine.made.append(reply.json["Id"])
    assert len(reply.json["Id"]) == 64 and int(reply.json["Id"], 16) >= 0
    assert reply.json["Warnings"] in ([], None) or isinstance(reply.json["Warnings"], list)


def test_create_starts_nothing(engine):
    state = engine.state(engine.create("true"))
    assert state["Status"] == "created" and not state["Running"] and state["Pid"] == 0
    assert state["StartedAt"] == "0001-01-01T00:00:00Z"


def test_create_of_a_missing_image_is_404_with_name_and_tag(engine):
    """Clients pull on exactly these words (lesson 15)."""
    reply = engine.post("/containers/create", {"Image": "ct-missing-image"})
    assert reply.status == 404
    assert reply.message == "No such image: ct-missing-image:latest"


def test_create_of_a_missing_tag_names_the_tag(engine):
    reply = engine.post("/containers/create", {"Image": "ct-missing-image:1.2"})
    assert (reply.status, reply.message) == (404, "No such image: ct-missing-image:1.2")


def test_create_with_a_name_in_use_is_409_in_dockers_words(engine):
    name = engine.name()
    cid = engine.create("true", name=name)
    reply = engine.post("/containers/create", {"Image": engine.image}, name=name)
    assert reply.status == 409
    assert reply.message == (f'Conflict. The container name "/{name}" is already in use by container "{cid}". '
                             "You have to remove (or rename) that container to be able to reuse that name.")


def test_create_without_a_name_invents_one(engine):
    reply = engine.post("/containers/create", {"Image": engine.image, "Cmd": ["true"]})
    engine.made.append(reply.json["Id"])
    name = engine.inspect(reply.json["Id"])["Name"]
    assert name.startswith("/") and len(name) > 3


@pytest.mark.parametrize("name", ["-begins-with-dash", "has space", "sl/ash", "ünicode", "x"])
def test_create_refuses_a_name_that_is_not_one(engine, name):
    reply = engine.post("/containers/create", {"Image": engine.image}, name=name)
    assert reply.status == 400
    assert "Invalid container name" in reply.message and "a-zA-Z0-9" in reply.message


def test_create_accepts_a_leading_slash_in_the_name(engine):
    name = engine.name()
    engine.create("true", name="/" + name)
    assert engine.inspect(name)["Name"] == "/" + name


def test_create_accepts_a_name_over_63_characters(engine):
    """act makes such (lesson 29)."""
    name = engine.name() + "x" * 100
    engine.create("true", name=name)
    assert engine.inspect(name)["Name"] == "/" + name


def test_create_keeps_cmd_env_and_labels(engine):
    cid = engine.create("echo", "a b", Env=["A=1", "B=x=y", "EMPTY="], Labels={"k": "v", "empty": ""})
    config = engine.inspect(cid)["Config"]
    assert config["Cmd"] == ["echo", "a b"]
    assert {"A=1", "B=x=y", "EMPTY="} <= set(config["Env"])
    assert config["Labels"].items() >= {"k": "v", "empty": ""}.items()


def test_create_takes_the_images_command_and_path(engine):
    cid = engine.create()
    config = engine.inspect(cid)["Config"]
    assert config["Cmd"] and any(entry.startswith("PATH=") for entry in config["Env"])


def test_create_takes_a_lone_string_as_command(engine):
    """Cmd and Entrypoint may be strings; the engine makes lists of them."""
    reply = engine.post("/containers/create", {"Image": engine.image, "Cmd": "true", "Entrypoint": "/bin/echo"})
    assert reply.status == 201, reply
    engine.made.append(reply.json["Id"])
    config = engine.inspect(reply.json["Id"])["Config"]
    assert config["Entrypoint"] == ["/bin/echo"] and config["Cmd"] == ["true"]


def test_create_without_a_command_anywhere_is_400(engine):
    reply = engine.post("/containers/create", {"Image": engine.image, "Cmd": [], "Entrypoint": [""]})
    assert reply.status == 400
    assert reply.message.lower() == "no command specified"


@pytest.mark.differs("Engine 20.10 creates a container without an image")
def test_create_without_an_image_is_400(engine):
    reply = engine.post("/containers/create", {"Cmd": ["true"]})
    assert reply.status == 400


def test_create_ignores_keys_it_does_not_know(engine):
    cid = engine.create("true", NoSuchKey={"a": [1]})
    assert engine.state(cid)["Status"] == "created"


def test_create_defaults_the_hostname_to_the_short_id(engine):
    cid = engine.create("true")
    assert engine.inspect(cid)["Config"]["Hostname"] == cid[:12]


def test_create_keeps_host_config(engine):
    cid = engine.create("true", host={"AutoRemove": False, "NetworkMode": "none", "RestartPolicy": {"Name": "no"}})
    host = engine.inspect(cid)["HostConfig"]
    assert host["NetworkMode"] == "none" and host["AutoRemove"] is False and host["RestartPolicy"]["Name"] == "no"


def test_create_accepts_what_runners_always_send(engine):
    """Options without effect here are taken, not refused: capabilities, logging, nulls everywhere."""
    cid = engine.create("true", AttachStdin=False, Tty=False, OpenStdin=False, StdinOnce=False, Entrypoint=None, OnBuild=None,
                        Volumes={}, WorkingDir="", NetworkingConfig={"EndpointsConfig": {}},
                        host={"Binds": None, "CapAdd": ["NET_ADMIN"], "CapDrop": None, "Dns": [], "ExtraHosts": None,
                              "LogConfig": {"Type": "json-file", "Config": {}}, "ShmSize": 67108864, "IpcMode": "private",
                              "Ulimits": None, "OomScoreAdj": 0, "SecurityOpt": None, "Privileged": False})
    engine.start(cid)
    assert engine.wait(cid) == 0


def test_created_cli_container_is_listed_as_created(engine):
    name = engine.name()
    engine.made.append(engine.docker("create", "--name", name, "--label", f"k={name}", engine.image, "true").strip())
    out = engine.docker("ps", "-a", "--filter", f"label=k={name}", "--format", "{{.Names}}|{{.State}}|{{.Status}}|{{.Command}}")
    assert out.strip() == f'{name}|created|Created|"true"'


@pytest.mark.differs("a Docker Engine has networks, ports and volumes")
@pytest.mark.parametrize("config, option", [
    ({"HostConfig": {"Binds": ["/etc:/host"]}}, "Binds"),
    ({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}}, "PortBindings"),
    ({"HostConfig": {"Mounts": [{"Type": "volume", "Source": "v", "Target": "/v"}]}}, "Mounts"),
    ({"HostConfig": {"Tmpfs": {"/t": ""}}}, "Tmpfs"),
    ({"HostConfig": {"NetworkMode": "container:x"}}, "NetworkMode"),
    ({"Healthcheck": {"Test": ["CMD", "true"]}}, "Healthcheck"),
])
def test_create_refuses_what_it_cannot_honour_and_names_it(engine, config, option):
    reply = engine.post("/containers/create", {"Image": engine.image, "Cmd": ["true"], **config})
    assert reply.status == 501, reply
    assert option in reply.message and "memory backend" in reply.message


@pytest.mark.differs("a Docker Engine honours them")
def test_create_warns_of_what_has_no_effect(engine):
    reply = engine.post("/containers/create", {"Image": engine.image, "Cmd": ["true"], "HostConfig": {"Memory": 1 << 26}})
    assert reply.status == 201
    engine.made.append(reply.json["Id"])
    assert any("Memory" in warning for warning in reply.json["Warnings"])
