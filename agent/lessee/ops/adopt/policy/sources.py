"""Finds the places that Compose takes a value from: literals, the variables that `${…}` names, and env files."""

import re
from collections.abc import Iterator, Mapping, Sequence
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
    if style in {"|", ">"}:
        start += (skip > 0) * (text.text.find("=", start, end) + 1 - start)
        end = start + len(text.text[start:end].rstrip())
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


_REFERENCE = re.compile(
    r"\$(?:(?P<bare>\w+)|\{(?P<name>\w+)(?:(?P<colon>:)?(?P<operator>[-+?])(?P<word>.*))?\})", re.DOTALL
)
