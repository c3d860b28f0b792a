"""The names and comments of variables in formats with one variable per line."""

import re
from collections import Counter
from collections.abc import Iterable

from lessee.rendering.formats.value_markers import MarkedText, Marker

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def name(token: str, marked: MarkedText) -> str:
    """A variable's name with the values in it. Raises FormatError if the result is not a valid name."""
    filled = marked.fill(token, text)
    markers = marked.markers_in(token)
    if markers and not NAME.fullmatch(filled):
        raise markers[0].error(
            "does not form a valid variable name", "a name consists of A-Z, a-z, 0-9 and _, without a digit first"
        )
    return filled


def refuse_duplicates(tokens: Iterable[str], marked: MarkedText) -> None:
    """Raises FormatError if a value forms the name of another variable of the file."""
    tokens = list(tokens)
    if not any(marked.word in token for token in tokens):
        return
    names = [(token, name(token, marked)) for token in tokens]
    counts = Counter(made for _, made in names)
    for token, made in names:
        markers = marked.markers_in(token)
        if markers and counts[made] > 1:
            raise markers[0].error("duplicates the name of a variable", "rename one")


def text(marker: Marker) -> str:
    """The value as the text of a variable. Raises FormatError if that is impossible."""
    value = marker.text()
    if "\0" in value:
        raise marker.error("contains a NUL, which an environment cannot", "store it encoded, such as in base64")
    return value


def comment(marker: Marker) -> str:
    """The value as part of a comment. Raises FormatError if it would end the comment."""
    text(marker)
    return marker.comment()
