#!/usr/bin/env bash
# `make demo`: jq 1.6, unmodified, on an input on which it loses about a hundred bytes a line for
# ever; once on glibc's malloc, once under Salvage. LINES_N sets the number of lines (2,000,000).
# Then the same jq on a thousand of these lines, by `salvage leaks`: which function of libjq it was.
set -eu
cd "$(dirname "$0")/.."
build=$PWD/${BUILD:-build}
lib=$build/libsalvage.so
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

# ---- the second act: what was lost, and who allocated it ----------------------------------------

yes '{"a":["bbbbbbbbbbbbbbbbbbb"]}' 2>/dev/null | head -n 1000 >"$work/in.json" || :
jq -c "$filter" "$work/in.json" >"$work/plain.out"
echo
echo "    salvage leaks -- jq -c '$filter' (1000 of these lines)"
echo
"$build/salvage" leaks --format raw --output "$work/leaks.raw" -- \
    jq -c "$filter" "$work/in.json" >"$work/leaks.out"
"$build/salvage" report "$work/leaks.raw" >"$work/report" || [ $? -eq 23 ]
"$build/salvage" report --format html --output "$build/demo.html" "$work/leaks.raw" || [ $? -eq 23 ]
sed 's/^/    /' "$work/report"
echo
if ! cmp -s "$work/plain.out" "$work/leaks.out"; then
    echo "The outputs differ: this is a bug in Salvage." >&2
    exit 1
fi
named=$(sed -n 's/^ *#[0-9]* 0x[0-9a-f]* in \(jv_[a-z_]*\) (.*libjq.*/\1/p' "$work/report" |
    grep -vx jv_mem_alloc | head -n 1)
if [ -z "$named" ] || ! grep -q 'Direct leak of 24000 byte(s) in 1000 object(s)' "$work/report"; then
    echo "The report should have 1000 objects of 24 bytes each: this is a bug in Salvage." >&2
    exit 1
fi
echo "So $named, in libjq, allocated what nobody freed: an error message for every line, that" \
    "nobody asked for. The same as a page: ${build#"$PWD"/}/demo.html"
