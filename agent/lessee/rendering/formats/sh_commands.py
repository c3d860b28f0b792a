"""Finds words that shell builtins treat as names, numbers or code, in which a value would not be literal text."""

import re
from collections.abc import Iterator

from lessee.core.errors import FormatError
from lessee.rendering.formats import names
from lessee.rendering.formats.sh_script import Script, Word
from lessee.rendering.formats.value_markers import MarkedText

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\+?=")
_SUBSCRIPT = re.compile(r"\w*\[([^\]]*)", re.ASCII)
_QUOTING = re.compile(r"\\\n|['\"\\]")
_BRACKET = re.compile(r"(?:[ \t]|\\\n)*\(")

_TRANSPARENT = frozenset({"builtin", "command"})
_DECLARING = frozenset({"declare", "export", "local", "private", "readonly", "typeset"})
_TYPING = frozenset({"declare", "local", "private", "typeset"})
_TYPES = frozenset({"float", "integer", "nameref"})
_EVALUATING = frozenset({"alias", "eval", "let", "trap"})
_NAMING = frozenset({"getopts", "mapfile", "read", "readarray", "unset", "<&", ">&"})
_NAMING_FIRST = frozenset({"for", "function", "select"})
_COMPARING = frozenset({"[", "test"})
_EVALUATED = frozenset({"-eq", "-ge", "-gt", "-le", "-lt", "-ne", "-v"})


def may_assign(name: str | None) -> bool:
    """Whether a next word NAME=… of a command with this name is an assignment. None: the command has no name yet."""
    return not name or name in _DECLARING


def name_of(word: Word) -> str | None:
    """The command's name, if this word is it. Assignments may precede the name."""
    return None if _ASSIGNMENT.match(word.text) or _plain(word) in _TRANSPARENT else _plain(word)


def assigned(script: Script) -> Iterator[str]:
    """The names of the assigned variables, in order."""
    for command in sorted(script.commands, key=lambda command: command[0].at):
        name, arguments = _split(command)
        before = (word.text for word in command[: len(command) - len(arguments)])
        for text in (*before, *(map(_plain, arguments) if name in _DECLARING else ())):
            if found := _ASSIGNMENT.match(text):
                yield found[1]


def assigning_words(script: Script) -> Iterator[Word]:
    """The words that may assign a variable: those before a command, and the arguments of `export` and the like."""
    for command in script.commands:
        name, arguments = _split(command)
        yield from command[: len(command) - len(arguments) - bool(name)]
        yield from arguments if name in _DECLARING else ()


def refuse_misplaced(script: Script, marked: MarkedText) -> None:
    """Raises FormatError if a command would not treat a value as literal text."""
    names.refuse_duplicates(assigned(script), marked)
    for command in script.commands:
        name, arguments = _split(command)
        _refuse_types(name, arguments, command[0].at, marked)
        _refuse_around_brackets(command, marked)
        texts, what, todo = _evaluated_arguments(name, arguments)
        for marker in marked.markers_in("".join(texts)):
            raise marker.error(what, todo)


def _split(command: list[Word]) -> tuple[str, list[Word]]:
    """A command's name and its arguments. Assignments may precede the name."""
    for index, word in enumerate(command):
        if (name := name_of(word)) is not None:
            return name, command[index + 1 :]
    return "", []


def _plain(word: Word) -> str:
    return _QUOTING.sub("", word.text)


def _refuse_types(name: str, arguments: list[Word], at: int, marked: MarkedText) -> None:
    options = "".join(plain for plain in map(_plain, arguments) if plain.startswith("-"))
    if name in _TYPES or (name in _TYPING and set(options) & set("in")):
        what = "an assignment to a variable of this type is evaluated, and may run commands"
        raise FormatError(what, where=marked.where(at), todo="declare it without a type")


def _refuse_around_brackets(command: list[Word], marked: MarkedText) -> None:
    for word in command:
        subscript = _SUBSCRIPT.match(word.text)
        for marker in marked.markers_in(subscript[1]) if subscript else ():
            raise marker.error("is where the subscript of an array is evaluated", r"write that out, or \[ for a [")
    markers = marked.markers_in(command[-1].text)
    if markers and _BRACKET.match(marked.text, command[-1].end):
        raise markers[0].error("precedes a bracket, as the name of a function does", "write the name out")


def _evaluated_arguments(name: str, arguments: list[Word]) -> tuple[list[str], str, str]:
    """The arguments that cannot contain a value, with the reason and the remedy."""
    plain = [_plain(word) for word in arguments]
    if name in _EVALUATING:
        return plain, f"is an argument of {name}, which evaluates it", "assign it to a variable, and use that"
    if name in _COMPARING and _EVALUATED.intersection(plain):
        return plain, "is compared as a number, which some shells evaluate", "compare it as text, with ="
    if name in _DECLARING:
        heads = [_plain(word).partition("=")[0] for word in arguments if not _ASSIGNMENT.match(word.text)]
    elif name in _NAMING_FIRST:
        heads = plain[:1]
    else:
        heads = plain if name in _NAMING else []
    return heads, f"is where {name} expects a name", "write the name out"
