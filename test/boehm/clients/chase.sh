#!/usr/bin/env bash
# chase: what symbolic links lead to, chains, loops, what is missing.
. "$(dirname "$0")/lib.sh"
need=(chase)
client=/usr/bin/chase

job() {
    echo x >file
    ln -s file link0
    for i in $(seq 1 100); do ln -s "link$((i - 1))" "link$i"; done
    ln -s loop2 loop1
    ln -s loop1 loop2
    for i in 0 7 50 100; do under chase "link$i"; done
    under chase --verbose link9
    under chase loop1 || :
    under chase missing /bin || :
}

program_run "$@"
