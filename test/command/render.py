#!/usr/bin/env python3
"""Renders records of a compiled fixture in every format and looks at the result with the tools that
read it: regular expressions of LeakSanitizer's users, jsonschema, xmllint, go tool pprof.
Usage: test/command/render.py    with build/salvage there; the last line is `N passed, N failed`.
Environment: SALVAGE_COMMAND (build/salvage), CC (gcc)"""
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMMAND = os.path.abspath(os.environ.get("SALVAGE_COMMAND", ROOT + "/build/salvage"))
CC = os.environ.get("CC", "gcc")
BASE = 0x7F0000000000

# Functions one to a line, so that a line is known by what stands on it. keep() can't be left out.
FIXTURE = """\
extern void keep(void);
static inline __attribute__((always_inline)) void inner(void) { keep(); } // inner's line
static inline __attribute__((always_inline)) void outer(void) { inner(); } // outer's line
void shown(void) { keep(); outer(); keep(); } // shown's line
void cxx(void) __asm__("_ZN3app5parseEPKc");
void cxx(void) { keep(); keep(); }
void rust(void) __asm__("_RNvCs1234_7mycrate3foo");
void rust(void) { keep(); keep(); }
__attribute__((noinline)) static void quiet(void) { keep(); keep(); keep(); }
void last(void) { quiet(); keep(); }
"""


class Failed(Exception):
    pass


def check(condition, *what):
    if not condition:
        raise Failed(*what)


def run(*args, **more):
    return subprocess.run(args, check=True, capture_output=True, **more).stdout


class Library:
    """The fixture as a shared object, its addresses and build id."""

    def __init__(self, folder, *flags, cc=CC):
        self.folder = folder
        self.path = folder + "/libfixture.so"
        self.source = folder + "/fixture.c"
        with open(self.source, "w") as f:
            f.write(FIXTURE)
        run(cc, "-O1", "-fPIC", "-shared", "-fno-optimize-sibling-calls", "-Wl,--build-id", *flags,
            "-o", self.path, self.source, cwd=folder)
        self.symbols = {}
        for line in run("nm", "-S", self.path, text=True).splitlines():
            words = line.split()
            if len(words) == 4:
                self.symbols[words[3]] = int(words[0], 16), int(words[1], 16)
        self.calls = {}  # return addresses of each function's calls, in order
        for line in run("objdump", "-d", "--no-show-raw-insn", self.path, text=True).splitlines():
            head = re.match(r"[0-9a-f]+ <(.*)>:", line)
            code = re.match(r" +([0-9a-f]+):\t(\w+)", line)
            if head:
                name, called = head[1], False
            elif code:
                if called:
                    self.calls.setdefault(name, []).append(int(code[1], 16))
                called = code[2] == "call"
        notes = run("readelf", "-n", self.path, text=True)
        self.id = re.search(r"Build ID: (\w+)", notes)[1]

    def module(self, path=None, build_id=None):
        return f"module {BASE:#x} {BASE + 0x100000:#x} {BASE:#x} 0.0 - {build_id or self.id} " \
               f"{path or self.path}"

    def line(self, text):
        return next(i for i, line in enumerate(FIXTURE.splitlines(), 1) if text in line)


def record(*lines, pid=42, end="end\n", uptime="9.5"):
    return "\n".join(["salvage-raw 1 0.1", f"process {pid} 1 /opt/app/prog prog%20-x",
                      f"check exit 1700000000.500 {uptime} 7", "recording 0 32",
                      "heap 1000 10 5000 50 4000", *lines, end])


def stack(number, *addresses, bytes=100, objects=2, kind="direct", more="0.5 2.5 3 4.0 60.0"):
    frames = " ".join(a if isinstance(a, str) else f"{BASE + a:#x}" for a in addresses)
    return f"stack {number} {frames}\nsite {number} {kind} {objects} {bytes} {more}"


def render(text, *options, status=None, env=None):
    """Standard output and error; the text as a file."""
    with tempfile.NamedTemporaryFile("wb", suffix=".raw") as f:
        f.write(text if isinstance(text, bytes) else text.encode())
        f.flush()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DEBUGINFOD")}
        done = subprocess.run([COMMAND, "report", *options, f.name], capture_output=True,
                              env={**environment, **(env or {})})
    err = done.stderr.decode(errors="replace").replace(f.name, "RAW")
    check(done.returncode >= 0, "killed by a signal", -done.returncode)
    check(status is None or done.returncode == status, "status", done.returncode, err)
    return done.stdout, err


def frames_of(library, *addresses, module=None, options=(), env=None):
    """The frames of one stack as JSON has them, and what was told on stderr."""
    text = record(module or library.module(), stack(1, *addresses))
    out, err = render(text, "--format", "json", *options, env=env)
    return json.loads(out)["records"][0]["sites"][0]["stack"], err


# ---- symbols -----------------------------------------------------------------------------------


def symbols_full(folder, *flags, cc=CC):
    library = Library(folder, "-g", *flags, cc=cc)
    first, inlined, *_ = library.calls["shown"]
    frames, err = frames_of(library, first, inlined, library.calls["_ZN3app5parseEPKc"][0],
                            library.calls["_RNvCs1234_7mycrate3foo"][0])
    check(err == "", err)
    check([f.get("function") for f in frames] ==
          ["shown", "inner", "outer", "shown", "app::parse(char const*)", "mycrate::foo"], frames)
    check([f.get("inlined", False) for f in frames] == [False, True, True, False, False, False])
    lines = ["shown's", "inner's", "outer's", "shown's", "void cxx(void) {", "void rust(void) {"]
    check([f.get("line") for f in frames] == [library.line(text) for text in lines], frames)
    check(all(f["file"].endswith("/fixture.c") for f in frames), frames)
    check(int(frames[0]["offset"], 16) == first - 1, frames[0])


def symbols_gcc(folder):
    symbols_full(folder)


def symbols_dwarf4(folder):
    symbols_full(folder, "-gdwarf-4")


def symbols_split(folder):
    symbols_full(folder, "-gsplit-dwarf")


def symbols_clang(folder):
    """Without .debug_aranges."""
    if shutil.which("clang"):
        symbols_full(folder, cc="clang")


def symbols_exact(folder):
    """An interrupted address is looked up as it is: a function's first byte is in the function."""
    library = Library(folder, "-g")
    start = library.symbols["shown"][0]
    frames, _ = frames_of(library, f"={BASE + start:#x}", start)
    check(frames[0]["function"] == "shown", frames)
    check(frames[1].get("function") != "shown", frames)


def symbols_link(folder):
    """The debug information in a file that .gnu_debuglink names, and its functions by no means
    exported."""
    library = Library(folder, "-g")
    run("objcopy", "--only-keep-debug", library.path, library.path + ".debug")
    run("strip", library.path)
    run("objcopy", "--add-gnu-debuglink=" + library.path + ".debug", library.path)
    frames, err = frames_of(library, library.calls["quiet"][0])
    check(frames[-1]["function"] == "quiet" and frames[-1]["line"] == library.line("quiet(void) {"))
    check(err == "", err)


def symbols_stripped(folder):
    """What isn't exported has the nearest name, marked, and module and offset."""
    library = Library(folder, "-fno-toplevel-reorder")
    shown, quiet = library.calls["shown"][0], library.calls["quiet"][0]
    run("strip", library.path)
    frames, err = frames_of(library, shown, quiet)
    check(err == "", err)
    check(frames[0]["function"] == "shown" and "nearest" not in frames[0], frames)
    check(frames[1].get("nearest") and frames[1]["function"] == "mycrate::foo", frames)
    check(frames[1]["into"] == quiet - 1 - library.symbols["_RNvCs1234_7mycrate3foo"][0], frames)
    out, _ = render(record(library.module(), stack(1, shown, quiet)))
    check(f"in shown ({library.path}+{shown - 1:#x})".encode() in out, out)
    check(f"({library.path}+{quiet - 1:#x})".encode() in out, out)


def symbols_changed(folder):
    library = Library(folder, "-g")
    frames, err = frames_of(library, *library.calls["shown"][:2],
                            module=library.module(build_id="00" * 20))
    check(all("function" not in f for f in frames), frames)
    check(frames[0]["module"] == library.path, frames)
    check(len(err.splitlines()) == 1 and "changed since" in err, err)


def symbols_missing(folder):
    library = Library(folder, "-g")
    junk = folder + "/junk.so"
    with open(junk, "wb") as f:
        f.write(os.urandom(5000))
    os.mkfifo(folder + "/fifo.so")
    for path in ("/nowhere/lib.so", junk, folder, folder + "/fifo.so"):
        frames, err = frames_of(library, library.calls["shown"][0], module=library.module(path))
        check(frames == [{"address": f"{BASE + library.calls['shown'][0] - 1:#x}", "module": path,
                          "offset": f"{library.calls['shown'][0] - 1:#x}"}], frames)
        check(len(err.splitlines()) == 1 and path in err, err)
    frames, err = frames_of(library, library.calls["shown"][0], module=library.module("[vdso]"))
    check(frames[0]["module"] == "[vdso]" and err == "", frames, err)


def symbols_damaged(folder):
    """Junk inside a file's debug information and tables costs names, never the command."""
    library = Library(folder, "-g")
    with open(library.path, "rb") as f:
        whole = f.read()
    seed = 12345
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(40):
            seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
            data[0x300 + (seed >> 20) % (len(data) - 0x300)] = seed >> 56
        with open(library.path, "wb") as f:
            f.write(data)
        frames_of(library, *library.calls["shown"], *library.calls["quiet"])


def symbols_asked(folder):
    """Of a file that is gone, from a server; a folder can be one. Not unless asked."""
    library = Library(folder, "-g")
    place = f"{folder}/served/buildid/{library.id}"
    os.makedirs(place)
    shutil.move(library.path, place + "/executable")
    shutil.copy(place + "/executable", place + "/debuginfo")
    env = {"DEBUGINFOD_URLS": f"file://{folder}/served", "DEBUGINFOD_CACHE_PATH": folder + "/cache"}
    frames, err = frames_of(library, library.calls["shown"][0], env=env)
    check("function" not in frames[0] and "No such file" in err, frames, err)
    frames, err = frames_of(library, library.calls["shown"][0], env=env, options=["--debuginfod"])
    check(frames[0].get("function") == "shown" and frames[0].get("line"), frames, err)
    check(err == "", err)


def symbols_ours(folder):
    """A frame in the library itself is named from the root of its sources, without a module; what
    it called or inlined isn't shown, nor where it stands around the program."""
    library = Library(folder, "-g")
    ours = folder + "/libsalvage.so"
    os.rename(library.path, ours)
    out, _ = render(record(library.module(ours), stack(1, library.calls["shown"][0])))
    line = library.line("shown's")
    check(re.search(rf"^    #0 0x\w+ in shown fixture.c:{line}$", out.decode(), re.M), out)
    calls = library.calls
    stacked = stack(1, calls["quiet"][0], calls["shown"][1], 0x1500 - BASE, calls["last"][0],
                    0x1600 - BASE)
    out, _ = render(record(library.module(ours), stacked), "--format", "collapsed")
    check(out == b"prog;[unknown];[unknown];shown 100\n", out)


def symbols_unloaded(folder):
    """Two libraries at one place, one after the other: each stack has its own."""
    os.mkdir(folder + "/old")
    os.mkdir(folder + "/new")
    old, new = Library(folder + "/old", "-g"), Library(folder + "/new", "-g", "-O2")
    modules = [old.module().replace("0.0 -", "0.0 2.0"), new.module().replace("0.0 -", "3.0 -")]
    out, _ = render(record(*modules, stack(1, old.calls["shown"][0], more="1.0 1.5 3 4.0 0"),
                           stack(2, new.calls["shown"][0], more="4.0 5.0 3 6.0 0")),
                    "--format", "json")
    sites = json.loads(out)["records"][0]["sites"]
    check([s["stack"][0]["module"] for s in sites] == [old.path, new.path], sites)


# ---- formats -----------------------------------------------------------------------------------


def sample(library):
    """All classes, names with everything in them, and no stack at all."""
    call = library.calls["shown"]
    return record(
        library.module(), f"module 0x1000 0x2000 0x1000 0.0 - - /odd/%e2%82%ac%ff%3b<&%22%01>.so",
        stack(1, call[0], 0x1500 - BASE, bytes=100, objects=2),
        stack(2, call[1], 0x10 - BASE, bytes=5000, objects=50, kind="direct"),
        stack(3, call[0], call[1], bytes=70000, objects=3, kind="indirect"),
        stack(4, call[0], bytes=11, objects=1, kind="possible"),
        stack(5, call[0], bytes=12, objects=1, kind="abandoned"),
        stack(6, call[0], bytes=13, objects=1, kind="hidden"),
        stack(7, call[0], bytes=14000, objects=14, kind="live"),
        "site 0 direct 1 1 0.0 0.0 1 1.0 0", "growth 2 direct 3.0 10 1000",
        "object 0x7eff00000010 50 1 direct 0.5", "object 0x7eff00000080 50 1 direct 2.5",
        "object 0x7eff00000100 11 4 possible 2.5 /opt/app/prog+0x10")


# As CI parsers and symbolisers have them.
HEADER = re.compile(r"==(\d+)==ERROR: \w+: detected memory leaks$")
BLOCK = re.compile(r"(Direct|Indirect) leak of (\d+) byte\(s\) in (\d+) object\(s\) "
                   r"allocated from:$")
FRAME = re.compile(r"^\s*#(\d+)\s+(0x[0-9a-f]+)\s+(?:in\s+(.+?))?\s*(?:\((.+)\+(0x[0-9a-f]+)\))?$")
SUMMARY = re.compile(r"SUMMARY: (\w+): (\d+) byte\(s\) leaked in (\d+) allocation\(s\)\.$")


def text_parses(folder):
    library = Library(folder, "-g")
    out, err = render(sample(library), status=23)
    lines = out.decode(errors="replace").splitlines()
    check(HEADER.match(lines[0])[1] == "42", lines[0])
    blocks = [BLOCK.match(line).groups() for line in lines if " leak of " in line]
    check(blocks == [("Direct", "5000", "50"), ("Direct", "100", "2"), ("Direct", "1", "1"),
                     ("Indirect", "70000", "3")], blocks)
    for i, line in enumerate(lines):
        if BLOCK.match(line) and "no stack" not in lines[i + 1]:
            check(FRAME.match(lines[i + 1])[1] == "0", lines[i + 1])
    summary = SUMMARY.match(lines[-1])
    check(summary and summary.groups() == ("Salvage", "75101", "56"), lines[-1])
    check("hides pointers" in out.decode(errors="replace"))
    check("Reachable" not in out.decode(errors="replace"))


def text_asked(folder):
    library = Library(folder, "-g")
    out, _ = render(sample(library), "--possible", "--abandoned", "--live", "--objects", status=23)
    text = out.decode(errors="replace")
    for words in ("Possible leak of 11 byte(s) in 1 object(s) allocated from:",
                  "Abandoned leak of 12 byte(s) in 1 object(s) allocated from:",
                  "Reachable memory of 14000 byte(s) in 14 object(s) allocated from:",
                  "0x7eff00000080 (50 bytes)", "/opt/app/prog+0x10",
                  "SUMMARY: Salvage: 75124 byte(s) leaked in 58 allocation(s)."):
        check(words in text, words, text)


def text_empty(folder):
    """Without leaks: nothing, in the format's sense."""
    library = Library(folder, "-g")
    live = record(library.module(), stack(1, library.calls["shown"][0], kind="live"))
    check(render(live, status=0) == (b"", ""))
    check(render(live, "--format", "collapsed", status=0) == (b"", ""))
    out, _ = render(live, "--format", "json", status=0)
    check(json.loads(out)["records"][0]["sites"] == [])
    out, _ = render(live, "--format", "sarif", status=0)
    check(json.loads(out)["runs"][0]["results"] == [])


def text_cut(folder):
    library = Library(folder, "-g")
    text = record(library.module(), stack(1, library.calls["shown"][0]), end="site 1 dir")
    out, err = render(text, status=23)
    check(b"cut off" in out and b"Direct leak of 100 byte(s)" in out, out)
    check(err.startswith("salvage: RAW:1: ") and len(err.splitlines()) == 1, err)


def text_wrong(folder):
    """No file, an empty one, junk: one line each."""
    for junk in (b"", b"\n", b"\0" * 100, os.urandom(4096), b"salvage-raw", b"\x7fELF" * 100,
                 b"salvage-raw 1 x\nstack 1 junk\nend\n"):
        for form in ("text", "json", "sarif", "pprof", "collapsed", "xml", "html"):
            out, err = render(junk, "--format", form, status=125)
            check(len(err.splitlines()) == 1 and err.startswith("salvage: RAW"), junk, err)
            check(out == b"", out)
    done = subprocess.run([COMMAND, "report", "/nowhere"], capture_output=True, text=True)
    check(done.returncode == 125 and len(done.stderr.splitlines()) == 1, done)


def text_failed(folder):
    out, err = render(record("failed the%20world%20went%20on"), status=125)
    check(b"no verdict: the world went on" in out and "no verdict" in err, out, err)


def text_superseded(folder):
    """Checks of one process: all are told, the last counts."""
    library = Library(folder, "-g")
    call = library.calls["shown"][0]
    text = record(library.module(), stack(1, call, bytes=10), uptime="1.0") + \
        record(library.module(), stack(1, call, bytes=30), uptime="2.0") + \
        record(library.module(), stack(1, call, bytes=7), pid=43)
    out, _ = render(text, status=23)
    check(out.count(b"SUMMARY") == 3, out)
    out, _ = render(text, "--format", "collapsed", status=23)
    check([line.split()[-1] for line in out.splitlines()] == [b"30", b"7"], out)


def suppressed(folder):
    library = Library(folder, "-g")
    path, other = folder + "/one.supp", folder + "/two.supp"
    with open(path, "w") as f:
        f.write("leak:^outer$\nleak:nothing like it\n")
    with open(other, "w") as f:
        f.write("{\n odd\n Memcheck:Leak\n match-leak-kinds: definite\n fun:malloc\n fun:shown\n"
                " obj:/odd/*\n}\n")
    options = ["--suppressions", path, "--suppressions", other]
    out, err = render(sample(library), *options, status=23)
    check(b"SUMMARY: Salvage: 1 byte(s) leaked in 1 allocation(s)." in out, out)
    check(re.search(rb"^ +53 +75000 \^outer\$$", out, re.M), out)
    check(re.search(rb"^ +2 +100 odd$", out, re.M), out)
    check(err.splitlines()[1:] == [f"salvage: {path}:2: unused suppression: leak:nothing like it"],
          err)
    out, _ = render(sample(library), *options, "--format", "sarif", status=23)
    results = json.loads(out)["runs"][0]["results"]
    check(sorted(len(r.get("suppressions", [])) for r in results) == [0, 1, 1, 1], results)


def generated(folder):
    """What --gen-suppressions prints takes everything out that has a name."""
    library = Library(folder, "-g")
    text = sample(library).replace("site 0 direct 1 1 0.0 0.0 1 1.0 0", "later")
    out, _ = render(text, "--gen-suppressions", status=23)
    path = folder + "/made.supp"
    with open(path, "wb") as f:
        f.write(out[out.index(b"# direct leak"):])
    out, err = render(text, "--suppressions", path, status=0)
    check(out == b"" and "unused" not in err, out, err)


def collapsed(folder):
    library = Library(folder, "-g")
    out, _ = render(sample(library), "--format", "collapsed", status=23)
    stacks = dict(line.rsplit(b" ", 1) for line in out.splitlines())
    check(all(re.fullmatch(rb"[^;]+(;[^;]+)*", s) and n.isdigit() for s, n in stacks.items()), out)
    check(stacks[b"prog;[unknown];shown;outer;inner"] == b"5000", stacks)
    check(stacks[b"prog;[no stack]"] == b"1", stacks)
    check(any(b"\xe2\x82\xac\xff:" in s for s in stacks), stacks)


def json_valid(folder):
    import jsonschema
    library = Library(folder, "-g")
    with open(ROOT + "/docs/leak-report.schema.json") as f:
        schema = json.load(f)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for text in (sample(library), sample(library) * 2, record("failed no"), record(end="")):
        for options in ((), ("--objects", "--live", "--possible", "--abandoned")):
            out, _ = render(text, "--format", "json", *options)
            validator.validate(json.loads(out.decode()))
    report = json.loads(render(sample(library), "--format", "json", "--objects")[0])["records"][0]
    check(report["summary"]["bytes"] == 75101 and report["summary"]["hidden_bytes"] == 13)
    site = next(s for s in report["sites"] if s["bytes"] == 5000)
    check(site["history"] == [{"time": 3.0, "objects": 10, "bytes": 1000}], site)
    check(len(next(s for s in report["sites"] if s["bytes"] == 100)["addresses"]) == 2)


# Of SARIF 2.1.0's schema (OASIS), the parts that we write, closed against members that it doesn't
# have there.
MESSAGE = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}},
           "additionalProperties": False}
LOCATION = {
    "type": "object", "additionalProperties": False,
    "properties": {
        "message": MESSAGE,
        "physicalLocation": {
            "type": "object", "additionalProperties": False,
            "anyOf": [{"required": ["address"]}, {"required": ["artifactLocation"]}],
            "properties": {
                "artifactLocation": {
                    "type": "object", "additionalProperties": False,
                    "properties": {"uri": {"type": "string", "format": "uri-reference",
                                           "pattern": "^[!#-;=?-Z_a-z~%\\[\\]]*$"}}},
                "region": {"type": "object", "additionalProperties": False,
                           "properties": {"startLine": {"type": "integer", "minimum": 1}}},
                "address": {"type": "object", "additionalProperties": False,
                            "properties": {"absoluteAddress": {"type": "integer",
                                                               "minimum": -1}}}}},
        "logicalLocations": {
            "type": "array", "uniqueItems": True,
            "items": {"type": "object", "additionalProperties": False,
                      "properties": {"fullyQualifiedName": {"type": "string"},
                                     "decoratedName": {"type": "string"},
                                     "kind": {"type": "string"}}}}}}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
RESULT = {
    "type": "object", "required": ["message", "ruleId"], "additionalProperties": False,
    "properties": {
        "ruleId": {"type": "string"}, "ruleIndex": {"type": "integer", "minimum": 0},
        "level": LEVEL, "message": MESSAGE,
        "locations": {"type": "array", "items": LOCATION},
        "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
        "stacks": {"type": "array", "uniqueItems": True, "items": {
            "type": "object", "required": ["frames"], "additionalProperties": False,
            "properties": {"message": MESSAGE, "frames": {"type": "array", "items": {
                "type": "object", "additionalProperties": False,
                "properties": {"location": LOCATION, "module": {"type": "string"}}}}}}},
        "codeFlows": {"type": "array", "items": {
            "type": "object", "required": ["threadFlows"], "additionalProperties": False,
            "properties": {"threadFlows": {"type": "array", "minItems": 1, "items": {
                "type": "object", "required": ["locations"], "additionalProperties": False,
                "properties": {"locations": {"type": "array", "minItems": 1, "items": {
                    "type": "object", "additionalProperties": False,
                    "properties": {"location": LOCATION}}}}}}}}},
        "suppressions": {"type": "array", "items": {
            "type": "object", "required": ["kind"], "additionalProperties": False,
            "properties": {"kind": {"enum": ["inSource", "external"]},
                           "justification": {"type": "string"}}}},
        "properties": {"type": "object"}}}
RULE = {"type": "object", "required": ["id"], "additionalProperties": False,
        "properties": {"id": {"type": "string"}, "name": {"type": "string"},
                       "shortDescription": MESSAGE,
                       "defaultConfiguration": {"type": "object", "properties": {"level": LEVEL},
                                                "additionalProperties": False}}}
SARIF = {
    "type": "object", "required": ["version", "runs"], "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string"}, "version": {"const": "2.1.0"},
        "runs": {"type": "array", "items": {
            "type": "object", "required": ["tool"], "additionalProperties": False,
            "properties": {
                "tool": {"type": "object", "required": ["driver"], "properties": {"driver": {
                    "type": "object", "required": ["name"], "additionalProperties": False,
                    "properties": {"name": {"type": "string"}, "version": {"type": "string"},
                                   "rules": {"type": "array", "items": RULE}}}}},
                "invocations": {"type": "array", "items": {
                    "type": "object", "required": ["executionSuccessful"],
                    "additionalProperties": False,
                    "properties": {"executionSuccessful": {"type": "boolean"},
                                   "processId": {"type": "integer"},
                                   "commandLine": {"type": "string"}}}},
                "results": {"type": "array", "items": RESULT}}}}}}


def sarif_valid(folder):
    import jsonschema
    library = Library(folder, "-g")
    validator = jsonschema.Draft202012Validator(SARIF)
    prints = []
    for text in (sample(library), record("failed no"), sample(library).replace("0x7f00", "0x7e00")):
        out, _ = render(text, "--format", "sarif", "--possible", "--abandoned")
        log = json.loads(out.decode())
        validator.validate(log)
        results = log["runs"][0]["results"]
        rules = log["runs"][0]["tool"]["driver"]["rules"]
        check(all(rules[r["ruleIndex"]]["id"] == r["ruleId"] for r in results), results)
        prints.append([r["partialFingerprints"] for r in results])
    check(prints[0] == prints[2] and len({json.dumps(p) for p in prints[0]}) == 6, prints)
    out, _ = render(sample(library), "--format", "sarif")
    place = json.loads(out)["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    check(place["artifactLocation"]["uri"] == "file://" + library.source, place)
    check(place["region"]["startLine"] == library.line("shown's"), place)


def xml_valid(folder):
    library = Library(folder, "-g")
    for text in (sample(library), sample(library) + sample(library).replace(" 42 ", " 43 ")):
        out, _ = render(text, "--format", "xml", "--possible", status=23)
        run("xmllint", "--noout", "--nonet", "-", input=out)
    out, _ = render(sample(library), "--format", "xml", "--possible", status=23)
    import xml.etree.ElementTree as tree
    root = tree.fromstring(out)
    check(root.findtext("protocolversion") == "4" and root.findtext("protocoltool") == "memcheck")
    check(root.findtext("pid") == "42" and root.findtext("args/argv/arg") == "-x")
    check([s.findtext("state") for s in root.findall("status")] == ["RUNNING", "FINISHED"])
    errors = root.findall("error")
    check([e.findtext("kind") for e in errors] ==
          ["Leak_DefinitelyLost"] * 3 + ["Leak_IndirectlyLost", "Leak_PossiblyLost"])
    check(errors[0].findtext("xwhat/leakedbytes") == "5000")
    check(errors[0].findtext("xwhat/leakedblocks") == "50")
    frame = errors[0].findall("stack/frame")[2]
    check(frame.findtext("fn") == "shown" and frame.findtext("file") == "fixture.c", out)
    check(frame.findtext("dir") == folder and frame.findtext("obj") == library.path)
    check(int(frame.findtext("line")) == library.line("shown's"))
    check(len({e.findtext("unique") for e in errors}) == 5)


def pprof_valid(folder):
    library = Library(folder, "-g")
    out, _ = render(sample(library), "--format", "pprof", status=23)
    gzip.decompress(out)
    path = folder + "/leaks.pb.gz"
    with open(path, "wb") as f:
        f.write(out)
    env = {**os.environ, "PPROF_TMPDIR": folder, "HOME": folder}

    def pprof(*options):
        return run("go", "tool", "pprof", "-symbolize=none", *options, path, text=True, env=env)

    raw = pprof("-raw")
    check("leaked_objects/count leaked_space/bytes[dflt] alloc_objects/count alloc_space/bytes "
          "inuse_objects/count inuse_space/bytes" in raw, raw)
    check(library.id in raw and "inner " + library.source in raw, raw)
    for index, total in (("leaked_space", "75101B"), ("leaked_objects", "56"),
                         ("inuse_space", "14000B"), ("inuse_objects", "14")):
        top = pprof("-top", *["-unit=B"] * ("space" in index), "-sample_index=" + index)
        check(f"Total samples = {total} " in top, index, top)
    top = pprof("-top", "-unit=B")
    check(re.search(r"^ +70100B .* shown$", top, re.M), top)
    check(re.search(r"^ +5000B .* inner \(inline\)$", top, re.M), top)


def pprof_scaled(folder):
    """As Go scales: 10 objects of 100 bytes seen at one in 512 bytes stand for 56."""
    library = Library(folder, "-g")
    text = record(library.module(), stack(1, library.calls["shown"][0], bytes=1000, objects=10))
    out, _ = render(text.replace("recording 0", "recording 512"), "--format", "pprof", status=23)
    path = folder + "/leaks.pb.gz"
    with open(path, "wb") as f:
        f.write(out)
    raw = run("go", "tool", "pprof", "-symbolize=none", "-raw", path, text=True,
              env={**os.environ, "PPROF_TMPDIR": folder, "HOME": folder})
    check(re.search(r"^ +56 +5636 ", raw, re.M) and "Period: 512" in raw, raw)


def pprof_allocated(folder):
    """What was ever allocated is a sample type of its own, and no leak; the other formats pass over it."""
    library = Library(folder, "-g")
    at = stack(1, library.calls["shown"][0], bytes=1000, objects=10)
    text = record(library.module(), at, "site 1 allocated 70 778899 0.1 0.2 1 0.1 0")
    for form in ("text", "json", "sarif", "collapsed", "xml", "html"):
        out, _ = render(text, "--format", form, status=23)
        check(b"778899" not in out, form)
    out, _ = render(text, "--format", "pprof", status=23)
    path = folder + "/leaks.pb.gz"
    with open(path, "wb") as f:
        f.write(out)
    top = run("go", "tool", "pprof", "-symbolize=none", "-top", "-unit=B", "-sample_index=alloc_space",
              path, text=True, env={**os.environ, "PPROF_TMPDIR": folder, "HOME": folder})
    check("Total samples = 778899B " in top, top)


def raw_copied(folder):
    text = sample(Library(folder, "-g")) + "\nlater 1 2\n"
    out, _ = render(text, "--format", "raw")
    check(out == text.encode())


TESTS = [symbols_gcc, symbols_dwarf4, symbols_split, symbols_clang, symbols_exact, symbols_link,
         symbols_stripped, symbols_changed, symbols_missing, symbols_damaged, symbols_asked,
         symbols_ours, symbols_unloaded, text_parses, text_asked, text_empty, text_cut, text_wrong,
         text_failed, text_superseded, suppressed, generated, collapsed, json_valid, sarif_valid,
         xml_valid, pprof_valid, pprof_scaled, pprof_allocated, raw_copied]


def main():
    wanted = sys.argv[1:]
    passed = failed = 0
    for test in TESTS:
        if wanted and test.__name__ not in wanted:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                test(folder)
                passed += 1
            except Exception as e:  # the next ones go on
                failed += 1
                print(f"FAIL {test.__name__}: {type(e).__name__}: {e}")
                for stream in (getattr(e, "stdout", None), getattr(e, "stderr", None)):
                    if stream:
                        print(stream)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
