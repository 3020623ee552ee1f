#!/usr/bin/env bash
# python3 with every object from malloc (PYTHONMALLOC=malloc): its own tests of json, re, gc,
# weak references, dictionaries and lists, where most memory is small objects in cycles.
. "$(dirname "$0")/lib.sh"
need=(python3 libpython3.11-testsuite)
opts=stress=256,checkmark=1,clobber=1
limit=900

# Durations, the machine's load, and, when a failed test prints everything, what went well.
normal() {
    sed -E -e 's/^[0-9:]+ (load avg: [0-9.]+ )?//' \
        -e '/ passed in [0-9]/s/( --)? [a-z_]+ passed in.*//' \
        -e '/^$/d' -e '/\.\.\. (ok|skipped)/d' \
        -e 's/[0-9.]+ (min|sec|ms)( [0-9.]+ (sec|ms))?/TIME/g'
}

job() {
    PYTHONMALLOC=malloc under python3 -m test -W --timeout 600 \
        test_json test_re test_gc test_weakref test_dict test_list
}

program_run "$@"
