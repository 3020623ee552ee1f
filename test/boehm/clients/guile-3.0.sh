#!/usr/bin/env bash
# guile 3.0: guardians, weak tables, threads, par-map, collections in a loop, ports, bignums.
. "$(dirname "$0")/lib.sh"
need=(guile-3.0)
client=/usr/lib/x86_64-linux-gnu/libguile-3.0.so.1
opts=stress=1024,checkmark=1,clobber=1

# Where something lies in memory.
normal() { sed 's/\<[1-7][0-9a-f]\{11\}\>/ADDRESS/g'; }

job() {
    export GUILE_AUTO_COMPILE=0
    cp "$PROGRAMS_DIR/../boehm/clients/job.scm" .
    under guile-3.0 job.scm || :
    under guile-3.0 -c '(use-modules (system base compile))
        (compile-file "job.scm" #:output-file "job.go")'
    under guile-3.0 -c '(load-compiled (string-append (getcwd) "/job.go"))' || :
}

program_run "$@"
