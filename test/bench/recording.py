#!/usr/bin/env python3
"""What recording allocation stacks costs: processor time and memory of real programs against glibc.

Usage: recording.py [-n ROUNDS] [-m MODE]... [PROGRAM]...
Each round runs every program under glibc and under each MODE (a value of SALVAGE; `mode=leaks` and
`sample=512K`), one after the other, so that what else the machine does hits all alike. Prints the
medians of the rounds' ratios of processor time (user and system), of the peak of resident memory, and
the geometric means. Run test/bench/bench.sh once before: it makes the inputs.
LIB is the library to measure (build/libsalvage.so).
"""
import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("BUILD", os.path.join(ROOT, "build"))
LIB = os.path.realpath(os.environ.get("LIB", os.path.join(BUILD, "libsalvage.so")))
DATA = os.path.join(BUILD, "bench", "data")
WORK = os.path.join(HERE, "workloads")
LUA = "local t={} for i=1,400000 do t[i%5000+1]={i,tostring(i)} redis.call('SET','k'..(i%20000),i) end"
PROGRAMS = {
    "jq": ["jq", "-c", "-f", f"{WORK}/records.jq", f"{DATA}/records.json"],
    "sqlite3": ["sqlite3", "-batch", ":memory:", f".read {WORK}/queries.sql"],
    "python3": ["/usr/bin/python3", f"{WORK}/objects.py"],
    "gcc": ["gcc", "-O2", "-S", "-o", "/dev/null", f"{DATA}/big.c"],
    "perl": ["perl", f"{WORK}/words.pl"],
    "redis": ["sh", "-c", f"redis-server --port 0 --unixsocket $0/s --save '' --dir $0 >/dev/null & "
              f"until [ -S $0/s ]; do sleep 0.01; done; env -u LD_PRELOAD sh -c \"redis-cli -s $0/s eval \\\"{LUA}\\\" 0; "
              f"redis-cli -s $0/s shutdown nosave\"; wait"],
}


def run(program, mode):
    """Processor seconds and peak KiB of one run."""
    env = dict(os.environ, PYTHONMALLOC="malloc")
    env.pop("LD_PRELOAD", None)
    argv = list(PROGRAMS[program])
    if mode:
        env["SALVAGE"] = mode
        argv = ["env", f"LD_PRELOAD={LIB}", *argv]
    with tempfile.TemporaryDirectory() as place:
        child = subprocess.Popen([*argv, place] if argv[-3:-2] == ["sh"] else argv, env=env,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = status
    if status != 0:
        sys.exit(f"{program} under {mode or 'glibc'}: status {status}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=5)
    parser.add_argument("-m", action="append")
    parser.add_argument("programs", nargs="*")
    args = parser.parse_args()
    modes = args.m or ["mode=leaks", "sample=512K"]
    programs = args.programs or list(PROGRAMS)
    time = {}
    memory = {}
    base = {}
    for _ in range(args.n):
        for program in programs:
            t0, m0 = run(program, None)
            base.setdefault(program, []).append((t0, m0))
            for mode in modes:
                t, m = run(program, mode)
                time.setdefault((program, mode), []).append(t / t0)
                memory.setdefault((program, mode), []).append(m / m0)
    for mode in modes:
        print(f"{mode}: CPU, memory against glibc")
        for program in programs:
            t0, m0 = (statistics.median(column) for column in zip(*base[program]))
            print(f"  {program:8} {statistics.median(time[program, mode]):.3f} "
                  f"{statistics.median(memory[program, mode]):.2f}   ({t0:.2f} s, {m0 / 1024:.0f} MiB)")
        for name, what in (("CPU", time), ("memory", memory)):
            mean = statistics.geometric_mean(statistics.median(what[p, mode]) for p in programs)
            print(f"  {name} geomean {mean:.3f}")


main()
