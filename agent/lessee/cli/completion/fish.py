"""The completion for fish 3 and later."""

from collections.abc import Iterator

from lessee.cli.command_tree import APP, CHOICE, DIRECTORY, FILE, PROGRAM, Argument, Command

_FUNCTIONS = """
# The command and action on the command line, such as `backup save`; the words after them are counted.
function __lessee_scan
    set -g __lessee_command ""
    set -g __lessee_used 0
    set -l words (commandline -opc)
    set -l expected ""
    set -l after ""
    for word in $words[2..]
        if test -n "$after"
            set __lessee_used (math $__lessee_used + 1)
        else if test "$word" = --
            set after yes
            set expected ""
        else if string match -q -- "-*=*" $word
            set expected ""
        else if string match -q -- "-*" $word
            set expected ""
            contains -- (string trim -- "$__lessee_command $word") $__lessee_valued; and set expected yes
        else if test -n "$expected"
            set expected ""
        else if test "$__lessee_used" = 0; and contains -- (string trim -- "$__lessee_command $word") $__lessee_commands
            set __lessee_command (string trim -- "$__lessee_command $word")
        else
            set __lessee_used (math $__lessee_used + 1)
        end
    end
end

# Whether the command line is at this command.
function __lessee_at
    __lessee_scan
    test "$__lessee_command" = "$argv"
end

# Whether the next word is the argument of this command with a number from the first to the last.
function __lessee_argument
    __lessee_scan
    test "$__lessee_command" = "$argv[3..]"; and test $__lessee_used -ge $argv[1]; and test $__lessee_used -le $argv[2]
end
"""
_ENDLESS = 9999


def script(root: Command) -> str:
    """The script; `lessee completion fish` prints it."""
    commands = [" ".join(one.words) for one in root.all() if one.words]
    valued = [
        " ".join((*one.words, name))
        for one in root.all()
        for option in one.options
        if option.metavar and option.least
        for name in option.names
    ]
    lines = [line for one in root.all() for line in (*_actions(one), *_options(one), *_positionals(one))]
    return (
        "# fish completion of lessee. Load it with: lessee completion fish | source\n"
        f"set -g __lessee_commands {' '.join(map(_quoted, commands))}\n"
        f"set -g __lessee_valued {' '.join(map(_quoted, valued))}\n"
        f"{_FUNCTIONS}\ncomplete -c lessee -e\ncomplete -c lessee -f\n" + "\n".join(lines) + "\n"
    )


def _actions(command: Command) -> Iterator[str]:
    for action in command.actions:
        where = _condition("argument", "0", "0", *command.words)
        yield f"complete -c lessee {where} -a {_quoted(action.words[-1])} -d {_quoted(_line(action.summary))}"


def _options(command: Command) -> Iterator[str]:
    for option in command.options:
        names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
        values = ""
        if option.metavar and option.least:
            values = f" {_values(option)}" if option.kind == FILE else f" -x{_values(option)}"
        yield f"complete -c lessee {_condition('at', *command.words)} {names}{values} -d {_quoted(_line(option.help))}"


def _positionals(command: Command) -> Iterator[str]:
    if not command.positionals and any(option.is_open and option.kind == FILE for option in command.options):
        yield f"complete -c lessee {_condition('at', *command.words)} -F"  # The other values of the option.
    for number, argument in enumerate(command.positionals):
        last = _ENDLESS if argument.is_open else number
        where = _condition("argument", str(number), str(last), *command.words)
        if argument.kind == PROGRAM:
            first = _condition("argument", "0", "0", *command.words)
            yield f"complete -c lessee {first} -a '(__fish_complete_command)'"
            yield f"complete -c lessee {_condition('argument', '1', str(_ENDLESS), *command.words)} -F"
        elif values := _values(argument).strip():
            yield f"complete -c lessee {where} {values}"


def _values(argument: Argument) -> str:
    if argument.kind == FILE:
        return "-r -F" if argument.names else "-F"
    if argument.kind == APP:
        return " -a '(type -q lessee; and lessee completion fish --apps 2>/dev/null)'"
    if argument.kind == DIRECTORY:
        return " -a '(__fish_complete_directories)'"
    return f" -a {_quoted(' '.join(argument.choices))}" if argument.kind == CHOICE else ""


def _condition(name: str, *words: str) -> str:
    return f"-n {_quoted(' '.join((f'__lessee_{name}', *words)))}"


def _line(text: str) -> str:
    return " ".join(text.split())


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
