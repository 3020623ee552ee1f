#!/usr/bin/env bash
# Every program of the suite, the core ones first. Environment: LIB, OPTS, ONLY, KEEP as lib.sh
# tells. The last line holds the counts.
. "$(dirname "$0")/lib.sh"

suite_run "$PROGRAMS_DIR" "$PROGRAMS_DIR/packages-all.txt" python perl bash jq sqlite tcl git gcc \
    xz sort python-suite python-multiprocessing python-malloc ruby lua g++ node java zstd vim tmux \
    gdb gs ffmpeg redis nginx memcached postgres
