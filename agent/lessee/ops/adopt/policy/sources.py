"""Finds the places that Compose takes a value from: literals, the variables that `${…}` names, and env files."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from yaml.nodes import ScalarNode

from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.adopt.policy.model import Origin, Source, Span
from lessee.rendering.formats.dotenv_compose import GRAMMAR, atoms
from lessee.rendering.formats.variables import UnparsableError


class Text(ImmutableStruct, frozen=True):
    """A file's text, decoded from UTF-8, and the path that errors and plans give it."""

    hidden = ("text",)

    file: str
    text: str
    """Without a byte order mark."""
    offset: int = 0
    """The bytes before the text."""

    def span(self, start: int, end: int, style: str = "") -> Span:
        """The span of some of its characters."""
        before = self.text[:start]
        begin = self.offset + _size(before)
        return Span(self.file, before.count("\n") + 1, begin, begin + _size(self.text[start:end]), style)


class Piece(ImmutableStruct, frozen=True):
    """Some characters of a file, and what its format makes of them, with `${…}` unresolved."""

    hidden = ("raw",)

    name: str
    """The variable that has it."""
    raw: str
    text: Text
    start: int
    end: int
    style: str = ""

    @property
    def span(self) -> Span:
        """Its place."""
        return self.text.span(self.start, self.end, self.style)

    def part(self, raw: str, within: str = "", skip: int = 0) -> "Piece":
        """A part of it, which begins after `skip` characters of `within`.

        It has the place of the whole where the file writes it in another way, with escapes.
        """
        at = self.text.text.find(within or raw, self.start, self.end)
        if at < 0:
            return replace(self, raw=raw)
        return replace(self, raw=raw, start=at + skip, end=at + skip + len(raw))


class Scope(ImmutableStruct, frozen=True):
    """Where `${NAME}` finds its value: in the environment of `docker compose`, then in these files, the last first."""

    hidden = ("environ",)

    environ: Mapping[str, str]
    files: tuple[tuple[Origin, Text], ...] = ()

    def lines(self, name: str) -> list[tuple[Origin, Piece]]:
        """The lines that set the variable, those first that others override."""
        return [(origin, line) for origin, file in self.files for line in lines_of(name, file)]


def scalar(node: ScalarNode, name: str, text: Text, *, skip: int = 0) -> Piece:
    """The content of a YAML scalar, without its first characters (`NAME=` in a list)."""
    start, end, style = node.start_mark.index, node.end_mark.index, node.style or ""
    start = _PROPERTIES.match(text.text, start).end()  # type: ignore[union-attr]  # It also matches nothing.
    if style in {"|", ">"}:
        end = start + len(text.text[start:end].rstrip())
        if skip:  # What follows `NAME=` is a part of the block: it has no quotes, and no indicator.
            start, style = text.text.find("=", text.text.find("\n", start), end) + 1, ""
    else:
        quotes = style in {"'", '"'}
        start, end = start + quotes + skip, end - quotes
    return Piece(name, node.value[skip:], text, start, end, style)


def lines_of(name: str, file: Text) -> Sequence[Piece]:
    """The lines of an env file that set the variable."""
    return _lines_by_name(file).get(name, ())


@lru_cache(maxsize=64)
def _lines_by_name(file: Text) -> Mapping[str, Sequence[Piece]]:
    """A project has thousands of values, and each may be in any of its files."""
    found: dict[str, list[Piece]] = {}
    for line in env_lines(file):
        found.setdefault(line.name, []).append(line)
    return found


def env_lines(file: Text) -> list[Piece]:
    """The variables of an env file, as Compose reads it; none where it cannot."""
    try:
        found = list(GRAMMAR.scan(file.text))
    except UnparsableError:
        return []
    return [_line(file, one.name, one.raw, one.begin, one.end) for one in found if one.raw is not None and one.name]


def literal_parts(raw: str) -> list[str]:
    """What a text says itself, before, between and after its `${…}`; one part if it has none of these."""
    return _parts(raw)[::2]


def has_part(source: Source, value: str, secrets: Iterable[tuple[int, int]]) -> bool:
    """Whether a source of a value has a part of one of its secrets, whose places in the value are given."""
    literals = literal_parts(source.text)
    spans = [(start, end) for start, end in secrets if start < end]
    words = [value[start:end].strip() for start, end in spans]
    if len(literals) == 1:
        text = literals[0].strip()
        return is_converted(source, value) or (bool(text) and any(text in word or word in text for word in words))
    gaps = _gaps(literals, value)
    if gaps is None:  # Another file overrides it.
        return any(len(text) >= _LEAST and any(text in word or word in text for word in words) for text in literals)
    return any(not any(begin <= start and end <= stop for begin, stop in gaps) for start, end in spans)


def is_converted(source: Source, value: str) -> bool:
    """Whether it is a number or a date for YAML, which Compose gives in another form: `0x1F`, `1e10`, `2024-01-01`."""
    is_plain = source.span is not None and not source.span.style and source.origin is Origin.COMPOSE
    return is_plain and _NUMBER.fullmatch(source.text) is not None and source.text != value


def sources(piece: Piece, origin: Origin, scope: Scope) -> tuple[Source, ...]:
    """All places whose text becomes a part of the value. `origin`: that of the piece itself."""
    return tuple(dict.fromkeys(_sources(piece, origin, scope, frozenset())))


def sources_of_variable(name: str, scope: Scope) -> tuple[Source, ...]:
    """The places of a variable that a service takes over under its own name."""
    return tuple(dict.fromkeys(_of_variable(name, scope, frozenset())))


def expand(raw: str, scope: Scope) -> str:
    """A text with the values of its variables, as far as they are literal."""
    parts = _parts(raw)
    for at in range(1, len(parts), 2):
        found = _REFERENCE.fullmatch(parts[at])
        assert found is not None
        parts[at] = _value(found["bare"] or found["name"], scope) or found["word"] or ""
    return "".join(parts)


def _sources(piece: Piece, origin: Origin, scope: Scope, above: frozenset[str]) -> Iterator[Source]:
    parts = _parts(piece.raw)
    if any(parts[::2]):
        yield Source(origin, piece.name, piece.span, piece.raw)
    for reference in parts[1::2]:
        found = _REFERENCE.fullmatch(reference)
        assert found is not None
        name = found["bare"] or found["name"]
        if name in above:
            continue
        value = _value(name, scope)
        is_set = value is not None if found["colon"] is None else bool(value)
        yield from _of_variable(name, scope, above | {name})
        word = found["word"] or ""
        # A default that repeats the value is the same secret in another place.
        is_used = is_set if found["operator"] == "+" else found["operator"] == "-" and (not is_set or word == value)
        if word and is_used:
            inner = replace(piece.part(word, reference, found.start("word")), name=name)
            yield from _sources(inner, Origin.DEFAULT if origin is Origin.COMPOSE else origin, scope, above | {name})


def _of_variable(name: str, scope: Scope, above: frozenset[str]) -> Iterator[Source]:
    if name in scope.environ:
        yield Source(Origin.SHELL, name, None, scope.environ[name])
    for origin, line in scope.lines(name):
        yield from _sources(line, origin, scope, above | {name})


def _value(name: str, scope: Scope) -> str | None:
    """What the variable has, as far as it is literal."""
    if name in scope.environ:
        return scope.environ[name]
    lines = scope.lines(name)
    return lines[-1][1].raw if lines else None


def _gaps(literals: Sequence[str], value: str) -> list[tuple[int, int]] | None:
    """The places of the variables between literals in a value; None if it has not these literals."""
    at, gaps = 0, []
    for number, text in enumerate(literals):
        is_last = number == len(literals) - 1
        found = len(value) - len(text) if is_last and value.endswith(text, at) else value.find(text, at)
        if found < 0:
            return None
        if number:
            gaps.append((at, found))
        elif not text:
            found = 0
        at = found + len(text)
    return gaps


def _parts(raw: str) -> list[str]:
    try:
        return atoms(raw)
    except UnparsableError:
        return [raw]


def _line(file: Text, name: str, raw: str, begin: int, end: int) -> Piece:
    quote = file.text[begin : begin + 1]
    if end - begin > 1 and quote in {"'", '"'}:
        return Piece(name, raw, file, begin + 1, end - 1, quote)
    return Piece(name, raw, file, begin, end)


def _size(text: str) -> int:
    return len(text.encode(errors="surrogateescape"))


_LEAST = 3
"""Characters of a text that is in a secret by more than chance."""
_NUMBER = re.compile(r"[-+.]?\d[\w.:+ -]*", re.ASCII)
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")
"""An anchor and a tag, which begin a scalar."""
_REFERENCE = re.compile(
    r"\$(?:(?P<bare>\w+)|\{(?P<name>\w+)(?:(?P<colon>:)?(?P<operator>[-+?])(?P<word>.*))?\})", re.DOTALL
)
