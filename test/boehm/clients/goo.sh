#!/usr/bin/env bash
# goo: lists, functions and generic functions at its prompt.
. "$(dirname "$0")/lib.sh"
need=(goo)
client=/usr/bin/g2c

job() {
    cat >job.goo <<'GOO'
(df fib (n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))
(fib 18)
(map fib (range-by 0 < 10 (fun (x) (+ x 1))))
(def l (tabulate 1000 (fun (i) (* i i))))
(fold+ + l)
(cat "abc" "def")
GOO
    under goo <job.goo
}

program_run "$@"
