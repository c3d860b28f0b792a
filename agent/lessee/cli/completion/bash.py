"""The completion for Bash 4.4 and later; it needs no other package."""

from collections.abc import Iterable, Iterator
from shlex import quote

from lessee.cli.command_tree import CHOICE, Argument, Command

_FUNCTIONS = r"""
_lessee() {
    local current=${COMP_WORDS[COMP_CWORD]} command= word kind= rest= used=0 after= option= i
    local options= actions= arguments= IFS=$' \t\n'
    COMPREPLY=()
    # Bash splits --option=value into three words.
    [[ $current == "=" ]] && current=
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $after ]]; then
            ((used++))
        elif [[ $word == -- ]]; then
            after=yes kind=
        elif [[ $word == "=" ]]; then
            kind=$option
        elif [[ $word == -* ]]; then
            _lessee_option "$command" "$word"
            option=$kind
        elif [[ $kind ]]; then
            [[ $rest ]] || kind=
        else
            _lessee_command "$command"
            if [[ " $actions " == *" $word "* ]]; then
                command+="${command:+ }$word"
            else
                ((used++))
            fi
        fi
    done
    if [[ ${COMP_WORDS[COMP_CWORD]} == "=" ]]; then
        kind=$option rest=
    fi
    _lessee_command "$command"
    if [[ $kind && ! ( ( $rest || $kind == "?"* ) && $current == -* ) ]]; then
        _lessee_values "${kind#"?"}" "$current"
        [[ $kind != "?"* || ${COMPREPLY[*]} ]] && return
    fi
    if [[ ! $after && $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
        return
    fi
    if [[ $actions && $used == 0 ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$actions" -- "$current")
        return
    fi
    # The kinds of the arguments, of which the last one may repeat.
    local kinds=($arguments)
    if ((${#kinds[@]})); then
        kind=${kinds[used]-}
        [[ ! $kind && ${kinds[-1]} == *+ ]] && kind=${kinds[-1]}
        kind=${kind%+}
        if [[ $kind == program ]] && ((used)); then
            kind=file
        fi
        [[ $kind ]] && _lessee_values "$kind" "$current"
    elif [[ ! $after ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    fi
}

# The values of this kind that begin with this text.
_lessee_values() {
    case $1 in
        file) compopt -o default ;;
        directory) compopt -o dirnames ;;
        program) mapfile -t COMPREPLY < <(compgen -c -- "$2") ;;
        app) mapfile -t COMPREPLY < <(compgen -W "$(lessee completion bash --apps 2>/dev/null)" -- "$2") ;;
        text) ;;
        *) mapfile -t COMPREPLY < <(compgen -W "${1//,/ }" -- "$2") ;;
    esac
}

complete -F _lessee lessee
"""


def script(root: Command) -> str:
    """The script; `lessee completion bash` prints it."""
    commands = [_command(one) for one in root.all()]
    options = [*(row for one in root.all() for row in _options(one)), "*) kind= rest= ;;"]
    return (
        '# Bash completion of lessee. Load it with: eval "$(lessee completion bash)"\n'
        + _table("_lessee_command", "Sets what a command takes.", '"$1"', commands)
        + _table("_lessee_option", "Sets what an option of a command takes.", '"$1 $2"', options)
        + _FUNCTIONS
    )


def _table(name: str, comment: str, words: str, rows: Iterable[str]) -> str:
    lines = "".join(f"        {row}\n" for row in rows)
    return f"\n# {comment}\n{name}() {{\n    case {words} in\n{lines}    esac\n}}\n"


def _command(command: Command) -> str:
    options = " ".join(name for option in command.options for name in option.names)
    actions = " ".join(action.words[-1] for action in command.actions)
    arguments = " ".join(_kind(argument) + "+" * argument.is_open for argument in command.positionals)
    words = quote(" ".join(command.words))
    return f"{words}) options={quote(options)} actions={quote(actions)} arguments={quote(arguments)} ;;"


def _options(command: Command) -> Iterator[str]:
    for option in command.options:
        if option.metavar:
            names = "|".join(quote(f"{' '.join(command.words)} {name}") for name in option.names)
            kind = "?" * (option.least == 0) + _kind(option)
            yield f"{names}) kind={quote(kind)} rest={'yes' * option.is_open} ;;"


def _kind(argument: Argument) -> str:
    return ",".join(argument.choices) if argument.kind == CHOICE else argument.kind
