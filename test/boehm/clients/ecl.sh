#!/usr/bin/env bash
# ecl: finalizers, weak tables, threads, collections in a loop, bignums, text, objects.
. "$(dirname "$0")/lib.sh"
need=(ecl)
client=/usr/bin/ecl
opts=stress=128,checkmark=1,clobber=1

job() {
    cat >job.lisp <<'LISP'
(defun say (&rest things) (format t "~{~a~^ ~}~%" things))
(defun share (n total) (cond ((>= (* 5 n) (* 4 total)) 'most) ((<= (* 5 n) total) 'few) (t 'some)))
(defun clear (n) (if (= n 0) 0 (+ 1 (clear (- n 1)))))
(defun collect () (clear 500) (ext:gc t) (ext:gc t) (ext:gc t))
(defvar *ended* 0)
(defstruct point x y)
(defun note (o) (declare (ignore o)) (incf *ended*))
(defun finals (n) (dotimes (i n) (ext:set-finalizer (make-point :x i :y (list i)) #'note)))
(finals 1000)
(collect)
(dotimes (i 10000) (make-point :x i :y i))
(say "finalized" (share *ended* 1000))
(defun tree (d) (if (= d 0) nil (cons (tree (1- d)) (tree (1- d)))))
(defun leaves (x) (if (null x) 1 (+ (leaves (car x)) (leaves (cdr x)))))
(say "trees" (loop repeat 10 sum (leaves (tree 12))))
(let ((ps (loop for i below 4 collect (let ((i i)) (mp:process-run-function 'worker (lambda () (+ i (loop repeat 10 sum (leaves (tree 10))))))))))
  (say "threads" (mapcar #'mp:process-join ps)))
(let* ((lock (mp:make-lock)) (n 0)
       (ps (loop for i below 4 collect (mp:process-run-function 'adder (lambda () (dotimes (k 1000) (mp:with-lock (lock) (incf n))))))))
  (mapc #'mp:process-join ps) (say "lock" n))
(defun fact (n) (if (= n 0) 1 (* n (fact (1- n)))))
(say "fact" (mod (fact 1500) 1000000007) (length (princ-to-string (fact 1000))))
(let ((h (make-hash-table :test 'equal)))
  (dotimes (i 20000) (setf (gethash (format nil "~d" (mod (* i 7919) 10007)) h) i))
  (collect)
  (say "hash" (hash-table-count h) (gethash "5003" h)))
(let ((w (make-hash-table :test 'eq :weakness :key)) (kept (loop for i below 200 collect (make-point :x i))))
  (dolist (p kept) (setf (gethash p w) (point-x p)))
  (dotimes (i 3000) (setf (gethash (make-point :x i) w) i))
  (collect)
  (say "weak" (every (lambda (p) (eql (gethash p w) (point-x p))) kept) (share (- (hash-table-count w) 200) 3000)))
(let ((s (with-output-to-string (o) (dotimes (i 3000) (format o "line ~d ~x ~r~%" i (* i i) i)))))
  (say "text" (length s) (count #\e s)))
(say "sort" (subseq (sort (loop for i below 20000 collect (mod (* i 7919) 20011)) #'<) 0 5))
(dotimes (i 30) (let ((l (loop for k below 5000 collect k))) (ext:gc) (assert (= (length l) 5000))))
(say "loop done")
(defclass animal () ((name :initarg :name :reader name)))
(defmethod speak ((a animal)) (format nil "~a speaks" (name a)))
(say (speak (make-instance 'animal :name "cat")))
(say "error" (handler-case (error "an ~a" 'error) (error (e) (princ-to-string e))))
(say "float" (format nil "~,6f" (sqrt 2d0)) (expt 2 200) (/ 10 4))
(say "eval" (eval '(let ((s 0)) (dotimes (i 100000) (incf s i)) s)))
(ext:quit 3)
LISP
    under ecl --norc --shell job.lisp || :
}

program_run "$@"
