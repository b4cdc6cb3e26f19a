"""What tools/ promises: checksrc.py names each breach of the house rules, totals.py counts and never loses a failure."""
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parent.parent / "tools"


def run(tool, *arguments):
    done = subprocess.run([sys.executable, "-B", str(TOOLS / tool), *map(str, arguments)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/untested.txt").write_text("")

    def write(files, untested=""):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "tools/untested.txt").write_text(untested)
        return run("checksrc.py", tmp_path)
    return write


CLEAN = "int\nf(void)\n{\n    return 0; /* strcpy( goto */\n}\n"


def test_checksrc_accepts_house_style_and_prints_the_longest(tree):
    status, out = tree({"common/a.c": CLEAN, "common/a_test.c": CLEAN})
    assert status == 0, out
    assert "longest functions:" in out and "common/a.c:3 f" in out


@pytest.mark.parametrize("line, sentence", [
    ("    strcpy(a, b);", "strcpy() is banned"),
    ("    n = atoi(text);", "atoi() is banned"),
    ("    localtime(&t);", "localtime() is banned"),
    ("    system(command);", "system() is banned"),
    ("    goto out;", "goto is banned"),
    ("    GMutex lock;", "GMutex is banned"),
    ("\treturn 1;", "tab or trailing blank"),
])
def test_checksrc_names_a_banned_line(tree, line, sentence):
    status, out = tree({"common/a.c": f"int\nf(void)\n{{\n{line}\n}}\n", "common/a_test.c": CLEAN})
    assert status == 1
    assert f"common/a.c:4: {sentence}" in out


def test_checksrc_refuses_a_sleep_in_a_test_only(tree):
    status, out = tree({"common/a.c": "void\nf(void)\n{\n    sleep(1);\n}\n", "common/a_test.c": "void\nf(void)\n{\n    sleep(1);\n}\n"})
    assert status == 1
    assert "common/a_test.c:4: a test that sleeps" in out
    assert "common/a.c:4" not in out


@pytest.mark.parametrize("path, include, sentence", [
    ("common/a.c", '"net/ws.h"', "common may not include net"),
    ("frontends/docker/a.c", '"backends/core/core.h"', "frontends/docker may not include backends/core"),
    ("backends/core/a.c", '"agent/log.h"', "backends/core may include only agent/protocol.h of agent"),
    ("net/a.c", "<llhttp.h>", "has a home of its own"),
    ("oci/a.c", "<sqlite3.h>", "has a home of its own"),
    ("oci/a.c", "<curl/curl.h>", "has a home of its own"),
])
def test_checksrc_names_an_include_that_breaks_the_rooms(tree, path, include, sentence):
    status, out = tree({path: f"#include {include}\n", path[:-2] + "_test.c": CLEAN})
    assert status == 1
    assert f"{path}:1: " in out and sentence in out


@pytest.mark.parametrize("path, include", [
    ("backends/core/a.c", '"agent/protocol.h"'), ("agent/a.c", '"sandbox/sandbox.h"'), ("oci/a.c", '"net/fetch.h"'),
    ("net/http_parser.c", "<llhttp.h>"), ("cli/a.c", '"api/names.h"'),
])
def test_checksrc_lets_a_room_see_what_it_may(tree, path, include):
    status, out = tree({path: f"#include {include}\n", path[:-2] + "_test.c": CLEAN})
    assert status == 0, out


def test_checksrc_wants_a_test_or_a_reason(tree):
    status, out = tree({"common/a.c": CLEAN})
    assert status == 1 and "no a_test.c or _test.py beside it" in out
    status, out = tree({}, "common/a.c its promise is tested by common/b_test.c\n")
    assert status == 0, out
    status, out = tree({}, "common/*.c tested by common/all_test.py\n")
    assert status == 0, out
    status, out = tree({}, "common/a.c\n")
    assert status == 1 and "common/a.c has no reason" in out
    status, out = tree({"common/a_test.c": CLEAN}, "common/a.c stale\n")
    assert status == 1 and "has a test now" in out


def test_checksrc_refuses_a_function_past_80_lines(tree):
    body = "    f();\n" * 81
    status, out = tree({"common/a.c": f"void\nlong_one(int x)\n{{\n{body}}}\n", "common/a_test.c": CLEAN})
    assert status == 1 and "long_one has 81 lines" in out


PASSED = '<testcase classname="s" name="a"/>'
FAILED = '<testcase classname="s" name="b"><failure message="no"/></testcase>'


def junit(tmp_path, name, cases, failures=None):
    path = tmp_path / name
    failures = cases.count("<failure") if failures is None else failures
    path.write_text(f'<testsuites><testsuite name="s" failures="{failures}" errors="0">{cases}</testsuite></testsuites>')
    return path


def test_totals_adds_up_files_and_names_what_failed(tmp_path):
    status, out = run("totals.py", junit(tmp_path, "1.xml", PASSED * 3), junit(tmp_path, "2.xml", PASSED + FAILED))
    assert status == 1
    assert "FAILED s: b" in out
    assert out.splitlines()[-1] == "4 passed, 1 failed"


def test_totals_is_content_when_nothing_failed(tmp_path):
    status, out = run("totals.py", junit(tmp_path, "1.xml", PASSED * 2))
    assert (status, out.splitlines()[-1]) == (0, "2 passed, 0 failed")


def test_totals_counts_a_suite_that_did_not_run_as_failed(tmp_path):
    status, out = run("totals.py", junit(tmp_path, "1.xml", PASSED), tmp_path / "missing.xml")
    assert (status, out.splitlines()[-1]) == (1, "1 passed, 1 failed")
    status, out = run("totals.py", junit(tmp_path, "empty.xml", ""))
    assert (status, out.splitlines()[-1]) == (1, "0 passed, 1 failed")


def test_totals_counts_a_program_that_died_without_a_case(tmp_path):
    status, out = run("totals.py", junit(tmp_path, "1.xml", PASSED, failures=1))
    assert (status, out.splitlines()[-1]) == (1, "1 passed, 1 failed")
