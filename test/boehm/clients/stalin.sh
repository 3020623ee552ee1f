#!/usr/bin/env bash
# stalin: a Scheme program compiled to C and run; the compiler, and what it makes, collect.
. "$(dirname "$0")/lib.sh"
need=(stalin gcc libc6-dev libgc-dev)
client=/usr/lib/stalin/stalin
opts=stress=256,checkmark=1,clobber=1
limit=600

job() {
    cat >job.sc <<'SC'
(define (fib n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))
(define (tree d) (if (= d 0) '() (cons (tree (- d 1)) (tree (- d 1)))))
(define (count t) (if (null? t) 1 (+ (count (car t)) (count (cdr t)))))
(display (fib 20)) (newline)
(display (count (tree 12))) (newline)
(display (map (lambda (x) (* x x)) '(1 2 3))) (newline)
(let loop ((i 0)) (if (< i 30) (begin (count (tree 12)) (loop (+ i 1)))))
(display "done") (newline)
SC
    under stalin -On -c job 2>&1
    sha256sum job.c
    under stalin -On job 2>&1
    under ./job
}

program_run "$@"
