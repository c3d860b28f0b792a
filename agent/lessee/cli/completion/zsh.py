"""The completion for zsh, as specifications of its own `_arguments`."""

from collections.abc import Iterable, Iterator

from lessee.cli.command_tree import APP, CHOICE, DIRECTORY, FILE, PROGRAM, Argument, Command, title

_ACTIONS = {FILE: "_files", DIRECTORY: "_directories", PROGRAM: "_command_names -e", APP: "_lessee_apps"}
_APPS = """
# The apps of the configuration.
_lessee_apps() {
    compadd "$@" -- ${(f)"$(lessee completion zsh --apps 2>/dev/null)"}
}
"""

_END = """
# `compinit` finds the file by its first line, and calls it; `eval` only defines the functions.
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _lessee "$@"
else
    compdef _lessee lessee
fi
"""


def script(root: Command) -> str:
    """The script; `lessee completion zsh` prints it."""
    return "#compdef lessee\n" + "\n".join(_function(command) for command in root.all()) + _APPS + _END


def _function(command: Command) -> str:
    if command.actions:
        specs = [*_options(command), "1:command:->command", "*:: :->rest"]
        rows = (_quoted(f"{_named(action)}:{_line(action.summary)}") for action in command.actions)
        described = "".join(f"                {row}\n" for row in rows)
        calls = "".join(f"                {_named(one)}) {_name(one)} ;;\n" for one in command.actions)
        more = f"""\
    case $state in
        command)
            local -a commands=(
{described}            )
            _describe -t commands {_quoted(title(command) + " command")} commands
            ;;
        rest)
            case $words[1] in
{calls}            esac
            ;;
    esac
"""
    else:
        # Several values of an option are completed as arguments: `_arguments` would offer no options after them.
        arguments = command.positionals or [one for one in command.options if one.is_open][:1]
        specs, more = [*_options(command), *_positionals(arguments)], ""
    lines = " \\\n".join(f"        {_quoted(spec)}" for spec in specs)
    return f"""
{_name(command)}() {{
    local curcontext=$curcontext state line
    typeset -A opt_args
    _arguments -C -S \\
{lines}
{more}}}
"""


def _named(command: Command) -> str:
    return command.words[-1]


def _name(command: Command) -> str:
    return "_" + "_".join(("lessee", *command.words)).replace("-", "_")


def _options(command: Command) -> Iterator[str]:
    for option in command.options:
        for name in option.names:
            ends = name in {"-h", "--help", "--version"}
            others = "(- *)" if ends else "" if option.repeats or option.is_open else f"({' '.join(option.names)})"
            start = f"{others}{'*' * (option.repeats or option.is_open)}{name}"
            if not option.metavar:
                yield f"{start}[{_text(option.help)}]"
                continue
            colons = "::" if option.least == 0 else ":"
            joined = "=" if name.startswith("--") and not option.is_open else ""
            yield f"{start}{joined}[{_text(option.help)}]{colons}{_text(option.metavar)}:{_values(option)}"


def _positionals(arguments: Iterable[Argument]) -> Iterator[str]:
    for number, argument in enumerate(arguments, 1):
        name = _text(argument.metavar)
        if argument.kind == PROGRAM:
            yield f"(-){number}:{name}:{_values(argument)}"
            yield "*::ARG:_normal"
        elif argument.is_open:
            yield f"*:{name}:{_values(argument)}"
        else:
            yield f"{number}{'::' if argument.least == 0 else ':'}{name}:{_values(argument)}"


def _values(argument: Argument) -> str:
    if argument.kind == CHOICE:
        return f"({' '.join(argument.choices)})"
    # A message alone, but not in place of an option.
    return _ACTIONS.get(argument.kind) or f'_guard "^-*" "{_text(argument.metavar)}"'


def _text(text: str) -> str:
    """A text within a specification, where brackets and colons act."""
    return "".join(f"\\{char}" if char in "[]:\\" else char for char in _line(text))


def _line(text: str) -> str:
    return " ".join(text.split())


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
