# bash completion for salvage(1)

_salvage_pids() {
    local maps pid
    for maps in /proc/[0-9]*/maps; do
        grep -qs '/libsalvage\.so' "$maps" || continue
        pid=${maps#/proc/}
        echo "${pid%/maps}"
    done
}

_salvage_keys='mode= gcpercent= memlimit= gctrace= log= barrier= workers= stress= checkmark= clobber=
    sample= depth= report= format= suppressions= exitcode= every= rss= align= tagbits= period= roots=
    stats='

_salvage_value() { # KEY: the words that it takes
    case $1 in
    mode) echo 'collect leaks off' ;;
    barrier) echo 'auto uffd softdirty mprotect stw' ;;
    format) echo 'text json sarif pprof collapsed xml html raw' ;;
    gctrace) echo '0 1 2' ;;
    checkmark | clobber) echo '0 1' ;;
    align) echo '1 4 8' ;;
    roots) echo 'data stacks mmap shared kernel all' ;;
    gcpercent | memlimit) echo 'off' ;;
    workers) echo 'auto' ;;
    esac
}

# Where the program's own words begin, or nothing: then they are completed as its own.
_salvage_program() {
    local i word skip=
    for ((i = 2; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [ -n "$skip" ]; then
            skip=
            # readline cuts words at =: key, =, value
            [ "${COMP_WORDS[i + 1]:-}" != = ] || ((i += 2))
            continue
        fi
        case $word in
        --)
            echo $((i + 1))
            return
            ;;
        -o | --format | --output | --suppressions | --exitcode) skip=yes ;;
        -*) ;;
        *)
            echo "$i"
            return
            ;;
        esac
    done
}

_salvage() {
    local cur prev verb render start
    render='--format --output --suppressions --gen-suppressions --objects --possible --abandoned
        --live --debuginfod --help'
    COMPREPLY=()
    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD - 1]}
    verb=${COMP_WORDS[1]:-}
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W 'run leaks stat top gc report help --help --version' -- "$cur")
        return
    fi
    case $verb in
    run | leaks)
        start=$(_salvage_program)
        if [ -n "$start" ] && declare -F _command_offset >/dev/null; then
            _command_offset "$start"
            return
        fi
        ;;
    esac
    [ "$cur" != = ] || cur=
    if [ "$prev" = = ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_salvage_value "${COMP_WORDS[COMP_CWORD - 2]}")" -- "$cur")
        return
    fi
    case $verb:$prev in
    run:-o | leaks:-o)
        mapfile -t COMPREPLY < <(compgen -W "$_salvage_keys" -- "$cur")
        compopt -o nospace
        return
        ;;
    leaks:--format | report:--format)
        mapfile -t COMPREPLY < <(compgen -W "$(_salvage_value format)" -- "$cur")
        return
        ;;
    stat:--format)
        mapfile -t COMPREPLY < <(compgen -W 'table openmetrics json' -- "$cur")
        return
        ;;
    top:-s)
        mapfile -t COMPREPLY < <(compgen -W 'pid live goal reclaimed rate pause cpu' -- "$cur")
        return
        ;;
    *:--output | *:--suppressions)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    *:--exitcode | top:-n | top:-d) return ;;
    esac
    case $verb in
    run) mapfile -t COMPREPLY < <(compgen -W '-o -- --help' -- "$cur"; compgen -c -- "$cur") ;;
    leaks)
        mapfile -t COMPREPLY < <(compgen -W "$render --exitcode -o -- $(_salvage_pids)" -- "$cur")
        ;;
    stat) mapfile -t COMPREPLY < <(compgen -W "--format --help $(_salvage_pids)" -- "$cur") ;;
    gc) mapfile -t COMPREPLY < <(compgen -W "--help $(_salvage_pids)" -- "$cur") ;;
    top) mapfile -t COMPREPLY < <(compgen -W '-b -n -d -s --help' -- "$cur") ;;
    report) mapfile -t COMPREPLY < <(compgen -W "$render" -- "$cur"; compgen -f -- "$cur") ;;
    help) mapfile -t COMPREPLY < <(compgen -W 'run leaks stat top gc report' -- "$cur") ;;
    esac
}

complete -F _salvage salvage
