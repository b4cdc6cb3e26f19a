"""attach: before start, behind an upgrade and without, framing, detaching."""
import threading

import pytest
from engine import UPGRADE, demux

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"


def test_attach_with_upgrade_answers_101(engine):
    with engine.attach(engine.create("true")) as stream:
        assert stream.status == 101 and stream.reason.split(" ", 1)[1] == "101 UPGRADED"
        assert stream.headers["upgrade"] == "tcp"
        assert stream.headers["connection"].lower() == "upgrade"
        assert stream.headers["content-type"] in (RAW, MULTIPLEXED)


def test_attach_without_upgrade_answers_200_and_goes_raw(engine):
    """dockerode and testcontainers ask so (lesson 4)."""
    cid = engine.create("echo", "hi")
    with engine.attach(cid, headers=None) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] in (RAW, MULTIPLEXED)
        assert "content-length" not in stream.headers and "transfer-encoding" not in stream.headers
        engine.start(cid)
        assert stream.frames() == (b"hi\n", b"")


@pytest.mark.differs("multiplexed-stream came with API 1.42")
@pytest.mark.parametrize("version, tty, content_type", [("1.41", False, RAW), ("1.42", False, MULTIPLEXED), ("1.44", True, RAW)])
def test_attach_names_the_stream_by_version_and_tty(engine, version, tty, content_type):
    cid = engine.create("true", Tty=tty)
    path = f"/v{version}/containers/{cid}/attach"
    with engine.open("POST", path, headers=UPGRADE, query={"stream": 1, "stdout": 1}) as stream:
        assert stream.headers["content-type"] == content_type


def test_attach_before_start_is_silent_and_then_carries_the_first_byte(engine):
    """Universal among clients (lesson 3)."""
    cid = engine.create("sh", "-c", "echo out; echo err >&2")
    with engine.attach(cid) as stream:
        assert stream.is_silent(0.2)
        engine.start(cid)
        assert stream.frames() == (b"out\n", b"err\n")


def test_attach_to_an_exited_container_carries_the_next_run(engine):
    """gitlab-runner starts one container again and again (lesson 3)."""
    cid = engine.finish("echo", "again")
    for _ in range(2):
        with engine.attach(cid) as stream:
            assert stream.is_silent(0.1)
            engine.start(cid)
            assert stream.frames() == (b"again\n", b"")
        engine.wait(cid)


def test_end_of_attach_means_the_exit_is_stored(engine):
    """An inspect right after the stream's end sees the final state (lesson 9)."""
    for code in (0, 5):
        cid = engine.create("sh", "-c", f"echo x; exit {code}")
        with engine.attach(cid) as stream:
            engine.start(cid)
            stream.frames()
        state = engine.state(cid)
        assert (state["Running"], state["ExitCode"]) == (False, code)


def test_attach_chooses_streams(engine):
    for query, want in (({"stdout": 1}, (b"out\n", b"")), ({"stderr": 1}, (b"", b"err\n"))):
        cid = engine.create("sh", "-c", "echo out; echo err >&2")
        with engine.attach(cid, stream=1, **query) as stream:
            engine.start(cid)
            assert stream.frames() == want


def test_attach_with_logs_begins_with_what_was_printed(engine):
    cid = engine.run("sh", "-c", "echo early; read x; echo late $x", OpenStdin=True)
    with engine.attach(cid, logs=1, stream=1, stdin=1, stdout=1, stderr=1) as stream:
        stream.text(b"early\n")
        stream.write(b"now\n")
        assert demux(stream.rest())[0] == b"late now\n"


def test_attach_for_logs_only_ends_at_once(engine):
    cid = engine.run("sh", "-c", "echo early; sleep 60")
    assert engine.exec(cid, "true")[0] == 0
    with engine.attach(cid, logs=1, stdout=1, stderr=1) as stream:
        out, _ = stream.frames()
        assert out in (b"", b"early\n")


def test_several_clients_see_the_same_output(engine):
    cid = engine.create("seq", "2000")
    streams = [engine.attach(cid, stream=1, stdout=1) for _ in range(4)]
    engine.start(cid)
    seen = [stream.frames()[0] for stream in streams]
    for stream in streams:
        stream.close()
    assert seen == [b"".join(b"%d\n" % i for i in range(1, 2001))] * 4


def test_a_client_that_leaves_does_not_disturb_the_container(engine):
    cid = engine.create("sh", "-c", "read x; seq 1000; exit 3", OpenStdin=True)
    with engine.attach(cid) as leaver:
        with engine.attach(cid) as stayer:
            engine.start(cid)
            leaver.close()
            stayer.write(b"go\n")
            assert stayer.frames()[0].count(b"\n") == 1000
    assert engine.wait(cid) == 3


@pytest.mark.differs("Engine 20.10 lets a reader that is attached and does not read stop the container")
def test_a_client_that_does_not_read_does_not_stop_the_container(engine):
    cid = engine.create("sh", "-c", "head -c 4000000 /dev/zero; echo end >&2")
    with engine.attach(cid):
        engine.start(cid)
        with engine.attach(cid, logs=1, stream=1, stderr=1) as other:
            assert b"end\n" in other.frames()[1]


def test_attach_to_a_missing_container_is_404(engine):
    reply = engine.request("POST", "/containers/ct-none/attach", headers=UPGRADE, query={"stream": 1, "stdout": 1})
    assert reply.status == 404
    assert b"No such container: ct-none" in reply.body  # Engine 20.10 sends it as bare text


def test_megabytes_come_whole_and_in_order(engine):
    cid = engine.create("seq", "500000")
    with engine.attach(cid, stream=1, stdout=1) as stream:
        engine.start(cid)
        out, err = stream.frames(timeout=20)
    assert err == b""
    assert out == b"".join(b"%d\n" % i for i in range(1, 500001))


def test_three_connections_at_once_see_the_run(engine):
    """attach, wait and start go out together: act relies on it (lesson 3)."""
    for _ in range(5):
        cid = engine.create("echo", "hi")
        codes = []
        with engine.attach(cid, stream=1, stdout=1) as stream:
            waiter = threading.Thread(target=lambda one=cid: codes.append(engine.wait(one, "next-exit")))
            with engine.open("POST", f"/containers/{cid}/wait", query={"condition": "next-exit"}) as waiting:
                waiter.start()
                engine.start(cid)
                assert stream.frames()[0] == b"hi\n"
                assert b'"StatusCode":0' in waiting.body()
        engine.delete(f"/containers/{cid}", force=1)
        waiter.join(10)
        assert not waiter.is_alive() or codes == [0]


def test_cli_attach_carries_exit_code_and_output(engine):
    name = engine.name()
    engine.made.append(engine.docker("run", "-di", "--name", name, engine.image, "sh", "-c", "read x; echo got $x; exit 6").strip())
    with engine.popen("attach", name, stdin=-1) as client:
        client.stdin.write(b"yes\n")
        client.stdin.flush()
        assert client.wait(10) == 6
        assert client.stdout.read() == b"got yes\n"


def test_cli_attach_to_a_stopped_container_is_refused(engine):
    cid = engine.finish("true")
    done = engine.cli("attach", cid)
    assert done.returncode == 1
    assert "cannot attach to a stopped container" in done.err.lower()


def test_cli_start_a_shows_the_output(engine):
    cid = engine.create("sh", "-c", "echo again; exit 2")
    done = engine.cli("start", "-a", cid)
    assert (done.returncode, done.out) == (2, "again\n")


def test_auto_remove_does_not_cut_the_output(engine):
    """`docker run --rm`: the container goes when its readers have everything, however fast it ends."""
    for _ in range(5 if engine.is_control else 40):
        cid = engine.create("sh", "-c", "echo out; echo err >&2", host={"AutoRemove": True})
        with engine.attach(cid, stream=1, stdout=1, stderr=1) as stream:
            engine.start(cid)
            assert stream.frames() == (b"out\n", b"err\n")
