"""Measures Salvage and Debian's other mallocs side by side and prints Markdown; collect.py, called
at the end, measures Salvage and other collectors.

Started by bench.sh, which builds the helpers and sets BUILD and LIB. Every measurement is paired: a
round runs each malloc once, one after the other, so that a slow minute of the machine falls on all
of them; a figure is a median over the rounds. CPU ratios are medians of the rounds' own ratios to
glibc; ratios of peak RSS are ratios of medians. Each row is printed as soon as it is there.

Every malloc is preloaded, glibc's too, because Debian links redis-server with jemalloc. A program's
output under each malloc is compared with that under glibc; a difference or a failure is named,
leaves the figure out, and makes the exit status 1. What isn't installed is named
and left out.
"""
import contextlib
import glob
import hashlib
import math
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

import collect
import report
from report import HERE, ONLY, OUT, fail, failures, head, row, say

DATA = os.path.join(OUT, "data")
WORK = os.path.join(HERE, "workloads")
ROUNDS = report.rounds(7)

SONAMES = {
    "glibc": "libc.so.6",
    "mimalloc2.0": "libmimalloc.so.2",
    "jemalloc2": "libjemalloc.so.2",
    "tcmalloc-minimal4": "libtcmalloc_minimal.so.4",
}
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": OUT,
    "LANG": "C.UTF-8",
    "PYTHONMALLOC": "malloc",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PERL_HASH_SEED": "0",
}

# Steps for about a tenth to a third of a second on glibc; callgrind's loops run INSTRUCTION_STEPS.
LOOPS = {
    "pair8": 10_000_000, "pair32": 10_000_000, "pair100": 10_000_000, "pair1000": 10_000_000,
    "pair8000": 5_000_000, "mix": 8_000_000, "batch": 10_000_000, "calloc64": 10_000_000,
    "realloc": 10_000, "realloc-page": 2, "mib": 60_000, "prodcons": 3_000_000,
    "larson": 4_000_000, "churn": 4_000,
}
LOOP_TEXT = {
    "mix": "mix, 16..512 bytes, 10,000 live", "batch": "1000 malloc, then 1000 free",
    "calloc64": "calloc(1, 64), free", "realloc": "realloc, 16 B to 1 MiB by half",
    "realloc-page": "realloc, 16 B to 64 MiB by 4096", "mib": "1 MiB block, pages touched",
    "prodcons": "producer and consumer", "larson": "larson, 2 threads",
    "churn": "thread with 300 blocks",
}
INSTRUCTION_MODES = ["pair32", "pair100", "pair1000", "mix", "batch", "calloc64"]
INSTRUCTION_STEPS = 200_000
TRUE_RUNS = 500
SERVER_SECONDS = 20
REDIS_TIMEOUT = 120

SECTIONS = ["instructions", "loops", "programs", "cost", "true", "server", "collect"]
GC_CPU = re.compile(r"ms clock, ([\d.]+)\+([\d.]+)/([\d.]+)/([\d.]+)\+([\d.]+) ms cpu")
PROGRAMS = {
    "python3": ["python3", f"{WORK}/objects.py"],
    "perl": ["perl", f"{WORK}/words.pl"],
    "lua5.4": ["lua5.4", f"{WORK}/tables.lua"],
    "ruby": ["ruby", "--disable-gems", f"{WORK}/records.rb"],
    "sqlite3": ["sqlite3", "-batch", ":memory:", f".read {WORK}/queries.sql"],
    "gcc": ["gcc", "-O2", "-S", "-o", "-", f"{DATA}/big.c"],
    "jq": ["jq", "-c", "-f", f"{WORK}/records.jq", f"{DATA}/records.json"],
    "redis-server": ["redis-server"],
    "gs": ["gs", "-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=ppmraw", "-r100",
           "-sOutputFile=-", f"{DATA}/pages.ps"],
}


def peers_find():
    """Name -> path to preload, in the order of the tables: glibc first, Salvage last."""
    found = {}
    for name, soname in SONAMES.items():
        paths = glob.glob(f"/usr/lib/*-linux-gnu/{soname}")
        paths += glob.glob(f"/lib/*-linux-gnu/{soname}")
        if paths:
            found[name] = paths[0]
        else:
            say(f"Left out: {name} ({soname} isn't installed).\n")
    library = os.path.abspath(os.environ["LIB"])
    if os.path.exists(library):
        found["salvage"] = library
    else:
        say(f"Left out: salvage ({os.environ['LIB']} isn't built).\n")
    return found


def section_rows(section, names):
    return report.section_rows(section, names, SECTIONS)


def geomean(values):
    return math.exp(statistics.fmean(math.log(value) for value in values)) if values else math.nan


def ratio_text(value):
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"


def measure(preload, argv, runs=1, output="/dev/null"):
    """CPU seconds, peak RSS in KiB and exit status of a command under a preloaded malloc."""
    line = subprocess.run(
        [f"{OUT}/measure", "-n", str(runs), "-p", preload, "-o", output, "--", *argv],
        env=ENVIRONMENT, cwd=OUT, stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    return int(line[0]) / 1e6, int(line[1]), int(line[2])


def machine_print():
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
    say("# Salvage beside other mallocs and collectors\n")
    say(f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, "
        f"{time.strftime('%Y-%m-%d', time.gmtime())}; medians of {ROUNDS} rounds.\n")


# ---- instructions ----

def instructions_count(preload, *arguments):
    """Instructions of one run of micro as callgrind counts them; None if it can't run there."""
    environment = dict(ENVIRONMENT, LD_PRELOAD=preload) if preload else ENVIRONMENT
    run = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"{OUT}/micro",
         *arguments],
        env=environment, cwd=OUT, capture_output=True, text=True, check=False)
    for line in run.stderr.splitlines():
        if "Collected :" in line and run.returncode == 0:
            return int(line.split()[-1])
    return None


def instructions_step(preload, *arguments):
    """Instructions a step: the difference between N and 2N steps, start of the process left out."""
    once = instructions_count(preload, *arguments, str(INSTRUCTION_STEPS))
    twice = instructions_count(preload, *arguments, str(2 * INSTRUCTION_STEPS))
    return None if once is None or twice is None else (twice - once) / INSTRUCTION_STEPS


def instructions_run(peers):
    modes = section_rows("instructions", INSTRUCTION_MODES)
    if not modes:
        return
    say("\n## Instructions for malloc and free (callgrind, the loop's own subtracted)")
    if not shutil.which("valgrind"):
        say("\nLeft out: valgrind isn't installed.")
        return
    refused = set()
    head("loop", *peers)
    for mode in modes:
        loop = instructions_step(None, "--dummy", mode)
        cells = []
        for name, path in peers.items():
            step = None if name in refused else instructions_step(path, mode)
            if step is None:
                refused.add(name)
            cells.append("-" if step is None else f"{step - loop:.0f}")
        row(LOOP_TEXT.get(mode, mode), *cells)
    if refused:
        say(f"\nCan't run under valgrind: {', '.join(sorted(refused))}.")


# ---- loops ----

def loop_time(preload, mode):
    """Nanoseconds of wall time a step, or None if the loop failed."""
    run = subprocess.run([f"{OUT}/micro", mode, str(LOOPS[mode])], capture_output=True, text=True,
                         env=dict(ENVIRONMENT, LD_PRELOAD=preload), cwd=OUT, check=False)
    return float(run.stdout.split()[3]) if run.returncode == 0 else None


def loops_run(peers):
    modes = section_rows("loops", LOOPS)
    if not modes:
        return
    say("\n## Loops: nanoseconds a step")
    head("loop", *peers)
    for mode in modes:
        times = {name: [] for name in peers}
        for _ in range(ROUNDS):
            for name, path in peers.items():
                times[name].append(loop_time(path, mode))
        cells = []
        for name in peers:
            if None in times[name]:
                fail(f"loop {mode} under {name}")
                cells.append("-")
            else:
                middle = statistics.median(times[name])
                cells.append(f"{middle:.1f}" if middle < 1000 else f"{middle:,.0f}")
        row(LOOP_TEXT.get(mode, mode), *cells)


# ---- real programs ----

def redis_wait(output):
    """Returns when the server says on its output that it takes connections."""
    for line in output:
        if "ready to accept connections" in line:
            return
    raise subprocess.SubprocessError("redis-server ended before it took connections")


def redis_load(path):
    """The fixed load on the server at `path`, and its end. Returns the digest of a value."""
    client = {"env": ENVIRONMENT, "stdout": subprocess.PIPE, "check": True, "text": True,
              "timeout": REDIS_TIMEOUT}
    for size, count in (("40", "200000"), ("900", "80000")):
        subprocess.run(["redis-benchmark", "-s", path, "-q", "-c", "16", "-P", "16", "-n", count,
                        "-r", "50000", "-d", size, "-t", "set,get,lpush,rpop,hset,sadd,zadd"],
                       **client)
    script = "for i=1,20000 do redis.call('append','big:'..(i%100),string.rep(i%10,50)) end " \
             "return redis.sha1hex(redis.call('get','big:7'))"
    answer = subprocess.run(["redis-cli", "-s", path, "eval", script, "0"], **client).stdout
    subprocess.run(["redis-cli", "-s", path, "shutdown", "nosave"], **client)
    return answer


def redis_run(preload):
    """What program_run returns, of a server under load. A load that breaks off is status 125."""
    path = f"{OUT}/redis.sock"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    read_end, write_end = os.pipe()
    server = subprocess.Popen(
        [f"{OUT}/measure", "-p", preload, "-o", f"/dev/fd/{write_end}", "--", "redis-server",
         "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", OUT],
        env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, start_new_session=True,
        pass_fds=[write_end])
    os.close(write_end)
    output = open(read_end, encoding="utf-8", errors="replace")  # all it says fits into the pipe
    try:
        redis_wait(output)
        answer = redis_load(path)
        line = server.communicate(timeout=REDIS_TIMEOUT)[0].split()
        return int(line[0]) / 1e6, int(line[1]), int(line[2]), answer
    except subprocess.SubprocessError as error:
        print(f"bench: {error}", file=sys.stderr)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.communicate()
        return 0.0, 0, 125, ""
    finally:
        output.close()


def program_run(name, preload):
    """CPU seconds, peak RSS in KiB, exit status and a digest of the output."""
    if name == "redis-server":
        return redis_run(preload)
    output = f"{OUT}/output"
    cpu, rss, status = measure(preload, PROGRAMS[name], output=output)
    with open(output, "rb") as file:
        return cpu, rss, status, hashlib.file_digest(file, "sha256").hexdigest()


def program_measure(name, peers):
    """malloc -> (CPU, ratio of CPU to glibc's, peak RSS), medians; failures left out."""
    runs = {peer: [] for peer in peers}
    for _ in range(ROUNDS):
        for peer, path in peers.items():
            runs[peer].append(program_run(name, path))
    result = {}
    for peer in peers:
        bad = [run for run, base in zip(runs[peer], runs["glibc"]) if run[2] or run[3] != base[3]]
        if bad:
            what = f"exit status {bad[0][2]}" if bad[0][2] else "output differs"
            fail(f"{name} under {peer}: {what} in {len(bad)} of {ROUNDS} runs")
            continue
        result[peer] = (statistics.median(run[0] for run in runs[peer]),
                        statistics.median(run[0] / base[0] if base[0] else math.nan
                                          for run, base in zip(runs[peer], runs["glibc"])),
                        statistics.median(run[1] for run in runs[peer]))
    return result


def better_ratio(values):
    """Salvage's value over the better of mimalloc's and jemalloc's; None where one is missing."""
    rivals = [values[peer] for peer in ("mimalloc2.0", "jemalloc2") if peer in values]
    return values["salvage"] / min(rivals) if rivals and "salvage" in values else None


def ratios_row(name, base, values, peers):
    """`values`: malloc -> ratio to glibc's figure."""
    row(name, base, *[ratio_text(values.get(peer)) for peer in peers if peer != "glibc"],
        ratio_text(better_ratio(values)))


def geomeans_print(ratios, peers, rival, what):
    """The last row of a table, over the programs that ran under every malloc.

    `ratios`: program -> malloc -> ratio to glibc's. Then Salvage's geomean over `rival`'s.
    """
    complete = [values for values in ratios.values() if all(peer in values for peer in peers)]
    better = [better_ratio(values) for values in complete]
    row("**geomean**", "", *[ratio_text(geomean([values[peer] for values in complete]))
                             for peer in peers if peer != "glibc"],
        ratio_text(geomean(better)) if complete and None not in better else "-")
    if complete and "salvage" in peers and rival in peers:
        over = geomean([values["salvage"] / values[rival] for values in complete])
        say(f"\n{what}, geomean of salvage over {rival}: {over:.3f} (goal: at most 1.00).")


def programs_chosen(section):
    names = section_rows(section, PROGRAMS)
    missing = [name for name in names if not shutil.which(PROGRAMS[name][0])]
    if missing:
        say(f"\nLeft out, not installed: {', '.join(missing)}.")
    return [name for name in names if name not in missing]


def programs_run(peers):
    names = programs_chosen("programs")
    if not names:
        return
    others = [peer for peer in peers if peer != "glibc"]
    say("\n## Real programs: CPU (user and system) relative to glibc")
    head("program", "glibc, s", *others, "salvage / better of mimalloc, jemalloc")
    results = {}
    for name in names:
        results[name] = program_measure(name, peers)
        if "glibc" in results[name]:
            ratios_row(name, f"{results[name]['glibc'][0]:.2f}",
                       {peer: value[1] for peer, value in results[name].items()}, peers)
    results = {name: result for name, result in results.items() if "glibc" in result}
    geomeans_print({name: {peer: value[1] for peer, value in result.items()}
                    for name, result in results.items()}, peers, "mimalloc2.0", "CPU")
    say("\n## Real programs: peak RSS relative to glibc")
    head("program", "glibc, MiB", *others, "salvage / better of mimalloc, jemalloc")
    ratios = {name: {peer: value[2] / result["glibc"][2] for peer, value in result.items()}
              for name, result in results.items()}
    for name, values in ratios.items():
        ratios_row(name, f"{results[name]['glibc'][2] / 1024:.1f}", values, peers)
    geomeans_print(ratios, peers, "jemalloc2", "Peak RSS")


# ---- what the collector takes of them ----

def cost_once(name, library):
    """CPU seconds of a run, those that its collections took by their own account, and how many."""
    for path in glob.glob(f"{OUT}/cost.*"):
        os.unlink(path)
    ENVIRONMENT["SALVAGE"] = f"gctrace=1,log={OUT}/cost.%p"
    cpu, _, status, _ = program_run(name, library)
    del ENVIRONMENT["SALVAGE"]
    if status:
        fail(f"{name} with gctrace: exit status {status}")
    took = []
    for path in glob.glob(f"{OUT}/cost.*"):
        with open(path, encoding="utf-8") as file:
            took += [sum(map(float, found)) for found in GC_CPU.findall(file.read())]
    return cpu, sum(took) / 1e3, len(took)


def cost_run(peers):
    """A stop counts on all processors, and time that nobody else wanted counts too: at most this."""
    names = programs_chosen("cost")
    if not names or "salvage" not in peers:
        return
    say("\n## Real programs: what collections take of their CPU, at most")
    head("program", "CPU, s", "collections", "their CPU, ms", "share")
    shares = []
    for name in names:
        runs = [cost_once(name, peers["salvage"]) for _ in range(ROUNDS)]
        cpu, took, count = (statistics.median(values) for values in zip(*runs))
        shares.append(statistics.median(run[1] / run[0] if run[0] else 0.0 for run in runs))
        row(name, f"{cpu:.2f}", f"{count:.0f}", f"{took * 1e3:.1f}", f"{shares[-1]:.1%}")
    row("**mean**", "", "", "", f"{statistics.fmean(shares):.1%}")


# ---- the smallest program ----

def true_run(peers):
    if not section_rows("true", ["/usr/bin/true"]):
        return
    say(f"\n## /usr/bin/true: one run (mean of {TRUE_RUNS}, median of the rounds)")
    runs = {peer: [] for peer in peers}
    for _ in range(ROUNDS):
        for peer, path in peers.items():
            runs[peer].append(measure(path, ["/usr/bin/true"], TRUE_RUNS))
    head("malloc", "CPU, us", "CPU / glibc", "peak RSS, MiB")
    for peer in peers:
        if any(run[2] for run in runs[peer]):
            fail(f"true under {peer}")
            continue
        ratio = statistics.median(run[0] / base[0] for run, base in zip(runs[peer], runs["glibc"]))
        row(peer, f"{statistics.median(run[0] for run in runs[peer]) / TRUE_RUNS * 1e6:.0f}",
            f"{ratio:.2f}", f"{statistics.median(run[1] for run in runs[peer]) / 1024:.2f}")


# ---- the server that loses memory ----

def server_run(peers):
    """One run each: what isn't collected grows with time, so peers would only show the rate."""
    chosen = [peer for peer in peers if peer in ("glibc", "salvage")]
    if not section_rows("server", ["leakserver"]):
        return
    say(f"\n## A server that loses one block in three, {SERVER_SECONDS} s")
    head("malloc", "CPU, s", "peak RSS, MiB", "peak / live", "lost, MiB", "MiB/s allocated")
    for peer in chosen:
        output = f"{OUT}/output"
        cpu, _, status = measure(peers[peer], [f"{OUT}/leakserver", str(SERVER_SECONDS)],
                                 output=output)
        with open(output, encoding="utf-8") as file:
            values = {key: float(value) for key, value in
                      (word.split("=") for word in file.read().split())}
        if status:
            fail(f"leakserver under {peer}: exit status {status}")
            continue
        row(peer, f"{cpu:.2f}", f"{values['peak_rss_kib'] / 1024:.0f}",
            f"{values['peak_rss_kib'] / values['live_kib']:.2f}",
            f"{values['lost_bytes'] / 2**20:.0f}", f"{values['mib_per_second']:.0f}")


def main():
    unknown = ONLY - set(SECTIONS) - set(LOOPS) - set(PROGRAMS) - set(collect.ROWS)
    if unknown:
        print(f"bench: BENCH_ONLY knows no {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    machine_print()
    peers = peers_find()
    instructions_run(peers)
    loops_run(peers)
    programs_run(peers)
    cost_run(peers)
    true_run(peers)
    server_run(peers)
    collect.collect_run(section_rows("collect", collect.ROWS), peers)
    if failures:
        say("\nFailed:\n" + "\n".join(f"- {failure}" for failure in failures))
    return 1 if failures else 0


sys.exit(main())
