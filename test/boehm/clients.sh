#!/usr/bin/env bash
# Programs of the distribution that use Boehm's collector, on Debian's libgc and on ours. The last
# line holds the counts.
# Usage: test/boehm/clients.sh core | all | NAME...
#   core   those that are quick: what `make test` runs
# Environment: DIR, OPTS, KEEP as clients/lib.sh tells
set -u
cd "$(dirname "$0")/clients"
CORE=(w3m guile-3.0 mmv ecl neko)
MORE=(guile-2.2 chase debfoster parser3 poke goo fauhdlc stalin libhomfly asymptote nix crystal
    macaulay2 lilypond inkscape)

case ${1:-all} in
core) names=("${CORE[@]}") ;;
all) names=("${CORE[@]}" "${MORE[@]}") ;;
*) names=("$@") ;;
esac
passed=0
failed=0
skipped=0
for name in "${names[@]}"; do
    status=0
    for package in $(bash "./$name.sh" need); do
        grep -qxF "$package" ../packages-all.txt ||
            { echo "FAIL $name: its package $package isn't in packages-all.txt"; status=1; }
    done
    [ $status = 0 ] || { failed=$((failed + 1)); continue; }
    bash "./$name.sh" || status=$?
    case $status in
    0) passed=$((passed + 1)) ;;
    77) skipped=$((skipped + 1)) ;;
    *) failed=$((failed + 1)) ;;
    esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
