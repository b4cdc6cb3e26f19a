"""Which engine is judged: $SL_TEST_HOST, else `sockerless serve` from the build folder $SL_BUILD (default build/).

Markers: differs(reason): an engine may answer otherwise, the case is for ours; ours: the case starts our own programs."""
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))
from daemon import ROOT, Apart, Serve, stage  # noqa: E402
from engine import Engine  # noqa: E402

CONTROL = os.environ.get("SL_TEST_HOST")
BUILD = (Path.cwd() / os.environ.get("SL_BUILD", ROOT / "build")).resolve()


def interrupt(number, frame):
    raise KeyboardInterrupt  # so that an ended session, too, ends its daemons


def pytest_configure(config):
    signal.signal(signal.SIGTERM, interrupt)
    config.addinivalue_line("markers", "differs(reason): a known difference between engines; not judged on a control engine")
    config.addinivalue_line("markers", "ours: starts our own programs; skipped on a control engine")


def pytest_collection_modifyitems(items):
    for item in items:
        differs = item.get_closest_marker("differs")
        if CONTROL and differs:
            item.add_marker(pytest.mark.skip(reason=differs.args[0]))
        if CONTROL and item.get_closest_marker("ours"):
            item.add_marker(pytest.mark.skip(reason="is about our own programs"))


@pytest.fixture(scope="session")
def short_folder():
    """A folder whose path leaves room for a unix socket's name."""
    folder = Path(tempfile.mkdtemp(prefix="slct-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def programs():
    return stage(BUILD)


@pytest.fixture(scope="session")
def logs():
    folder = BUILD / "conformance-logs"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Where daemons and agents leave their sanitizers' reports: nobody else reads what they print.
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
        os.environ[name] = ":".join(filter(None, [os.environ.get(name), f"log_path={folder}/sanitizer"]))
    yield folder
    reports = sorted(folder.glob("sanitizer.*"))
    assert not reports, "\n".join(f"{path}:\n{path.read_text(errors='replace')[:4000]}" for path in reports[:5])


def tag_base(engine):
    """Our own userland under the names that the cases use."""
    for name in ("alpine", "busybox"):
        reply = engine.post("/images/sockerless/base/tag", repo=name, tag="latest")
        assert reply.status == 201, reply
    return engine


@pytest.fixture(scope="session")
def whole_engine(short_folder, request):
    """The engine of the session; cases use `engine`."""
    (short_folder / "config").mkdir()
    if CONTROL:
        yield Engine(CONTROL, short_folder / "config", True)
        return
    serve = Serve(request.getfixturevalue("programs"), short_folder, request.getfixturevalue("logs"))
    try:
        yield tag_base(serve.start())
    finally:
        serve.stop()


@pytest.fixture
def engine(whole_engine):
    """The engine of the session, from which the containers of this case are removed after it."""
    mine = Engine(whole_engine.host, whole_engine.config, whole_engine.is_control, whole_engine.image)
    yield mine
    mine.clean()


@pytest.fixture
def folder(short_folder):
    """A short path of one case."""
    path = Path(tempfile.mkdtemp(prefix="c", dir=short_folder))
    (path / "config").mkdir()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def apart(programs, folder, logs):
    """Starts frontend and backend apart, on unix sockets unless told otherwise."""
    pairs = []

    def start(**options):
        pair = Apart(programs, folder, logs, **options)
        pairs.append(pair)
        tag_base(pair.start())
        return pair
    yield start
    for pair in pairs:
        if pair.backend and pair.backend.process.poll() is None and pair.frontend.process.poll() is None:
            pair.engine.clean()
        pair.stop()


@pytest.fixture
def serve(programs, folder, logs):
    """Starts another `sockerless serve` with options of its own."""
    made = []

    def start(*options, is_tagged=False):
        made.append(Serve(programs, folder, logs, *options))
        engine = made[-1].start()
        return tag_base(engine) if is_tagged else engine
    yield start
    for one in made:
        one.stop()
