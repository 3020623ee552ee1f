#!/usr/bin/env bash
# The HTML report in a browser: what its script draws from a record that is known, with names in it
# that try to break out of the page; nothing asked from a network; sorting, searching and zooming by
# mouse and keyboard. A screenshot is left in build/test/leaks/page.png to be looked at.
# Without Chromium only the file is checked, and the rest is named as skipped.
# Environment: COMMAND (build/salvage). The last line is `N passed, N failed, N skipped`.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
COMMAND=$(realpath -m "${COMMAND:-$root/build/salvage}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0
skipped=0

check() { # what, command...
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok   page: $what"
    else
        failed=$((failed + 1))
        echo "FAIL page: $what"
    fi
}

finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

"$COMMAND" report --format html --output "$work/page.html" "$here/page.raw" 2>"$work/stderr"
status=$?
check "status 23 with leaks" [ $status -eq 23 ]
check "two scripts begin and end" [ "$(grep -o '</script' "$work/page.html" | wc -l)" -eq 2 ]
check "no address but SVG's name space" \
    [ "$(grep -oE '(https?:)?//[a-z][a-z0-9.-]*\.[a-z]+' "$work/page.html" | sort -u)" = http://www.w3.org ]

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || :)
if [ -z "$browser" ]; then
    skipped=$((skipped + 1))
    echo "SKIP page: chromium is not installed"
    finish
fi

browse() { # file, options
    local page=$1
    shift
    HOME=$work timeout 60 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
        --user-data-dir="$work/profile" --hide-scrollbars --virtual-time-budget=2000 \
        --window-size=1200,1600 "$@" "file://$page" 2>>"$work/browser"
}

# The page after a script has acted on it: text of the result is what the script leaves in <output>.
act() { # script
    {
        cat "$work/page.html"
        printf '<output id=result></output><script>at("result").textContent = (() => { %s })();</script>' "$1"
    } >"$work/acted.html"
    browse "$work/acted.html" --dump-dom | grep -aoE '<output id="result">[^<]*' | sed 's/^[^>]*>//'
}

says() { # expected, script
    local got
    got=$(act "$2")
    [ "$got" = "$1" ] || {
        echo "    expected: $1"
        echo "    got:      $got"
        return 1
    }
}

cells='[...at("rows").rows].map(r => [...r.cells].slice(0, 4).map(c => c.innerText.trim()).join("|")).join("; ")'
check "rows, by bytes" says \
    "libone.so.1+0x110 libone.so.1|indirect|52,000|1,000; libone.so.1+0x100 libone.so.1|direct|24,000|1,000; script&gt;\"\\.so+0x100 script&gt;\"\\.so|direct|7|1" \
    "return $cells"
check "names are text" says "Salvage: leaks of jq (4711)" 'return document.title'
check "sorted by objects, upwards" says "1 1,000 1,000" '
    const head = () => at("heads").children[3].firstChild;
    head().click(); head().click();
    return [...at("rows").rows].map(r => r.cells[3].innerText).join(" ")'
check "searched" says "24,000" '
    at("find").value = "0x100"; at("find").dispatchEvent(new Event("input"));
    return [...at("rows").rows].filter(r => r.innerText.includes("libone")).map(r => r.cells[2].innerText).join(" ")'
check "classes" says "4 rows" '
    [...at("classes").querySelectorAll("input")][2].click(); return at("rows").rows.length + " rows"'
check "a row opens" says "3" '
    document.querySelector("td button.open").click(); return document.querySelectorAll("tr.more li").length + ""'
check "growth" says "All shown: from 7,200 B at 20.0 s to 23.4 KiB at 1.0 min" '
    return document.querySelector("#charts svg").getAttribute("aria-label").replace("60.0 s", "1.0 min")'
check "flame graph" says "all, 74.2 KiB" 'return at("flame").firstChild.getAttribute("aria-label")'
check "zoomed by keys" says "2 above" '
    const key = k => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: k, bubbles: true }));
    at("flame").firstChild.focus(); key("ArrowDown"); key("ArrowDown"); key("Enter");
    return document.querySelectorAll("#flame .above").length + " above"'
check "nothing asked for" [ -z "$(grep -aE 'CONSOLE|Refused' "$work/browser")" ]
mkdir -p "$root/build/test/leaks"
browse "$work/page.html" --screenshot="$root/build/test/leaks/page.png" >/dev/null
check "a screenshot" [ -s "$root/build/test/leaks/page.png" ]
finish
