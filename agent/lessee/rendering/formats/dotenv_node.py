"""dotenv as `node --env-file` and npm's dotenv read it: both read the written file alike."""

import re
from collections.abc import Iterator

from lessee.core.immutable import replace
from lessee.rendering.document import Document
from lessee.rendering.formats import variables
from lessee.rendering.formats.variables import Assignment, Grammar, Reading

CANNOT = "contains a carriage return, or needs quotes but contains all three kinds of quotes or ends in a backslash"
"""Why a value cannot be written, with or without quotes."""

_QUOTES = "'\"`"
_BLANK = " \t\n"
_WHITE, _NEWLINES, _SPACED = re.compile(r"[ \t\n]*"), re.compile(r"\n*"), re.compile(" *")

# The grammar of npm's dotenv 16 to 18, which is one regular expression: `\s`, `^`, `$` and `.` are JavaScript's.
_SPACES = f"\t\n\v\f\r \xa0\u1680{''.join(map(chr, range(0x2000, 0x200B)))}\u2028\u2029\u202f\u205f\u3000\ufeff"
_SPACE = f"[{_SPACES}]"
_LINE_ENDS = "\n\r\u2028\u2029"
_BEGIN, _END = rf"(?:\A|(?<=[{_LINE_ENDS}]))", rf"(?=[{_LINE_ENDS}]|\Z)"
_BEGINNING, _BLANKS = re.compile(_BEGIN), re.compile(f"{_SPACE}*")
_QUOTED = "|".join(rf"{_SPACE}*{quote}[^{quote}\\]*(?:\\{quote}?[^{quote}\\]*)*{quote}" for quote in "'\"`")
_LINE = re.compile(
    rf"{_BEGIN}{_SPACE}*(?:export{_SPACE}+)?(?P<name>[A-Za-z0-9_.-]+)(?:{_SPACE}*={_SPACE}*?|:(?:\r\n|{_SPACE})+?)"
    rf"(?P<literal>{_QUOTED}|[^#\r\n]+)?{_SPACE}*(?:#[^{_LINE_ENDS}]*)?{_END}"
)
_OPENING, _CLOSING = re.compile(rf"{_BEGIN}(['\"`])"), re.compile(rf"(['\"`]){_END}")


def write(document: Document) -> str:
    """The document as a dotenv file. Raises FormatError if it cannot represent a value."""
    return variables.write(with_final_newline(document), GRAMMAR)


def outline(text: str) -> tuple[str, ...]:
    """The names of the variables, in order."""
    return variables.outline(text, GRAMMAR)


def with_final_newline(document: Document) -> Document:
    """With a final newline: Node before 20.20 and 22.17 reads a last line without one as a variable for each `=`."""
    *before, last = document.parts or ("",)
    there = last.endswith("\n") or not before if isinstance(last, str) else False
    return document if there else replace(document, parts=(*document.parts, "\n"))


def scan(text: str) -> Iterator[Assignment]:
    """The assignments that npm's dotenv finds."""
    for line in _lines(text):
        literal = line["literal"] or ""
        begin = (line.end("literal") if literal else line.end("name")) - len(literal.lstrip(_SPACES))
        literal = literal.strip(_SPACES)
        yield Assignment(line["name"], _raw(literal), line.start("name"), begin, begin + len(literal))


def npm(text: str) -> list[Reading]:
    """The variables that npm's dotenv 16 to 18 read."""
    return [(assignment.name, (assignment.raw or "",)) for assignment in scan(text)]


def node(text: str) -> list[Reading]:
    """The variables that node reads since 22.17."""
    return list(_node(text.replace("\r", "").strip(_BLANK)))


def old_node(text: str) -> list[Reading]:
    """The variables that node 20 and 22.0 to 22.16 read: tabs are no white space, and names may span lines."""
    return list(_old_node(text.replace("\r", "").strip(" ")))


def spellings(raw: str, own: str) -> Iterator[str]:
    """Possible literals, first with the author's quotes. No literal has escapes."""
    for quote in sorted(_QUOTES, key=lambda quote: quote != own):
        if quote not in raw:
            yield f"{quote}{raw}{quote}"
    if "\n" not in raw:
        yield raw


def _lines(text: str) -> Iterator[re.Match[str]]:
    """As `finditer`. If white space precedes no assignment, none begins within it either."""
    at = 0
    while at <= len(text) and (begin := _BEGINNING.search(text, at)):
        if line := _LINE.match(text, begin.start()):
            yield line
            at = line.end()
        else:
            at = _BLANKS.match(text, begin.start()).end() + 1  # type: ignore[union-attr]  # It matches anywhere.


def _raw(literal: str) -> str:
    literal = literal.replace("\r\n", "\n").replace("\r", "\n")
    raw = _without_quotes(literal)
    return raw.replace(r"\n", "\n").replace(r"\r", "\r") if literal.startswith('"') else raw


def _without_quotes(literal: str) -> str:
    """As dotenv's regular expression, which removes quotes around lines up to the last such quote at a line's end."""
    last = {closing[1]: closing.start() for closing in _CLOSING.finditer(literal)}
    parts: list[str] = []
    at = 0
    for opening in _OPENING.finditer(literal):
        end = last.get(opening[1], -1)
        if at <= opening.start() < end:
            parts += [literal[at : opening.start()], literal[opening.end() : end]]
            at = end + 1
    return "".join([*parts, literal[at:]])


def _node(text: str) -> Iterator[Reading]:
    at, end = 0, -1
    while at < len(text):
        if end < at:  # Once a line, which may have no name before each of many `=`.
            end = _line_end(text, at)
        if text[at] in "\n#":
            at = _skip(_NEWLINES, text, end + 1)
            continue
        equals = text.find("=", at, end)
        if equals < 0:
            at = _skip(_WHITE, text, end + 1)
            continue
        name = text[at:equals].strip(_BLANK)
        at = equals + 1
        if text[at : at + 1] in {"", "\n"}:
            yield name, ("",)
            continue
        at = _skip(_WHITE, text, at)
        if name.startswith("export "):
            name = name[7:].strip(_BLANK)
        if name:
            quoted = _closing(text, at) > 0
            value, at = _value(text, at, _BLANK)
            at = at if quoted else _skip(_WHITE, text, at)
            yield name, (value,)


def _old_node(text: str) -> Iterator[Reading]:
    at = 0
    while at < len(text):
        if text[at] in "\n#" and (end := text.find("\n", at)) >= 0:
            at = _skip(_NEWLINES, text, end + 1)
            continue
        equals = text.find("=", at)
        before = text[at:equals]
        if equals < 0 or not before.strip(" "):
            # With blanks as a name, node reads memory before them, so nothing after this line is reliable.
            yield from [(before, (text[equals + 1 :].strip(" "),))] if before and equals >= 0 else []
            return
        at = _skip(_SPACED, text, equals + 1)
        if text[at : at + 1] in set(_QUOTES) and _closing(text, at) < 0 and text.find("\n", at) < 0:
            continue
        value, at = _value(text, at, " ") if at < len(text) else ("", at)
        yield before.strip(" ").removeprefix("export "), (value,)


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return end if end >= 0 else len(text)


def _line(text: str, at: int) -> tuple[str, int]:
    """The rest of a line, and the start of the next."""
    end = _line_end(text, at)
    return text[at:end], min(end + 1, len(text))


def _skip(blanks: re.Pattern[str], text: str, at: int) -> int:
    found = blanks.match(text, at)
    assert found is not None
    return found.end()


def _value(text: str, at: int, blank: str) -> tuple[str, int]:
    """A value, and the start of the line after its last line."""
    closing = _closing(text, at)
    if closing > 0:
        value = text[at + 1 : closing]
        return value.replace(r"\n", "\n") if text[at] == '"' else value, _line(text, closing + 1)[1]
    line, below = _line(text, at)
    return line if text[at] in _QUOTES else line.partition("#")[0].strip(blank), below


def _closing(text: str, at: int) -> int:
    return text.find(text[at], at + 1) if text[at] in _QUOTES else -1


GRAMMAR = Grammar(scan, (npm, node, old_node), spellings, CANNOT)
