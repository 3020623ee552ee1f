# What the scripts of checks share: `folder`, gone when they end; `check`; and the counts, which
# `counts` prints as the last line. Sourced.
passed=0 failed=0

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT

check() { # check NAME COMMAND...: passes when the command succeeds; else its output is shown
    name=$1
    shift
    if "$@" >"$folder/out" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: $name"
        sed 's/^/    /' "$folder/out" | head -20
    fi
}

counts() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
