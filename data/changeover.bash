# bash completion for changeover: commands and options as the tool itself lists them.
_changeover() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} tool=${COMP_WORDS[0]} verb='' i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -f | --file | --state-dir | -o | --output | --reason) ((i++)) ;;
        -*) ;;
        *) verb=${COMP_WORDS[i]} && break ;;
        esac
    done
    case $prev in
    -f | --file | --state-dir) mapfile -t COMPREPLY < <(compgen -f -- "$cur") && return ;;
    -o | --output) mapfile -t COMPREPLY < <(compgen -W 'text json' -- "$cur") && return ;;
    esac
    local words
    if [[ $cur == -* ]]; then
        words=$("$tool" help "${verb:-help}" 2>/dev/null | grep -oE '^  (-[a-zA-Z], |    )--[a-z-]+' | grep -oE '[-]-[a-z-]+')
    elif [[ -z $verb || $verb == help ]]; then
        words=$("$tool" help 2>/dev/null | sed -nE 's/^  ([a-z][a-z-]*) {2,}.*/\1/p')
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o default -F _changeover changeover
