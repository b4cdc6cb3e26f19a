"""Every failure point of common/failpoint.c is passed at one place of the sources, and crashed at by a case of tests/recovery."""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("agent", "api", "backends", "cli", "common", "frontends", "net", "oci", "sandbox")


def names():
    table = re.search(r"sl_failpoint_names\[\] = \{(.*?)\};", (ROOT / "common/failpoint.c").read_text(), re.S).group(1)
    return re.findall(r'"([^"]+)"', table)


def used():
    """name: the places where it is passed."""
    places = {}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.c"):
            if not path.name.endswith("_test.c"):
                for name in re.findall(r'sl_failpoint\("([^"]+)"\)', path.read_text()):
                    places.setdefault(name, []).append(str(path.relative_to(ROOT)))
    return places


def main():
    known, places, failed = names(), used(), 0
    matrix = "".join(path.read_text() for path in (ROOT / "tests/recovery").glob("test_*.py"))
    checks = [("every name is in the table once", len(known) == len(set(known)), known),
              ("every point that is passed has a name in the table", not places.keys() - set(known), places.keys() - set(known))]
    for name in known:
        checks.append((f"{name} is passed at one place", len(places.get(name, [])) == 1, places.get(name)))
        checks.append((f"{name} is crashed at by tests/recovery", f'"{name}"' in matrix, "not found there"))
    print(f"1..{len(checks)}")
    for number, (what, is_ok, found) in enumerate(checks, 1):
        print("ok" if is_ok else "not ok", number, f"- /failpoints/{what.replace(' ', '-')}")
        if not is_ok:
            print(f"# {found}")
            failed += 1
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
