#!/usr/bin/env bash
# python3's own tests of json, re, threading, sqlite3, subprocess and multiprocessing by fork.
. "$(dirname "$0")/lib.sh"
need=(python3 libpython3.11-testsuite)
opts=stress=4096,checkmark=1,clobber=1
limit=900

# Durations, the machine's load, and the random seed of regrtest.
normal() {
    sed -E -e 's/^[0-9:]+ (load avg: [0-9.]+ )?//' -e 's/ passed in .*/ passed/' \
        -e 's/[0-9.]+ (ms|sec|min)/TIME/g' -e '/^Using random seed/d' -e '/slowest tests/,$d'
}

job() {
    under python3 -m test -W --timeout 600 -u all,-cpu,-network,-largefile \
        test_json test_re test_threading test_sqlite3 test_subprocess test_multiprocessing_fork
}

program_run "$@"
