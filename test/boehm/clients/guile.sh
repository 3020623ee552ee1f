# What guile's versions share: guardians, weak tables, threads, par-map, collections in a loop,
# ports, bignums; interpreted, compiled, and from what was compiled. Sourced, with `guile` set.
. "$(dirname "$0")/lib.sh"
need=("$guile")
client=/usr/lib/x86_64-linux-gnu/lib$guile.so.1
opts=stress=1024,checkmark=1,clobber=1

# Where something lies in memory.
normal() { sed 's/\<[1-7][0-9a-f]\{11\}\>/ADDRESS/g'; }

job() {
    export GUILE_AUTO_COMPILE=0
    cp "$PROGRAMS_DIR/../boehm/clients/job.scm" .
    under "$guile" job.scm || :
    under "$guile" -c '(use-modules (system base compile))
        (compile-file "job.scm" #:output-file "job.go")'
    under "$guile" -c '(load-compiled (string-append (getcwd) "/job.go"))' || :
}

program_run "$@"
