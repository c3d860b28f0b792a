"""dotenv as `node --env-file` and npm's dotenv read it: what is written, both read alike."""

import re
from collections.abc import Iterator

from lessee.core.record import replace
from lessee.core.rendering.document import Document
from lessee.core.rendering.formats import variables
from lessee.core.rendering.formats.variables import Assignment, Grammar, Reading

CANNOT = "has a carriage return, or needs quotes and either holds all three kinds or ends in a backslash"
"""What is wrong with a value that neither quotes nor their absence can hold."""

_QUOTES = "'\"`"
_BLANK = " \t\n"

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
_IN_QUOTES = re.compile(rf"{_BEGIN}(['\"`])(.*)\1{_END}", re.DOTALL)


def write(document: Document) -> str:
    """The document as a dotenv file. Raises FormatError where a value has no place in it."""
    return variables.write(ended(document), GRAMMAR)


def outline(text: str) -> tuple[str, ...]:
    """The names of the variables, in order."""
    return variables.outline(text, GRAMMAR)


def ended(document: Document) -> Document:
    """Node before 20.20 and 22.17 takes a last line without its end for as many variables as it has `=`."""
    *before, last = document.parts or ("",)
    there = last.endswith("\n") or not before if isinstance(last, str) else False
    return document if there else replace(document, parts=(*document.parts, "\n"))


def scan(text: str) -> Iterator[Assignment]:
    """What npm's dotenv finds."""
    for line in _lines(text):
        literal = line["literal"] or ""
        begin = (line.end("literal") if literal else line.end("name")) - len(literal.lstrip(_SPACES))
        literal = literal.strip(_SPACES)
        yield Assignment(line["name"], _raw(literal), line.start("name"), begin, begin + len(literal))


def npm(text: str) -> list[Reading]:
    """What npm's dotenv 16 to 18 read."""
    return [(assignment.name, (assignment.raw or "",)) for assignment in scan(text)]


def node(text: str) -> list[Reading]:
    """What node reads from 22.17 on."""
    return list(_node(text.replace("\r", "").strip(_BLANK)))


def old_node(text: str) -> list[Reading]:
    """What node 20 reads, and 22 before 22.17: no tab is white space, and a name goes on over lines up to its `=`."""
    return list(_old_node(text.replace("\r", "").strip(" ")))


def spellings(raw: str, own: str) -> Iterator[str]:
    """The author's quotes come first. Nothing is escaped in any; what stands bare stands as it is."""
    for quote in sorted(_QUOTES, key=lambda quote: quote != own):
        if quote not in raw:
            yield f"{quote}{raw}{quote}"
    if "\n" not in raw:
        yield raw


def _lines(text: str) -> Iterator[re.Match[str]]:
    """What `finditer` finds; where white space leads to no assignment, none begins within it either."""
    at = 0
    while at <= len(text) and (begin := _BEGINNING.search(text, at)):
        if line := _LINE.match(text, begin.start()):
            yield line
            at = line.end()
        else:
            at = _BLANKS.match(text, begin.start()).end() + 1  # type: ignore[union-attr]  # It matches anywhere.


def _raw(literal: str) -> str:
    literal = literal.replace("\r\n", "\n").replace("\r", "\n")
    raw = _IN_QUOTES.sub(r"\2", literal)
    return raw.replace(r"\n", "\n").replace(r"\r", "\r") if literal.startswith('"') else raw


def _node(rest: str) -> Iterator[Reading]:
    while rest:
        line, _, below = rest.partition("\n")
        if not line or line.startswith("#"):
            rest = below.lstrip("\n")
            continue
        name, equals, _ = line.partition("=")
        if not equals:
            rest = below.strip(_BLANK)
            continue
        rest = rest[len(name) + 1 :]
        name = name.strip(_BLANK)
        if rest[:1] in {"", "\n"}:
            yield name, ("",)
            continue
        rest = rest.strip(_BLANK)
        if name.startswith("export "):
            name = name[7:].strip(_BLANK)
        if name:
            quoted = _closing(rest) > 0
            value, rest = _value(rest, _BLANK)
            rest = rest if quoted else rest.strip(_BLANK)
            yield name, (value,)


def _old_node(rest: str) -> Iterator[Reading]:
    while rest:
        if rest[0] in "\n#" and "\n" in rest:
            rest = rest.partition("\n")[2].lstrip("\n")
            continue
        before, equals, rest = rest.partition("=")
        name, rest = before.strip(" "), rest.strip(" ")
        if not equals or not name:
            # Blanks for a name make it read what lies in memory before them, so nothing may be relied on below.
            yield from [(before, (rest,))] if before and equals else []
            return
        if rest and rest[0] in _QUOTES and _closing(rest) < 0 and "\n" not in rest:
            continue
        value, rest = _value(rest, " ") if rest else ("", "")
        yield name.removeprefix("export "), (value,)


def _value(rest: str, blank: str) -> tuple[str, str]:
    """A value, and what comes below its last line."""
    closing = _closing(rest)
    if closing > 0:
        value = rest[1:closing]
        return value.replace(r"\n", "\n") if rest[0] == '"' else value, rest[closing + 1 :].partition("\n")[2]
    line, _, below = rest.partition("\n")
    return line if rest[0] in _QUOTES else line.partition("#")[0].strip(blank), below


def _closing(text: str) -> int:
    return text.find(text[0], 1) if text[0] in _QUOTES else -1


GRAMMAR = Grammar(scan, (npm, node, old_node), spellings, CANNOT)
