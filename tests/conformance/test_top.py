"""top."""


def test_top_lists_the_processes(engine):
    cid = engine.run("sh", "-c", "sleep 61 & sleep 62 & wait")
    engine.exec(cid, "true")
    reply = engine.get(f"/containers/{cid}/top").json
    assert {"PID", "CMD"} <= set(reply["Titles"])
    commands = [row[-1] for row in reply["Processes"]]
    assert any("sleep 61" in command for command in commands) and any("sleep 62" in command for command in commands)
    assert all(len(row) == len(reply["Titles"]) for row in reply["Processes"])


def test_top_takes_ps_arguments(engine):
    cid = engine.run("sleep", "61")
    reply = engine.get(f"/containers/{cid}/top", ps_args="-o pid,args").json
    assert reply["Titles"][0] == "PID" and len(reply["Titles"]) == 2
    assert reply["Processes"][0][1] == "sleep 61"


def test_top_of_a_stopped_container_is_refused(engine):
    cid = engine.finish("true")
    reply = engine.get(f"/containers/{cid}/top")
    assert reply.status in (409, 500)
    assert f"Container {cid} is not running" in reply.message


def test_top_of_a_missing_container_is_404(engine):
    reply = engine.get("/containers/ct-none/top")
    assert (reply.status, reply.message) == (404, "No such container: ct-none")


def test_cli_top(engine):
    cid = engine.run("sleep", "61")
    assert "sleep 61" in engine.docker("top", cid)
    assert "sleep 61" in engine.docker("top", cid, "-o", "pid,args")
