"""Hides parts of secrets in the log of a program, which may shorten a long text to its beginning and its end."""

from collections.abc import Iterable

from lessee.core.redaction import MASK

LEAST = 8
"""Characters. A shorter part may be in any text by chance."""


def without_parts(text: str, values: Iterable[str]) -> str:
    """The text with a mask for each part of a value that has `LEAST` characters or more."""
    known = {value[at : at + LEAST] for value in values for at in range(len(value) - LEAST + 1)}
    pieces: list[str] = []
    end = 0
    for at in range(len(text) - LEAST + 1):
        if text[at : at + LEAST] not in known:
            continue
        if at > end or not pieces:
            pieces += (text[end:at], MASK)
        end = at + LEAST
    return "".join([*pieces, text[end:]])
