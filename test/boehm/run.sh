#!/usr/bin/env bash
# Runs the conformance programs of this folder: compiled once, against Debian's headers when
# libgc-dev is there and against ours otherwise, each runs on Debian's libgc and on ours, by itself,
# with collections forced, and with the whole of the library preloaded. What they print is compared
# with answers/NAME.txt, line by line, and so with each other. The last line holds the counts: a
# program on a library is one.
# Usage: test/boehm/run.sh [NAME...]     all without a name
#        test/boehm/run.sh record [NAME...]  writes answers/NAME.txt from Debian's library
# Environment: DIR (build), where libgc.so.1 and libsalvage.so are; LIMIT, seconds a program may
# take on a library (300)
# A source may say `// OURS` (nothing to compare with: only on ours), `// ALONE` (nothing preloaded),
# `// CFLAGS: ...`.
set -u
cd "$(dirname "$0")/../.."
DIR=$(realpath -m "${DIR:-build}")
LIMIT=${LIMIT:-300}
FORCED=stress=64,checkmark=1,clobber=1
HERE=test/boehm
OUT=$DIR/test/boehm
passed=0
failed=0
mkdir -p "$OUT"

# Where Debian's library is; nothing when it isn't installed.
theirs() {
    local path
    for path in /usr/lib/x86_64-linux-gnu/libgc.so.1 /lib/x86_64-linux-gnu/libgc.so.1; do
        [ -f "$path" ] && { echo "$path"; return; }
    done
}

# The headers and the library that programs are compiled and linked with.
link_flags() { # C++ or not
    local gccpp=
    [ "$1" != cc ] || gccpp=1
    if [ -f /usr/include/gc.h ]; then
        echo "${gccpp:+-lgccpp} -lgc"
    else
        echo "-Ipreload/include ${gccpp:+$DIR/libgccpp.so.1} $DIR/libgc.so.1"
    fi
}

compile() { # name
    local source kind
    source=$(echo "$HERE/$1".c*)
    kind=${source##*.}
    # a library that the program opens by its own name
    [ ! -f "$HERE/$1.lib.c" ] ||
        gcc -std=gnu17 -O1 -g -Wall -shared -fPIC -o "$OUT/$1.lib.so" "$HERE/$1.lib.c" || return 1
    [ "$OUT/$1" -nt "$source" ] && [ "$OUT/$1" -nt $HERE/check.h ] && return 0
    # shellcheck disable=SC2046
    if [ "$kind" = cc ]; then
        g++ -std=gnu++17 -O1 -g -Wall -D_GNU_SOURCE -o "$OUT/$1" "$source" -pthread $(link_flags cc)
    else
        gcc -std=gnu17 -O1 -g -Wall -Wextra -Wno-deprecated-declarations -D_GNU_SOURCE \
            $(sed -n 's,^// CFLAGS: *,,p' "$source") -o "$OUT/$1" "$source" \
            -pthread -ldl $(link_flags c)
    fi
}

# One program on one library: its lines in $OUT/NAME.said.
say() { # name, command...
    local name=$1
    shift
    timeout -k 5 "$LIMIT" env -u SALVAGE -u LD_PRELOAD -u LD_LIBRARY_PATH "$@" \
        >"$OUT/$name.said" 2>"$OUT/$name.errors" </dev/null
}

judge() { # name, label, command...
    local name=$1 label=$2 status
    shift 2
    say "$name" "$@" "$OUT/$name"
    status=$?
    if [ $status = 0 ] && cmp -s "$HERE/answers/$name.txt" "$OUT/$name.said"; then
        passed=$((passed + 1))
        echo "ok   $name on $label: $(wc -l <"$OUT/$name.said")"
    else
        failed=$((failed + 1))
        echo "FAIL $name on $label (status $status)"
        diff "$HERE/answers/$name.txt" "$OUT/$name.said" | grep '^[<>]' | head -40 |
            sed "s/^</    should be/; s/^>/    is       /"
        head -c 2000 "$OUT/$name.errors" | sed 's/^/    | /'
    fi
}

program() { # name
    local name=$1
    if ! compile "$name"; then
        echo "FAIL $name: does not compile"
        failed=$((failed + 1))
        return
    fi
    if [ -n "$other" ] && ! grep -qx '// OURS' $HERE/"$name".c*; then
        judge "$name" "Debian's" env
    fi
    [ -n "$ours" ] || return
    judge "$name" ours env LD_LIBRARY_PATH="$DIR"
    judge "$name" "ours, forced" env LD_LIBRARY_PATH="$DIR" SALVAGE=$FORCED
    grep -qx '// ALONE' $HERE/"$name".c* ||
        judge "$name" "ours, preloaded" env LD_PRELOAD="$DIR/libsalvage.so" \
            LD_LIBRARY_PATH="$DIR"
}

record=
[ "${1:-}" != record ] || { record=1; shift; }
names=("$@")
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(grep -l '"check.h"' $HERE/*.c $HERE/*.cc |
    sed 's,.*/,,; s/\.cc*$//')
other=$(theirs)
ours=
if [ -n "$record" ]; then
    :
elif [ -f "$DIR/libgc.so.1" ] && nm -D "$DIR/libsalvage.so" | grep -q ' T GC_malloc$'; then
    ours=1
else # the loader would take Debian's instead
    echo "FAIL: there is no $DIR/libgc.so.1, or libsalvage.so is without GC_malloc"
    failed=1
fi
[ -n "$other" ] || echo "skip Debian's: libgc1 is not installed"
for name in "${names[@]}"; do
    if [ -n "$record" ]; then
        grep -qx '// OURS' $HERE/"$name".c* && continue
        compile "$name" && say "$name" "$OUT/$name"
        cp "$OUT/$name.said" $HERE/answers/"$name".txt
        cat "$OUT/$name.errors" >&2
    else
        program "$name"
    fi
done
[ -n "$record" ] || echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
