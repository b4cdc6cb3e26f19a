"""usage: checksrc.py [--top N] [ROOT]

The house rules that a machine can check: bans, who may include whom, homes of third parties, sizes, and a test for every source.
Prints the longest files and functions, then each breach as FILE:LINE: SENTENCE. Exit status 1 when there is one."""
import fnmatch
import re
import subprocess
import sys
from pathlib import Path

# Who may include whom: a room sees itself and these. The order of meson.build follows from it.
ROOMS = {
    "common": [],
    "net": ["common"],
    "api": ["common"],
    "oci": ["common", "net"],
    "sandbox": [],
    "agent": ["common", "net", "sandbox"],
    "backends/core": ["common", "net", "api", "oci", "agent"],
    "backends/memory": ["common", "net", "api", "oci", "backends/core", "agent"],
    "frontends/docker": ["common", "net", "api"],
    "cli": ["common", "net", "api"],
    "bench": ["common", "net", "api", "oci", "backends/core", "agent", "sandbox"],
    "tests": ["common", "net", "api", "oci", "sandbox", "agent", "backends/core", "frontends/docker"],
}
# What another room may see of these is this header alone.
ONLY_HEADER = {("backends/core", "agent"): "agent/protocol.h", ("agent", "sandbox"): "sandbox/sandbox.h",
               ("backends/memory", "agent"): "agent/protocol.h"}

# Third parties with an object model live in one place.
HOMES = [
    (r"llhttp\.h", r"net/http_parser(_test)?\.c"),
    (r"curl/.*", r"net/fetch\w*\.c"),
    (r"sqlite3\.h", r"backends/core/store\w*\.[ch]"),
    (r"archive(_entry)?\.h", r"oci/(unpack|tar_)\w*\.c"),
    (r"openssl/.*", r"(oci/digest|net/(tls|ws)|cloud/\w+/sign)\w*\.c"),
    (r"gio/.*", r"(?!)"),
]

CALLS = "strcpy strcat sprintf vsprintf strtok strtok_r atoi atol gets gmtime localtime system popen mtx_lock mtx_init".split()
WORDS = r"GMutex|GAsyncQueue|mtx_t|GRecMutex|GCond|g_mutex_\w+|g_async_queue_\w+|g_thread_\w+"

COLUMNS = 110
FUNCTION_LIMIT = 80
FILE_TALK = 1000
UNTESTED = "tools/untested.txt"


def strip(text):
    """Blanks out comments, strings and character constants, keeping every newline."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def room_of(path):
    for room in sorted(ROOMS, key=len, reverse=True):
        if path.startswith(room + "/"):
            return room
    return None


def functions(code):
    """Yields (name, first line, lines) of each function of a file in house style: its braces stand in the first column."""
    name, start = None, 0
    lines = code.split("\n")
    for number, line in enumerate(lines, 1):
        if line == "{" and name is None:
            back = number - 2
            while back > 0 and lines[back - 1].strip() and not lines[back - 1].startswith(("}", "#")) \
                    and not lines[back - 1].rstrip().endswith((";", "*/")):
                back -= 1
            head = " ".join(lines[back:number - 1])
            found = re.search(r"(\w+)\s*\(", head)
            name, start = (found.group(1) if found else "?"), number
        elif line.startswith("}") and name is not None:
            yield name, start, number - start - 1
            name = None


class Check:
    def __init__(self, root):
        self.root, self.breaches, self.files, self.functions = root, [], [], []
        self.wide = 0

    def say(self, path, line, sentence):
        self.breaches.append(f"{path}:{line}: {sentence}")

    def include(self, path, line, name, is_house):
        for pattern, home in HOMES:
            if re.fullmatch(pattern, name) and not re.fullmatch(home, path):
                self.say(path, line, f"<{name}> has a home of its own: {home}")
        room = room_of(path)
        if not is_house or room is None or "/" not in name:
            return
        other = room_of(name)
        if other is None or other == room:
            return
        if other not in ROOMS[room]:
            self.say(path, line, f"{room} may not include {other} ({name})")
        elif ONLY_HEADER.get((room, other), name) != name:
            self.say(path, line, f"{room} may include only {ONLY_HEADER[room, other]} of {other}")

    def source(self, path):
        text = (self.root / path).read_text(errors="replace")
        code = strip(text)
        is_c = path.endswith(".c")
        is_guest = path.startswith("sandbox/guest/")  # made to fit musl and busybox, which have a style of their own
        self.files.append((text.count("\n"), path))
        for number, (line, clean) in enumerate(zip(text.split("\n"), code.split("\n")), 1):
            include = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if include:
                self.include(path, number, include.group(2), include.group(1) == '"')
            if is_guest:
                continue
            self.wide += len(line) > COLUMNS
            if "\t" in line or line != line.rstrip():
                self.say(path, number, "tab or trailing blank")
            for call in re.findall(r"(?<![\w.>])(\w+)\s*\(", clean):
                if call in CALLS:
                    self.say(path, number, f"{call}() is banned")
                if call in ("sleep", "usleep") and path.endswith("_test.c"):
                    self.say(path, number, "a test that sleeps: wait for what it is about")
            for word in re.findall(rf"\b({WORDS})\b", clean):
                self.say(path, number, f"{word} is banned: pthread and <stdatomic.h>")
            if re.search(r"\bgoto\b", clean):
                self.say(path, number, "goto is banned")
        if not is_c or is_guest:
            return
        for name, start, length in functions(code):
            self.functions.append((length, f"{path}:{start} {name}"))
            if length > FUNCTION_LIMIT and not path.endswith("_test.c"):
                self.say(path, start, f"{name} has {length} lines; past {FUNCTION_LIMIT} it hides another function")

    def tests(self, paths):
        """Every .c is tested by x_test.c or x_test.py beside it, or a line of tools/untested.txt (PATTERN REASON) says why not."""
        reasons = {}
        for number, line in enumerate((self.root / UNTESTED).read_text().split("\n"), 1):
            if line.strip() and not line.startswith("#"):
                name, _, reason = line.partition(" ")
                reasons[name] = (number, reason.strip())
                if not reason.strip():
                    self.say(UNTESTED, number, f"{name} has no reason")
        used = set()
        for path in paths:
            if not path.endswith(".c") or path.endswith("_test.c") or path.startswith(("tests/", "sandbox/guest/")):
                continue
            stem = path[:-2]
            if stem + "_test.c" in paths or (self.root / (stem + "_test.py")).exists():
                if path in reasons:
                    self.say(UNTESTED, reasons[path][0], f"{path} has a test now: take this line away")
                    used.add(path)
                continue
            patterns = [name for name in reasons if fnmatch.fnmatch(path, name)]
            used.update(patterns)
            if not patterns:
                self.say(path, 1, f"no {Path(stem).name}_test.c or _test.py beside it, and no reason in {UNTESTED}")
        for name in reasons.keys() - used:
            self.say(UNTESTED, reasons[name][0], f"{name} names nothing that lacks a test")

    def python(self, path):
        text = (self.root / path).read_text(errors="replace")
        for number, line in enumerate(text.split("\n"), 1):
            self.wide += len(line) > COLUMNS
            if path.startswith("tests/") and re.search(r"\btime\.sleep\(", line) and "bounded poll" not in line:
                self.say(path, number, "a test that sleeps: use engine.until()")


def listed(root):
    """The files that git tracks, and those it would; without git, or where it refuses (another owner), every file but build folders'."""
    out = subprocess.run(["sh", "-c", 'git -C "$1" ls-files -co --exclude-standard 2>/dev/null ||'
                          ' find "$1" -type f -not -path "$1/build*" -not -path "$1/.git/*" -printf "%P\\n"', "sh", str(root)],
                         capture_output=True, text=True, check=True)
    return sorted(path for path in set(out.stdout.split("\n")) if path and (root / path).is_file())


def main(arguments):
    top = 10
    if arguments[:1] == ["--top"]:
        top, arguments = int(arguments[1]), arguments[2:]
    root = Path(arguments[0] if arguments else __file__).resolve()
    if not arguments:
        root = root.parent.parent
    check, paths = Check(root), listed(root)
    sources = [path for path in paths if path.endswith((".c", ".h"))]
    for path in sources:
        check.source(path)
    for path in paths:
        if path.endswith(".py"):
            check.python(path)
    check.tests(sources)

    print("longest files:")
    for length, path in sorted(check.files, reverse=True)[:top]:
        print(f"  {length:5} {path}" + (f"   (past {FILE_TALK}: split it?)" if length > FILE_TALK else ""))
    print("longest functions:")
    for length, name in sorted(check.functions, reverse=True)[:top]:
        print(f"  {length:5} {name}")
    print(f"{check.wide} lines past {COLUMNS} columns")
    for breach in check.breaches:
        print(breach)
    print(f"checksrc: {len(sources)} sources, {len(check.breaches)} breaches")
    return 1 if check.breaches else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
