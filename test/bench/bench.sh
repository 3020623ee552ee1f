#!/usr/bin/env bash
# `make bench`: Salvage beside Debian's other mallocs, and beside other collectors; prints Markdown.
#
# Builds the helpers of this folder into $BUILD/bench, generates the inputs, and starts bench.py.
#   LIB           the library to measure (build/libsalvage.so; left out, and named, when missing)
#   BENCH_ROUNDS  rounds of each measurement, peers interleaved within a round (7; of collectors 3,
#                 and 1 with a heap of a gigabyte)
#   BENCH_ONLY    sections (instructions loops programs cost true server collect), rows ("mix jq"),
#                 or both ("loops mix", "collect:graph collect:drop"); all if unset
# Options of the collectors' half stand in collect.py. It installs nothing: what is missing is named
# and left out. The packages are in packages.txt.
set -eu
cd "$(dirname "$0")/../.."
export PATH=/usr/bin:/bin BUILD=${BUILD:-build}
export LIB=${LIB:-$BUILD/libsalvage.so}
out=$BUILD/bench
flags="-std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra"
mkdir -p "$out"
for name in micro leakserver; do
    # shellcheck disable=SC2086
    ${CC:-gcc} $flags -pthread "test/bench/$name.c" -lm -o "$out/$name"
done
# shellcheck disable=SC2086
${CC:-gcc} $flags -static test/bench/measure.c -o "$out/measure"

# A peer that isn't installed must not be found from an earlier day.
rm -f "$out"/*-gc "$out/peers"
for source in test/bench/collect/*.c; do
    name=$(basename "$source" .c)
    # shellcheck disable=SC2086
    ${CC:-gcc} $flags -Ipreload/include -pthread "$source" -o "$out/$name"
    if [ -e /usr/include/gc.h ]; then
        # shellcheck disable=SC2086
        ${CC:-gcc} $flags -DBENCH_GC -pthread "$source" -lgc -o "$out/$name-gc"
    fi
done
if command -v go >/dev/null; then
    GO111MODULE=off GOCACHE=$(realpath "$out")/gocache \
        go build -o "$out/peers" test/bench/collect/peers.go
fi
python3 test/bench/generate.py "$out/data"
exec python3 -B test/bench/bench.py
