"""stdin: half-close, StdinOnce, detaching, big and binary input."""
import hashlib
import threading

import pytest
from engine import UPGRADE, request_bytes, Stream, dial, until


def open_stdin(engine, *cmd, once=True):
    return engine.create(*cmd, OpenStdin=True, StdinOnce=once, AttachStdin=True)


def test_half_close_is_end_of_file_while_output_goes_on(engine):
    """Lesson 5: echo x | docker run -i."""
    cid = open_stdin(engine, "sh", "-c", "cat; echo after the end")
    with engine.attach(cid) as stream:
        engine.start(cid)
        stream.write(b"in\n")
        stream.close_write()
        assert stream.frames() == (b"in\nafter the end\n", b"")
    assert engine.wait(cid) == 0


def test_cli_run_i_passes_stdin_through(engine):
    assert engine.docker("run", "-i", "--rm", engine.image, "wc", "-l", input=b"x\n" * 1000).strip() == "1000"


def test_cli_run_i_is_binary_clean(engine):
    data = bytes(range(256)) * 4000
    done = engine.cli("run", "-i", "--rm", engine.image, "cat", input=data)
    assert done.stdout == data


def test_cli_run_without_i_gives_end_of_file(engine):
    done = engine.cli("run", "--rm", engine.image, "sh", "-c", "cat; echo end", input=b"not for it")
    assert (done.returncode, done.out) == (0, "end\n")


def test_half_close_without_stdin_does_not_end_the_output(engine):
    """The CLI half-closes also when stdin is not attached (lesson 5)."""
    cid = engine.create("sh", "-c", "read x </proc/self/fd/0; echo later")
    with engine.attach(cid, stream=1, stdout=1, stderr=1) as stream:
        stream.close_write()
        engine.start(cid)
        assert stream.frames()[0] == b"later\n"


def test_stdin_written_before_start_waits_for_the_process(engine):
    cid = open_stdin(engine, "cat")
    with engine.attach(cid) as stream:
        stream.write(b"early bird\n")
        stream.close_write()
        engine.start(cid)
        assert stream.frames()[0] == b"early bird\n"


@pytest.mark.differs("Engine 20.10 drops what it had read behind the head")
def test_bytes_behind_the_request_head_are_kept(engine):
    """Lesson 6: a client may write before it has read the 101."""
    cid = open_stdin(engine, "cat")
    head = request_bytes("POST", f"/containers/{cid}/attach", None, UPGRADE, {"stream": 1, "stdin": 1, "stdout": 1})
    with Stream(dial(engine.host)) as stream:
        stream.write(head + b"right behind\n")
        stream.head()
        assert stream.status == 101
        engine.start(cid)
        assert stream.text(b"right behind\n") == b"right behind\n"
        stream.close_write()
        assert stream.frames() == (b"", b"")


def test_with_stdin_once_the_end_of_the_client_is_the_end_of_stdin(engine):
    cid = open_stdin(engine, "sh", "-c", "cat >/dev/null; exit 9")
    stream = engine.attach(cid)
    engine.start(cid)
    stream.write(b"x\n")
    stream.close()
    assert engine.wait(cid) == 9


def test_without_stdin_once_the_end_of_the_client_is_a_detach(engine):
    """Lesson 5: run -di, then attach twice; stdin stays open for the next."""
    cid = open_stdin(engine, "sh", "-c", "while read x; do echo got $x; done; exit 4", once=False)
    engine.start(cid)
    for word in (b"one", b"two"):
        with engine.attach(cid) as stream:
            stream.write(word + b"\n")
            assert stream.text(b"\n") == b"got " + word + b"\n"
            stream.close_write()
            stream.frames()
        assert engine.state(cid)["Running"]


def test_a_restarted_container_gets_fresh_stdin(engine):
    """gitlab-runner: exited, attach, start, each time with a script of its own (lesson 3)."""
    cid = open_stdin(engine, "sh")
    for number in range(3):
        with engine.attach(cid) as stream:
            engine.start(cid)
            stream.write(b"echo run %d\nexit %d\n" % (number, number))
            stream.close_write()
            assert stream.frames() == (b"run %d\n" % number, b"")
        assert engine.wait(cid, "not-running") == number


def test_a_shell_with_stdin_open_is_a_conversation(engine):
    """devcontainer talks protocols over exec and run: nothing may be buffered (lesson 27)."""
    cid = open_stdin(engine, "cat")
    with engine.attach(cid) as stream:
        engine.start(cid)
        for number in range(50):
            line = b"line %d\n" % number
            stream.write(line)
            assert stream.text(b"\n") == line


def test_big_stdin_arrives_whole(engine):
    data = hashlib.sha256(b"seed").digest() * 200000
    cid = open_stdin(engine, "sha256sum")
    with engine.attach(cid) as stream:
        engine.start(cid)
        stream.write(data)
        stream.close_write()
        assert stream.frames(timeout=20)[0].split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_stdin_and_output_flow_both_ways_at_once(engine):
    data = b"0123456789abcdef" * 125000
    cid = open_stdin(engine, "cat")
    with engine.attach(cid) as stream:
        engine.start(cid)

        def pump():
            stream.write(data)
            stream.close_write()
        writer = threading.Thread(target=pump)
        writer.start()
        out, _ = stream.frames(timeout=20)
        writer.join(10)
    assert out == data


def test_a_process_that_closes_stdin_does_not_end_the_stream(engine):
    cid = open_stdin(engine, "sh", "-c", "exec </dev/null; echo still here; sleep 0.3; echo end")
    with engine.attach(cid) as stream:
        engine.start(cid)
        assert stream.text(b"still here\n")
        stream.write(b"into nothing\n" * 1000)
        assert stream.frames()[0] == b"end\n"


def test_a_second_client_may_write_too(engine):
    cid = open_stdin(engine, "cat", once=False)
    engine.start(cid)
    with engine.attach(cid) as one, engine.attach(cid) as two:
        one.write(b"a\n")
        assert one.text(b"a\n") and two.text(b"a\n")
        two.write(b"b\n")
        assert one.text(b"b\n") and two.text(b"b\n")


def test_cli_start_ai_sends_stdin(engine):
    cid = open_stdin(engine, "cat")
    assert engine.docker("start", "-ai", cid, input=b"again\n") == "again\n"


def test_a_container_without_open_stdin_reads_nothing(engine):
    cid = engine.create("cat")
    engine.start(cid)
    assert engine.wait(cid) == 0


def test_the_container_lives_when_an_idle_stdin_client_dies(engine):
    cid = open_stdin(engine, "sh", "-c", "echo up; read x; sleep 60", once=False)
    with engine.popen("start", "-ai", cid, stdin=-1) as client:
        assert client.stdout.readline() == b"up\n"
        client.kill()
    until(lambda: engine.state(cid)["Running"], what="running on")
