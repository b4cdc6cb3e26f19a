"""logs: what was printed, by lines, by time, followed."""
import calendar
import re
import time

import pytest
from engine import demux

def unix_time(stamp):
    """An RFC 3339 time as the API takes it: seconds.nanoseconds."""
    seconds = calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S"))
    return f"{seconds}.{stamp[20:29]}"


STAMP = rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z "


def test_logs_keep_stdout_and_stderr_apart(engine):
    cid = engine.finish("sh", "-c", "echo 1; echo e >&2; echo 2")
    assert engine.logs(cid) == (b"1\n2\n", b"e\n")
    assert engine.logs(cid, stderr=0) == (b"1\n2\n", b"")
    assert engine.logs(cid, stdout=0) == (b"", b"e\n")


def test_logs_need_a_stream(engine):
    cid = engine.finish("true")
    reply = engine.get(f"/containers/{cid}/logs")
    assert reply.status == 400
    assert "you must choose at least one stream" in reply.message


def test_cli_logs(engine):
    cid = engine.finish("sh", "-c", "seq 3; echo e >&2")
    done = engine.cli("logs", cid)
    assert (done.out, done.err) == ("1\n2\n3\n", "e\n")


@pytest.mark.parametrize("tail, want", [("0", b""), ("1", b"100\n"), ("3", b"98\n99\n100\n"), ("1000", None), ("all", None)])
def test_tail_gives_the_last_lines(engine, tail, want):
    cid = engine.finish("seq", "100")
    everything = b"".join(b"%d\n" % i for i in range(1, 101))
    assert engine.logs(cid, tail=tail)[0] == (everything if want is None else want)


def test_tail_counts_lines_of_both_streams_together(engine):
    cid = engine.finish("sh", "-c", "echo 1; sleep 0.05; echo e >&2; sleep 0.05; echo 2")
    assert engine.logs(cid, tail="2") == (b"2\n", b"e\n")


def test_timestamps_stand_before_each_line(engine):
    cid = engine.finish("sh", "-c", "echo a; echo b")
    lines = engine.logs(cid, timestamps=1)[0].splitlines()
    assert [re.sub(STAMP, b"", line) for line in lines] == [b"a", b"b"]
    assert all(re.match(STAMP, line) for line in lines)


def test_since_and_until_cut_by_time(engine):
    cid = engine.finish("sh", "-c", "echo a; sleep 0.3; echo b; sleep 0.3; echo c")
    stamps = [unix_time(line.split()[0].decode()) for line in engine.logs(cid, timestamps=1)[0].splitlines()]
    assert engine.logs(cid, since=stamps[1])[0] == b"b\nc\n"
    assert engine.logs(cid, until=stamps[1])[0] in (b"a\n", b"a\nb\n")
    assert engine.logs(cid, since=f"{time.time() + 60:.9f}")[0] == b""
    assert engine.logs(cid, since="0")[0] == b"a\nb\nc\n"


def test_follow_sends_what_is_there_and_what_comes_and_ends_at_exit(engine):
    cid = engine.run("sh", "-c", "echo one; read x; echo two", OpenStdin=True, StdinOnce=True)
    with engine.open("GET", f"/containers/{cid}/logs", query={"follow": 1, "stdout": 1}) as stream:
        assert stream.status == 200
        assert b"one\n" in stream.chunk()
        with engine.attach(cid, stream=1, stdin=1) as client:
            client.write(b"go\n")
            assert b"two\n" in stream.body()
    assert engine.state(cid)["Status"] == "exited"


def test_follow_answers_its_head_at_once(engine):
    """Lesson 1: also where nothing was printed."""
    cid = engine.run("sleep", "60")
    with engine.open("GET", f"/containers/{cid}/logs", query={"follow": 1, "stdout": 1}) as stream:
        assert stream.status == 200
        assert stream.is_silent(0.1)


def test_follow_of_an_exited_container_ends(engine):
    cid = engine.finish("echo", "x")
    with engine.open("GET", f"/containers/{cid}/logs", query={"follow": 1, "stdout": 1}) as stream:
        assert demux(stream.body()) == (b"x\n", b"")


def test_follow_with_tail_0_sends_only_what_comes(engine):
    cid = engine.run("sh", "-c", "echo old; read x; echo new", OpenStdin=True, StdinOnce=True)
    with engine.attach(cid, logs=1, stream=1, stdout=1) as seen:
        seen.text(b"old\n")
    with engine.open("GET", f"/containers/{cid}/logs", query={"follow": 1, "stdout": 1, "tail": "0"}) as stream:
        with engine.attach(cid, stream=1, stdin=1) as client:
            client.write(b"go\n")
            assert demux(stream.body())[0] == b"new\n"


def test_a_followed_log_of_many_lines_loses_nothing(engine):
    cid = engine.run("seq", "100000")
    with engine.open("GET", f"/containers/{cid}/logs", query={"follow": 1, "stdout": 1}, timeout=20) as stream:
        assert demux(stream.body(timeout=20))[0] == b"".join(b"%d\n" % i for i in range(1, 100001))


def test_cli_logs_f_ends_with_the_container(engine):
    cid = engine.run("sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done")
    assert engine.docker("logs", "-f", cid) == "1\n2\n3\n"


def test_cli_logs_t_prints_times(engine):
    cid = engine.finish("echo", "1")
    assert re.match(r"^\d{4}-\d\d-\d\dT.*Z 1$", engine.docker("logs", "-t", cid).strip())


def test_logs_grow_over_runs(engine):
    cid = engine.finish("echo", "run")
    engine.start(cid)
    engine.wait(cid)
    assert engine.logs(cid)[0] == b"run\nrun\n"


def test_a_line_without_its_end_comes_at_exit(engine):
    """Lesson 25."""
    cid = engine.create("sh", "-c", "printf tail; read x", OpenStdin=True, StdinOnce=True)
    with engine.attach(cid, stream=1, stdin=1, stdout=1) as client:
        engine.start(cid)
        assert client.text(b"tail") == b"tail"
        assert engine.logs(cid)[0] == b""
        client.write(b"\n")
        client.rest()
    engine.wait(cid)
    assert engine.logs(cid)[0] == b"tail"


def test_a_very_long_line_comes_whole(engine):
    cid = engine.finish("sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo")
    assert engine.logs(cid)[0] == b"x" * 100000 + b"\n"


def test_logs_of_a_terminal_are_raw(engine):
    cid = engine.finish("sh", "-c", "echo a; echo b >&2", Tty=True)
    reply = engine.get(f"/containers/{cid}/logs", stdout=1, stderr=1)
    assert reply.body == b"a\r\nb\r\n"


def test_logs_of_a_created_container_are_empty(engine):
    assert engine.logs(engine.create("true")) == (b"", b"")


def test_logs_of_a_missing_container_are_404(engine):
    reply = engine.get("/containers/ct-none/logs", stdout=1)
    assert (reply.status, reply.message) == (404, "No such container: ct-none")


@pytest.mark.parametrize("query", [{"since": "x"}, {"until": "y"}])
def test_logs_refuse_a_time_that_is_none(engine, query):
    cid = engine.finish("true")
    assert engine.get(f"/containers/{cid}/logs", stdout=1, **query).status in (400, 500)


def test_logs_after_a_kill_have_every_byte(engine):
    cid = engine.run("sh", "-c", "seq 5000; echo ready >&2; sleep 60")
    with engine.attach(cid, logs=1, stream=1, stderr=1) as stream:
        stream.text(b"ready\n")
    engine.post(f"/containers/{cid}/kill")
    engine.wait(cid)
    assert engine.logs(cid)[0].count(b"\n") == 5000


# ---- log drivers and their options ----

def log_config(kind, **options):
    return {"HostConfig": {"LogConfig": {"Type": kind, "Config": {name.replace("_", "-"): value for name, value in options.items()}}}}


@pytest.mark.parametrize("kind, options, message", [
    ("foo", {}, 'error looking up logging plugin foo: plugin "foo" not found'),
    ("json-file", {"foo": "1"}, "unknown log opt 'foo' for json-file log driver"),
    ("local", {"tag": "x"}, "unknown log opt 'tag' for log driver local"),
    ("json-file", {"mode": "bad"}, "logger: logging mode not supported: bad"),
    ("json-file", {"max_buffer_size": "1m"}, "logger: max-buffer-size option is only supported with 'mode=non-blocking'"),
])
def test_unknown_log_drivers_and_options_are_refused(engine, kind, options, message):
    body = {"Image": engine.image, "Cmd": ["true"], **log_config(kind, **options)}
    reply = engine.request("POST", "/containers/create", body, timeout=60)  # Docker looks long for a plugin
    assert (reply.status, reply.message) == (400, message)


def test_a_wrong_log_size_stops_create_or_start(engine):
    reply = engine.post("/containers/create", {"Image": engine.image, "Cmd": ["true"], **log_config("json-file", max_size="xx")})
    if engine.is_control:  # Docker notices at start
        reply = engine.post(f"/containers/{reply.json['Id']}/start")
    assert reply.status >= 400
    assert reply.message == "failed to initialize logging driver: invalid size: 'xx'"


def test_driver_none_attaches_and_has_no_logs(engine):
    cid = engine.create("seq", "3", host=log_config("none")["HostConfig"])
    with engine.attach(cid, stream=1, stdout=1) as client:
        engine.start(cid)
        assert demux(client.rest())[0] == b"1\n2\n3\n"
    reply = engine.get(f"/containers/{cid}/logs", stdout=1)
    assert (reply.status, reply.message) == (501, "configured logging driver does not support reading")


def test_driver_local_keeps_logs(engine):
    cid = engine.create("seq", "3", host=log_config("local")["HostConfig"])
    engine.start(cid)
    engine.wait(cid)
    assert engine.logs(cid)[0] == b"1\n2\n3\n"


def test_details_are_the_labels_and_variables_asked_for(engine):
    cid = engine.create("echo", "x", Labels={"a": "1 2", "b": "y", "c": "no"}, Env=["E=v"],
                        host=log_config("json-file", labels="b,a,zz", env="E", tag="t-{{.Name}}")["HostConfig"])
    engine.start(cid)
    engine.wait(cid)
    name = engine.inspect(cid)["Name"][1:]
    assert engine.logs(cid, details=1)[0] == f"E=v,a=1+2,b=y,tag=t-{name} x\n".encode()


def test_rotation_keeps_the_last_lines(engine):
    cid = engine.create("seq", "200000", host=log_config("json-file", max_size="100k", max_file="3")["HostConfig"])
    engine.start(cid)
    engine.wait(cid, timeout=60)
    lines = engine.logs(cid)[0].split()
    assert lines[-1] == b"200000"
    assert [int(line) for line in lines] == list(range(int(lines[0]), 200001))
    assert 1000 < len(lines) < 100000
    assert engine.logs(cid, tail="2")[0] == b"199999\n200000\n"


def test_attach_loses_nothing_to_rotation(engine):
    cid = engine.create("seq", "200000", host=log_config("json-file", max_size="20k", max_file="1")["HostConfig"])
    expected = b"".join(b"%d\n" % i for i in range(1, 200001))
    with engine.attach(cid, stream=1, stdout=1) as client:
        engine.start(cid)
        assert demux(client.rest(60))[0] == expected


def test_follow_loses_nothing_to_rotation(engine):
    if engine.is_control:
        pytest.skip("Docker's follower misses files that are rotated away")
    cid = engine.create("sh", "-c", "read x; seq 100000; echo end", OpenStdin=True, StdinOnce=True,
                        host=log_config("json-file", max_size="20k", max_file="2")["HostConfig"])
    with engine.attach(cid, stream=1, stdin=1) as client:
        engine.start(cid)
        with engine.open("GET", f"/containers/{cid}/logs", query={"follow": 1, "stdout": 1}) as stream:
            client.write(b"go\n")
            lines = demux(stream.body(timeout=60))[0].split()
    assert lines == [b"%d" % i for i in range(1, 100001)] + [b"end"]
