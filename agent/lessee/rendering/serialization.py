"""A document as the content of a file, in the grammar of that file."""

import re
from itertools import chain

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Hole
from lessee.rendering.formats import write

# What reads in Python takes microseconds and half a kilobyte for each word, and a proof reads twice.
_WORDS = 100_000
_VALUES = 10_000
_BYTES = 2**19
_WORD = re.compile(r"\w+|[^\w \t]")


def content(document: Document, format: str) -> bytes:  # noqa: A002  # The word that users write.
    """Raises FormatError where the file is too large to be proved, and where a value has no place in it."""
    return text(document, format).encode(errors="surrogateescape")


def text(document: Document, format: str) -> str:  # noqa: A002  # As above.
    """As above; what is binary stands in it as `surrogateescape` writes it."""
    if format != "text":
        _refuse_large(document)
    return write(document, format)


def _refuse_large(document: Document) -> None:
    holes = [part for part in document.parts if isinstance(part, Hole)]
    grammar = [part for part in document.parts if isinstance(part, str)]
    grammar += [hole.value for hole in holes if hole.structure and isinstance(hole.value, str)]
    _refuse(document, len(holes), _VALUES, "values")
    sizes = (_size(part.value if isinstance(part, Hole) else part) for part in document.parts)
    _refuse(document, sum(sizes), _BYTES, "bytes")
    words = sum(_nodes(hole.value) for hole in holes)
    # A word has a character or more.
    if words + sum(map(len, grammar)) > _WORDS:
        words += sum(1 for part in grammar for _ in _WORD.finditer(part))
        _refuse(document, words, _WORDS, "words and signs")


def _refuse(document: Document, count: int, most: int, what: str) -> None:
    if count > most:
        said = f"a file whose structure is proved has no more than {most:,} {what}"
        raise FormatError(said, where=document.name, todo="make several of it, or give it `format: text`")


def _size(value: object) -> int:
    """Bytes of the texts in it. Of a number it is less than its digits, which take long to make."""
    match value:
        case str():
            return len(value.encode(errors="surrogatepass"))
        case int():
            return value.bit_length() // 4
        case dict():
            return sum(map(_size, chain.from_iterable(value.items())))
        case list():
            return sum(map(_size, value))
        case _:
            return 0


def _nodes(value: object) -> int:
    match value:
        case dict():
            return 2 * len(value) + sum(map(_nodes, value.values()))
        case list():
            return len(value) + sum(map(_nodes, value))
        case _:
            return 0
