"""Serializes a document as the content of a file, in the file's grammar."""

import re
from itertools import chain

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import write

# Parsers in Python take microseconds and half a kilobyte for each word, and verification parses twice.
_WORDS = 100_000
_VALUES = 10_000
_BYTES = 2**19
_NODE = 10
_WORD = re.compile(r"\w+|[^\w \t]")


def content(document: Document, format: str) -> bytes:  # noqa: A002  # The word that users write.
    """The file's bytes. Raises FormatError if the file is too large to verify, or cannot represent a value."""
    return text(document, format).encode(errors="surrogateescape")


def text(document: Document, format: str) -> str:  # noqa: A002  # As above.
    """The file's text, with binary values as `surrogateescape` writes them. Raises FormatError as `content` does."""
    if format != "text":
        _check_limits(document)
    return write(document, format)


def weight(document: Document) -> int:
    """About how much work the document is for its format: characters, where a number or structure counts as some."""
    return len(document.parts) + sum(_weight(part) for part in document.parts)


def _weight(part: str | Placeholder) -> int:
    value = part.value if isinstance(part, Placeholder) else part
    return len(value) if isinstance(value, str | bytes) else _size(value) + _NODE * _nodes(value)


def _check_limits(document: Document) -> None:
    if _is_small(document):
        return
    placeholders = [part for part in document.parts if isinstance(part, Placeholder)]
    grammar = [part for part in document.parts if isinstance(part, str)]
    grammar += [
        placeholder.value
        for placeholder in placeholders
        if placeholder.structure and isinstance(placeholder.value, str)
    ]
    _check_limit(document, len(placeholders), _VALUES, "values")
    sizes = (_size(part.value if isinstance(part, Placeholder) else part) for part in document.parts)
    _check_limit(document, sum(sizes), _BYTES, "bytes")
    words = sum(_nodes(placeholder.value) for placeholder in placeholders)
    # A word has at least one character.
    if words + sum(map(len, grammar)) > _WORDS:
        words += sum(1 for part in grammar for _ in _WORD.finditer(part))
        _check_limit(document, words, _WORDS, "words")


def _is_small(document: Document) -> bool:
    """Whether a document of texts alone is far below each limit, as most are. A character has at most four bytes."""
    total = len(document.parts)
    for part in document.parts:
        value = part.value if isinstance(part, Placeholder) else part
        if not isinstance(value, str):
            return False
        total += len(value)
    return total <= _VALUES


def _check_limit(document: Document, count: int, most: int, what: str) -> None:
    if count > most:
        error = f"a file with a verified structure has at most {most:,} {what}"
        raise FormatError(error, where=document.name, todo="split it into several files, or use `format: text`")


def _size(value: object) -> int:
    """The bytes of all texts in a value. A number counts less than its digits, which are slow to compute."""
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
