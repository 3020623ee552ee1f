#!/usr/bin/env bash
# Runs tests and counts. The last line is `N passed, N failed`; the exit status is 0 only when none
# failed and some passed.
# Usage: test/run.sh unit PROGRAM... | cases PROGRAM... | all PROGRAM...
#   unit    criterion programs: each of their tests counts
#   cases   programs under LD_PRELOAD: each run counts, one for every `// SALVAGE: ...` line of the
#           source, or one with the defaults
#   all     both kinds, told apart by their folder, test/command/render.py and test/command.sh,
#           then test/leaks (run.py, known.sh, page.sh) and test/programs/core.sh
# With cases and all, the library's exported names are compared with test/preload/exports.txt first.
# Environment: LIB (build/libsalvage.so), LIMIT (seconds a run may take, 120)
set -u
cd "$(dirname "$0")/.."
LIB=$(realpath -m "${LIB:-build/libsalvage.so}")
LIMIT=${LIMIT:-120}
passed=0
failed=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# Ends the program and all its children when time is up.
limited() {
    timeout --kill-after=5 "$LIMIT" "$@" >"$out" 2>&1 </dev/null
}

explain() { # status
    case $1 in
    124 | 137) echo "(ended after $LIMIT s, or killed)" ;;
    *) [ "$1" -lt 128 ] && echo "(status $1)" || echo "(signal $(($1 - 128)))" ;;
    esac
}

unit_run() {
    local name status line p f
    name=$(basename "$1")
    limited "$1" --jobs 2
    status=$?
    # [====] Synthesis: Tested: 3 | Passing: 2 | Failing: 1 | Crashing: 0
    line=$(grep -a 'Synthesis:' "$out" | tail -1)
    p=$(sed -n 's/.*Passing: *\([0-9]*\).*/\1/p' <<<"$line")
    f=$(sed -n 's/.*Tested: *\([0-9]*\).*/\1/p' <<<"$line")
    if [ -z "$p" ] || [ -z "$f" ]; then
        p=0
        f=1
    else
        f=$((f - p))
    fi
    [ $status -eq 0 ] || [ "$f" -gt 0 ] || f=1
    [ $((p + f)) -gt 0 ] || f=1
    passed=$((passed + p))
    failed=$((failed + f))
    if [ "$f" -eq 0 ]; then
        echo "ok   unit $name: $p"
    else
        echo "FAIL unit $name: $f failed, $p passed $(explain $status)"
        sed 's/^/    /' "$out"
    fi
}

case_run() { # program, SALVAGE or nothing
    local name status
    name="$(basename "$1")${2:+ [$2]}"
    if [ -n "${2:-}" ]; then
        limited env LD_PRELOAD="$LIB" SALVAGE="$2" "$1"
    else
        limited env -u SALVAGE LD_PRELOAD="$LIB" "$1"
    fi
    status=$?
    # a program that ended early with status 0 has not said its last line
    if [ $status -eq 0 ] && tail -1 "$out" | grep -qaxE '[0-9]+ passed, 0 failed'; then
        passed=$((passed + 1))
        echo "ok   $name: $(tail -1 "$out" | sed 's/ passed.*//')"
    else
        failed=$((failed + 1))
        echo "FAIL $name $(explain $status)"
        sed 's/^/    /' "$out"
    fi
}

case_runs() {
    local source options=()
    source=test/preload/$(basename "$1").c
    [ -f "$source" ] || source=${source}c
    mapfile -t options < <(sed -n 's,^// SALVAGE: *,,p' "$source")
    [ ${#options[@]} -gt 0 ] || options=("")
    for o in "${options[@]}"; do
        case_run "$1" "$o"
    done
}

# A suite whose last line holds its counts; what it prints is shown as it comes.
suite_run() { # command
    local status last
    LIB=$LIB "$@" 2>&1 | tee "$out"
    status=${PIPESTATUS[0]}
    last=$(tail -1 "$out")
    if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ [0-9]+\ skipped)?$ ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        failed=$((failed + BASH_REMATCH[2]))
        [ "$status" -eq 0 ] || [ "${BASH_REMATCH[2]}" -gt 0 ] || failed=$((failed + 1))
    else
        failed=$((failed + 1))
    fi
}

# What libsalvage finds: programs with known truth, programs with known leaks, the page of a report.
leaks_run() {
    suite_run test/leaks/run.py
    suite_run test/leaks/known.sh
    suite_run test/leaks/page.sh
}

# Boehm's face: programs on Debian's library and on ours, its names, its headers, what is
# installed, and its quick clients.
boehm_run() {
    suite_run test/boehm/run.sh
    suite_run test/boehm/symbols.sh
    suite_run test/boehm/headers.sh
    suite_run test/boehm/install.sh
    suite_run test/boehm/clients.sh core
}

# A script whose last line holds its counts; nothing preloaded.
script_run() { # name, command
    local name=$1
    shift
    if limited "$@" && tail -1 "$out" | grep -qaxE '[0-9]+ passed, 0 failed'; then
        passed=$((passed + 1))
        echo "ok   $name: $(tail -1 "$out" | sed 's/ passed.*//')"
    else
        failed=$((failed + 1))
        echo "FAIL $name"
        sed 's/^/    /' "$out"
    fi
}

kind=$1
shift
# what the library shows to the linker, and what the command makes of records
[ "$kind" = unit ] || script_run exports sh test/preload/exports.sh "$LIB"
[ "$kind" != all ] || script_run render test/command/render.py
[ "$kind" != all ] || LIB=$LIB script_run command test/command.sh
for program in "$@"; do
    case $kind:$program in
    unit:* | all:*/unit/*) unit_run "$program" ;;
    cases:* | all:*) case_runs "$program" ;;
    *)
        echo "run.sh: unit, cases or all" >&2
        exit 2
        ;;
    esac
done
[ "$kind" != all ] || leaks_run
[ "$kind" != all ] || boehm_run
[ "$kind" != all ] || [ ! -x test/programs/core.sh ] || suite_run test/programs/core.sh
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
