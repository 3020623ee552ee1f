#!/usr/bin/env bash
# Leaks that are known in programs of Debian 12, found without a rebuild; and programs that have
# none while they run, in which none may be reported.
#
# What jq and tmux lose is counted to the byte. What git, ld, gdb and tar lose is what valgrind calls
# definitely lost: it runs beside (where it is installed), and has to find no more objects than
# Salvage does. An interpreter or a server is asked in the middle of its life, by `salvage leaks
# PID`, when it has worked and says that it waits.
#
# Usage: known.sh [NAME...]. Environment: LIB, COMMAND (build/salvage). The last line is `N passed,
# N failed, N skipped`; what is not installed is named.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
LIB=$(realpath -m "${LIB:-$root/build/libsalvage.so}")
COMMAND=$(realpath -m "${COMMAND:-$root/build/salvage}")
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C.UTF-8 TZ=UTC TERM=screen
work=$(mktemp -d)
export HOME=$work
running=()
trap 'for p in "${running[@]}"; do kill -KILL "$p" 2>/dev/null; done; rm -rf "$work"' EXIT
passed=0
failed=0
skipped=0

# Runs a program whose records go to $work/raw; its own output is dropped, its status is returned.
record() {
    rm -rf "$work/raw"
    mkdir "$work/raw"
    (cd "$work" && LD_PRELOAD=$LIB timeout 120 \
        env SALVAGE="mode=leaks,format=raw,report=$work/raw/%p,abandoned=${abandoned:-0}" "$@") \
        >/dev/null 2>"$work/stderr"
}

# "OBJECTS BYTES" of the class given, in the last verdict of each process of that program: that
# after the exit handlers for `abandoned`, the one before them for all others.
lost() { # class, program
    cat "$work"/raw/* 2>/dev/null | awk -v class="$1" -v program="$2" '
        $1 == "salvage-raw" { objects = bytes = 0; failed = "" }
        $1 == "process" { pid = $2; n = split($4, path, "/"); name = path[n] }
        $1 == "check" { reason = $2 }
        $1 == "failed" { failed = $2 }
        $1 == "site" && $3 == class { objects += $4; bytes += $5 }
        $1 == "end" && (reason == "after-exit") == (class == "abandoned") && index(name, program) {
            if (failed != "")
                verdict = failed
            o[pid] = objects; b[pid] = bytes; any = 1
        }
        END {
            for (p in o) { os += o[p]; bs += b[p] }
            print verdict != "" ? verdict : any ? os + 0 " " bs + 0 : "no record"
        }'
}

verdict() { # name, what is wrong ("": nothing), what was found
    if [ -z "$2" ]; then
        passed=$((passed + 1))
        echo "ok   known $1: $3"
    else
        failed=$((failed + 1))
        echo "FAIL known $1: $2"
    fi
}

skip() { # name, why
    skipped=$((skipped + 1))
    echo "SKIP known $1: $2"
}

present() { # name, program...
    local name=$1 program
    shift
    for program in "$@"; do
        type -P "$program" >/dev/null || {
            skip "$name" "$program is not installed"
            return 1
        }
    done
}

# ---- counted to the byte -----------------------------------------------------------------------

known_jq() {
    present jq jq || return
    case $(jq --version) in jq-1.6*) ;; *) skip jq "not jq 1.6"; return ;; esac
    yes '{"a":["bbbbbbbbbbbbbbbbbbb"]}' 2>/dev/null | head -n 1000 >"$work/in.json"
    jq_case ltrimstr '.a|ltrimstr("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")' "1000 24000" 52000
    jq_case setpath '.a|try setpath([[1]];1) catch 0' "1000 36000" 0
    jq_case strftime 'try (.a|strftime("%Y")) catch 0' "1000 36000" 0
}

jq_case() { # name, filter, direct objects and bytes, indirect bytes
    local direct indirect
    record jq -c "$2" "$work/in.json"
    direct=$(lost direct jq)
    indirect=$(lost indirect jq)
    if [ "$direct" = "$3" ] && [ "${indirect#* }" = "$4" ]; then
        verdict "jq $1" "" "$direct direct, ${indirect#* } indirect"
    else
        verdict "jq $1" "direct $direct, not $3; indirect bytes ${indirect#* }, not $4"
    fi
}

# ---- as much as valgrind -----------------------------------------------------------------------

# "OBJECTS BYTES" of what valgrind calls definitely and indirectly lost.
valgrind_lost() {
    (cd "$work" && valgrind --leak-check=full --log-file="$work/valgrind.%p" "$@") >/dev/null 2>&1
    cat "$work"/valgrind.* | tr -d , |
        awk '/definitely lost:|indirectly lost:/ { b += $4; o += $7 } END { print o + 0, b + 0 }'
    rm -f "$work"/valgrind.*
}

# Salvage has to find what valgrind finds, or `share` percent of it; it may find more.
beside_valgrind() { # name, program in the records, command...
    local name=$1 program=$2 theirs ours found o=0 b=0 class
    shift 2
    present "$name" "$1" valgrind || return
    theirs=$(valgrind_lost "$@")
    record "$@"
    for class in direct indirect ${abandoned:+abandoned}; do
        found=$(lost $class "$program")
        case "$found" in *[!0-9\ ]*) verdict "$name" "$found"; return ;; esac
        o=$((o + ${found% *}))
        b=$((b + ${found#* }))
    done
    ours="$o $b"
    if [ $((o * 100)) -ge $((${theirs% *} * ${share:-100})) ] &&
        [ $((b * 100)) -ge $((${theirs#* } * ${share:-100})) ]; then
        verdict "$name" "" "$ours, valgrind $theirs (objects, bytes)"
    else
        verdict "$name" "$ours, but valgrind has $theirs (objects, bytes)"
    fi
}

known_git() {
    present git git || return
    (
        cd "$work" && git init -q repository && cd repository &&
            git config user.name n && git config user.email e
        for i in 1 2; do
            seq $i 500 >numbers
            echo "$i" >number
            git add . && git commit -qm "$i"
        done
    ) >/dev/null 2>&1
    beside_valgrind git git git -C "$work/repository" --no-pager diff HEAD~1 HEAD
}

known_ld() {
    present ld gcc ld || return
    echo 'int one(void) { return 1; }' >"$work/one.c"
    echo 'int two(void) { return 2; }' >"$work/two.c"
    gcc -g -c "$work/one.c" -o "$work/one.o"
    gcc -g -c "$work/two.c" -o "$work/two.o"
    beside_valgrind ld ld.bfd ld.bfd -r "$work/one.o" "$work/two.o" -o "$work/both.o"
}

known_gdb() {
    present gdb gdb gcc || return
    echo 'int main(void) { return 0; }' >"$work/main.c"
    gcc -g "$work/main.c" -o "$work/main"
    # Its list of character sets is lost when its destructor has run. Some of their names stand in
    # what was an earlier, shorter list and is another object now, in the bytes that it doesn't use.
    abandoned=1 share=95 beside_valgrind gdb gdb gdb -nx -batch -ex 'info line main' "$work/main"
}

known_tar() {
    seq 1000 >"$work/numbers"
    beside_valgrind tar tar tar cf t.tar numbers
}

# ---- a server ----------------------------------------------------------------------------------

# Asks a running process; its record is then the only one.
ask() { # pid, options of the command
    local pid=$1
    shift
    rm -rf "$work/raw"
    mkdir "$work/raw"
    "$COMMAND" leaks "$@" --format raw --output "$work/raw/asked" "$pid" >"$work/stderr" 2>&1
}

await() { # command that succeeds when it is so
    for _ in $(seq 600); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.05
    done
    return 1
}

known_tmux() {
    local pid direct f
    present tmux tmux || return
    cat >"$work/tmux.conf" <<'END'
set -g status off
set -g default-command "exec sleep 1000"
END
    for f in '#{=/5/...:session_name} 1000 21000' '#{t/f/%%Y:window_activity} 1000 5000'; do
        set -- $f
        LD_PRELOAD=$LIB SALVAGE=mode=leaks,report=/dev/null \
            tmux -S "$work/tmux" -f "$work/tmux.conf" new-session -d -s session-name-of-20-- -x 80 -y 24
        pid=$(tmux -S "$work/tmux" display-message -p '#{pid}')
        running+=("$pid")
        for _ in $(seq "$2"); do
            printf 'display-message -p "%s"\n' "$1"
        done >"$work/commands"
        tmux -S "$work/tmux" source-file "$work/commands" >/dev/null
        await tmux -S "$work/tmux" has-session
        ask "$pid"
        direct=$(lost direct tmux)
        tmux -S "$work/tmux" kill-server
        rm -f "$work/tmux"
        if [ "$direct" = "$2 $3" ]; then
            verdict "tmux $1" "" "$direct direct, while it runs"
        else
            verdict "tmux $1" "direct $direct, not $2 $3; $(head -c 200 "$work/stderr")"
        fi
    done
}

# ---- growth that is no leak --------------------------------------------------------------------

# gawk's pool of nodes grows with its arrays, and is reachable all the time.
known_gawk() {
    local pid before after direct
    present gawk gawk || return
    mkfifo "$work/lines"
    (cd "$work" && LD_PRELOAD=$LIB SALVAGE=mode=leaks,report=/dev/null exec gawk '
        { a[NR] = $0 }
        NR == 1000 || NR == 50000 { printf "" >("ready" NR); close("ready" NR) }' <"$work/lines") &
    pid=$!
    running+=("$pid")
    exec 9>"$work/lines"
    seq 1000 >&9
    await test -e "$work/ready1000"
    ask "$pid" --live
    before=$(lost live gawk)
    seq 1001 50000 >&9
    await test -e "$work/ready50000"
    ask "$pid" --live
    after=$(lost live gawk)
    direct=$(lost direct gawk)
    exec 9>&-
    wait "$pid"
    case "$before$after" in *[!0-9\ ]*) verdict gawk "$before; $after"; return ;; esac
    if [ "$direct" = "0 0" ] && [ $((${after#* } - ${before#* })) -gt 1000000 ]; then
        verdict gawk "" "no leak, ${before#* } bytes live and then ${after#* }"
    else
        verdict gawk "direct $direct; live $before, then $after"
    fi
}

# ---- nothing -----------------------------------------------------------------------------------

# The program works, makes the file $work/ready and waits for its standard input to end.
nothing() { # name, command...
    local name=$1 pid direct
    shift
    present "$name" "$1" || return
    rm -f "$work/ready" "$work/input"
    mkfifo "$work/input"
    (cd "$work" && LD_PRELOAD=$LIB SALVAGE=mode=leaks,report=/dev/null exec "$@" \
        <"$work/input" >"$work/output" 2>&1) &
    pid=$!
    running+=("$pid")
    exec 9>"$work/input"
    [ -z "${said:-}" ] || printf '%s\n' "$said" >&9
    await test -e "$work/ready"
    ask "$pid"
    direct=$(lost direct "")
    exec 9>&-
    kill -KILL "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    if [ "$direct" = "0 0" ]; then
        verdict "$name" "" "no leak while it runs"
    else
        grep -aE '^(site|stack|module)' "$work/raw/asked" 2>/dev/null >"$root/build/known.$name.raw"
        verdict "$name" "direct $direct; $(head -c 200 "$work/stderr")"
    fi
}

known_perl() {
    nothing perl perl -e '
        my %h; for my $i (1 .. 50000) { $h{$i % 1000} .= "x$i"; $h{$i % 700} =~ s/x1/y/g }
        my @s = sort { $h{$a} cmp $h{$b} } keys %h; eval { die [1 .. 10] }; my $f = sprintf "%s", 3.5;
        open my $r, ">", "ready"; close $r; <STDIN>'
}

known_tclsh() {
    said='for {set i 0} {$i < 20000} {incr i} {
        dict set d [expr {$i % 500}] [string repeat x [expr {$i % 90}]]
        lappend l [regsub -all x abcx$i y] }
        set s [lsort -unique $l]; catch {error no}; close [open ready w]; gets stdin' nothing tclsh tclsh
}

known_lua() {
    nothing lua lua5.4 -e '
        local t = {} for i = 1, 50000 do t[i % 900] = { tostring(i), i } end
        local s = {} for i = 1, 3000 do s[#s + 1] = ("x"):rep(i % 50):gsub("x", "y") end
        local c = coroutine.wrap(function() for i = 1, 9 do coroutine.yield(i) end end) c() c()
        pcall(error, {}) io.open("ready", "w"):close() io.read()'
}

known_bash() {
    nothing bash bash -c '
        declare -A h; for i in {1..5000}; do h[$((i % 100))]+=x$i; done; a=("${h[@]//x/y}")
        f() { local x=$1; [ "$x" -le 0 ] || f $((x - 1)); }; f 50; y=$(echo "${a[*]}" | wc -c)
        while read -r l; do :; done < <(seq 100); : >ready; read -r'
}

known_sqlite3() {
    said='create table t(a integer primary key, b text);
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)
            insert into t select i, hex(i * 7) from n;
        create index x on t(b); select count(*), max(b) from t where b like "%3%";
        delete from t where a % 3 = 0; vacuum;
.system touch ready' nothing sqlite3 sqlite3
}

known_vim() {
    nothing vim vim -es -u NONE -i NONE -n \
        -c 'call append(0, map(range(5000), "\"line \" . v:val"))' \
        -c '%s/line \(\d*\)/\1 enil/' -c 'g/7/move 0' -c 'normal ggdGu' -c 'split | new | only!' \
        -c 'let d = {} | for i in range(2000) | let d[i % 99] = [i, d] | endfor' \
        -c 'call writefile([], "ready")' -c 'sleep 1000'
}

known_redis() {
    present redis redis-server redis-cli || return
    printf 'unixsocket %s/redis\nport 0\nsave ""\n' "$work" >"$work/redis.conf"
    cat >"$work/redis.sh" <<END
until redis-cli -s $work/redis ping; do sleep 0.1; done
{ for i in \$(seq 3000); do echo "set k\$((i % 500)) v\$i"; echo "lpush l\$((i % 9)) \$i"
  echo "hset h\$((i % 5)) f\$i \$i"; echo "zadd z \$i m\$i"; done
  echo "eval 'return redis.call(\"get\", \"k1\")' 0"; echo "del l1"; } | redis-cli -s $work/redis
: >ready
END
    (cd "$work" && await test -S redis && bash redis.sh >/dev/null 2>&1) &
    nothing redis redis-server "$work/redis.conf"
    wait $! 2>/dev/null
}

known_guile() {
    nothing guile guile --no-auto-compile -c '
        (define h (make-hash-table))
        (do ((i 0 (+ i 1))) ((= i 50000)) (hash-set! h (modulo i 900) (list i (number->string i))))
        (call-with-output-file "ready" (lambda (p) #t)) (use-modules (ice-9 rdelim)) (read-line)'
}

known_node() {
    nothing node node -e '
        let m = new Map(); for (let i = 0; i < 200000; i++) m.set(i % 999, [String(i), { i }]);
        JSON.parse(JSON.stringify([...m])); try { throw new Error("no") } catch (e) {}
        require("fs").writeFileSync("ready", ""); process.stdin.resume()'
}

known_python3() {
    PYTHONMALLOC=malloc nothing python3 python3 -c '
import json, re, sys
d = {i % 999: [str(i), {"i": i}] for i in range(100000)}
json.loads(json.dumps(d)); re.sub("1", "2", "".join(map(str, range(5000))))
try: raise ValueError("no")
except ValueError: pass
open("ready", "w").close(); sys.stdin.read()'
}

names=("$@")
[ $# -gt 0 ] || names=(jq git ld gdb tar tmux gawk perl tclsh lua bash sqlite3 vim redis guile node python3)
for name in "${names[@]}"; do
    "known_$name"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
