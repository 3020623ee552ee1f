#!/usr/bin/env bash
# Programs of the distribution that use Boehm's collector, on Debian's libgc and on ours. The last
# line holds the counts.
# Usage: test/boehm/clients.sh core | all | NAME...
#   core   those that are quick: what `make test` runs
# Environment: DIR, OPTS, KEEP as clients/lib.sh tells
set -u
FOLDER=$(cd "$(dirname "$0")/clients" && pwd)
. "$FOLDER/../../programs/lib.sh"
CORE=(w3m guile-3.0 mmv ecl neko)
MORE=(guile-2.2 chase debfoster parser3 poke goo fauhdlc stalin libhomfly asymptote nix crystal
    macaulay2 lilypond inkscape)

case ${1:-all} in
core) names=("${CORE[@]}") ;;
all) names=("${CORE[@]}" "${MORE[@]}") ;;
*) names=("$@") ;;
esac
suite_run "$FOLDER" "$FOLDER/../packages-all.txt" "${names[@]}"
