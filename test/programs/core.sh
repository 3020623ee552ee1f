#!/usr/bin/env bash
# The programs that `make test` runs: under three minutes with a collection every 64 slow
# allocations. Environment: LIB, OPTS, ONLY, KEEP as lib.sh tells. The last line holds the counts.
. "$(dirname "$0")/lib.sh"

suite_run "$PROGRAMS_DIR" "$PROGRAMS_DIR/packages-core.txt" python perl bash jq sqlite tcl git gcc \
    xz sort
