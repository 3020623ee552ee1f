#!/usr/bin/env bash
# zstd with two threads: several levels, long matches, a dictionary, test, and a damaged file.
. "$(dirname "$0")/lib.sh"
need=(zstd)

job() {
    local i
    lines_make 150000 >data
    under zstd -q -T2 -3 -B256K data -o data.zst
    sha256sum <data.zst
    under zstd -q -T2 -t data.zst
    under zstd -q -dc data.zst | cmp - data
    under zstd -q -T2 -12 --long=20 -c data | under zstd -q -dc | sha256sum
    mkdir parts
    split -l 100 data parts/part
    under zstd -q --train parts/* -o dictionary --maxdict=16K
    sha256sum <dictionary
    for i in parts/parta[a-e]; do
        under zstd -q -D dictionary -c "$i" | under zstd -q -D dictionary -dc | cmp - "$i"
    done
    head -c 100000 data.zst >short.zst
    under zstd -q -dc short.zst | sha256sum || :
}

program_run "$@"
