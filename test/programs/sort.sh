#!/usr/bin/env bash
# sort with threads: in memory, through temporary files, by keys, unique, merge and check.
. "$(dirname "$0")/lib.sh"
need=(coreutils)

job() {
    lines_make 150000 >data
    under sort --parallel=4 data | sha256sum
    under sort --parallel=4 -S 2M -T "$TMPDIR" data | sha256sum
    under sort --parallel=2 -k2,2 -k1,1nr data | sha256sum
    under sort --parallel=2 -n -r -s data | sha256sum
    LC_ALL=C under sort --parallel=2 -u -k2,2 data | sed -n 1,3p
    under sort --parallel=2 data -o sorted
    under sort -c sorted
    under sort -m sorted sorted | sha256sum
    under sort -c data || :
    under sort no-such-file || :
}

program_run "$@"
