#!/usr/bin/env bash
# `make bench`: Salvage beside Debian's other mallocs; prints Markdown.
#
# Builds the helpers of this folder into $BUILD/bench, generates the inputs, and starts bench.py.
#   LIB           the library to measure (build/libsalvage.so; left out, and named, when missing)
#   BENCH_ROUNDS  rounds of each measurement, peers interleaved within a round (7)
#   BENCH_ONLY    sections (instructions loops programs true server), rows ("mix jq"), or both
#                 ("loops mix"); all if unset
# It installs nothing: what is missing is named and left out. The packages are in packages.txt.
set -eu
cd "$(dirname "$0")/../.."
export PATH=/usr/bin:/bin BUILD=${BUILD:-build}
export LIB=${LIB:-$BUILD/libsalvage.so}
flags="-std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra"
mkdir -p "$BUILD/bench"
for name in micro leakserver; do
    # shellcheck disable=SC2086
    ${CC:-gcc} $flags -pthread "test/bench/$name.c" -lm -o "$BUILD/bench/$name"
done
# shellcheck disable=SC2086
${CC:-gcc} $flags -static test/bench/measure.c -o "$BUILD/bench/measure"
python3 test/bench/generate.py "$BUILD/bench/data"
exec python3 test/bench/bench.py
