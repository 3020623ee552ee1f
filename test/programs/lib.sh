# What every program of the suite shares: it runs one job twice, first plainly and then with the
# library preloaded, and compares standard output, standard error and exit status byte by byte.
#
# A program file NAME.sh sources this file, describes its job, and ends with `program_run "$@"`:
#   need=(...)     Debian packages that hold the program and the job's helper tools
#   job()          the workload, under `set -e -o pipefail`. It starts in the empty folder $WORK,
#                  which has the same name in both runs, with an environment of fixed contents and
#                  with standard input closed
#   normal()       optional: a filter over both streams for what differs from run to run by nature
#                  (times, process ids)
#   opts=...       optional: the program's own options for the library, where the default ones would
#                  take more than a minute
#   limit=N        optional: seconds that one run may take (300)
#
# Within job, `under PROGRAM ARGS` runs a program under test and reports a status other than 0 on
# standard error, so that the status of every command is compared and not only the last one's.
# Helper tools (cat, sha256sum, the job's own shell) stay without the library. What a program under
# test starts itself inherits the library, as it does for a user.
#
# Environment: LIB, the library (build/libsalvage.so; empty: the second run is plain as well, which
# shows whether a job is deterministic); OPTS, the value of SALVAGE for all programs; KEEP=1 leaves
# the folder with both results behind.

PROGRAMS_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
OPTS_DEFAULT=stress=4,checkmark=1,clobber=1

need=()
opts=
limit=300
normal() { cat; }

# --- For job: running programs, and servers that end with it. -----------------------------------

under() {
    local status=0
    env ${JOB_LIB:+LD_PRELOAD="$JOB_LIB" SALVAGE="$JOB_OPTS"} "$@" || status=$?
    [ $status = 0 ] || echo "[$(basename "$1"): status $status]" >&2
    return $status
}

# Starts a server under test in the background; its process id is left in $SERVER. (A shell makes
# what it starts in the background ignore SIGINT and SIGQUIT; `--default-signal` undoes that.)
server_start() {
    env --default-signal ${JOB_LIB:+LD_PRELOAD="$JOB_LIB" SALVAGE="$JOB_OPTS"} "$@" &
    SERVER=$!
    trap 'kill -KILL $SERVER 2>/dev/null || :' EXIT
}

# Waits until the command given succeeds, which shows that the server answers; fails when the server
# has ended. The run's own time limit bounds the wait.
server_await() {
    until "$@" >/dev/null 2>&1; do
        kill -0 "$SERVER" 2>/dev/null || { echo "[server ended early]" >&2; return 1; }
        sleep 0.05
    done
}

# Asks the server to end (the signal is TERM, or the first argument) and prints its status.
server_stop() {
    local status=0
    kill -"${1:-TERM}" "$SERVER"
    wait "$SERVER" || status=$?
    trap - EXIT
    echo "[server: status $status]"
}

# A TCP port of the loopback address that nothing listens on now.
port_free() {
    perl -MIO::Socket::INET -e \
        'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport'
}

# Prints N lines (default 10000) of numbers and words that are the same every time.
lines_make() {
    awk -v n="${1:-10000}" 'BEGIN {
        x = 12345
        for (i = 0; i < n; i++) {
            x = (x * 1103515245 + 12345) % 2147483648
            printf "%d word%d %x line %d\n", x, x % 997, x, i
        }
    }'
}

# --- The runner. --------------------------------------------------------------------------------

# One run of the job, as a process of its own: the folder for results, the library, the options.
program_once() {
    local out=$1 lib=$2 options=$3 start end status=0
    rm -rf "$TMP/work"
    mkdir -m 755 "$TMP/work" "$TMP/work/tmp"
    chmod 1777 "$TMP/work/tmp"
    start=$(date +%s.%N)
    (cd "$TMP/work" && ulimit -c 0 &&
        exec timeout -k 10 "$limit" env -i --default-signal \
            PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="$TMP/work" TMPDIR="$TMP/work/tmp" \
            WORK="$TMP/work" LC_ALL=C.UTF-8 TZ=UTC TERM=screen \
            JOB_LIB="$lib" JOB_OPTS="$options" bash "$PROGRAM_FILE" job) \
        </dev/null >"$out.stdout.raw" 2>"$out.stderr.raw" || status=$?
    end=$(date +%s.%N)
    case $status in
    124 | 137) echo "[time limit of $limit s, or killed]" >>"$out.stderr.raw" ;;
    esac
    echo "$status" >"$out.status"
    normal <"$out.stdout.raw" >"$out.stdout"
    normal <"$out.stderr.raw" >"$out.stderr"
    awk -v a="$start" -v b="$end" 'BEGIN { printf "%.1f\n", b - a }' >"$out.seconds"
}

program_missing() {
    local package
    for package in "${need[@]}"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            printf '%s ' "$package"
    done
}

# What of a run isn't as in the plain one, as words; the streams are in $TMP.
run_differs() { # run
    local what
    for what in status stdout stderr; do
        cmp -s "$TMP/plain.$what" "$TMP/$1.$what" || printf ' %s' "$what"
    done
}

# A job that fails or says nothing on its own compares nothing.
plain_fails() {
    if [ "$(cat "$TMP/plain.status")" != 0 ] || [ ! -s "$TMP/plain.stdout" ]; then
        printf ' (plain run failed)'
    fi
}

run_show() { # run
    local what
    for what in status stdout stderr; do
        diff -a -u --label "plain $what" --label "$1 $what" "$TMP/plain.$what" "$TMP/$1.$what" |
            head -n 40 | cut -c 1-300
    done
}

# The end of a comparison that found so many words of difference. Status 0 if none.
compare_end() { # words
    case $1 in
    *plain*) tail -n 20 "$TMP/plain.stderr" ;;
    esac
    if [ "${KEEP:-0}" = 1 ]; then
        echo "  results kept in $TMP"
    else
        rm -rf "$TMP"
    fi
    [ -z "$1" ]
}

# Prints one line, `PASS NAME ...`, `FAIL NAME: ...` or `SKIP NAME: ...`, and after FAIL the
# differences. Status 0, 1 or 77 accordingly.
program_compare() {
    local name missing lib options differ
    name=$(basename "$PROGRAM_FILE" .sh)
    missing=$(program_missing)
    if [ -n "$missing" ]; then
        echo "SKIP $name: not installed: $missing"
        return 77
    fi
    lib=${LIB-$PROGRAMS_DIR/../../build/libsalvage.so}
    options=${OPTS:-${opts:-$OPTS_DEFAULT}}
    if [ -n "$lib" ] && [ ! -f "$lib" ]; then
        echo "FAIL $name: there is no library $lib"
        return 1
    fi
    [ -z "$lib" ] || lib=$(realpath "$lib")
    if [ -n "$lib" ] && ! LD_PRELOAD=$lib cat /proc/self/maps 2>/dev/null | grep -qF "$lib"; then
        echo "FAIL $name: $lib can't be preloaded"
        return 1
    fi

    TMP=$(mktemp -d)
    chmod 755 "$TMP"
    program_once "$TMP/plain" "" ""
    program_once "$TMP/under" "$lib" "$options"
    differ=$(run_differs under; plain_fails)
    if [ -z "$differ" ]; then
        echo "PASS $name ($(cat "$TMP/plain.seconds") s plain," \
            "$(cat "$TMP/under.seconds") s with ${options})"
    else
        echo "FAIL $name: differs in$differ ($(cat "$TMP/plain.seconds") s plain," \
            "$(cat "$TMP/under.seconds") s with ${options})"
        run_show under
    fi
    compare_end "$differ"
}

# The last line of a program file. Without an argument it compares; `job` is the inner call;
# `need` prints the packages.
program_run() {
    PROGRAM_FILE=$(realpath "$0")
    case ${1:-} in
    job) set -e -o pipefail; job ;;
    need) printf '%s\n' "${need[@]}" ;;
    *) program_compare ;;
    esac
}

# Runs the programs named, of a folder, or of these only the ones in $ONLY, and ends with the line
# of counts. Status 0 only if none failed. Says so when a program needs a package that the list
# lacks.
suite_run() { # folder, list, names...
    local folder=$1 list=$2 name package status passed=0 failed=0 skipped=0
    shift 2
    for name in "$@"; do
        [ -z "${ONLY:-}" ] || [[ " $ONLY " == *" $name "* ]] || continue
        for package in $(bash "$folder/$name.sh" need); do
            grep -qxF "$package" "$list" || {
                echo "FAIL $name: its package $package isn't in $(basename "$list")"
                failed=$((failed + 1))
                continue 2
            }
        done
        status=0
        bash "$folder/$name.sh" || status=$?
        case $status in
        0) passed=$((passed + 1)) ;;
        77) skipped=$((skipped + 1)) ;;
        *) failed=$((failed + 1)) ;;
        esac
    done
    echo "$passed passed, $failed failed, $skipped skipped"
    [ $failed = 0 ]
}
