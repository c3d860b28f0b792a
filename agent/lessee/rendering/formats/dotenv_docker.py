"""The env file of `docker run --env-file`: one variable per line, and no special characters in values."""

from collections.abc import Iterator

from lessee.rendering.document import Document
from lessee.rendering.formats import variables
from lessee.rendering.formats.variables import Assignment, Grammar, Reading, UnparsableError

GO_SPACE = f"\t\n\v\f\r \x85\xa0\u1680{''.join(map(chr, range(0x2000, 0x200B)))}\u2028\u2029\u202f\u205f\u3000"
"""The characters that Go's unicode.IsSpace matches."""

_LONGEST = (1 << 16) - 1


def write(document: Document) -> str:
    """The document as an env file. Raises FormatError if it cannot represent a value."""
    return variables.write(document, GRAMMAR)


def outline(text: str) -> tuple[str, ...]:
    """The names of the variables, in order. Raises FormatError if docker would reject the file."""
    return variables.outline(text, GRAMMAR)


def _scan(text: str) -> Iterator[Assignment]:
    start = 0
    for line in text.split("\n"):
        at = start + len(line) - len(line.removeprefix("\ufeff" if start == 0 else "").lstrip(GO_SPACE))
        end = start + len(line.removesuffix("\r"))
        if at < end and text[at] != "#":
            yield _assignment(text, at, end)
        if len(line.encode()) > _LONGEST:
            raise UnparsableError("docker rejects a line of more than 64 KiB", start)
        start += len(line) + 1


def _assignment(text: str, at: int, end: int) -> Assignment:
    name, equals, value = text[at:end].partition("=")
    if not name or " " in name or "\t" in name:
        raise UnparsableError("docker rejects a variable name that is empty or contains white space", at)
    return Assignment(name, value if equals else None, at, end - len(value), end)


def read(text: str) -> list[Reading]:
    """The variables that docker reads. Raises UnparsableError if it would reject the file."""
    return [(one.name, None if one.raw is None else (one.raw,)) for one in _scan(text)]


GRAMMAR = Grammar(
    _scan,
    (read,),
    lambda raw, _: (raw, f"{raw}\r"),
    "contains a newline, or is too long for a line",
    todo="write NAME=value on one line",
)
