#!/bin/sh
# What `make install` gives: a program for Boehm's collector finds headers and libraries by
# pkg-config bdw-gc, by -lgc and by -lgccpp, and runs. Installs into a folder of its own.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/check.sh"

root=$folder/root
export PKG_CONFIG_LIBDIR="$root/lib/pkgconfig"
check "make install" make -s -C "$here/../.." install PREFIX="$root" DESTDIR=
check "version" sh -c '[ "$(pkg-config --modversion bdw-gc)" = 8.2.2 ]'
flags=$(pkg-config --cflags --libs bdw-gc)
for library in libgc libgccpp; do
    check "$library.so leads to $library.so.1" test -e "$root/lib/$library.so"
    check "$library.so.1 says so" sh -c 'readelf -d "$1" | grep -q "SONAME.*\[$2.so.1\]"' - \
        "$root/lib/$library.so.1" "$library"
done
# shellcheck disable=SC2086 # words on purpose
{
    check "C by pkg-config" gcc -DGC_THREADS -D_GNU_SOURCE -o "$folder/c" \
        "$here/headers/use.c" $flags
    check "C++ by pkg-config" g++ -o "$folder/c++" "$here/headers/use.cc" -lgccpp $flags
    check "operators" g++ -o "$folder/operators" "$here/headers/operators.cc" -lgccpp $flags
}
for program in c c++ operators; do
    check "$program names the libraries" sh -c 'readelf -d "$1" | grep -q "NEEDED.*libgc.so.1"' - \
        "$folder/$program"
    check "$program runs" env LD_LIBRARY_PATH="$root/lib" "$folder/$program"
done

counts
