"""start: what runs, how it ends, and what is said when it cannot."""
import time

import pytest


def test_run_prints_and_ends_with_0(engine):
    done = engine.cli("run", "--rm", engine.image, "echo", "hello from sockerless")
    assert (done.returncode, done.out, done.err) == (0, "hello from sockerless\n", "")


def test_run_keeps_stdout_and_stderr_apart(engine):
    done = engine.cli("run", "--rm", engine.image, "sh", "-c", "echo out; echo err >&2")
    assert (done.out, done.err) == ("out\n", "err\n")


@pytest.mark.parametrize("code", [0, 1, 7, 125, 255])
def test_run_ends_with_the_exit_code(engine, code):
    assert engine.cli("run", "--rm", engine.image, "sh", "-c", f"exit {code}").returncode == code


def test_exit_code_is_kept_for_ever(engine):
    cid = engine.finish("sh", "-c", "exit 7")
    with engine.attach(cid, stream=0, logs=1, stdout=1):
        pass
    for _ in range(3):
        assert engine.wait(cid) == 7
        assert engine.state(cid)["ExitCode"] == 7


def test_a_process_ended_by_a_signal_counts_128_more(engine):
    for number in (9, 15, 6):
        cid = engine.finish("sh", "-c", f"sh -c 'kill -{number} $$'; exit $?")
        assert engine.state(cid)["ExitCode"] == 128 + number


def test_run_of_a_missing_program_is_127(engine):
    """Clients match the words (lesson 16)."""
    name = engine.name()
    done = engine.cli("run", "--name", name, engine.image, "/no/such")
    engine.made.append(name)
    assert done.returncode == 127
    assert "no such file or directory" in done.err
    state = engine.state(name)
    assert state["Status"] == "created" and state["ExitCode"] == 127


def test_run_of_a_name_not_in_path_is_127(engine):
    name = engine.name()
    done = engine.cli("run", "--name", name, engine.image, "no-such-program")
    engine.made.append(name)
    assert done.returncode == 127
    assert "executable file not found in $PATH" in done.err


def test_run_of_a_file_that_is_no_program_is_126(engine):
    name = engine.name()
    done = engine.cli("run", "--name", name, engine.image, "/etc/passwd")
    engine.made.append(name)
    assert done.returncode == 126
    assert "permission denied" in done.err


def test_a_failed_start_answers_400_and_leaves_the_error(engine):
    cid = engine.create("/no/such")
    reply = engine.post(f"/containers/{cid}/start")
    assert reply.status == 400
    assert "no such file or directory" in reply.message
    assert "no such file or directory" in engine.state(cid)["Error"]


def test_start_of_a_running_container_is_304(engine):
    cid = engine.run("sleep", "60")
    reply = engine.post(f"/containers/{cid}/start")
    assert (reply.status, reply.body) == (304, b"")


def test_start_of_a_missing_container_is_404(engine):
    reply = engine.post("/containers/ct-none/start")
    assert (reply.status, reply.message) == (404, "No such container: ct-none")


def test_start_again_runs_again_and_counts_from_new(engine):
    cid = engine.finish("sh", "-c", "echo x >>/count; wc -l </count")
    first = engine.state(cid)
    engine.start(cid)
    engine.wait(cid, "not-running")
    second = engine.state(cid)
    assert second["StartedAt"] > first["StartedAt"] and second["FinishedAt"] > first["FinishedAt"]
    assert engine.logs(cid)[0].split() == [b"1", b"2"], "the filesystem stays between runs"


def test_running_state_has_pid_and_start_time(engine):
    state = engine.state(engine.run("sleep", "60"))
    assert state["Running"] and state["Status"] == "running" and state["Pid"] > 0
    assert state["StartedAt"] > "2020" and state["FinishedAt"] == "0001-01-01T00:00:00Z"


def test_exited_state_has_code_and_finish_time(engine):
    state = engine.state(engine.finish("sh", "-c", "exit 3"))
    assert (state["Status"], state["Running"], state["ExitCode"], state["Pid"]) == ("exited", False, 3, 0)
    assert state["FinishedAt"] > state["StartedAt"] or engine.is_control  # 20.10 can have them the other way round


def test_env_workdir_user_and_hostname_reach_the_process(engine):
    out = engine.docker("run", "--rm", "-e", "A=b", "-w", "/tmp", "-u", "65534", "--hostname", "h1", engine.image, "sh", "-c",
                        "echo $A $PWD $(id -u) $(hostname)")
    assert out == "b /tmp 65534 h1\n"


def test_a_user_is_looked_up_by_name(engine):
    assert engine.docker("run", "--rm", "-u", "nobody", engine.image, "id", "-un").strip() == "nobody"


def test_an_unknown_user_is_refused(engine):
    done = engine.cli("run", "--rm", "-u", "ct-nobody", engine.image, "true")
    assert done.returncode in (125, 126)
    assert "unable to find user ct-nobody" in done.err


def test_a_missing_workdir_is_made(engine):
    assert engine.docker("run", "--rm", "-w", "/made/for/us", engine.image, "pwd") == "/made/for/us\n"


def test_entrypoint_and_command_are_joined(engine):
    out = engine.docker("run", "--rm", "--entrypoint", "echo", engine.image, "a", "b")
    assert out == "a b\n"


def test_path_and_home_and_hostname_are_in_the_environment(engine):
    out = engine.docker("run", "--rm", engine.image, "env").splitlines()
    keys = {line.split("=")[0] for line in out}
    assert {"PATH", "HOME", "HOSTNAME"} <= keys


def test_pid_1_is_the_users_process(engine):
    assert engine.docker("run", "--rm", engine.image, "sh", "-c", "echo $$") == "1\n"


def test_a_pipeline_runs(engine):
    out = engine.docker("run", "--rm", engine.image, "sh", "-c", "printf 'b\\na\\nc\\n' | sort | tr a-z A-Z | tail -n 2")
    assert out == "B\nC\n"


def test_files_written_stay_in_the_container(engine):
    first = engine.run("sh", "-c", "echo mine >/only; sleep 60")
    assert engine.exec(first, "sh", "-c", "until test -s /only; do :; done; cat /only")[1] == b"mine\n"
    second = engine.finish("cat", "/only")
    assert engine.state(second)["ExitCode"] == 1


def test_auto_remove_takes_the_container_away(engine):
    name = engine.name()
    cid = engine.create("true", name=name, host={"AutoRemove": True})
    with engine.open("POST", f"/containers/{cid}/wait", query={"condition": "removed"}) as waiting:
        assert waiting.status == 200
        engine.start(cid)
        assert b'"StatusCode":0' in waiting.body()
    assert engine.get(f"/containers/{name}/json").status == 404


def test_a_child_that_holds_the_output_does_not_hold_the_exit(engine):
    """The output is drained for at most two seconds after the first process (DESIGN 5)."""
    started = time.monotonic()
    cid = engine.run("sh", "-c", "sleep 30 & echo done")
    assert engine.wait(cid) == 0
    assert time.monotonic() - started < 5
    assert engine.logs(cid)[0] == b"done\n"


def test_run_d_prints_the_id(engine):
    cid = engine.docker("run", "-d", engine.image, "sleep", "60").strip()
    engine.made.append(cid)
    assert engine.inspect(cid)["Id"] == cid and engine.state(cid)["Running"]


def test_cidfile_and_exit_together(engine, folder):
    done = engine.cli("run", "--cidfile", folder / "cid", engine.image, "sh", "-c", "exit 4")
    engine.made.append((folder / "cid").read_text())
    assert done.returncode == 4
    assert engine.state((folder / "cid").read_text())["ExitCode"] == 4
