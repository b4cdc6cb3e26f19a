"""Terminals: raw bytes, size, control keys, detach keys."""
import os
import pty
import subprocess

import pytest


def terminal(engine, *cmd, **config):
    return engine.create(*cmd, Tty=True, OpenStdin=True, StdinOnce=True, **config)


def test_output_of_a_terminal_is_raw_with_carriage_returns(engine):
    cid = terminal(engine, "sh", "-c", "echo out; echo err >&2")
    with engine.attach(cid) as stream:
        engine.start(cid)
        assert stream.rest() == b"out\r\nerr\r\n"


def test_the_process_sees_a_terminal(engine):
    cid = terminal(engine, "sh", "-c", "test -t 0 && test -t 1 && test -t 2 && tty")
    with engine.attach(cid) as stream:
        engine.start(cid)
        assert stream.rest() in (b"/dev/pts/0\r\n", b"/dev/console\r\n")
    assert engine.wait(cid) == 0


def test_without_a_terminal_there_is_none(engine):
    cid = engine.finish("sh", "-c", "tty; test -t 1")
    assert engine.state(cid)["ExitCode"] == 1
    assert engine.logs(cid)[0] == b"not a tty\n"


def test_term_is_in_the_environment_of_a_terminal(engine):
    cid = terminal(engine, "sh", "-c", "echo $TERM")
    with engine.attach(cid) as stream:
        engine.start(cid)
        assert stream.rest() == b"xterm\r\n"


def test_what_is_typed_is_echoed_and_read(engine):
    cid = terminal(engine, "sh", "-c", "read x; echo got $x")
    with engine.attach(cid) as stream:
        engine.start(cid)
        stream.write(b"abc\n")
        assert stream.rest() == b"abc\r\ngot abc\r\n"


def test_resize_reaches_the_process(engine):
    cid = terminal(engine, "sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done")
    with engine.attach(cid) as stream:
        engine.start(cid)
        stream.until(b"ready\r\n")
        assert engine.post(f"/containers/{cid}/resize", h=33, w=99).status == 200
        assert stream.until(b"\r\n").strip() == b"33 99"


def test_resize_of_a_container_that_does_not_run_is_409(engine):
    cid = terminal(engine, "true")
    reply = engine.post(f"/containers/{cid}/resize", h=33, w=99)
    assert reply.status == 409 and "is not running" in reply.message


@pytest.mark.parametrize("query", [{"h": "x", "w": "1"}, {"w": "1"}])
def test_resize_refuses_what_is_no_size(engine, query):
    cid = terminal(engine, "sleep", "60")
    engine.start(cid)
    assert engine.post(f"/containers/{cid}/resize", **query).status in (400, 500)


def test_exec_resize_reaches_the_exec(engine):
    cid = engine.run("sleep", "60")
    exec_id = engine.exec_create(cid, "sh", "-c", "echo ready; read x; stty size", Tty=True, AttachStdin=True)
    with engine.exec_start(exec_id, Tty=True) as stream:
        stream.until(b"ready\r\n")
        assert engine.post(f"/exec/{exec_id}/resize", h=20, w=70).status in (200, 201)
        stream.write(b"\n")
        assert b"20 70\r\n" in stream.rest()


def test_control_c_interrupts(engine):
    cid = terminal(engine, "sh", "-c", "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.05; done")
    with engine.attach(cid) as stream:
        engine.start(cid)
        stream.until(b"ready\r\n")
        stream.write(b"\x03")
        assert b"interrupted\r\n" in stream.rest()
    assert engine.wait(cid) == 5


def test_control_d_is_end_of_file(engine):
    cid = terminal(engine, "cat")
    with engine.attach(cid) as stream:
        engine.start(cid)
        stream.write(b"line\n")
        stream.until(b"line\r\nline\r\n")
        stream.write(b"\x04")
        stream.rest()
    assert engine.wait(cid) == 0


def test_detach_keys_leave_the_container_running(engine):
    cid = engine.create("cat", Tty=True, OpenStdin=True)
    with engine.attach(cid) as stream:
        engine.start(cid)
        stream.write(b"a\n")
        stream.until(b"a\r\na\r\n")
        stream.write(b"\x10\x11")
        stream.rest()
    assert engine.state(cid)["Running"]


def test_own_detach_keys_are_heeded(engine):
    cid = engine.create("cat", Tty=True, OpenStdin=True)
    with engine.attach(cid, stream=1, stdin=1, stdout=1, detachKeys="ctrl-x,y") as stream:
        engine.start(cid)
        stream.write(b"a\n")
        stream.until(b"a\r\na\r\n")
        stream.write(b"\x18y")
        stream.rest()
    assert engine.state(cid)["Running"]


def with_terminal(engine, *args, type_in=b"", timeout=15):
    """Runs docker ARGS on a terminal of its own: (exit status, everything that appeared)."""
    master, slave = pty.openpty()
    process = engine.popen(*args, stdin=slave, stdout=slave, stderr=subprocess.STDOUT, start_new_session=True)
    os.close(slave)
    out = b""
    if type_in:
        os.write(master, type_in)
    try:
        while True:
            data = os.read(master, 65536)
            if not data:
                break
            out += data
    except OSError:
        pass  # the last holder of the other end has gone
    os.close(master)
    return process.wait(timeout), out


def test_cli_run_it_prints_and_ends_with_the_code(engine):
    code, out = with_terminal(engine, "run", "-it", "--rm", engine.image, "sh", "-c", "tty; exit 3")
    assert code == 3
    assert b"/dev/pts/0" in out or b"/dev/console" in out


def test_cli_exec_it_has_a_terminal(engine):
    cid = engine.run("sleep", "60")
    code, out = with_terminal(engine, "exec", "-it", cid, "sh", "-c", "tty; exit 4")
    assert code == 4 and b"/dev/pts/" in out


def test_cli_run_it_talks(engine):
    code, out = with_terminal(engine, "run", "-it", "--rm", engine.image, "sh", "-c", "read a; echo said $a", type_in=b"hello\n")
    assert code == 0 and b"said hello" in out


def test_the_inspect_says_tty(engine):
    assert engine.inspect(terminal(engine, "true"))["Config"]["Tty"] is True
