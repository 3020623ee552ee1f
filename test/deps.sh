#!/usr/bin/env bash
# Installs the Debian packages that the named groups need, and says which. With all of them there,
# it asks dpkg only: no network, no root.
# Usage: test/deps.sh GROUP...    groups: build test leaks boehm clients demo bench programs lint
set -eu

declare -A group=(
    [build]="gcc g++ libc6-dev make binutils libjemalloc-dev libncurses-dev
             libdw-dev libiberty-dev libjansson-dev libprotobuf-c-dev protobuf-c-compiler
             zlib1g-dev libxml2-dev"
    [test]="libcriterion-dev python3 perl jq sqlite3 tcl git xz-utils
             python3-jsonschema libxml2-utils golang-go"
    [leaks]="clang valgrind chromium liblsan0 jq git binutils gdb tmux gawk perl tcl lua5.4 sqlite3 vim
             redis-server redis-tools guile-3.0 nodejs python3"
    [demo]="jq time"
    [bench]="jq time python3"
    [boehm]="libgc-dev clang pkgconf"
    [clients]="libgc-dev"
    [programs]="python3 perl jq sqlite3 tcl git xz-utils"
    [lint]="clang clang-format clang-tidy cppcheck"
)
# What the suites of real programs name themselves, a package a word, # for comments.
declare -A list=(
    [test]=test/programs/packages-core.txt
    [programs]=test/programs/packages-all.txt
    [boehm]=test/boehm/packages-core.txt
    [clients]=test/boehm/packages-all.txt
    [bench]=test/bench/packages.txt
)

cd "$(dirname "$0")/.."
missing=()
for g in "$@"; do
    [ -n "${group[$g]:-}" ] || { echo "deps.sh: no group $g: ${!group[*]}" >&2; exit 2; }
    extra=${list[$g]:-}
    for p in ${group[$g]} $(test -z "$extra" || test ! -f "$extra" || sed 's/#.*//' "$extra"); do
        status=$(dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null || true)
        case "$status" in
        *installed*) [ "$status" != not-installed ] || missing+=("$p") ;;
        *) missing+=("$p") ;;
        esac
    done
done
[ ${#missing[@]} -gt 0 ] || exit 0

mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
echo "deps.sh: installing ${missing[*]}"
sudo=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "deps.sh: needs root or sudo" >&2; exit 1; }
    sudo=(sudo)
fi
apt() {
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 "$@"
}
# The package lists may be absent, or so old that a version is gone: then fetched once.
apt install --no-install-recommends "${missing[@]}" >/dev/null 2>&1 && exit 0
apt update
apt install --no-install-recommends "${missing[@]}" >/dev/null
