#!/bin/sh
# The headers of Boehm's face: each compiles alone and twice, in C and C++, by gcc and clang, with
# every warning an error; two programs use all of them, in the oldest and in newer languages; and
# they declare what Debian's declare (headers/prototypes.py), and all that its library exports.
# Without Debian's libgc-dev that part is left out, with a line. Needs no library of ours.
# Usage: headers.sh [folder of our headers]
set -u
here=$(cd "$(dirname "$0")" && pwd)
ours=${1:-$here/../../preload/include}
reference=${GC_REFERENCE:-/usr/include}
. "$here/check.sh"

strict="-Wall -Wextra -Wpedantic -Wshadow -Werror -fsyntax-only"
plain="-Wall -Wextra -Wno-unused-parameter -Werror -fsyntax-only"
threads="-DGC_THREADS -D_GNU_SOURCE"
names="-DGC_INCLUDE_NEW -DGC_NAMESPACE -DGC_ATOMIC_UNCOLLECTABLE"

# A compiler and a language a line; compilers that aren't there are named.
languages() { # c | c++
    if [ "$1" = c ]; then
        printf '%s\n' "gcc -std=c89" "gcc -std=gnu17" "clang -std=c99" "clang -std=gnu17"
    else
        printf '%s\n' "g++ -std=c++98" "g++ -std=c++20" "clang++ -std=c++98" "clang++ -std=c++17"
    fi | while read -r compiler standard; do
        command -v "$compiler" >/dev/null && echo "$compiler $standard"
    done
}
for compiler in gcc g++ clang clang++; do
    command -v "$compiler" >/dev/null || echo "left out: $compiler isn't installed"
done

for header in $(cd "$ours" && echo gc.h gc_cpp.h gc/*.h); do
    printf '#include <%s>\n#include <%s>\nextern int nothing;\n' "$header" "$header" \
        >"$folder/alone.c"
    cp "$folder/alone.c" "$folder/alone.c++"
    for language in c c++; do
        case $language,$header in c,*cpp.h | c,*allocator.h) continue ;; esac
        languages $language >"$folder/languages"
        while read -r compiler; do
            for options in "" "$threads" "-DGC_DEBUG $threads" "-DGC_BUILD"; do
                # shellcheck disable=SC2086
                check "$header alone: $compiler $options" \
                    $compiler $strict $options -I"$ours" "$folder/alone.$language"
            done
        done <"$folder/languages"
    done
done

# use INCLUDE...: both programs with the headers that the options find.
use() {
    languages c >"$folder/languages"
    while read -r compiler; do
        for options in "" "$threads" "-DGC_DEBUG" "-DGC_DEBUG $threads"; do
            # shellcheck disable=SC2086
            check "use.c: $compiler $options $*" $compiler $plain $options "$@" "$here/headers/use.c"
        done
    done <"$folder/languages"
    languages c++ >"$folder/languages"
    while read -r compiler; do
        for options in "" "-DGC_DEBUG" "$names"; do
            # shellcheck disable=SC2086
            check "use.cc: $compiler $options $*" $compiler $plain $options "$@" "$here/headers/use.cc"
        done
    done <"$folder/languages"
}
use -I"$ours"

# Debian's own, unless an installation of ours took its place.
if ! grep -q Xerox "$reference/gc/gc.h" 2>/dev/null; then
    echo "left out: no headers of bdwgc in $reference (Debian: libgc-dev) to compare with"
else
    use
    if command -v clang >/dev/null && command -v python3 >/dev/null; then
        check "declarations as in $reference" "$here/headers/prototypes.py" "$reference" "$ours"
    else
        echo "left out: comparing declarations needs clang and python3"
    fi
fi
library=${GC_REFERENCE_LIBRARY:-$(gcc -print-file-name=libgc.so.1)}
if nm -D --defined-only "$library" 2>/dev/null | awk '$3 ~ /^GC_/ { print $3 }' >"$folder/names" &&
    [ -s "$folder/names" ]; then
    cat "$ours"/gc/*.h "$here/../../preload/boehm/unlisted.h" |
        grep -o 'GC_[A-Za-z0-9_]*' | sort -u >"$folder/declared"
    sort "$folder/names" | comm -23 - "$folder/declared" >"$folder/missing"
    sed 's/.*/`&`/' "$folder/names" | while read -r name; do
        grep -qF "$name" "$here/../../docs/boehm.md" || echo "$name"
    done >"$folder/undocumented"
    check "in docs/boehm.md: all that $library exports" sh -c '! grep . "$1"' - \
        "$folder/undocumented"
    check "declared: all that $library exports" sh -c '! grep . "$1"' - "$folder/missing"
else
    echo "left out: no libgc.so.1 of bdwgc whose exports could be looked up"
fi

counts
