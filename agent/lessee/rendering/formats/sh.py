"""sh: what a POSIX shell runs, or reads with `.`; a value is text within one word, whatever it holds."""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from lessee.core.errors import FormatError
from lessee.rendering.document import Document
from lessee.rendering.formats import names, sh_commands
from lessee.rendering.formats.sh_script import RUNS, Body, Piece, Script, UnclearError
from lessee.rendering.formats.sh_words import read
from lessee.rendering.formats.value_markers import Marked, Slot, mark

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"double": re.compile(r"\\([\\\"$`\n])"), "here": re.compile(r"\\([\\$`\n])")}
_SPECIAL = {"double": re.compile(r"[\\\"$`]"), "here": re.compile(r"[\\$`]")}
_TILDE = re.compile(r"(?:^|[:=])~$")
_QUOTED = frozenset({"bare", "single", "double", "here", "variable"})
"""Kinds of pieces that can be written in more than one way."""
_NOTHING = Piece("code", "", 0)

_NOWHERE = {
    "variable": ("is read as the name behind a $", r"write \$ for a dollar, or ${NAME} before the value"),
    "braces": ("stands inside ${…}", "assign it to a variable first"),
    "arithmetic": ("stands in arithmetic", "assign it to a variable first"),
    "backticks": ("stands inside `…`", "write $( )"),
    "ansi": ("stands inside $'…', which not every shell knows", "write '…'"),
    "test": ("stands inside [[ … ]]", "write [ … ]"),
    "comment": ("stands in the line that says what runs the script", "write that line out"),
    "delimiter": ("stands in the delimiter of a here-document", "write the delimiter out"),
}


def write(document: Document) -> str:
    """The document as a script. Raises FormatError where a value or the author's text has no place in it."""
    marked = mark(document)
    if not marked.slots:  # Where no value depends on it, shells may differ.
        return marked.text
    script = _read(marked.text, marked)
    sh_commands.refuse_misplaced(script, marked)
    for body in script.bodies:
        _refuse_ends(body, marked)
    text = "".join(_spelled(script.pieces, marked))
    _prove(text, script, marked)
    return text


def outline(text: str) -> tuple[str, ...]:
    """The names of the variables that are assigned, in order. Raises FormatError where shells may find others."""
    return tuple(dict.fromkeys(sh_commands.assigned(_read(text))))


def _read(text: str, marked: Marked | None = None) -> Script:
    try:
        return read(text)
    except UnclearError as exc:
        where = marked.where(exc.at) if marked else ""
        raise FormatError(exc.what, where=where, todo=exc.todo) from None
    except RecursionError:
        where = marked.name if marked else ""
        raise FormatError("the text is nested too deep", where=where, todo="make it flatter") from None


def _refuse_ends(body: Body, marked: Marked) -> None:
    """Lines of values that would not be lines of their here-document."""
    for written in body.text.split("\n"):
        line = written.lstrip("\t") if body.without_tabs else written
        slots = marked.slots_in(line)
        lines = marked.fill(line, names.text).split("\n") if slots else []
        if any(map(body.last.search, lines)):
            raise slots[0].refused("has the line that ends its here-document", "choose another delimiter")
        if body.without_tabs and any(filled.startswith("\t") for filled in lines):
            raise slots[0].refused("begins a line with a tab, which <<- takes away", "write << without the -")


def _spelled(pieces: list[Piece], marked: Marked) -> Iterator[str]:
    for piece, after in pairwise([*pieces, _NOTHING]):
        # zsh reads on behind a name: "$x:h" is a folder there, "$#x" a length, and é a letter of a name.
        if piece.kind == "variable" and after.kind in RUNS and marked.slots_in(after.text):
            yield f"${{{_spell(piece, marked)[1:]}}}"
        else:
            yield _spell(piece, marked)


def _spell(piece: Piece, marked: Marked) -> str:
    slots = marked.slots_in(piece.text)
    if not slots:
        return piece.text
    match piece.kind:
        case "head":
            return names.name(piece.text, marked)
        case "bare":
            return _bare(piece.text, slots, marked)
        case "single":
            return marked.fill(piece.text, _in_quotes)
        case "double" | "here":
            text = marked.fill(_decode(piece), names.text)
            return _SPECIAL[piece.kind].sub(r"\\\g<0>", text)
        case "raw":
            return marked.fill(piece.text, names.text)
        case "comment" if piece.at or not piece.text.startswith("#!"):
            return marked.fill(piece.text, names.comment)
        case _:
            raise slots[0].refused(*_NOWHERE[piece.kind])


def _bare(text: str, slots: list[Slot], marked: Marked) -> str:
    if marked.slots_in(_ESCAPED.sub("", text)) != slots:
        raise slots[0].refused("stands right behind a \\", "remove it, or write it twice")
    for before, slot in pairwise(marked.pieces(text)):
        if isinstance(slot, Slot) and _TILDE.search(str(before)):
            raise slot.refused("stands right behind a ~", "write the folder out")
    return marked.fill(text, lambda slot: f"'{_in_quotes(slot)}'")


def _in_quotes(slot: Slot) -> str:
    return names.text(slot).replace("'", r"'\''")


def _decode(piece: Piece) -> str:
    return _ESCAPES[piece.kind].sub(lambda escape: escape[1].strip("\n"), piece.text)


def _prove(text: str, script: Script, marked: Marked) -> None:
    try:
        had = _meaning(read(text))
    except (UnclearError, RecursionError):
        had = []
    if had != _meaning(script, marked):
        what, todo = "the script would not read back as it is written", "write its words and quotes in a plainer way"
        raise FormatError(what, where=marked.name, todo=todo)


def _meaning(script: Script, marked: Marked | None = None) -> list[tuple[str, str]]:
    """What a shell reads, so far as quotes tell apart what they hold, and not how they do it."""
    found: list[tuple[str, str]] = []
    same: list[str] = []
    last = ""
    for piece in script.pieces:
        atoms = _atoms(piece, marked) if piece.kind in _QUOTED else ((piece.kind, _filled(piece.text, marked)),)
        for kind, text in atoms:
            if kind == last:
                same.append(text)
            elif text or kind == "quoted":
                found.append((last, "".join(same)))
                last, same = kind, [text]
    return [*found, (last, "".join(same))]


def _atoms(piece: Piece, marked: Marked | None) -> Iterable[tuple[str, str]]:
    match piece.kind:
        case "single":
            return (("quoted", _filled(piece.text[1:-1], marked)),)
        case "bare":
            return _bare_atoms(piece.text, marked)
        case "double" | "here":
            return ((piece.kind, _filled(_decode(piece), marked)),)
        case _:
            return (("braces", f"${{{piece.text[1:]}}}"),)


def _bare_atoms(text: str, marked: Marked | None) -> Iterable[tuple[str, str]]:
    if "\\" not in text:
        return _unquoted(text, marked)
    atoms: list[tuple[str, str]] = []
    for index, part in enumerate(_ESCAPED.split(text)):
        if index % 2:
            atoms.append(("joined" if part == "\n" else "quoted", part))
        elif part:
            atoms += _unquoted(part, marked)
    return atoms


def _unquoted(text: str, marked: Marked | None) -> Iterable[tuple[str, str]]:
    if marked is None or marked.word not in text:
        return (("bare", text),)
    return [
        ("bare", piece) if isinstance(piece, str) else ("quoted", names.text(piece)) for piece in marked.pieces(text)
    ]


def _filled(text: str, marked: Marked | None) -> str:
    return marked.fill(text, names.text) if marked else text
