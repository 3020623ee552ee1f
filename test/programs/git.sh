#!/usr/bin/env bash
# git: commits with fixed dates, branches, merge with a conflict, diff, blame, grep, clone, gc with
# two packing threads, fsck.
. "$(dirname "$0")/lib.sh"
need=(git)

job() {
    local i
    export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=C \
        GIT_COMMITTER_EMAIL=c@example.org GIT_CONFIG_NOSYSTEM=1 GIT_PAGER=cat
    under git init -q -b main repo
    cd repo
    under git config pack.threads 2
    for i in $(seq 1 8); do
        export GIT_AUTHOR_DATE="@$((1000000000 + i * 60)) +0000"
        export GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
        mkdir -p "dir$((i % 3))"
        lines_make $((i * 60)) >"dir$((i % 3))/file$((i % 4))"
        echo "line $i" >>log
        under git add -A
        under git commit -q -m "Commit $i"
    done
    under git log --stat --format='%H %ad %s' --date=iso
    under git checkout -q -b side HEAD~3
    echo side >>log
    seq 1 300 >side
    under git add -A
    under git commit -q -m Side
    under git checkout -q main
    under git merge -q side || :
    under git diff
    under git status --short
    seq 1 5 >log
    under git add -A
    under git commit -q -m Merge
    under git log --graph --oneline
    under git diff HEAD~4 --stat -M
    under git blame -s log
    under git grep -c word12
    under git tag -a -m tag v1
    under git gc -q --aggressive --prune=now
    under git fsck --full --strict
    under git count-objects -v | grep -E '^(count|in-pack|packs)'
    under git clone -q --no-local . ../clone
    under git -C ../clone log -p | cksum
    under git -C ../clone rev-parse HEAD HEAD~2 v1
    under git archive --format=tar HEAD | cksum
    under git show no-such-thing || :
}

program_run "$@"
