# What the clients of Boehm's collector share: a job of one program of the distribution runs three
# times: on Debian's libgc, on ours by LD_LIBRARY_PATH, and on ours with collections forced, reclaimed
# memory overwritten and every mark checked. Standard output, standard error and exit status must be
# the same byte by byte. How a job is described, and what runs it, is test/programs/lib.sh's; here
# differ:
#   client=...     the binary that loads libgc.so.1; the run fails when it would not load ours
#   opts=...       SALVAGE for the third run, where the default would take more than a minute
# Environment: DIR (build), where libgc.so.1 is; OPTS, KEEP as there.
. "$(dirname "${BASH_SOURCE[0]}")/../../programs/lib.sh"
OPTS_DEFAULT=stress=16,checkmark=1,clobber=1
client=

under() {
    local status=0
    env ${JOB_LIB:+LD_LIBRARY_PATH="$JOB_LIB" SALVAGE="$JOB_OPTS"} "$@" || status=$?
    [ $status = 0 ] || echo "[$(basename "$1"): status $status]" >&2
    return $status
}

# PASS, FAIL or SKIP and the reason on one line, differences behind it; status 0, 1 or 77.
program_compare() {
    local name missing dir options differ forced
    name=$(basename "$PROGRAM_FILE" .sh)
    missing=$(program_missing)
    if [ -n "$missing" ]; then
        echo "SKIP $name: not installed: $missing"
        return 77
    fi
    dir=$(realpath -m "${DIR:-$PROGRAMS_DIR/../../build}")
    options=${OPTS:-${opts:-$OPTS_DEFAULT}}
    if ! LD_LIBRARY_PATH=$dir ldd "$client" 2>/dev/null | grep -qF "libgc.so.1 => $dir/"; then
        echo "FAIL $name: $client would not load $dir/libgc.so.1"
        return 1
    fi
    TMP=$(mktemp -d)
    chmod 755 "$TMP"
    program_once "$TMP/plain" "" ""
    program_once "$TMP/ours" "$dir" ""
    program_once "$TMP/forced" "$dir" "$options"
    differ=$(run_differs ours; plain_fails)
    forced=$(run_differs forced)
    if [ -z "$differ$forced" ]; then
        echo "PASS $name ($(cat "$TMP/plain.seconds") s on Debian's, $(cat "$TMP/ours.seconds") s" \
            "on ours, $(cat "$TMP/forced.seconds") s with $options)"
    else
        echo "FAIL $name: ${differ:+on ours differs$differ }${forced:+with $options differs$forced }"`
            `"($(cat "$TMP/plain.seconds"), $(cat "$TMP/ours.seconds")," \
            "$(cat "$TMP/forced.seconds") s)"
        [ -z "$differ" ] || run_show ours
        [ -z "$forced" ] || [ -n "$differ" ] || run_show forced
    fi
    compare_end "$differ$forced"
}
