#!/usr/bin/env bash
# python3's own tests of json, re, threading and subprocess. (Debian's package of them leaves those
# of sqlite3 out; python.sh goes through that module instead.)
. "$(dirname "$0")/lib.sh"
need=(python3 libpython3.11-testsuite)
opts=stress=64,checkmark=1,clobber=1
limit=600

# Durations, the machine's load, and, when a failed test prints everything, what went well.
normal() {
    sed -E -e 's/^[0-9:]+ (load avg: [0-9.]+ )?//' \
        -e '/ passed in [0-9]/s/( --)? [a-z_]+ passed in.*//' \
        -e '/^$/d' -e '/\.\.\. (ok|skipped)/d' \
        -e 's/[0-9.]+ (min|sec|ms)( [0-9.]+ (sec|ms))?/TIME/g'
}

# What is ignored sleeps for most of its time.
job() {
    under python3 -m test -W --timeout 300 -u all,-cpu,-network,-largefile \
        -i test_check_output_timeout -i test_communicate_repeated_call_after_stdout_close \
        -i test_communicate_timeout -i '*_dead' \
        test_json test_re test_threading test_subprocess
}

program_run "$@"
