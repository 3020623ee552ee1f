#!/usr/bin/env bash
# Every name in symbols.txt is exported by our libgc.so.1 or libgccpp.so.1, functions as functions;
# a program that refers to all of them links, and starts with LD_BIND_NOW=1. The last line holds the
# counts: what the clients need is one test, all names are one, the program one.
# Usage: test/boehm/symbols.sh     Environment: DIR (build)
set -u
cd "$(dirname "$0")/../.."
DIR=$(realpath -m "${DIR:-build}")
LIST=test/boehm/symbols.txt
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0
failed=0

result() { # name, file with what is wrong
    if [ ! -s "$2" ]; then
        passed=$((passed + 1))
        echo "ok   $1"
    else
        failed=$((failed + 1))
        echo "FAIL $1: $(wc -l <"$2")"
        sed 's/^/    /' "$2" | head -300
    fi
}

for lib in libgc libgccpp; do
    nm -D --defined-only "$DIR/$lib.so.1" 2>>"$tmp/errors" |
        awk -v lib=$lib '{ sub(/@.*/, "", $3)
                           print lib, ($2 ~ /[TWi]/ ? "function" : "data"), $3 }'
done | sort -u >"$tmp/ours"

# A data symbol may be a function here as little as the other way round: programs call or read them.
missing() { # lines of the list
    awk '!/^#/ { print $1, $2, $4 }' | sort -u | comm -23 - "$tmp/ours"
}

grep ' client ' $LIST | missing >"$tmp/clients"
result "names that clients import: $(grep -c ' client ' $LIST)" "$tmp/clients"
missing <$LIST >"$tmp/all"
result "names that Debian's library exports: $(grep -vc '^#' $LIST)" "$tmp/all"

{
    echo '#include <stdio.h>'
    awk '!/^#/ { printf "extern char s%d[] __asm__(\"%s\");\n", NR, $4 }' $LIST
    echo 'static char *const all[] = {'
    awk '!/^#/ { printf "s%d,\n", NR }' $LIST
    echo '};'
    echo 'int main(void)'
    echo '{'
    echo '    unsigned long n = 0;'
    echo '    for (unsigned long i = 0; i < sizeof all / sizeof *all; i++)'
    echo '        n += *(char *const volatile *)&all[i] != 0;'
    echo '    printf("%lu\n", n);'
    echo '}'
} >"$tmp/all.c"
: >"$tmp/program"
if gcc -fPIE -pie -Wl,-z,now -o "$tmp/all" "$tmp/all.c" "$DIR/libgccpp.so.1" "$DIR/libgc.so.1" \
    2>"$tmp/link"; then
    said=$(LD_LIBRARY_PATH=$DIR LD_BIND_NOW=1 "$tmp/all" 2>&1)
    [ "$said" = "$(grep -vc '^#' $LIST)" ] || echo "said: $said" >"$tmp/program"
else
    sed -n "s/.*undefined reference to /undefined: /p" "$tmp/link" | sort -u >"$tmp/program"
    [ -s "$tmp/program" ] || cp "$tmp/link" "$tmp/program"
fi
result "a program that refers to all" "$tmp/program"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
