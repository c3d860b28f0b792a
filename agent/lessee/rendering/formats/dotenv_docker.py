"""The env file of `docker run --env-file`: a variable a line, and nothing in a value means anything else."""

from collections.abc import Iterator

from lessee.rendering.document import Document
from lessee.rendering.formats import variables
from lessee.rendering.formats.variables import Assignment, Grammar, Reading, UnreadableError

GO_SPACE = f"\t\n\v\f\r \x85\xa0\u1680{''.join(map(chr, range(0x2000, 0x200B)))}\u2028\u2029\u202f\u205f\u3000"
"""What unicode.IsSpace takes for white space."""

_LONGEST = (1 << 16) - 1


def write(document: Document) -> str:
    """The document as an env file. Raises FormatError where a value has no place in it."""
    return variables.write(document, GRAMMAR)


def outline(text: str) -> tuple[str, ...]:
    """The names of the variables, in order. Raises FormatError where docker would refuse the file."""
    return variables.outline(text, GRAMMAR)


def _scan(text: str) -> Iterator[Assignment]:
    start = 0
    for line in text.split("\n"):
        at = start + len(line) - len(line.removeprefix("\ufeff" if start == 0 else "").lstrip(GO_SPACE))
        end = start + len(line.removesuffix("\r"))
        if at < end and text[at] != "#":
            yield _assignment(text, at, end)
        if len(line.encode()) > _LONGEST:
            raise UnreadableError("a line is longer than 64 KiB, which docker refuses", start)
        start += len(line) + 1


def _assignment(text: str, at: int, end: int) -> Assignment:
    name, equals, value = text[at:end].partition("=")
    if not name or " " in name or "\t" in name:
        raise UnreadableError("the name of a variable is empty or has white space in it, which docker refuses", at)
    return Assignment(name, value if equals else None, at, end - len(value), end)


def read(text: str) -> list[Reading]:
    """What docker reads. Raises UnreadableError where it would refuse the file."""
    return [(one.name, None if one.raw is None else (one.raw,)) for one in _scan(text)]


GRAMMAR = Grammar(
    _scan,
    (read,),
    lambda raw, _: (raw, f"{raw}\r"),
    "holds a newline, or is too long for a line",
    todo="write NAME=value on one line",
)
