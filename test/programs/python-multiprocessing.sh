#!/usr/bin/env bash
# python3's own tests of multiprocessing by fork: pools, managers, queues, shared memory, listeners.
. "$(dirname "$0")/lib.sh"
need=(python3 libpython3.11-testsuite)
opts=stress=64,checkmark=1,clobber=1
limit=600

# Durations, the machine's load, and what Python's resource tracker prints, or not, depending on
# whether parent or child first takes a segment off its list.
normal() {
    sed -E -e 's/^[0-9:]+ (load avg: [0-9.]+ )?//' -e '/ passed in /d' \
        -e 's/[0-9.]+ (min|sec|ms)( [0-9.]+ (sec|ms))?/TIME/g' \
        -e "/^Traceback/ { N; N; N; /KeyError: '.psm_/d }"
}

# What is ignored sleeps for most of its time.
job() {
    under python3 -m test -W --timeout 300 -u all,-cpu,-network,-largefile \
        -i test_wait_timeout -i test_thread_safety -i test_wait_integer -i test_poll_eintr \
        -i test_boundaries -i test_map_no_failfast -i test_wait_result -i test_timeout \
        -i test_default_timeout -i test_resource_tracker -i 'test_resource_tracker_sig*' \
        -i test_issue14725 -i test_terminate -i test_kill -i test_strings -i test_rapid_restart \
        -i test_wait_slow -i test_wait_socket_slow \
        test_multiprocessing_fork
}

program_run "$@"
