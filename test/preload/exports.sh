#!/bin/sh
# What build/libsalvage.so shows to the programs it lives in: exactly the symbols of exports.txt, of
# the same types, and no library needed but libc (libm, libpthread and the like would be loaded into
# every program). Needs no preload; reads the file. Usage: exports.sh [library]
set -u
unset LD_PRELOAD
here=$(cd "$(dirname "$0")" && pwd)
library=${1:-${BUILD:-$here/../../build}/libsalvage.so}
passed=0 failed=0

check() { # check NAME COMMAND...: passes when the command succeeds
    name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: $name"
    fi
}

finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT

check "$library exists" test -r "$library"
[ "$failed" -eq 0 ] || finish

# Versions are cut off; comments and blank lines of the list are not symbols.
nm -D --defined-only "$library" | awk '{ sub(/@.*/, "", $3); print $3 }' | sort -u >"$folder/found"
sed 's/#.*//; s/[[:space:]]*$//; /^$/d' "$here/exports.txt" | sort -u >"$folder/expected"
comm -23 "$folder/found" "$folder/expected" >"$folder/extra"
comm -13 "$folder/found" "$folder/expected" >"$folder/missing"
check "not in exports.txt: $(tr '\n' ' ' <"$folder/extra")" test ! -s "$folder/extra"
check "not exported: $(tr '\n' ' ' <"$folder/missing")" test ! -s "$folder/missing"

# Functions only: a data symbol would be copied into programs that name it. Boehm's are part of that
# interface, and salvage_first is for libraries of ours alone.
nm -D --defined-only "$library" |
    awk '$2 !~ /^[TW]$/ && $3 !~ /^GC_/ && $3 != "salvage_first" { print $3 }' >"$folder/data"
check "not functions: $(tr '\n' ' ' <"$folder/data")" test ! -s "$folder/data"

needed=$(readelf -dW "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | tr '\n' ' ')
needed=$(echo $needed | sed "s/ *ld-linux-x86-64.so.2//") # always there
check "needs $needed" test "$needed" = libc.so.6

# A library that is loaded first into everything: no text relocations, no executable stack, no
# run path, and its whole table of addresses read-only once it is loaded.
check "text relocations" sh -c '! readelf -dW "$1" | grep -q TEXTREL' - "$library"
check "a run path" sh -c '! readelf -dW "$1" | grep -Eq "R(UN)?PATH"' - "$library"
check "an executable stack" sh -c '
    readelf -lW "$1" | grep GNU_STACK | grep -qv " RWE "' - "$library"
# Nearly all of it is the private jemalloc's. Programs that load many libraries late share what
# little room there is for static TLS, so it must not grow unnoticed.
check "static TLS of more than 3072 bytes" sh -c '
    size=$(readelf -lW "$1" | awk "\$1 == \"TLS\" { print \$6 }")
    [ $((${size:-0})) -le 3072 ]' - "$library"
finish
