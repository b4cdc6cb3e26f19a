"""usage: totals.py RESULT...

Adds up results, names what failed, and ends with "N passed, N failed". A RESULT is meson's testlog.json (each case of a TAP program
counts, else the program) or a JUnit file (pytest's). A file that is missing or cannot be read, and a program that died, hung or ran
fewer cases than it planned, count as failures: what did not run has not passed."""
import json
import re
import sys
import xml.etree.ElementTree as ET

GOOD = ("OK", "EXPECTEDFAIL", "SKIP")


class Totals:
    def __init__(self):
        self.passed, self.skipped, self.failed = 0, 0, []

    def meson(self, path):
        with open(path, encoding="utf-8") as file:
            for line in file:
                self.program(json.loads(line))

    def program(self, test):
        name, is_good = test["name"], test["result"] in GOOD
        cases = re.findall(r"^(not )?ok\b *\d* *(?:- )?(.*)$", test.get("stdout") or "", re.MULTILINE)
        if not cases:
            cases = [("" if is_good else "not ", "" if test["result"] != "SKIP" else "# SKIP")]
        n_failed = len(self.failed)
        for is_not, case in cases:
            if re.search(r"# (SKIP|TODO)", case, re.IGNORECASE):
                self.skipped += 1
            elif is_not:
                self.failed.append(f"{name}: {case or test['result']}")
            else:
                self.passed += 1
        if not is_good and len(self.failed) == n_failed:
            self.failed.append(f"{name}: {test['result']} outside its cases")

    def junit(self, path):
        for case in ET.parse(path).getroot().iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                self.failed.append(f"{case.get('classname')}: {case.get('name')}")
            elif case.find("skipped") is not None:
                self.skipped += 1
            else:
                self.passed += 1

    def add(self, path):
        before = self.passed + len(self.failed)
        try:
            (self.meson if path.endswith(".json") else self.junit)(path)
        except (OSError, ET.ParseError, ValueError, KeyError) as error:
            self.failed.append(f"{path}: {error}")
        if before == self.passed + len(self.failed):
            self.failed.append(f"{path}: no case ran")


def main(paths):
    totals = Totals()
    for path in paths:
        totals.add(path)
    for name in totals.failed:
        print("FAILED", name)
    if totals.skipped:
        print(f"{totals.skipped} skipped")
    print(f"{totals.passed} passed, {len(totals.failed)} failed")
    return 1 if totals.failed or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
