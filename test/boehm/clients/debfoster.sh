#!/usr/bin/env bash
# debfoster: what depends on what among the installed packages, asked without changing anything.
. "$(dirname "$0")/lib.sh"
need=(debfoster)
client=/usr/bin/debfoster

job() {
    under debfoster -k keepers -q -i </dev/null
    sort keepers | head -40
    under debfoster -k keepers -s libgc1 || :
    under debfoster -k keepers -d ecl neko || :
    # in the order of where the names lie in memory
    under debfoster -k keepers -e libc6 | tr -s ' \n' '\n' | sort | sha256sum
}

program_run "$@"
