"""Scripts that a POSIX shell runs, or reads with `.`: a value is literal text within one word."""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from lessee.core.errors import FormatError
from lessee.rendering.document import Document
from lessee.rendering.formats import names, sh_commands
from lessee.rendering.formats.sh_script import RUNS, AmbiguousError, HereDoc, Script, Segment
from lessee.rendering.formats.sh_words import read
from lessee.rendering.formats.value_markers import MarkedText, Marker, mark_values

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"double": re.compile(r"\\([\\\"$`\n])"), "here": re.compile(r"\\([\\$`\n])")}
_SPECIAL = {"double": re.compile(r"[\\\"$`]"), "here": re.compile(r"[\\$`]")}
_TILDE = re.compile(r"(?:^|[:=])~$")
_QUOTED = frozenset({"bare", "single", "double", "here", "variable"})
"""The kinds of segments that can be quoted in several ways."""
_NOTHING = Segment("code", "", 0)

_MISPLACED = {
    "variable": ("would be read as the name after a $", r"write \$ for a dollar, or ${NAME} before the value"),
    "braces": ("is inside ${…}", "assign it to a variable first"),
    "arithmetic": ("is in arithmetic", "assign it to a variable first"),
    "backticks": ("is inside `…`", "write $( )"),
    "ansi": ("is inside $'…', which not every shell supports", "write '…'"),
    "test": ("is inside [[ … ]]", "write [ … ]"),
    "comment": ("is in the line that names the interpreter", "write that line out"),
    "delimiter": ("is in the delimiter of a here-document", "write the delimiter out"),
}


def write(document: Document) -> str:
    """The document as a script. Raises FormatError if shells read it differently, or it cannot represent a value."""
    marked = mark_values(document)
    if not marked.markers:  # Without values, it does not matter if shells differ.
        return marked.text
    script = _read(marked.text, marked)
    sh_commands.refuse_misplaced(script, marked)
    for here_doc in script.here_docs:
        _refuse_ends(here_doc, marked)
    text = "".join(_spelled(script.segments, marked))
    _verify(text, script, marked)
    return text


def outline(text: str) -> tuple[str, ...]:
    """The names of the assigned variables, in order. Raises FormatError if shells may read the script differently."""
    return tuple(dict.fromkeys(sh_commands.assigned(_read(text))))


def _read(text: str, marked: MarkedText | None = None) -> Script:
    try:
        return read(text)
    except AmbiguousError as exc:
        where = marked.where(exc.at) if marked else ""
        raise FormatError(exc.what, where=where, todo=exc.todo) from None
    except RecursionError:
        where = marked.name if marked else ""
        raise FormatError("the text is nested too deeply", where=where, todo="flatten it") from None


def _refuse_ends(here_doc: HereDoc, marked: MarkedText) -> None:
    """Raises FormatError for a value with a line that would end or change its here-document."""
    for written in here_doc.text.split("\n"):
        line = written.lstrip("\t") if here_doc.without_tabs else written
        markers = marked.markers_in(line)
        lines = marked.fill(line, names.text).split("\n") if markers else []
        if any(map(here_doc.last.may_be, lines)):
            raise markers[0].error("contains the line that ends its here-document", "choose another delimiter")
        if here_doc.without_tabs and any(filled.startswith("\t") for filled in lines):
            raise markers[0].error("begins a line with a tab, which <<- removes", "write << without the -")


def _spelled(segments: list[Segment], marked: MarkedText) -> Iterator[str]:
    for segment, after in pairwise([*segments, _NOTHING]):
        # zsh reads more after a name: "$x:h" is a folder, "$#x" a length, and é a letter of the name.
        if segment.kind == "variable" and after.kind in RUNS and marked.markers_in(after.text):
            yield f"${{{_spell(segment, marked)[1:]}}}"
        else:
            yield _spell(segment, marked)


def _spell(segment: Segment, marked: MarkedText) -> str:
    markers = marked.markers_in(segment.text)
    if not markers:
        return segment.text
    match segment.kind:
        case "head":
            return names.name(segment.text, marked)
        case "bare":
            return _bare(segment.text, markers, marked)
        case "single":
            return marked.fill(segment.text, _in_quotes)
        case "double" | "here":
            text = marked.fill(_decode(segment), names.text)
            return _SPECIAL[segment.kind].sub(r"\\\g<0>", text)
        case "raw":
            return marked.fill(segment.text, names.text)
        case "comment" if segment.at or not segment.text.startswith("#!"):
            return marked.fill(segment.text, names.comment)
        case _:
            raise markers[0].error(*_MISPLACED[segment.kind])


def _bare(text: str, markers: list[Marker], marked: MarkedText) -> str:
    if marked.markers_in(_ESCAPED.sub("", text)) != markers:
        raise markers[0].error("is directly after a \\", "remove it, or write it twice")
    for before, marker in pairwise(marked.split(text)):
        if isinstance(marker, Marker) and _TILDE.search(str(before)):
            raise marker.error("is directly after a ~", "write the folder out")
    return marked.fill(text, lambda marker: f"'{_in_quotes(marker)}'")


def _in_quotes(marker: Marker) -> str:
    return names.text(marker).replace("'", r"'\''")


def _decode(segment: Segment) -> str:
    return _ESCAPES[segment.kind].sub(lambda escape: escape[1].strip("\n"), segment.text)


def _verify(text: str, script: Script, marked: MarkedText) -> None:
    try:
        actual = _meaning(read(text))
    except (AmbiguousError, RecursionError):
        actual = []
    if actual != _meaning(script, marked):
        what, todo = "the script would parse back to different content", "simplify its words and quotes"
        raise FormatError(what, where=marked.name, todo=todo)


def _meaning(script: Script, marked: MarkedText | None = None) -> list[tuple[str, str]]:
    """What a shell reads: which texts are quoted, but not how."""
    found: list[tuple[str, str]] = []
    same: list[str] = []
    last = ""
    for segment in script.segments:
        atoms = _atoms(segment, marked) if segment.kind in _QUOTED else ((segment.kind, _filled(segment.text, marked)),)
        for kind, text in atoms:
            if kind == last:
                same.append(text)
            elif text or kind == "quoted":
                found.append((last, "".join(same)))
                last, same = kind, [text]
    return [*found, (last, "".join(same))]


def _atoms(segment: Segment, marked: MarkedText | None) -> Iterable[tuple[str, str]]:
    match segment.kind:
        case "single":
            return (("quoted", _filled(segment.text[1:-1], marked)),)
        case "bare":
            return _bare_atoms(segment.text, marked)
        case "double" | "here":
            return ((segment.kind, _filled(_decode(segment), marked)),)
        case _:
            return (("braces", f"${{{segment.text[1:]}}}"),)


def _bare_atoms(text: str, marked: MarkedText | None) -> Iterable[tuple[str, str]]:
    if "\\" not in text:
        return _unquoted(text, marked)
    atoms: list[tuple[str, str]] = []
    for index, part in enumerate(_ESCAPED.split(text)):
        if index % 2:
            atoms.append(("joined" if part == "\n" else "quoted", part))
        elif part:
            atoms += _unquoted(part, marked)
    return atoms


def _unquoted(text: str, marked: MarkedText | None) -> Iterable[tuple[str, str]]:
    if marked is None or marked.word not in text:
        return (("bare", text),)
    return [
        ("bare", segment) if isinstance(segment, str) else ("quoted", names.text(segment))
        for segment in marked.split(text)
    ]


def _filled(text: str, marked: MarkedText | None) -> str:
    return marked.fill(text, names.text) if marked else text
