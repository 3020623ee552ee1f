#!/usr/bin/env bash
# mmv: renames, copies, collisions, patterns that match nothing.
. "$(dirname "$0")/lib.sh"
need=(mmv)
client=/usr/bin/mmv

job() {
    for i in $(seq 1 300); do echo "$i" >"file$i.txt"; done
    under mmv 'file*.txt' 'renamed_#1.dat'
    under mmv -v 'renamed_1*.dat' 'one-#1.x'
    under mmv -n 'renamed_[2-5]?.dat' '#1-#2.y'
    under mmv -c '*.x' 'copy_#1' || :
    under mmv 'renamed_2*' same || :
    under mmv 'nothing*' 'b#1' || :
    find . -type f -exec sha256sum {} + | sort
}

program_run "$@"
