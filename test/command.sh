#!/usr/bin/env bash
# The salvage command, as somebody types it: what it prints, its exit statuses, and the link to
# running processes. The last line is `N passed, N failed`.
# Usage: test/command.sh    Environment: LIB (build/libsalvage.so; the command lies beside it)
# Parts that need root (chroot, setuid, other users, namespaces) are left out without it.
set -u
cd "$(dirname "$0")/.."
LIB=$(realpath -m "${LIB:-build/libsalvage.so}")
salvage=$(dirname "$LIB")/salvage
actor=$(dirname "$LIB")/test/command/actor
work=$(mktemp -d)
chmod 755 "$work"
export TMPDIR=$work/tmp
mkdir -m 1777 "$TMPDIR"
unset SALVAGE LD_PRELOAD DEBUGINFOD_URLS
passed=0
failed=0
pids=()
trap 'for p in "${pids[@]}"; do kill -9 "$p" 2>/dev/null; done; rm -rf "$work"' EXIT
root=$([ "$(id -u)" = 0 ] && echo yes)
python3=$(PATH=/usr/bin:/bin command -v python3) # one that every user may run
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)

ok() { # name, status of what was tried
    if [ "$2" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL command: $1"
        sed 's/^/    /' "$work/out" "$work/err" 2>/dev/null | head -20
    fi
}

# try STATUS NAME COMMAND...: the exit status must be that one. Output: $work/out, $work/err.
try() {
    local want=$1 name=$2 got
    shift 2
    timeout -k 5 60 "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    [ "$got" -eq "$want" ] || echo "status $got, not $want" >>"$work/err"
    [ "$got" -eq "$want" ]
    ok "$name" $?
}

# What the last try printed.
out_has() { grep -qE -e "$2" "$work/out"; ok "$1" $?; }
err_has() { grep -qE -e "$2" "$work/err"; ok "$1" $?; }
err_line() { # exactly one line, and it says so
    [ "$(wc -l <"$work/err")" -eq 1 ] && grep -qE "^salvage: $2" "$work/err"
    ok "$1" $?
}

# start [-o KEY=VALUE]... -- ACTION...: an actor under the library; its pid in $pid, its output in
# $work/said. Comes back when it waits.
start() {
    local options=()
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    : >"$work/said"
    "$salvage" run "${options[@]}" -- "$actor" "$@" >"$work/said" 2>"$work/saiderr" </dev/null &
    pid=$!
    pids+=("$pid")
    said ready
}

# Until a line of the actor's begins so: the whole line.
said() {
    timeout 20 sh -c 'until grep -q "^$1" "$2"; do sleep 0.02; done' - "$1" "$work/said"
}

stop() {
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    return 0
} 2>/dev/null

# Until the process has ended, or time is up: then it is killed.
await() { timeout 20 tail --pid="$1" -f /dev/null || kill -9 "$1"; }

listed() { grep -q "@salvage/$1/" /proc/net/unix; }

# The name is listed until the process's last thread has gone.
gone() {
    for _ in $(seq 100); do
        listed "$1" || return 0
        sleep 0.02
    done
    return 1
}

# raw PID REQUEST: what the link answers to anybody who speaks to it.
raw='
import os, socket, sys
pid, request = sys.argv[1], sys.argv[2]
names = [l.split()[-1] for l in open("/proc/%s/net/unix" % pid) if "@salvage/%s/" % pid in l]
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect("\0" + names[0][1:])
try:
    s.send(request.encode() + b"\n")
except BrokenPipeError:
    pass # refused before it was read
answer = b""
try:
    while piece := s.recv(65536):
        answer += piece
except ConnectionResetError:
    pass
sys.stdout.write(answer.decode())'

# ---- what it says of itself ---------------------------------------------------------------------

try 0 "--version" "$salvage" --version
out_has "--version names itself" '^salvage [0-9]'
try 0 "--help" "$salvage" --help
for verb in run leaks stat top gc report; do
    grep -q "^  $verb " "$work/out"
    ok "--help names $verb" $?
done
for verb in run leaks stat top gc report; do
    try 0 "$verb --help" "$salvage" $verb --help
    out_has "$verb --help shows its usage" "^Usage: salvage $verb "
    grep -q "\b$verb\b" docs/man/salvage.1 && grep -q "\b$verb\b" docs/completion/salvage.bash
    ok "the manual and the completion know $verb" $?
done
# every option of a verb's help stands in the manual and in the completion
for verb in run leaks stat top gc report; do
    for option in $("$salvage" $verb --help | grep -oE '^  --?[a-z-]+' | tr -d ' '); do
        grep -qF -e "${option//-/\\-}" docs/man/salvage.1 &&
            grep -qF -e "$option" docs/completion/salvage.bash
        ok "the manual and the completion know $verb $option" $?
    done
done
try 125 "no verb" "$salvage"
try 125 "an unknown verb" "$salvage" frob
err_has "the unknown verb is named" "'frob'"
try 125 "an unknown option" "$salvage" stat --frob 1
err_has "the unknown option is named" "frob"
[ "$(sh -c '"$1" --help >/dev/full; echo $?' - "$salvage" 2>/dev/null)" = 125 ]
ok "a full stdout is told" $?

# ---- run ----------------------------------------------------------------------------------------

try 0 "run" "$salvage" run -- "$actor"
try 7 "run: the program's status" "$salvage" run -- "$actor" lose 10 exit 7
try 137 "run: a signal" sh -c '"$1" run -- "$2" kill 9; exit $?' - "$salvage" "$actor"
try 3 "run without --" "$salvage" run sh -c 'exit 3'
try 0 "run: environment" env LD_PRELOAD=/nonexistent.so SALVAGE=period=1 "$salvage" run \
    -o period=2 -o align=8,tagbits=0 -- sh -c 'echo "$LD_PRELOAD $SALVAGE"'
out_has "run: -o comes after SALVAGE" ' period=1,period=2,align=8,tagbits=0$'
out_has "run: LD_PRELOAD keeps what was there" "^$LIB:/nonexistent.so "
start -- wait
[ "$(readlink "/proc/$pid/exe")" = "$(realpath "$actor")" ]
ok "run: the program has the command's pid" $?
stop
try 127 "run: no such program" "$salvage" run nosuchprogram
err_line "run: it is named" 'run: nosuchprogram: command not found'
try 127 "run: no such path" "$salvage" run ./nosuchprogram
try 126 "run: not executable" "$salvage" run "$PWD/Makefile"
try 126 "run: a folder" "$salvage" run "$work"
try 125 "run: bad -o" "$salvage" run -o align -- true
err_line "run: bad -o is named" "run: -o 'align'"
try 125 "run: no program" "$salvage" run
printf 'int main(void){return 0;}' >"$work/s.c"
gcc -static -o "$work/static" "$work/s.c" 2>/dev/null || cp /sbin/ldconfig "$work/static"
try 125 "run: static" "$salvage" run "$work/static"
err_line "run: static is told" "run: $work/static is statically linked"
printf '#!%s\n' "$work/static" >"$work/script"
chmod 755 "$work/script"
try 125 "run: a script whose interpreter is static" "$salvage" run "$work/script"
err_line "run: the interpreter is named" "run: $work/script's interpreter $work/static is static"
cp "$actor" "$work/arm" && printf '\xb7' | dd of="$work/arm" bs=1 seek=18 conv=notrunc 2>/dev/null
try 125 "run: another architecture" "$salvage" run "$work/arm"
err_line "run: the architecture is told" "run: $work/arm is a program for aarch64"
try 125 "leaks: static" "$salvage" leaks -- "$work/static"
mkdir "$work/alone" && cp "$salvage" "$work/alone"
try 125 "run: no library" "$work/alone/salvage" run true
err_line "run: where it was looked for" "run: libsalvage.so is neither in $work/alone nor"
mkdir -p "$work/usr/bin" "$work/usr/lib" && cp "$salvage" "$work/usr/bin" && cp "$LIB" "$work/usr/lib"
try 0 "run: installed" "$work/usr/bin/salvage" run -- sh -c 'echo "$LD_PRELOAD"'
out_has "run: the library in ../lib" "^$work/usr/lib/libsalvage.so$"
if [ -n "$root" ]; then
    chmod -R a+rX "$work/usr"
    cp "$actor" "$work/suid" && chmod 4755 "$work/suid"
    try 125 "run: set-user-ID" "${nobody[@]}" "$work/usr/bin/salvage" run "$work/suid"
    err_line "run: set-user-ID is told" "run: $work/suid is set-user-ID: .* ignores LD_PRELOAD"
    try 0 "run: set-user-ID changes nothing for its owner" "$salvage" run "$work/suid"
    if cp "$actor" "$work/caps" && setcap cap_net_raw+ep "$work/caps" 2>/dev/null; then
        try 125 "run: capabilities" "${nobody[@]}" "$work/usr/bin/salvage" run "$work/caps"
        err_line "run: capabilities are told" "run: $work/caps has file capabilities"
    fi
fi

# ---- leaks of a program -------------------------------------------------------------------------

try 3 "leaks: the program's status" "$salvage" leaks -- "$actor" lose 10 say hello exit 3
err_has "leaks: the report is on stderr" '^SUMMARY: Salvage: 1000 byte\(s\) leaked in 10 alloc'
[ "$(cat "$work/out")" = hello ]
ok "leaks: stdout is the program's" $?
try 9 "leaks: --exitcode" "$salvage" leaks --exitcode 9 -- "$actor" lose 10 exit 3
try 3 "leaks: --exitcode without leaks" "$salvage" leaks --exitcode 9 -- "$actor" keep 10 exit 3
try 0 "leaks: --output" "$salvage" leaks --output "$work/report" -- "$actor" lose 10
grep -q 'SUMMARY: Salvage: 1000 byte' "$work/report" && [ ! -s "$work/err" ]
ok "leaks: the report is there, and there alone" $?
try 125 "leaks: an output that can't be" "$salvage" leaks --output "$work/no/report" -- "$actor" say ran
[ ! -s "$work/out" ]
ok "leaks: told before the program runs" $?
try 0 "leaks: --format json" "$salvage" leaks --format json --output "$work/json" -- "$actor" lose 10
"$python3" -m json.tool "$work/json" >/dev/null
ok "leaks: it is JSON" $?
printf 'leak:objects_lose\n' >"$work/supp"
try 0 "leaks: suppressed" "$salvage" leaks --exitcode 9 --suppressions "$work/supp" -- "$actor" lose 10
try 0 "leaks: suppressed by -o" "$salvage" leaks --exitcode 9 -o suppressions="$work/supp" -- \
    "$actor" lose 10
try 125 "leaks: no such suppressions" "$salvage" leaks --suppressions "$work/nosupp" -- true
err_line "leaks: they are named" "leaks: --suppressions $work/nosupp: No such file"
try 125 "leaks: unknown format" "$salvage" leaks --format frob -- true
err_line "leaks: the format is named" "leaks: --format 'frob'"
try 125 "leaks: bad exitcode" "$salvage" leaks --exitcode 256 -- true
for key in mode=collect report=x format=text exitcode=3; do
    try 125 "leaks: -o $key" "$salvage" leaks -o $key -- true
    err_line "leaks: -o $key is told" "leaks: -o '$key': "
done
try 137 "leaks: killed" "$salvage" leaks -- "$actor" kill 9
err_line "leaks: no record, and why" 'leaks: .*actor left no record: signal 9'
try 143 "leaks: a signal's default action" "$salvage" leaks -- "$actor" lose 10 kill 15
err_has "leaks: reported all the same" 'SUMMARY: Salvage: 1000 byte'
try 127 "leaks: no such program" "$salvage" leaks -- nosuchprogram
try 0 "leaks: children" "$salvage" leaks -- "$actor" lose 10 fork reap exit 0
[ "$(grep -c 'SUMMARY: Salvage' "$work/err")" -eq 2 ]
ok "leaks: the child's record is rendered, too" $?
try 125 "leaks: a number is a process" "$salvage" leaks 999999999
try 127 "leaks: a number after -- is a program" "$salvage" leaks -- 999999999

: >"$work/said"
"$salvage" leaks --output "$work/report" -- "$actor" lose 10 wait >"$work/said" 2>"$work/err" </dev/null &
pid=$!
said ready
kill -TERM $pid
await $pid
wait $pid
[ $? -eq 143 ] && grep -q 'SUMMARY: Salvage: 1000 byte' "$work/report"
ok "leaks: SIGTERM is handed on, and the report comes" $?
: >"$work/said"
"$salvage" leaks --output "$work/report" -- "$actor" lose 10 wait exit 4 >"$work/said" 2>"$work/err" </dev/null &
pid=$!
said ready
kill -USR1 $pid
await $pid
wait $pid
[ $? -eq 4 ]
ok "leaks: SIGUSR1 is handed on" $?
if [ -n "$root" ]; then
    try 0 "leaks: a program that drops its user" "$salvage" leaks -- "$actor" lose 10 setuid 65534
    err_has "leaks: it leaves its record" 'SUMMARY: Salvage: 1000 byte'
fi
[ -z "$(ls -A "$TMPDIR")" ]
ok "leaks: nothing is left in $TMPDIR" $?

# ---- a running process --------------------------------------------------------------------------

start -o mode=leaks -- lose 10 fds wait fds exit 0
try 0 "stat" "$salvage" stat $pid
out_has "stat: the mode" 'mode +leaks'
try 0 "stat --format json" "$salvage" stat --format json $pid
"$python3" -c 'import json,sys; d=json.load(open(sys.argv[1])); assert d["pid"]==int(sys.argv[2]) and d["heap_live_bytes"]>=1000' \
    "$work/out" $pid 2>>"$work/err"
ok "stat: it is JSON" $?
try 0 "stat --format openmetrics" "$salvage" stat --format openmetrics $pid
[ "$(tail -1 "$work/out")" = '# EOF' ] && grep -q '^salvage_heap_live_bytes [0-9]' "$work/out"
ok "stat: it is OpenMetrics" $?
try 125 "stat: unknown format" "$salvage" stat --format frob $pid
try 0 "gc" "$salvage" gc $pid
out_has "gc: says what it brought" 'reclaimed, .* live'
try 23 "leaks PID" "$salvage" leaks $pid
out_has "leaks PID: the report is on stdout" 'SUMMARY: Salvage: 1000 byte\(s\) leaked in 10'
try 23 "leaks PID again" "$salvage" leaks --format raw $pid
out_has "leaks PID: the raw record" '^end$'
cp "$work/out" "$work/saved.raw"
try 125 "leaks PID: -o is for programs" "$salvage" leaks -o align=8 $pid
try 23 "report" "$salvage" report "$work/saved.raw"
out_has "report: renders it" 'SUMMARY: Salvage: 1000 byte'
try 23 "report -" sh -c '"$1" report - <"$2"' - "$salvage" "$work/saved.raw"
try 0 "report: suppressed" "$salvage" report --suppressions "$work/supp" "$work/saved.raw"
try 125 "report: no such file" "$salvage" report "$work/nosuch.raw"
err_line "report: it is named" "report: $work/nosuch.raw: No such file"
try 125 "report: no file" "$salvage" report
try 125 "report: no record" "$salvage" report Makefile
try 0 "top" "$salvage" top -n 1
out_has "top: the process is in the table" "^ *$pid .* leaks .*actor"
out_has "top: the head" '^ *PID +USER .*PAUSE99'
try 125 "top: bad key" "$salvage" top -s frob
try 0 "a hundred requests" sh -c 'for i in $(seq 100); do "$1" stat "$2" >/dev/null || exit 1; done' - \
    "$salvage" $pid
# two at a time, and one who says nothing meanwhile
"$python3" -c '
import socket, sys, time
pid = sys.argv[1]
name = [l.split()[-1] for l in open("/proc/net/unix") if "@salvage/%s/" % pid in l][0]
s = socket.socket(socket.AF_UNIX); s.connect("\0" + name[1:]); print("in", flush=True)
time.sleep(30)' $pid >"$work/silent" &
silent=$!
pids+=($silent)
timeout 20 sh -c 'until grep -q in "$1"; do sleep 0.02; done' - "$work/silent"
"$salvage" leaks $pid >"$work/first" 2>&1 &
first=$!
try 0 "two clients behind one who says nothing" "$salvage" stat $pid
wait $first
[ $? -eq 23 ]
ok "the other of them" $?
kill $silent
"$salvage" leaks $pid >/dev/null 2>&1 &
first=$!
kill -9 $first
try 0 "a client that is killed" "$salvage" stat $pid
# a name that somebody else has taken, listed before or after
"$python3" -c '
import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind("\0salvage/%s/0" % sys.argv[1]); s.listen(1)
print("in", flush=True); time.sleep(60)' $pid >"$work/silent" &
silent=$!
pids+=($silent)
timeout 20 sh -c 'until grep -q in "$1"; do sleep 0.02; done' - "$work/silent"
try 0 "a socket of the same name" "$salvage" stat $pid
try 125 "a name alone is nobody" "$salvage" stat $$
err_has "a name alone is told" "doesn't run under Salvage"
kill $silent
"$python3" -c "$raw" $pid frob >"$work/out" 2>"$work/err"
grep -q '^salvage 1 error this version' "$work/out"
ok "link: an unknown request" $?
"$python3" -c "$raw" $pid "$(printf '%0200d' 1)" >"$work/out" 2>"$work/err"
[ ! -s "$work/out" ]
ok "link: a request that is too long" $?
kill -USR1 $pid
await $pid
wait $pid
grep -c '^fds' "$work/said" | grep -qx 2 && [ "$(grep '^fds' "$work/said" | sort -u | wc -l)" -eq 1 ]
ok "link: the program sees no descriptor of it" $?
gone $pid
ok "link: nothing is left of it" $?
try 125 "stat: it has ended" "$salvage" stat $pid
err_line "stat: told" "stat: there is no process $pid"

start -o mode=leaks -- keep 10 wait
try 0 "leaks PID without leaks" "$salvage" leaks $pid
kill -STOP $pid
try 125 "a stopped process" "$salvage" stat $pid
err_line "a stopped process is told" "stat: process $pid \(actor\) is stopped"
kill -CONT $pid
try 0 "and continued" "$salvage" stat $pid
stop
start -o mode=leaks -- closefrom keep 10 wait
try 0 "closefrom" "$salvage" stat $pid
stop
start -o mode=leaks -- lose 10 fork wait
child=$(sed -n 's/^ready //p' "$work/said" | grep -vx $pid)
timeout 20 sh -c 'until [ "$(grep -c ready "$1")" = 2 ]; do sleep 0.02; done' - "$work/said"
child=$(sed -n 's/^ready //p' "$work/said" | grep -vx $pid)
pids+=($child)
try 23 "fork: the parent" "$salvage" leaks $pid
try 23 "fork: the child" "$salvage" leaks $child
kill -9 $child
gone $child && listed $pid
ok "fork: each has its own" $?
stop
start -o mode=leaks -- lose 10 exec lose 5 wait
try 23 "exec" "$salvage" leaks $pid
out_has "exec: the new image's leaks" 'SUMMARY: Salvage: 500 byte'
stop
start -- wait
try 125 "no link yet" "$salvage" stat $pid
err_line "no link yet: told" "stat: process $pid \(actor\) has no link: it comes"
try 0 "top shows it all the same" "$salvage" top -n 1
out_has "top: a process without a link" "^ *$pid .* - .*actor"
stop
for option in mode=off workers=0 barrier=stw; do
    start -o $option -- wait
    try 125 "$option" "$salvage" stat $pid
    err_line "$option: told" "stat: process $pid \(actor\) runs with $option"
    stop
done
start -- collect wait
try 0 "mode=collect after a collection" "$salvage" gc $pid
try 125 "mode=collect: leaks" "$salvage" leaks $pid
err_line "mode=collect: told" "leaks: process $pid \(actor\): it doesn't run in mode=leaks"
thread=$(ls "/proc/$pid/task" | grep -vx $pid | head -1)
try 125 "a thread" "$salvage" stat "$thread"
err_line "a thread is told" "stat: $thread is a thread of process $pid"
stop
start -o mode=leaks -- seccomp wait
try 125 "seccomp" "$salvage" stat $pid
stop
"$salvage" run -o mode=leaks -- "$actor" churn &
pid=$!
pids+=($pid)
timeout 20 sh -c 'until grep -q "@salvage/$1/" /proc/net/unix; do sleep 0.02; done' - $pid
"$salvage" gc $pid >/dev/null
"$salvage" leaks $pid >"$work/out" 2>"$work/err" &
asking=$!
sh -c 'until [ -n "$(ls "/proc/$1/fd" -l 2>/dev/null | grep socket)" ]; do sleep 0.01; done' - $asking
stop
wait $asking
[ $? -eq 125 ] && grep -qE "ended meanwhile|there is no process" "$work/err"
ok "a process that dies meanwhile" $?
sleep 30 &
pids+=($!)
try 125 "not preloaded" "$salvage" stat $!
err_line "not preloaded: told" "stat: process $! \(sleep\) doesn't run under Salvage"
kill $!
for word in '' x 0 -1 99999999999 '1 2'; do
    try 125 "stat '$word'" "$salvage" stat $word
done
if [ -e /proc/2 ] && ! [ -s /proc/2/cmdline ]; then
    try 125 "a thread of the kernel" "$salvage" stat 2
fi

# ---- as root: other users, other worlds ---------------------------------------------------------

if [ -n "$root" ]; then
    start -o mode=leaks -- lose 10 wait
    try 125 "another user" "${nobody[@]}" "$work/usr/bin/salvage" stat $pid
    err_line "another user is told" "stat: process $pid \(actor\) isn't yours: only root may"
    "${nobody[@]}" "$python3" -c "$raw" $pid leaks >"$work/out" 2>"$work/err"
    [ "$(cat "$work/out")" = 'salvage 1 error not yours: only its user and root may ask' ]
    ok "the library refuses another user" $?
    stop
    start -o mode=leaks -- lose 10 setuid 65534 wait
    try 23 "setuid: root" "$salvage" leaks $pid
    try 23 "setuid: its user" "${nobody[@]}" "$work/usr/bin/salvage" leaks $pid
    stop
    mkdir "$work/jail"
    start -o mode=leaks -- lose 10 chroot "$work/jail" setuid 65534 wait
    try 23 "chroot" "$salvage" leaks $pid
    try 0 "chroot: gc" "$salvage" gc $pid
    stop
    start -o mode=leaks -- lose 10 netns linked wait
    try 23 "a network namespace" "$salvage" leaks $pid
    stop
    if "${nobody[@]}" unshare -rn true 2>/dev/null; then
        : >"$work/said"
        "${nobody[@]}" unshare -rn "$work/usr/bin/salvage" run -o mode=leaks -- "$actor" \
            lose 10 wait >"$work/said" 2>"$work/err" </dev/null &
        pid=$!
        pids+=($pid)
        said ready
        try 23 "a user namespace: root outside" "$salvage" leaks $pid
        try 125 "a user namespace: its user outside" "${nobody[@]}" "$work/usr/bin/salvage" leaks $pid
        err_line "a user namespace: told" "leaks: process $pid .* another network namespace"
        stop
    fi
fi
gone ''
ok "no socket is left" $?

# ---- top on a terminal --------------------------------------------------------------------------

screen_has() {
    timeout 20 sh -c 'until tmux -L "$1" capture-pane -p | grep -qE "$2"; do sleep 0.05; done' - \
        "$server" "$1"
}
if command -v tmux >/dev/null; then
    server=salvage-$$
    start -o mode=leaks -- lose 10 wait
    tmux -L "$server" -f /dev/null new-session -d -x 120 -y 24 "'$salvage' top -d 0.2 2>'$work/err'"
    screen_has "^ *$pid .* leaks .*actor"
    ok "top: the table" $?
    tmux -L "$server" send-keys '?'
    screen_has 'LOST/MIN +bytes lost'
    ok "top: help" $?
    tmux -L "$server" send-keys q
    screen_has '^ *PID '
    ok "top: back from help" $?
    tmux -L "$server" send-keys P
    screen_has 'by pid'
    ok "top: sorting" $?
    # the cursor to the actor's row: others may be there
    row=$(tmux -L "$server" capture-pane -p | sed -n '3,$p' | grep -n "^ *$pid " | cut -d: -f1)
    tmux -L "$server" send-keys Home
    for _ in $(seq 2 "${row:-1}"); do tmux -L "$server" send-keys Down; done
    tmux -L "$server" send-keys Enter
    screen_has "process $pid \(actor\): leaking stacks"
    ok "top: the leaking stacks" $?
    screen_has 'objects_lose'
    ok "top: symbolised" $?
    tmux -L "$server" resize-window -x 60 -y 12
    screen_has 'q back'
    ok "top: another size" $?
    tmux -L "$server" send-keys q
    screen_has '^ *PID '
    tmux -L "$server" send-keys q
    timeout 20 sh -c 'while tmux -L "$1" has-session 2>/dev/null; do sleep 0.05; done' - "$server"
    ok "top: q ends" $?
    tmux -L "$server" kill-server 2>/dev/null
    stop
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
