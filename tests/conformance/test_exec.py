"""exec: create, start in both ways, streams, exit codes, terminals."""
import pytest
from engine import UPGRADE, until


@pytest.fixture
def box(engine):
    """A container that runs and waits."""
    return engine.run("sleep", "60")


def test_exec_prints_and_ends(engine, box):
    assert engine.exec(box, "echo", "hi") == (0, b"hi\n", b"")


def test_exec_keeps_stdout_and_stderr_apart(engine, box):
    assert engine.exec(box, "sh", "-c", "echo out; echo err >&2; exit 9") == (9, b"out\n", b"err\n")


def test_cli_exec_ends_with_the_exit_code(engine, box):
    assert engine.cli("exec", box, "sh", "-c", "exit 9").returncode == 9
    assert engine.docker("exec", box, "echo", "hi") == "hi\n"


def test_cli_exec_i_passes_stdin_and_environment(engine, box):
    out = engine.docker("exec", "-i", "-e", "X=1", box, "sh", "-c", "echo $X; cat", input=b"in\n")
    assert out == "1\nin\n"


def test_exec_inspect_right_after_the_end_is_final(engine, box):
    """All clients read it once (lesson 9)."""
    for code in (0, 3, 42):
        exec_id = engine.exec_create(box, "sh", "-c", f"echo x; exit {code}")
        with engine.exec_start(exec_id) as stream:
            stream.frames()
        reply = engine.get(f"/exec/{exec_id}/json").json
        assert (reply["Running"], reply["ExitCode"], reply["ContainerID"]) == (False, code, box)


def test_exec_inspect_before_start(engine, box):
    exec_id = engine.exec_create(box, "true", "arg")
    reply = engine.get(f"/exec/{exec_id}/json").json
    assert reply["ID"] == exec_id and reply["Running"] is False and reply["ExitCode"] is None
    assert reply["ProcessConfig"]["entrypoint"] == "true" and reply["ProcessConfig"]["arguments"] == ["arg"]


def test_exec_inspect_while_it_runs(engine, box):
    exec_id = engine.exec_create(box, "cat", AttachStdin=True)
    with engine.exec_start(exec_id) as stream:
        reply = until(lambda: [r for r in [engine.get(f"/exec/{exec_id}/json").json] if r["Pid"]], what="the exec's pid")[0]
        assert reply["Running"] is True and reply["Pid"] > 0
        assert exec_id in engine.inspect(box)["ExecIDs"]
        stream.close_write()
        stream.frames()


def test_exec_start_with_upgrade_answers_101(engine, box):
    with engine.exec_start(engine.exec_create(box, "true")) as stream:
        assert stream.status == 101 and stream.headers["upgrade"] == "tcp"


def test_exec_start_without_upgrade_answers_200_and_goes_raw(engine, box):
    """testcontainers for Java and Node (lesson 4)."""
    with engine.exec_start(engine.exec_create(box, "echo", "hi"), headers=None) as stream:
        assert stream.status == 200 and "content-length" not in stream.headers
        assert stream.headers["content-type"].startswith("application/vnd.docker.")
        assert stream.frames() == (b"hi\n", b"")


def test_exec_detached_answers_plainly(engine, box):
    """200, Content-Length 0, no hijack (lesson 8)."""
    exec_id = engine.exec_create(box, "touch", "/made")
    reply = engine.post(f"/exec/{exec_id}/start", {"Detach": True})
    assert (reply.status, reply.body) == (200, b"") and reply.headers["content-length"] == "0"
    until(lambda: engine.exec(box, "test", "-e", "/made")[0] == 0, what="the file")


def test_cli_exec_d_runs_in_the_background(engine, box):
    engine.docker("exec", "-d", box, "touch", "/d")
    until(lambda: engine.exec(box, "test", "-e", "/d")[0] == 0, what="the file")


def test_exec_half_close_is_end_of_file(engine, box):
    exec_id = engine.exec_create(box, "sh", "-c", "cat; echo after", AttachStdin=True)
    with engine.exec_start(exec_id) as stream:
        stream.write(b"in\n")
        stream.close_write()
        assert stream.frames() == (b"in\nafter\n", b"")


def test_exec_is_a_conversation(engine, box):
    """Half-open interactive streaming (lesson 27)."""
    exec_id = engine.exec_create(box, "sh", AttachStdin=True)
    with engine.exec_start(exec_id) as stream:
        for number in range(30):
            stream.write(b"echo answer %d\n" % number)
            assert stream.text(b"\n") == b"answer %d\n" % number
        stream.close_write()
        stream.frames()


def test_exec_output_is_binary_clean_and_whole(engine, box):
    exec_id = engine.exec_create(box, "head", "-c", "3000000", "/dev/zero")
    with engine.exec_start(exec_id) as stream:
        assert stream.frames(timeout=20)[0] == bytes(3000000)


def test_exec_of_a_missing_program_writes_into_the_stream(engine, box):
    """Still 101; then inspect says 126 or 127 (lesson 8). act reads that."""
    exec_id = engine.exec_create(box, "/no/such")
    with engine.exec_start(exec_id) as stream:
        assert stream.status == 101
        assert b"exec failed" in stream.rest()
    assert engine.get(f"/exec/{exec_id}/json").json["ExitCode"] in (126, 127)


def test_cli_exec_of_a_missing_program_ends_with_126_or_127(engine, box):
    assert engine.cli("exec", box, "/no/such").returncode in (126, 127)


def test_exec_on_a_stopped_container_is_409(engine):
    cid = engine.finish("true")
    reply = engine.post(f"/containers/{cid}/exec", {"Cmd": ["true"]})
    assert (reply.status, reply.message) == (409, f"Container {cid} is not running")


def test_exec_on_a_missing_container_is_404(engine):
    reply = engine.post("/containers/ct-none/exec", {"Cmd": ["true"]})
    assert (reply.status, reply.message) == (404, "No such container: ct-none")


def test_exec_without_a_command_is_400(engine, box):
    reply = engine.post(f"/containers/{box}/exec", {"Cmd": []})
    assert (reply.status, reply.message) == (400, "No exec command specified")


def test_start_of_a_missing_exec_is_404(engine):
    reply = engine.request("POST", "/exec/ct-none/start", {"Detach": False}, UPGRADE)
    assert (reply.status, reply.message) == (404, "No such exec instance: ct-none")
    assert engine.get("/exec/ct-none/json").status == 404


def test_an_exec_starts_only_once(engine, box):
    exec_id = engine.exec_create(box, "true")
    with engine.exec_start(exec_id) as stream:
        stream.frames()
    with engine.open("POST", f"/exec/{exec_id}/start", {"Detach": False}, UPGRADE) as stream:
        assert stream.status in (101, 409)  # Engine 20.10 says it in the stream
        said = stream.rest() if stream.status == 101 else stream.body()
        assert stream.status == 101 or b"has already run" in said


def test_exec_takes_user_workdir_and_environment(engine, box):
    code, out, _ = engine.exec(box, "sh", "-c", "echo $(id -u) $PWD $A", User="65534", WorkingDir="/tmp", Env=["A=b"])
    assert (code, out) == (0, b"65534 /tmp b\n")


def test_exec_inherits_the_containers_environment(engine):
    cid = engine.run("sleep", "60", Env=["FROM=container"])
    assert engine.exec(cid, "sh", "-c", "echo $FROM $HOME")[1] == b"container /root\n"


def test_exec_sees_the_files_and_processes_of_the_container(engine, box):
    assert engine.exec(box, "sh", "-c", "echo x >/shared")[0] == 0
    assert engine.exec(box, "cat", "/shared")[1] == b"x\n"
    assert b"sleep 60" in engine.exec(box, "ps")[1]


def test_execs_of_one_container_do_not_mix(engine, box):
    streams = [engine.exec_start(engine.exec_create(box, "sh", "-c", f"read x; seq {n} | tail -n 1", AttachStdin=True))
               for n in range(1, 9)]
    for stream in streams:
        stream.write(b"go\n")
    out = [stream.frames()[0] for stream in streams]
    for stream in streams:
        stream.close()
    assert out == [b"%d\n" % n for n in range(1, 9)]


def test_exec_with_a_terminal_is_raw(engine, box):
    exec_id = engine.exec_create(box, "sh", "-c", "tty; echo err >&2", Tty=True)
    with engine.exec_start(exec_id, Tty=True) as stream:
        assert stream.rest() == b"/dev/pts/0\r\nerr\r\n"


def test_exec_ends_with_its_container(engine):
    cid = engine.run("sleep", "60")
    exec_id = engine.exec_create(cid, "sleep", "50")
    with engine.exec_start(exec_id) as stream:
        assert engine.post(f"/containers/{cid}/kill").status == 204
        stream.rest()
    engine.wait(cid)
    assert engine.state(cid)["Status"] == "exited"


def test_a_client_that_leaves_does_not_end_the_exec(engine, box):
    exec_id = engine.exec_create(box, "sh", "-c", "read x; touch /went-on; sleep 30", AttachStdin=True)
    stream = engine.exec_start(exec_id)
    stream.write(b"go\n")
    stream.close()
    until(lambda: engine.exec(box, "test", "-e", "/went-on")[0] == 0, what="the exec's file")
