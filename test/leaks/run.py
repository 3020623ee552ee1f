#!/usr/bin/env python3
"""The corpus: every case of every program, built by every compiler at -O0 and -O2, against its truth.

A case runs twice, plainly and under the library in leaks mode with format=raw. What it prints and
how it ends must be the same; what the records say is compared with the truth (corpus.h has the
grammar). Of the objects that are truly lost, at least RECALL must be reported, over all cases, each
case counting alike; nothing else may be (precision 100 %); a class or a size that is wrong fails.
The compilers are gcc and clang; one that is not installed is named and left out.

Usage: run.py [-v] [--tool lsan|valgrind] [CASE...]     CASE: a part of a name, as program/case
--tool measures another finder by the same truths (docs/leaks.md has the figures), and judges only
what it reports, not what the program printed.
Environment: LIB (build/libsalvage.so), BUILD (build), OPTS (more options for SALVAGE), LIMIT
(seconds a run may take, 60). The last line is `N passed, N failed`.
"""
import argparse
import collections
import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

RECALL = 0.99
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(os.path.abspath(os.environ.get("BUILD", os.path.join(ROOT, "build"))), "test/leaks")
LIB = os.path.abspath(os.environ.get("LIB", os.path.join(ROOT, "build/libsalvage.so")))
LIMIT = float(os.environ.get("LIMIT", 60))
COMPILERS = [("gcc", "g++"), ("clang", "clang++")]
LEVELS = ["-O0", "-O2"]
PROGRAMS = ["losses.c", "places.c", "ends.c", "objects.cc"]
LOST = ("direct", "indirect")

Build = collections.namedtuple("Build", "name program")
Case = collections.namedtuple("Case", "build name options truth")
Want = collections.namedtuple("Want", "count bytes")  # None: any


def unescape(word):
    return re.sub(r"%([0-9A-Fa-f]{2})", lambda m: chr(int(m[1], 16)), word)


class Record:
    """What the corpus needs of a raw record (docs/raw-record.md)."""

    def __init__(self, lines):
        self.pid = 0
        self.reason = "?"
        self.failed = None
        self.whole = False
        self.sites = []  # (class, objects, bytes)
        for words in (line.split() for line in lines):
            if words[0] == "process":
                self.pid = int(words[1])
                self.exe = unescape(words[3])
            elif words[0] == "check":
                self.reason = words[1]
            elif words[0] == "failed":
                self.failed = unescape(words[1])
            elif words[0] == "site":
                self.sites.append((words[2], int(words[3]), int(words[4])))
            elif words[0] == "end":
                self.whole = True


def records_read(folder):
    records = []
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".raw"):
            continue
        lines = []
        with open(os.path.join(folder, name)) as f:
            for line in f:
                if line.startswith("salvage-raw ") and lines:
                    records.append(Record(lines))
                    lines = []
                if line.strip():
                    lines.append(line)
        if lines:
            records.append(Record(lines))
    return records


# ---- other finders -------------------------------------------------------------------------------

class Finding:
    """The same of another finder: one file a process, its number at the end of the name."""
    reason, failed, whole, exe = "exit", None, True, None

    def __init__(self, path, pattern, order):
        self.pid = int(path.rsplit(".", 1)[1])
        self.sites = []
        with open(path) as f:
            for m in re.finditer(pattern, f.read().replace(",", "")):
                kind, size, objects = (m[i] for i in order)
                kind = {"Direct": "direct", "Indirect": "indirect", "definitely": "direct",
                        "indirectly": "indirect", "possibly": "possible"}[kind]
                self.sites.append((kind, int(objects), int(size)))


def lsan(folder):
    library = subprocess.run(["gcc", "-print-file-name=liblsan.so"], capture_output=True, text=True)
    return ([], {"LD_PRELOAD": os.path.realpath(library.stdout.strip()),
                 "LSAN_OPTIONS": f"exitcode=0:log_path={folder}/log"},
            r"(Direct|Indirect) leak of (\d+) byte\(s\) in (\d+) object")


def valgrind(folder):
    return (["valgrind", "--leak-check=full", "--child-silent-after-fork=no",
             f"--log-file={folder}/log.%p"], {},
            r"(definitely|indirectly|possibly) lost: (\d+) bytes in (\d+) block")


TOOLS = {"lsan": lsan, "valgrind": valgrind}


def tool_run(tool, command, environment, folder):
    """As run(), with the findings last."""
    prefix, more, pattern = TOOLS[tool](folder)
    result = run(prefix + command, dict(environment, **more), folder)
    logs = [os.path.join(folder, n) for n in sorted(os.listdir(folder)) if n.startswith("log.")]
    return result, [Finding(log, pattern, (1, 2, 3)) for log in logs]


# ---- building ------------------------------------------------------------------------------------

def stale(target, *sources):
    try:
        made = os.stat(target).st_mtime
    except FileNotFoundError:
        return True
    return any(os.stat(os.path.join(HERE, s)).st_mtime > made for s in sources)


def compile_to(target, command, *sources):
    if stale(target, "corpus.h", *sources):
        subprocess.run(command + ["-o", target], check=True, cwd=HERE)


def build():
    os.makedirs(BUILD, exist_ok=True)
    jobs, builds = [], []
    library = os.path.join(BUILD, "library.so")
    jobs.append((library, ["gcc", "-shared", "-fPIC", "-O1", "-g", "lib/library.c"], "lib/library.c"))
    for cc, cxx in COMPILERS:
        if not shutil.which(cc) or not shutil.which(cxx):
            print(f"left out: {cc} is not installed")
            continue
        for level in LEVELS:
            for source in PROGRAMS:
                name = f"{source.split('.')[0]}-{cc}{level}"
                target = os.path.join(BUILD, name)
                compiler = [cxx, "-std=gnu++20"] if source.endswith(".cc") else [cc, "-std=gnu17"]
                command = compiler + [level, "-g", "-Wall", "-Wextra", source, "-pthread"]
                jobs.append((target, command, source))
                builds.append(Build(name, target))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in [pool.submit(compile_to, *job) for job in jobs]:
            done.result()
    os.environ["CORPUS_LIBRARY"] = library
    return builds


def cases_of(build):
    table = subprocess.run([build.program], check=True, capture_output=True, text=True).stdout
    return [Case(build, *line.split("\t")) for line in table.splitlines()]


# ---- truths --------------------------------------------------------------------------------------

def truth_parse(text):
    """{"own": {class: Want}, "child": {...} or None}"""
    truth, who = {"own": {}, "child": None}, "own"
    for part in text.split(","):
        part = part.strip()
        if part.startswith("child:"):
            who, part = "child", part[6:].strip()
            truth["child"] = {}
        if part == "none":
            continue
        kind, amount = part.split(" ")
        count, _, size = amount.partition("x")
        count = None if count == "+" else int(count)
        total = None if size in ("?", "") or count is None else count * int(size)
        truth[who][kind] = Want(count, 0 if count == 0 else total)
    for wants in (truth["own"], truth["child"] or {}):
        for kind in LOST:
            wants.setdefault(kind, Want(0, 0))
    return truth


class Verdict:
    def __init__(self, case):
        self.case = case
        self.wanted = self.found = self.false = 0
        self.faults = []  # anything wrong but an object that was missed
        self.missed = []

    def judge(self, who, wants, records):
        """Compares what one process, or all children, lost with what was reported of them."""
        got = collections.Counter()
        size = collections.Counter()
        for r in records:
            for kind, objects, total in r.sites:
                got[kind] += objects
                size[kind] += total
        any_number = any(wants[k].count is None for k in LOST)
        wanted = sum(wants[k].count or 0 for k in LOST)
        lost = sum(got[k] for k in LOST)
        if any_number:
            wanted = max(wanted + 1, lost)
        if "missed" in wants and lost > wanted:
            lost = min(lost, wanted + wants["missed"].count)
            wanted = lost
        self.wanted += wanted
        self.found += min(lost, wanted)
        self.false += max(0, lost - wanted)
        shown = ", ".join(f"{k} {got[k]} ({size[k]} B)" for k in sorted(got)) or "nothing"
        if lost > wanted:
            self.faults.append(f"{who}: {lost - wanted} reported that are not lost: {shown}")
        elif lost < wanted:
            self.missed.append(f"{who}: {wanted - lost} of {wanted} missed: {shown}")
        else:
            for kind, want in wants.items():
                if kind == "missed" or ("missed" in wants and kind in LOST):
                    continue
                if want.count is not None and got[kind] != want.count:
                    self.faults.append(f"{who}: {kind} {got[kind]}, not {want.count}: {shown}")
                elif want.bytes is not None and "missed" not in wants and size[kind] != want.bytes:
                    self.faults.append(f"{who}: {size[kind]} bytes {kind}, not {want.bytes}")


def run(command, environment, folder):
    """(process id, (status, output, error output))"""
    p = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, cwd=folder,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        out, err = p.communicate(timeout=LIMIT)
        return p.pid, (p.returncode, out, err)
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        p.communicate()
        return p.pid, ("hung", b"", b"")


def salvage_run(case, command, environment, folder):
    options = f"mode=leaks,format=raw,report={folder}/%p.raw"
    options += "" if case.options == "-" else "," + case.options
    options += "," + os.environ["OPTS"] if os.environ.get("OPTS") else ""
    result = run(command, dict(environment, LD_PRELOAD=LIB, SALVAGE=options), folder)
    return result, records_read(folder)


def records_judge(verdict, pid, records):
    # The verdict of a process is its last one but that after the exit handlers.
    last = {}
    for r in records:
        if r.failed:
            verdict.faults.append(f"no verdict: {r.failed}")
        if not r.whole:
            verdict.faults.append("a record was cut off")
        if r.reason != "after-exit" and r.exe in (None, verdict.case.build.program):
            last[r.pid] = r
    own = [r for r in last.values() if r.pid == pid]
    children = [r for r in last.values() if r.pid != pid]
    truth = truth_parse(verdict.case.truth)
    verdict.judge("process", truth["own"], own)
    verdict.judge("child", truth["child"] or truth_parse("none")["own"], children)
    if not own:
        verdict.faults.append("no record of the process")
    if truth["child"] is not None and not children:
        verdict.faults.append("no record of a child")


def case_run(case, tool):
    verdict = Verdict(case)
    plain = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "SALVAGE")}
    command = [case.build.program, case.name]
    with tempfile.TemporaryDirectory() as folder:
        _, expected = run(command, plain, folder)
        if tool:
            (pid, got), records = tool_run(tool, command, plain, folder)
        else:
            (pid, got), records = salvage_run(case, command, plain, folder)
    for what, a, b in zip(("status", "output", "error output"), expected, got):
        if a != b and not tool:
            verdict.faults.append(f"{what} {b!r}, not {a!r}")
    records_judge(verdict, pid, records)
    return verdict


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-v", action="store_true")
    parser.add_argument("--tool", choices=TOOLS)
    parser.add_argument("case", nargs="*")
    asked = parser.parse_args()
    cases = [c for b in build() for c in cases_of(b)
             if not asked.case or any(p in f"{b.name}/{c.name}" for p in asked.case)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        verdicts = list(pool.map(lambda c: case_run(c, asked.tool), cases))
    passed = failed = false = reported = 0
    shares = []
    for v in verdicts:
        name = f"{v.case.build.name}/{v.case.name}"
        false += v.false
        reported += v.found + v.false
        if v.wanted:
            shares.append(v.found / v.wanted)
        bad = bool(v.faults)
        passed, failed = passed + (not bad), failed + bad
        for text in v.faults:
            print(f"FAIL {name}: {text}")
        for text in v.missed:
            print(f"missed {name}: {text}")
        if asked.v and not v.faults and not v.missed:
            print(f"ok   {name}")
    recall = sum(shares) / len(shares) if shares else 1
    precision = 1 - false / reported if reported else 1
    print(f"corpus: {len({(c.build.name.split('-')[0], c.name) for c in cases})} cases, "
          f"{len(cases)} runs: recall {100 * recall:.2f} %, precision {100 * precision:.2f} %")
    if recall < RECALL:
        print(f"FAIL corpus: recall under {100 * RECALL:.0f} %")
        failed += 1
    print(f"{passed} passed, {failed} failed")
    return failed > 0 or passed == 0


if __name__ == "__main__":
    sys.exit(main())
