#!/usr/bin/env bash
# tmux: a server with three windows and a split, shells that run under the library as well, keys
# sent, layouts changed, panes captured. `wait-for` makes each step wait for the one before.
. "$(dirname "$0")/lib.sh"
need=(tmux bash)

job() {
    local socket=$WORK/socket i keys
    trap 'tmux -S "$WORK/socket" kill-server 2>/dev/null || :' EXIT
    printf 'set -g status off\nset -g default-shell /bin/bash\nset -g history-limit 5000\n' >conf
    under tmux -S "$socket" -f conf new-session -d -s s -x 80 -y 24 \
        "env PS1='$ ' bash --norc --noprofile"
    under tmux -S "$socket" new-window -t s "env PS1='$ ' bash --norc --noprofile"
    under tmux -S "$socket" split-window -h -t s:1 "env PS1='$ ' bash --norc --noprofile"
    for i in 0.0 1.0 1.1; do
        keys="clear; seq 1 3000; echo pane $i; printf '\\033[1;31mred\\033[0m \\u00e9\\n'"
        keys+="; tmux -S $socket wait-for -S done$i"
        under tmux -S "$socket" send-keys -t "s:$i" "$keys" Enter
        under tmux -S "$socket" wait-for "done$i"
    done
    for i in 1 2 3; do
        under tmux -S "$socket" select-layout -t s:1 even-vertical
        under tmux -S "$socket" resize-window -t s:1 -x $((60 + i)) -y $((20 + i))
        under tmux -S "$socket" select-layout -t s:1 tiled
    done
    under tmux -S "$socket" list-panes -s -t s \
        -F '#{window_index}.#{pane_index} #{pane_width}x#{pane_height} #{history_size}'
    # The line typed and the next prompt come and go with the shell's own timing.
    for i in 0.0 1.0 1.1; do
        under tmux -S "$socket" capture-pane -p -e -S -50 -t "s:$i" |
            grep -E '^[0-9]+$|^pane|red' | tail -n 30
    done
    under tmux -S "$socket" set-buffer "$(seq 1 500)"
    under tmux -S "$socket" show-buffer | cksum
    under tmux -S "$socket" has-session -t nothing || :
    under tmux -S "$socket" kill-server
}

program_run "$@"
