"""What tools/ promises: checksrc.py names each breach of the house rules, totals.py counts and never loses a failure."""
import json
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


@pytest.fixture
def totals(tmp_path):
    """Writes result files, by name, and runs totals.py on them: (status, last line, everything)."""
    def run_on(**files):
        paths = []
        for name, content in files.items():
            path = tmp_path / (name + (".xml" if isinstance(content, str) else ".json"))
            if isinstance(content, str):
                path.write_text(f"<testsuites><testsuite name='s'>{content}</testsuite></testsuites>")
            elif content is not None:
                path.write_text("".join(json.dumps(test) + "\n" for test in content))
            paths.append(path)
        status, out = run("totals.py", *paths)
        return status, out.splitlines()[-1], out
    return run_on


def program(result, stdout=""):
    return {"name": "room / x", "result": result, "stdout": stdout}


def test_totals_adds_up_files_and_names_what_failed(totals):
    status, last, out = totals(one=PASSED * 3, two=PASSED + FAILED, three=[program("OK", "1..2\nok 1 /a\nok 2 /b\n"), program("OK")])
    assert (status, last) == (1, "7 passed, 1 failed")
    assert "FAILED s: b" in out


def test_totals_is_content_when_nothing_failed(totals):
    assert totals(one=PASSED * 2, two=[program("OK", "ok 1 /a\nok 2 /b # SKIP no root\n")])[:2] == (0, "3 passed, 0 failed")


def test_totals_names_the_case_that_failed_in_a_program(totals):
    status, last, out = totals(one=[program("FAIL", "ok 1 /a\nnot ok 2 - /b\nok 3 /c\n")])
    assert (status, last) == (1, "2 passed, 1 failed")
    assert "FAILED room / x: /b" in out


@pytest.mark.parametrize("result", ["TIMEOUT", "ERROR", "FAIL", "INTERRUPT"])
def test_totals_counts_a_program_that_hung_or_died_behind_good_cases(totals, result):
    status, last, out = totals(one=[program(result, "1..9\nok 1 /a\n")])
    assert (status, last) == (1, "1 passed, 1 failed")
    assert f"FAILED room / x: {result} outside its cases" in out


def test_totals_counts_a_program_that_said_nothing(totals):
    assert totals(one=[program("FAIL")])[:2] == (1, "0 passed, 1 failed")


def test_totals_counts_a_suite_that_did_not_run_as_failed(totals):
    assert totals(one=PASSED, two=None)[:2] == (1, "1 passed, 1 failed")
    assert totals(one="")[:2] == (1, "0 passed, 1 failed")
    assert totals(one=[])[:2] == (1, "0 passed, 1 failed")
