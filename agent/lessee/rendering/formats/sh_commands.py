"""What a shell's own commands make of their words: names, numbers and code, where a value has to stay text."""

import re
from collections.abc import Iterator

from lessee.core.errors import FormatError
from lessee.rendering.formats import names
from lessee.rendering.formats.sh_script import Script, Word
from lessee.rendering.formats.value_markers import Marked

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
    """Whether the next word of a command of this name assigns, where it begins with NAME=; None: it has none yet."""
    return not name or name in _DECLARING


def name_of(word: Word) -> str | None:
    """The name of the command, if this word is it: what stands before may be assignments."""
    return None if _ASSIGNMENT.match(word.text) or _plain(word) in _TRANSPARENT else _plain(word)


def assigned(script: Script) -> Iterator[str]:
    """The names of the variables that are assigned, in order."""
    for command in sorted(script.commands, key=lambda command: command[0].at):
        name, arguments = _split(command)
        before = (word.text for word in command[: len(command) - len(arguments)])
        for text in (*before, *(map(_plain, arguments) if name in _DECLARING else ())):
            if found := _ASSIGNMENT.match(text):
                yield found[1]


def refuse_misplaced(script: Script, marked: Marked) -> None:
    """Raises FormatError where a value would be more than text to a command."""
    names.refuse_twins(assigned(script), marked)
    for command in script.commands:
        name, arguments = _split(command)
        _refuse_types(name, arguments, command[0].at, marked)
        _refuse_around_brackets(command, marked)
        texts, what, todo = _more_than_text(name, arguments)
        for slot in marked.slots_in("".join(texts)):
            raise slot.refused(what, todo)


def _split(command: list[Word]) -> tuple[str, list[Word]]:
    """A command's name, and its arguments; before the name may stand assignments."""
    for index, word in enumerate(command):
        if (name := name_of(word)) is not None:
            return name, command[index + 1 :]
    return "", []


def _plain(word: Word) -> str:
    return _QUOTING.sub("", word.text)


def _refuse_types(name: str, arguments: list[Word], at: int, marked: Marked) -> None:
    options = "".join(plain for plain in map(_plain, arguments) if plain.startswith("-"))
    if name in _TYPES or (name in _TYPING and set(options) & set("in")):
        what = "what a variable of this type is given is evaluated, and may run commands"
        raise FormatError(what, where=marked.where(at), todo="declare it without a type")


def _refuse_around_brackets(command: list[Word], marked: Marked) -> None:
    for word in command:
        subscript = _SUBSCRIPT.match(word.text)
        for slot in marked.slots_in(subscript[1]) if subscript else ():
            raise slot.refused("stands where the subscript of an array is evaluated", r"write that out, or \[ for a [")
    slots = marked.slots_in(command[-1].text)
    if slots and _BRACKET.match(marked.text, command[-1].end):
        raise slots[0].refused("stands before a bracket, as the name of a function does", "write the name out")


def _more_than_text(name: str, arguments: list[Word]) -> tuple[list[str], str, str]:
    """What of a command's arguments can hold no value, why not, and what to do."""
    plain = [_plain(word) for word in arguments]
    if name in _EVALUATING:
        return plain, f"stands behind {name}, which evaluates it", "assign it to a variable, and name that"
    if name in _COMPARING and _EVALUATED.intersection(plain):
        return plain, "is compared as a number, which some shells evaluate", "compare it as text, with ="
    if name in _DECLARING:
        heads = [_plain(word).partition("=")[0] for word in arguments if not _ASSIGNMENT.match(word.text)]
    elif name in _NAMING_FIRST:
        heads = plain[:1]
    else:
        heads = plain if name in _NAMING else []
    return heads, f"stands where {name} wants a name", "write the name out"
