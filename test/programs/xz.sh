#!/usr/bin/env bash
# xz with two threads: compress in blocks, test, decompress, and refuse a damaged file.
. "$(dirname "$0")/lib.sh"
need=(xz-utils)

job() {
    lines_make 120000 >data
    under xz -T2 -2 --block-size=512KiB -k data
    sha256sum <data.xz
    under xz -T2 -tv data.xz 2>/dev/null
    under xz -l --robot data.xz
    under xz -T2 -dc data.xz | sha256sum
    under xz -T2 -e --block-size=1MiB -c data | under xz -T2 -dc | cmp - data
    head -c 100000 data.xz >short.xz
    under xz -T2 -dc short.xz | sha256sum || :
    under xz -T1 --format=lzma -1 -c data | under xz -dc | sha256sum
}

program_run "$@"
