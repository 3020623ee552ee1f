#!/usr/bin/env bash
# `make demo`: jq 1.6, unmodified, on an input on which it loses about a hundred bytes a line for
# ever; once on glibc's malloc, once under Salvage. LINES_N sets the number of lines (2,000,000).
set -eu
cd "$(dirname "$0")/.."
lib=$PWD/${BUILD:-build}/libsalvage.so
lines=${LINES_N:-2000000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
filter='.a|ltrimstr("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")'

# Runs jq under the environment given; prints "SECONDS KIB", keeps a checksum of the output.
run() {
    local name=$1
    shift
    yes '{"a":["bbbbbbbbbbbbbbbbbbb"]}' 2>/dev/null | head -n "$lines" |
        env TIME='%e %M' "$@" /usr/bin/time -o "$work/$name.time" jq -c "$filter" |
        cksum >"$work/$name.sum"
}

echo "jq $(jq --version | sed 's/^jq-//') on $lines lines of {\"a\":[\"bbbbbbbbbbbbbbbbbbb\"]}:"
echo "    jq -c '$filter'"
echo
run glibc LD_PRELOAD=
read -r glibc_s glibc_k <"$work/glibc.time"
printf '%-28s %8s s   peak %8d KiB\n' "glibc's malloc" "$glibc_s" "$glibc_k"
# /usr/bin/time is started under the library too; only jq's cycles are in jq's own log
run salvage LD_PRELOAD="$lib" SALVAGE="gctrace=1,log=$work/log.%p"
read -r salvage_s salvage_k <"$work/salvage.time"
printf '%-28s %8s s   peak %8d KiB\n' "LD_PRELOAD=libsalvage.so" "$salvage_s" "$salvage_k"
echo
log=$(grep -lE '^gc [0-9]' "$work"/log.* | head -n 1)
cycles=$(grep -cE '^gc [0-9]+ @' "$log")
reclaimed=$(sed -n 's/.* ms cpu, \([0-9]*\)->[0-9]*->\([0-9]*\) MB.*/\1 \2/p' "$log" |
    awk '{ sum += $1 - $2 } END { print sum + 0 }')
echo "Salvage took back about $reclaimed MB of what jq lost, in $cycles collections." \
    "The last one said:"
tail -n 1 "$log" | sed 's/^/    /'
echo
if cmp -s "$work/glibc.sum" "$work/salvage.sum"; then
    echo "The outputs are identical ($(cut -d' ' -f2 "$work/glibc.sum") bytes)."
else
    echo "The outputs differ: this is a bug in Salvage." >&2
    exit 1
fi
if [ "$salvage_k" -ge 24576 ]; then
    echo "The peak under Salvage is above 24 MiB: this is a bug in Salvage." >&2
    exit 1
fi
