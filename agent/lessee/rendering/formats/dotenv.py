"""dotenv as python-dotenv and pydantic-settings read it: each value is written as one quoted literal."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from lessee.core.errors import FormatError
from lessee.core.immutable import ImmutableStruct
from lessee.rendering.document import Document
from lessee.rendering.formats import names
from lessee.rendering.formats.value_markers import MarkedText, mark_values
from lessee.rendering.formats.variables import Assignment

# The grammar of python-dotenv 1.2: parser.py and variables.py. `\s` is Unicode's there, as it is here.
_BLANK = re.compile(r"\s*")
_EXPORT = re.compile(r"(?:export[^\S\r\n]+)?")
_KEY = re.compile(r"'[^']+'|[^=#\s'][^=#\s]*")
_SPACE = re.compile(r"[^\S\r\n]*")
_EQUALS = re.compile(r"=[^\S\r\n]*")
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*+'" r'|"(?:\\.|[^"\\])*+"', re.DOTALL)
_TO_LINE_END = re.compile(r"[^\r\n]*")
# Only at the first of several spaces: from each of them, a search would look at all that follow.
_INLINE_COMMENT = re.compile(r"(?<!\s)\s++#.*")
_COMMENT = re.compile(r"(?:[^\S\r\n]*#[^\r\n]*)?")
_LINE_END = re.compile(r"[^\S\r\n]*(?:\r\n|\n|\r|\Z)")
_REST = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)?")
_SINGLE_ESCAPE = re.compile(r"\\([\\'])")
_DOUBLE_ESCAPE = re.compile(r"\\([\\'\"abfnrtv])")
_SHORT = 4096
_MOST = 4 * 2**20
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_VARIABLE = re.compile(r"\$\{([^}:]*)(?::-([^}]*))?\}")
_NAME_END = re.compile(r"[}:]")

_Meaning = tuple[str | None, list[str] | None]
"""A variable's name, and what `_atoms` makes of its value."""


def write(document: Document) -> str:
    """The document as a dotenv file. Raises FormatError if it cannot represent a value."""
    marked = mark_values(document)
    statements = _statements(marked.text)
    written = [_write(statement, marked) for statement in statements]
    meanings = [meaning for _, meaning in written]
    names.refuse_duplicates((statement.key or "" for statement in statements), marked)
    text = "".join(part for part, _ in written)
    _verify(text, statements, meanings, marked)
    return text


def outline(text: str) -> tuple[str, ...]:
    """The names of the variables, in order. Raises FormatError for a line without one: it may be part of a value."""
    statements = list(_read(text))
    if not all(statement.assigns or statement.is_blank for statement in statements):
        raise FormatError("a line of the text assigns no variable", todo="render the file again")
    return tuple(dict.fromkeys(statement.key for statement in statements if statement.key is not None))


def assignments(text: str) -> Iterator[Assignment]:
    """The variables of a file, and the positions of their literals."""
    at = 0
    for statement in _read(text):
        begin = at + len(statement.before)
        end = begin + len(statement.literal)
        if statement.key is not None:
            yield Assignment(statement.key, statement.literal if statement.assigns else None, at, begin, end)
        at = end + len(statement.after)


def literals(text: str) -> Iterator[tuple[Assignment, tuple[str, ...]]]:
    """The variables of a file that are set, each with its value split at references."""
    for one in assignments(text):
        if one.raw is not None:
            yield one, tuple(_atoms(_decode(one.raw)))


def variables(text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that the file sets. `${NAME}` refers to an earlier variable, or to `environ`.

    Raises FormatError for more characters than fit into an environment: each reference may double them.
    """
    found: dict[str, str] = {}
    size = 0
    for statement in _read(text):
        if statement.key is not None and statement.assigns:
            atoms = _atoms(_decode(statement.literal))
            parts = [_resolve(atom, found, environ) if at % 2 else atom for at, atom in enumerate(atoms)]
            size += sum(map(len, parts))
            if size > _MOST:
                what = f"the variables have more than {_MOST // 2**20} MiB with what their references refer to"
                raise FormatError(what, todo="refer to fewer or shorter variables")
            found[statement.key] = "".join(parts)
    return found


def _resolve(atom: str, found: Mapping[str, str], environ: Mapping[str, str]) -> str:
    variable = _VARIABLE.fullmatch(atom)
    assert variable is not None
    name = variable[1]
    return found[name] if name in found else environ.get(name, variable[2] or "")


class _Statement(ImmutableStruct, frozen=True):
    """A statement with the blank lines before it. Its text is before + literal + after."""

    at: int
    before: str
    literal: str
    after: str
    key: str | None
    """None for a comment, an empty line, or a line that python-dotenv ignores with a warning."""
    assigns: bool

    @property
    def is_blank(self) -> bool:
        """Whether it is a comment or empty."""
        return self.key is None and not self.before.strip()


class _UnreadableError(Exception):
    pass


class _Cursor:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = int(text.startswith("\ufeff"))

    def next(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if not found:
            raise _UnreadableError
        self.at = found.end()
        return found[0]


def _statements(text: str) -> Sequence[_Statement]:
    """The statements of a text without values, which many files may have in common."""
    return _known_statements(text) if len(text) <= _SHORT else tuple(_read(text))


@lru_cache(maxsize=16)
def _known_statements(text: str) -> Sequence[_Statement]:
    return tuple(_read(text))


def _read(text: str) -> Iterator[_Statement]:
    cursor = _Cursor(text)
    start = 0
    while start < len(text):
        try:
            yield _statement(cursor, start)
        except _UnreadableError:
            cursor.take(_REST)
            rest = text[start : cursor.at]
            at = cursor.at - len(rest.lstrip())
            yield _Statement(at, before=rest, literal="", after="", key=None, assigns=False)
        start = cursor.at


def _statement(cursor: _Cursor, start: int) -> _Statement:
    cursor.take(_BLANK)
    at = cursor.at
    cursor.take(_EXPORT)
    key = None if cursor.next() in {"", "#"} else cursor.take(_KEY)
    if key and key.startswith("'"):
        key = key[1:-1]
    cursor.take(_SPACE)
    assigns = cursor.next() == "="
    equals = cursor.take(_EQUALS) if assigns else ""
    begin = cursor.at
    literal = _take_literal(cursor, equals) if assigns else ""
    cursor.take(_COMMENT)
    cursor.take(_LINE_END)
    before, after = cursor.text[start:begin], cursor.text[begin + len(literal) : cursor.at]
    return _Statement(at, before, literal, after, key, assigns)


def _take_literal(cursor: _Cursor, equals: str) -> str:
    if cursor.next() in {"'", '"'}:
        return cursor.take(_QUOTED)
    if cursor.next() == "#" and len(equals) > 1:
        return ""
    literal = cursor.take(_TO_LINE_END)
    return (_INLINE_COMMENT.sub("", literal) if "#" in literal else literal).rstrip()


def _write(statement: _Statement, marked: MarkedText) -> tuple[str, _Meaning]:
    markers = marked.markers_in(statement.before)
    if markers and not statement.assigns:
        raise markers[0].error("is on a line that assigns no variable", "write NAME={{ … }}")
    key = names.name(statement.key, marked) if statement.key else None
    literal, value = statement.literal, None
    if statement.assigns:
        value = [_fill(atom, marked, at) for at, atom in enumerate(_atoms(_decode(literal)))]
    if value and marked.markers_in(literal):
        literal = _quote(value)
    text = marked.fill(statement.before, names.text) + literal + marked.fill(statement.after, names.comment)
    return text, (key, value)


def _fill(atom: str, marked: MarkedText, at: int) -> str:
    """An atom with its values. Only a literal, at an even index, may contain values."""
    if at % 2 and (markers := marked.markers_in(atom)):
        raise markers[0].error("is inside ${…}", "move it out of the braces")
    return marked.fill(atom, names.text)


def _decode(literal: str) -> str:
    """The value of a literal in python-dotenv, which opens files with universal newlines."""
    literal = literal.replace("\r\n", "\n").replace("\r", "\n")
    if literal.startswith("'"):
        return _SINGLE_ESCAPE.sub(r"\1", literal[1:-1])
    if literal.startswith('"'):
        return _DOUBLE_ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), literal[1:-1])
    return literal


def _atoms(value: str) -> list[str]:
    """A value split into literals, at even indexes, and `${…}` references, at odd indexes."""
    atoms: list[str] = []
    literal: list[str] = []
    at = 0
    for variable in _variables(value):
        literal.append(value[at : variable.start()])
        if variable[1]:
            atoms += ["".join(literal), variable[0]]
            literal = []
        else:  # A variable without a name is never set, so its default is a literal.
            literal.append(variable[2] or "")
        at = variable.end()
    return [*atoms, "".join(literal) + value[at:]]


def _variables(value: str) -> Iterator[re.Match[str]]:
    """As `_VARIABLE.finditer`, which would look for the same missing brace from each `${`."""
    at = 0
    while (start := value.find("${", at)) >= 0 and (end := _NAME_END.search(value, start)):
        if variable := _VARIABLE.match(value, start):
            yield variable
            at = variable.end()
        elif value.startswith(":-", end.start()):
            return  # No brace follows.
        else:
            at = end.start()  # Every name that begins before this colon ends at it.


def _quote(atoms: list[str]) -> str:
    """One literal of atoms. Single quotes protect `$` in other parsers, but cannot contain a carriage return."""
    # python-dotenv also expands ${…} in single quotes. ${:-$} is another way to write a `$` (see _atoms).
    body = "".join(atom if at % 2 else atom.replace("${", "${:-$}{") for at, atom in enumerate(atoms))
    if body.endswith("\\"):
        body += "${:-}"  # python-dotenv < 1.2.3 treats a quote after two backslashes as escaped.
    quote = '"' if "\r" in body else "'"
    body = body.replace("\\", r"\\").replace(quote, "\\" + quote).replace("\r", r"\r")
    return f"{quote}{body}{quote}"


def _verify(text: str, statements: Sequence[_Statement], meanings: list[_Meaning], marked: MarkedText) -> None:
    found = [_meaning(statement) for statement in _read(text)]
    if found == meanings:
        return
    pairs = zip(statements, meanings, found, strict=False)
    at = next((statement.at for statement, expected, actual in pairs if expected != actual), 0)
    todo = "close the quotes on this line and earlier lines"
    raise FormatError("the file would parse back to different content", where=marked.where(at), todo=todo)


def _meaning(statement: _Statement) -> _Meaning:
    return statement.key, _atoms(_decode(statement.literal)) if statement.assigns else None
