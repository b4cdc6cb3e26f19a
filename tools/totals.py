"""usage: totals.py JUNIT...

Adds up JUnit files (meson's, pytest's), names what failed, and ends with "N passed, N failed". A file that is missing or cannot be
read counts as a failure: a suite that did not run has not passed."""
import sys
import xml.etree.ElementTree as ET


def count(path):
    """Returns (passed, skipped, names of the failed) of one file."""
    try:
        root = ET.parse(path).getroot()
    except (OSError, ET.ParseError) as error:
        return 0, 0, [f"{path}: {error}"]
    passed, skipped, failed = 0, 0, []
    for suite in root.iter("testsuite"):
        cases = suite.findall("testcase")
        for case in cases:
            name = f"{case.get('classname') or suite.get('name')}: {case.get('name')}"
            if case.find("failure") is not None or case.find("error") is not None:
                failed.append(name)
            elif case.find("skipped") is not None:
                skipped += 1
            else:
                passed += 1
        # Meson reports a program that died, or that printed no plan, in its suite's numbers only.
        said = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        seen = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
        failed += [f"{suite.get('name')}: the program failed outside its cases"] * max(0, said - seen)
    if not passed and not failed:
        failed.append(f"{path}: no case ran")
    return passed, skipped, failed


def main(paths):
    passed, skipped, failed = 0, 0, []
    for path in paths:
        one = count(path)
        passed += one[0]
        skipped += one[1]
        failed += one[2]
    for name in failed:
        print("FAILED", name)
    if skipped:
        print(f"{skipped} skipped")
    print(f"{passed} passed, {len(failed)} failed")
    return 1 if failed or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
