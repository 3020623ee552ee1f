"""The second half of the benchmark: Salvage as a collector, beside Debian's libgc and beside Go.

The programs are those of the folder collect, one C source each, built by bench.sh against libgc and
against malloc, and once more in Go. Rounds alternate as in bench.py; a figure is the median over
the rounds, but a longest one is the longest of all. Every collector's own log has one form (see
collect/peer.h), from which the stops of the world are read.

A program that runs under Salvage and fails, or sums up other things than under its peers, makes the
exit status 1. A peer that fails is named with its last words and has no row: libgc's incremental
collector can't finish on a large random heap, for instance.

BENCH_HEAP_MIB is the live heap of the large programs (1024); BENCH_SALVAGE is added to SALVAGE.
"""
import contextlib
import os
import re
import resource
import signal
import statistics
import subprocess
import sys

from report import OUT, fail, head, rounds, row, say

ROUNDS = rounds(3)
ROUNDS_LARGE = rounds(1)
HEAP_MIB = int(os.environ.get("BENCH_HEAP_MIB", "1024"))
GARBAGE_MIB = 3 * HEAP_MIB
RUN_TIMEOUT = 300
LOG = f"{OUT}/collect.log"
SERIES = f"{OUT}/collect.series"
THP = "/sys/kernel/mm/transparent_hugepage/enabled"

# What BENCH_ONLY can name after collect; `list` runs only when it is named.
ROWS = ["gcbench", "gcbench2", "binarytrees", "graph", "tree", "list", "drop", "final", "growth",
        "threads", "writing", "huge"]
UNASKED = {"list"}
PHASES = {
    "local1": "1 thread, few pages written", "local2": "2 threads, few pages written",
    "spread1": "1 thread, every page written",
}
WRITERS = [1, 2]
STOPS = 4000  # of a process without a collector
SLEEPERS = [(4, 0), (480, 0), (480, 20), (0, 100)]

GC_LINE = re.compile(
    r"gc (\d+)(?: @([\d.]+)s)?[^:]*: ([\d.]+)\+([\d.]+)\+([\d.]+) ms clock")


class Peer:
    """A collector, or a malloc for reference: how a program is started on it."""

    def __init__(self, name, suffix="", preload=None, environment=None, flags=(), go=False):
        self.name = name
        self.suffix = suffix
        self.flags = list(flags)
        self.go = go
        self.environment = {"PATH": "/usr/bin:/bin", "BENCH_LOG": LOG, "BENCH_SERIES": SERIES,
                            **(environment or {})}
        if preload:
            self.environment["LD_PRELOAD"] = preload

    def command(self, program, arguments):
        if self.go:
            return [f"{OUT}/peers", program, *arguments]
        return [f"{OUT}/{program}{self.suffix}", *self.flags, *arguments]


def peers_find(mallocs):
    """The collectors, then the mallocs to which blocks are freed, by name. What is missing is said.

    `mallocs`: name -> library, as bench.py found them.
    """
    collectors, references = {}, {}
    options = ",".join(filter(None, ["gctrace=2", f"log={LOG}", os.environ.get("BENCH_SALVAGE")]))
    if "salvage" in mallocs:
        collectors["salvage"] = Peer("salvage", preload=mallocs["salvage"],
                                     environment={"SALVAGE": options})
    ours = os.path.dirname(mallocs.get("salvage", ""))
    if os.path.exists(f"{OUT}/graph-gc") and os.path.exists(f"{ours}/libgc.so.1"):
        peer = Peer("salvage as libgc", "-gc",
                    environment={"SALVAGE": options, "LD_LIBRARY_PATH": ours})
        del peer.environment["BENCH_LOG"]
        collectors[peer.name] = peer
    if os.path.exists(f"{OUT}/graph-gc"):
        for name, setting in (("libgc, 1 marker", "GC_MARKERS"), ("libgc, 2 markers", "GC_MARKERS"),
                              ("libgc, incremental", "GC_ENABLE_INCREMENTAL")):
            value = "2" if "2" in name else "1"
            collectors[name] = Peer(name, "-gc", environment={setting: value})
    else:
        say("Left out: libgc (libgc-dev isn't installed).\n")
    if os.path.exists(f"{OUT}/peers"):
        collectors["Go"] = Peer("Go", environment={"GODEBUG": "gctrace=1"}, go=True)
    else:
        say("Left out: Go (golang-go isn't installed).\n")
    for name in ("salvage", "glibc", "mimalloc2.0"):
        if name in mallocs:
            label = f"{name}, freed"
            settings = {"SALVAGE": options} if name == "salvage" else None
            references[label] = Peer(label, preload=mallocs[name], environment=settings,
                                     flags=["-f"])
    return collectors, references


# ---- one run ----

class Run:
    """What one run said.

    .words: what it printed; .cycles: those of its log, number -> start (s, or None), stop, work
    beside the program, stop (ms); .barrier: Salvage's; .rates: phase -> rates_by_collector.
    """

    def __init__(self, peer, output):
        self.words = dict(word.split("=", 1) for word in output.split())
        self.cycles = {}
        self.barrier = None
        with contextlib.suppress(FileNotFoundError), open(LOG, encoding="utf-8") as log:
            for line in log:
                match = GC_LINE.match(line)
                if match:
                    at = float(match[2]) if match[2] else None
                    self.cycles[int(match[1])] = (at, *map(float, match.groups()[2:]))
                elif "barrier " in line:
                    self.barrier = line.split("barrier ")[1].split(",")[0].split()[0]
        self.rates = {phase: rates_by_collector(self, *series, peer)
                      for phase, series in series_read().items()}

    def number(self, key):
        return float(self.words[key])

    def stops(self, first, last):
        """The stops in ms of the cycles after `first` up to `last`."""
        return [stop for n in range(int(first) + 1, int(last) + 1) if n in self.cycles
                for stop in (self.cycles[n][1], self.cycles[n][3]) if stop > 0]


def run_once(peer, program, arguments):
    """A Run, or the text of why there is none."""
    for path in (LOG, SERIES):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    errors = LOG if peer.go else f"{OUT}/collect.err"
    with open(errors, "w", encoding="utf-8") as file:
        try:
            done = subprocess.run(peer.command(program, arguments), env=peer.environment, cwd=OUT,
                                  stdout=subprocess.PIPE, stderr=file, text=True,
                                  timeout=RUN_TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            return f"no end after {RUN_TIMEOUT} s"
    if done.returncode == 0:
        return Run(peer, done.stdout)
    with open(errors, encoding="utf-8", errors="replace") as file:
        said = [line.strip() for line in file if line.strip()]
    status = done.returncode
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    return f"{how}: {said[-1]}" if said else how


def runs_take(peers, program, arguments, count):
    """name -> `count` Runs, peers alternating. One that failed isn't run again, and is told of."""
    runs = {name: [] for name in peers}
    broken = {}
    for _ in range(count):
        for name, peer in peers.items():
            if name in broken:
                continue
            run = run_once(peer, program, arguments)
            if isinstance(run, Run):
                runs[name].append(run)
            else:
                broken[name] = run
    for name, why in broken.items():
        del runs[name]
        say(f"\n`{program} {' '.join(arguments)}`, {name}: {why}.")
        if name.startswith("salvage"):
            fail(f"{program} under {name}: {why}")
    return runs


def checks_compare(program, runs, key):
    """All runs must have come to the same sum, the commonest one's word against the others'."""
    sums = [run.words[key] for taken in runs.values() for run in taken]
    for name, taken in runs.items():
        for run in taken:
            if run.words[key] != statistics.mode(sums):
                fail(f"{program} under {name}: {key}={run.words[key]}, not {statistics.mode(sums)}")


def rounds_text(count):
    return f"medians of {count} rounds" if count > 1 else "1 round"


def middle(runs, key):
    return statistics.median(run.number(key) for run in runs)


def longest(runs, key):
    return max(run.number(key) for run in runs)


def stop_longest(runs, first, last):
    stops = [stop for run in runs for stop in run.stops(run.number(first), run.number(last))]
    return f"{max(stops):.2f}" if stops else "-"


# ---- trees ----

def trees_run(program, arguments, peers):
    say(f"\n### {program} {' '.join(arguments)}, {rounds_text(ROUNDS)}")
    runs = runs_take(peers, program, arguments, ROUNDS)
    checks_compare(program, runs, "check")
    head("memory", "wall, s", "CPU, s", "peak RSS, MiB", "collections", "longest stop, ms",
         "all stops, ms")
    for name, taken in runs.items():
        stops = [run.stops(0, run.number("cycles")) for run in taken]
        row(name, f"{middle(taken, 'ms') / 1e3:.2f}", f"{middle(taken, 'cpu_ms') / 1e3:.2f}",
            f"{middle(taken, 'peak_kib') / 1024:.0f}", f"{middle(taken, 'cycles'):.0f}",
            f"{max(map(max, stops)):.2f}" if all(stops) else "-",
            f"{statistics.median(map(sum, stops)):.0f}" if all(stops) else "-")


# ---- the large heap ----

def cycle_spans(run, observed, peer):
    """When the collector was at work, as (from, to) in ns since the program began.

    Salvage's and libgc's cycles end when they were seen to have ended; Go says when they began.
    """
    if peer.go:
        return [(at * 1e9, at * 1e9 + sum(took) * 1e6) for at, *took in run.cycles.values()]
    return [(seen - sum(run.cycles[n][1:]) * 1e6, seen)
            for n, seen in observed if n in run.cycles]


def series_read():
    """phase -> (windows (from, to, operations), cycles seen to end (number, time))."""
    phases = {}
    with contextlib.suppress(FileNotFoundError), open(SERIES, encoding="utf-8") as file:
        for line in file:
            kind, *words = line.split()
            if kind == "p":
                windows, observed = phases.setdefault(words[0], ([], []))
            elif kind == "o":
                windows.append(tuple(map(int, words)))
            else:
                observed.append(tuple(map(int, words)))
    return phases


def rates_by_collector(run, windows, observed, peer):
    """Operations a second of one thread: (while the collector is idle, while it is at work).

    A window's operations are shared out by how much of it lies in a cycle. None where the program
    was never there.
    """
    spans = cycle_spans(run, observed, peer)
    operations, time = [0.0, 0.0], [0.0, 0.0]
    for start, end, count in windows:
        inside = sum(max(0, min(end, to) - max(start, begin)) for begin, to in spans)
        part = min(1.0, inside / (end - start))
        for at, share in ((0, 1 - part), (1, part)):
            operations[at] += count * share
            time[at] += (end - start) * share
    return tuple(n / t * 1e9 if t else None for n, t in zip(operations, time))


def graph_collections_print(runs):
    head("collector", "build, s", "collection, ms", "CPU, ms", "M objects / CPU-s",
         "MB / CPU-s", "RSS, MiB", "on huge pages", "peak RSS later")
    for name, taken in runs.items():
        nodes, cpu = middle(taken, "nodes"), middle(taken, "collect_cpu_ms")
        row(name, f"{middle(taken, 'build_ms') / 1e3:.2f}", f"{middle(taken, 'collect_ms'):.0f}",
            f"{cpu:.0f}", f"{nodes / cpu / 1e3:.1f}", f"{nodes * 64 / cpu / 1e3:.0f}",
            f"{middle(taken, 'rss_kib') / 1024:.0f}",
            f"{middle(taken, 'huge_kib') / middle(taken, 'rss_kib'):.0%}",
            f"{middle(taken, 'peak_kib') / 1024:.0f}")


def rates_cells(name, rates):
    """Rates in millions and what is lost. libgc doesn't say when its increments run."""
    idle = [pair[0] for pair in rates if pair[0] is not None]
    working = [pair[1] for pair in rates if pair[1] is not None]
    if not idle or not working or name == "libgc, incremental":
        return "-", "-", "-"
    idle, working = statistics.median(idle), statistics.median(working)
    return f"{idle / 1e6:.2f}", f"{working / 1e6:.2f}", f"{1 - working / idle:.0%}"


def graph_phase_print(phase, runs):
    say(f"\n{PHASES[phase]}:")
    head("collector", "wall, s", "cycles", "longest stall, ms", "p99, us", "p99.9, us",
         "longest allocation, ms", "longest stop, ms", "M operations/s a thread, idle",
         "while collecting", "lost")
    for name, taken in runs.items():
        first, last = f"{phase}.cycles_from", f"{phase}.cycles_to"
        cycles = statistics.median(run.number(last) - run.number(first) for run in taken)
        row(name, f"{middle(taken, f'{phase}.ms') / 1e3:.2f}", f"{cycles:.0f}",
            f"{longest(taken, f'{phase}.stall_us') / 1e3:.2f}",
            f"{middle(taken, f'{phase}.p99_ns') / 1e3:.1f}",
            f"{middle(taken, f'{phase}.p999_ns') / 1e3:.1f}",
            f"{longest(taken, f'{phase}.alloc_us') / 1e3:.2f}", stop_longest(taken, first, last),
            *rates_cells(name, [run.rates[phase] for run in taken]))


def graph_run(title, shape, phases, peers):
    say(f"\n### {title}: {HEAP_MIB} MiB live, nodes of 56 bytes; {rounds_text(ROUNDS_LARGE)}")
    runs = runs_take(peers, "graph", [shape, str(HEAP_MIB), str(GARBAGE_MIB), *phases],
                     ROUNDS_LARGE)
    for name, taken in runs.items():
        for run in taken:
            if run.words["reached"] != run.words["nodes"]:
                fail(f"graph {shape} under {name}: {run.words['nodes']} nodes were built, "
                     f"{run.words['reached']} are left")
    graph_collections_print(runs)
    barriers = {run.barrier for run in runs.get("salvage", []) if run.barrier}
    if barriers:
        say(f"\nSalvage's barrier: {', '.join(sorted(barriers))}.")
    for phase in phases:
        graph_phase_print(phase, runs)


@contextlib.contextmanager
def huge_pages():
    """Has the kernel give huge pages to all memory meanwhile. Yields whether it does."""
    try:
        with open(THP, encoding="ascii") as file:
            before = re.search(r"\[(\w+)\]", file.read())[1]
        with open(THP, "w", encoding="ascii") as file:
            file.write("always")
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        with open(THP, "w", encoding="ascii") as file:
            file.write(before)


def huge_run(peers):
    with huge_pages() as given:
        if given:
            graph_run("The random graph on huge pages", "random", ["local1"], peers)
        else:
            say("\nLeft out: the random graph on huge pages (needs root to set "
                "transparent_hugepage/enabled).")


# ---- allocation ----

def drop_print(kind, runs):
    head("bytes, threads", *runs)
    keys = [key for key in next(iter(runs.values()))[0].words if key.startswith(f"{kind}.")]
    for key in keys:
        _, size, threads = key.split(".")
        row(f"{size}, {threads}", *[f"{middle(taken, key):.1f}" if key in taken[0].words else "-"
                                    for taken in runs.values()])


def drop_run(collectors, references):
    say(f"\n### Allocation, ns an operation of one thread, {rounds_text(ROUNDS)}")
    runs = runs_take(collectors, "drop", ["drop"], ROUNDS)
    if runs:
        say("\nDropped:")
        drop_print("drop", runs)
    peers = {}
    for name, peer in {**collectors, **references}.items():
        name = name.removesuffix(", freed")
        if name not in peers and not peer.go:
            peers[name] = Peer(name, peer.suffix, environment=peer.environment)
    runs = runs_take(peers, "drop", ["free"], ROUNDS)
    if runs:
        say("\nFreed at once:")
        drop_print("free", runs)


def final_run(collectors):
    """Libraries with libgc's interface only."""
    count = 1000000
    peers = {name: peer for name, peer in collectors.items() if peer.suffix == "-gc"}
    say(f"\n### Being told of an object's death: {count:,} objects of 32 bytes, "
        f"{rounds_text(ROUNDS)}")
    runs = runs_take(peers, "final", [str(count)], ROUNDS)
    if not runs:
        return
    head("way", *runs)
    units = {"dropped": "ns an object that is dropped", "kept": "ns one that is kept",
             "collect": "ms a collection with all of them kept", "freed": "ns one that is freed"}
    for key in next(iter(runs.values()))[0].words:
        way, _, what = key.partition(".")
        if what:
            row(f"{way}: {units[what]}",
                *[f"{middle(taken, key):.1f}" for taken in runs.values()])


def growth_run(peers):
    mib = HEAP_MIB // 4
    say(f"\n### A heap that grows to {mib} MiB, then 2 threads that drop as fast as they can, "
        f"{rounds_text(ROUNDS)}")
    runs = runs_take(peers, "growth", [str(mib)], ROUNDS)
    head("collector", "growing, s", "cycles", "longest allocation, ms", "p99.9, us", "dropping, s",
         "cycles", "longest allocation, ms", "in use / goal, most", "in use / live, most",
         "peak RSS / live")
    for name, taken in runs.items():
        goal = longest(taken, "goal_part")
        row(name, f"{middle(taken, 'build_ms') / 1e3:.2f}", f"{middle(taken, 'build_cycles'):.0f}",
            f"{longest(taken, 'build_max_us') / 1e3:.2f}",
            f"{middle(taken, 'build_p999_ns') / 1e3:.1f}", f"{middle(taken, 'ms') / 1e3:.2f}",
            f"{middle(taken, 'cycles'):.0f}", f"{longest(taken, 'max_us') / 1e3:.2f}",
            f"{goal:.3f}" if goal else "-", f"{middle(taken, 'live_part'):.2f}",
            f"{middle(taken, 'peak_part'):.2f}")


# ---- threads ----

def threads_run(peers):
    say(f"\n### Stops and threads: collections of 4 MiB asked for, {rounds_text(ROUNDS)}")
    head("threads", "collector", "stop, ms", "longest stop, ms", "call, ms", "longest call, ms",
         "sleeps cut short")
    for asleep, spinning in SLEEPERS:
        text = ", ".join(f"{n} {what}" for n, what in ((asleep, "asleep"), (spinning, "spinning"))
                         if n)
        # Goroutines that spin wait for Go's own scheduler, and no stop is seen for it.
        chosen = {name: peer for name, peer in peers.items() if not (spinning and peer.go)}
        count = "5" if spinning > 50 else "20"
        runs = runs_take(chosen, "threads", [str(asleep), str(spinning), count], ROUNDS)
        for name, taken in runs.items():
            stops = [stop for run in taken
                     for stop in run.stops(run.number("cycles_from"), run.number("cycles_to"))]
            row(text, name, f"{statistics.median(stops):.2f}" if stops else "-",
                f"{max(stops):.2f}" if stops else "-", f"{middle(taken, 'call_us') / 1e3:.2f}",
                f"{longest(taken, 'call_max_us') / 1e3:.2f}", f"{middle(taken, 'eintr'):.0f}")
    say("\nLeft out: Go where threads spin, which its goroutines do on 2 threads only.")


# ---- threads that write everywhere ----

def writing_run(peers):
    say(f"\n### Threads that write all of {HEAP_MIB} MiB by chance while it is collected, one run each")
    head("threads", "collector", "M operations/s, idle", "while collecting", "collection, ms",
         "stops that end a mark: p99, ms", "longest", "longest first stop")
    chosen = {name: peer for name, peer in peers.items() if not peer.go and "as" not in name.split()
              and "incremental" not in name}
    for threads in WRITERS:
        for name, (run,) in runs_take(chosen, "writing", [str(HEAP_MIB), str(threads), "5"],
                                      1).items():
            first = f"{run.number('first_max_us') / 1e3:.2f}" if "first_max_us" in run.words else "-"
            row(str(threads), name, f"{run.number('idle'):.1f}", f"{run.number('working'):.1f}",
                f"{run.number('collect_ms'):.0f}", f"{run.number('stop_p99_us') / 1e3:.2f}",
                f"{run.number('stop_max_us') / 1e3:.2f}", first)
    say(f"\nWhat this machine adds to stops of half a millisecond without a collector, {STOPS:,} each:")
    head("threads", "middle, ms", "p99", "longest", "3 ms or more in all")
    for threads in WRITERS:
        (run,), = runs_take({"none": Peer("none")}, "stops", [str(threads), str(STOPS)], 1).values()
        row(str(threads), *[f"{run.number(key) / 1e3:.2f}" for key in ("p50_us", "p99_us", "max_us")],
            run.words["late"])


def collect_run(rows, mallocs):
    """`rows`: what of ROWS to run, all for no choice; `mallocs`: name -> library."""
    if not rows:
        return
    if len(rows) == len(ROWS):
        rows = [name for name in rows if name not in UNASKED]
    say("\n## Collection, beside other collectors\n")
    # So that `huge_pages` puts the setting back, and an aborting peer leaves no core of a gigabyte.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    collectors, references = peers_find(mallocs)
    parts = {
        "gcbench": lambda: trees_run("gcbench", ["18"], {**collectors, **references}),
        "gcbench2": lambda: trees_run("gcbench", ["18", "2"], {
            name: peer for name, peer in {**collectors, **references}.items() if not peer.go}),
        "binarytrees": lambda: trees_run("binarytrees", ["18"], {**collectors, **references}),
        "graph": lambda: graph_run("A random graph", "random", list(PHASES), collectors),
        "tree": lambda: graph_run("A tree", "tree", ["local1"], collectors),
        "list": lambda: graph_run("A list", "list", [], collectors),
        "drop": lambda: drop_run(collectors, references),
        "final": lambda: final_run(collectors),
        "growth": lambda: growth_run(collectors),
        "threads": lambda: threads_run(collectors),
        "writing": lambda: writing_run(collectors),
        "huge": lambda: huge_run(collectors),
    }
    for name in rows:
        parts[name]()
