"""dotenv as Docker Compose reads it, in `env_file:` and in its own `.env`."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from lessee.rendering.document import Document
from lessee.rendering.formats import variables
from lessee.rendering.formats.dotenv_docker import GO_SPACE
from lessee.rendering.formats.variables import Assignment, Grammar, Reading, UnparsableError

# The grammar of compose-go 2.
_GAP = re.compile(rf"(?:[{GO_SPACE}]|#[^\n]*)*")
_BLANK = re.compile("[\t\v\f\r \x85\xa0]*")
_EXPORT = re.compile(rf"(?:export(?=[\t\n\f\r ]){_BLANK.pattern})?")
_NAME = re.compile(r"([\w.\-\[\]\t\v\f\r \x85\xa0]*)([=:\n]|\Z)")
_QUOTED = re.compile(r"(['\"])((?:\\.|(?!\1)[^\\])*+)\1", re.DOTALL)
_LINE = re.compile(r".*\n?")
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_ESCAPE = re.compile(r"\\([abcfnrtv$\"\\]|0[0-9]{0,3})")
_ESCAPES = {"a": "\a", "b": "\b", "c": r"\c", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "$": "$$"}
_OCTAL = re.compile(r"0[0-3][0-7]{2}")
# In a case-insensitive pattern, two more letters match s and k.
_NAMED = "[_a-zA-Z\u017f\u212a][_a-zA-Z\u017f\u212a0-9]*"
_VARIABLE = re.compile(rf"\$(?:(?P<dollar>\$)|{_NAMED}|\{{{_NAMED}(?:\}}|(?P<operator>:?[-+?]))|(?P<none>\{{))")
# compose-go skips the character after an opening brace.
_BRACE = re.compile(r"\{[^\n]?|[}\n]")
_NO_NAME = "Compose expects the name of a variable here"


def write(document: Document) -> str:
    """The document as a dotenv file. Raises FormatError if it cannot represent a value."""
    return variables.write(document, GRAMMAR)


def outline(text: str) -> tuple[str, ...]:
    """The names of the variables, in order. Raises FormatError if Compose would reject the file."""
    return variables.outline(text, GRAMMAR)


def _scan(text: str) -> Iterator[Assignment]:
    at = _take(_GAP, text, int(text.startswith("\ufeff"))).end()
    while at < len(text):
        assignment, at = _statement(text, at)
        yield assignment
        at = _take(_GAP, text, at).end()


def _statement(text: str, at: int) -> tuple[Assignment, int]:
    """A variable, and where the text continues."""
    start = _take(_EXPORT, text, at).end()
    found = _NAME.match(text, start)
    if found is None or start == len(text):
        raise UnparsableError(_NO_NAME, at)
    name = found[1].rstrip(GO_SPACE)
    if not found[2]:
        # At the end of the file, Compose reads a bare name as a value without a name.
        return Assignment("", name, start, start, start + len(name)), len(text)
    if " " in name:
        raise UnparsableError(_NO_NAME, at)
    if found[2] == "\n":
        return Assignment(name, None, start, found.end(1), found.end(1)), found.end()
    begin = _take(_BLANK, text, found.end()).end()
    if text[begin : begin + 1] not in {"'", '"'}:
        line = _take(_LINE, text, begin)
        raw = line[0].partition(" #")[0].rstrip(GO_SPACE)
        return Assignment(name, raw, start, begin, begin + len(raw)), line.end()
    quoted = _QUOTED.match(text, begin)
    if quoted is None:
        raise UnparsableError("the quotes are not closed", at)
    return Assignment(name, _raw(quoted), start, begin, quoted.end()), quoted.end()


def _raw(quoted: re.Match[str]) -> str:
    """The content of quotes, with `$$` for each `$` that begins no reference."""
    quote, body = quoted[1], _PAIR.sub(lambda pair: pair[pair[1] == quoted[1]], quoted[2])
    return body.replace("$", "$$") if quote == "'" else _ESCAPE.sub(_escape, body)


def _escape(found: re.Match[str]) -> str:
    what = found[1]
    if _OCTAL.fullmatch(what):
        return chr(int(what, 8))
    return "\\" + what[1:] if what[0] == "0" else _ESCAPES.get(what, what)


def read(text: str) -> list[Reading]:
    """The variables that Compose reads, split into atoms. Raises UnparsableError if it would reject the file."""
    return [(one.name, None if one.raw is None else tuple(atoms(one.raw, one.at))) for one in _scan(text)]


def atoms(raw: str, place: int = 0) -> list[str]:
    """A raw value split into literals, at even indexes, and references, at odd indexes."""
    parts: list[str] = []
    literal: list[str] = []
    at = 0
    braces = _Braces(raw)
    defaults: list[tuple[int, int]] = []
    for found, end in _variables(raw, 0, len(raw), braces, place):
        literal += [raw[at : found.start()], found["dollar"] or ""]
        if not found["dollar"]:
            parts += ["".join(literal), raw[found.start() : end]]
            literal = []
        defaults += [(found.end(), end - 1)] if found["operator"] else []
        at = end
    while defaults:  # Compose before 2.30 also parses a default that it does not need.
        inside = _variables(raw, *defaults.pop(), braces, place)
        defaults += [(found.end(), end - 1) for found, end in inside if found["operator"]]
    return [*parts, "".join([*literal, raw[at:]])]


def _variables(raw: str, at: int, stop: int, braces: "_Braces", place: int) -> Iterator[tuple[re.Match[str], int]]:
    """Each `$$` and each reference, whose default may contain others, with its end."""
    while found := _VARIABLE.search(raw, at, stop):
        at = braces.end(found, stop) if found["operator"] else found.end()
        if found["none"] or not at:
            raise UnparsableError("Compose does not support this ${…} reference", place)
        yield found, at


class _Braces:
    """Finds the ends of all references of a value in one pass, because a line may have many, and nested ones."""

    def __init__(self, raw: str) -> None:
        self._closing: list[int] = []
        self._line_ends: list[int] = []
        self._pairs: dict[int, int] = {}
        opened: list[int] = []
        for found in _BRACE.finditer(raw) if "${" in raw else ():
            if found[0].endswith("}"):
                self._closing.append(found.end() - 1)
            if found[0].startswith("{"):
                opened.append(found.start())
            elif found[0] == "\n":
                self._line_ends.append(found.start())
                opened.clear()
            elif opened:
                self._pairs[opened.pop()] = found.start()

    def end(self, found: re.Match[str], stop: int) -> int:
        """The end of a reference with a default: its own brace, or the line's last one before `stop`. 0: none."""
        at = bisect_left(self._line_ends, found.start())
        line_end = self._line_ends[at] if at < len(self._line_ends) else stop
        count = bisect_left(self._closing, min(stop, line_end))
        last = self._closing[count - 1] if count else 0
        if last < found.end():
            return 0
        return min(self._pairs.get(found.start() + 1, last), last) + 1


def _spellings(raw: str, own: str) -> Iterable[str]:
    r"""In quotes `\\` is literal except before a quote, and in double quotes also before an escape sequence."""
    plain = raw.replace("$$", "$").replace("'", r"\'")
    escaped = raw.replace("\\", r"\\").replace('"', r"\"")
    single, double = f"'{plain}'", f'"{escaped}"'
    return (double, single) if own == '"' else (single, double)


def _take(pattern: re.Pattern[str], text: str, at: int) -> re.Match[str]:
    found = pattern.match(text, at)
    assert found is not None
    return found


GRAMMAR = Grammar(
    _scan,
    (read,),
    _spellings,
    "cannot be written here so that Compose reads it back",
    references=lambda raw: atoms(raw)[1::2],
    escape=lambda text: text.replace("$", "$$"),
    todo="write NAME=value with closed quotes, and `$$` for a `$` before a brace",
)
