"""Collects the outline of a file: its structure, one line for each node, without its values."""

from collections.abc import Iterable

from lessee.core.errors import FormatError

MAX_OUTLINE = 2**22
"""Characters. A path repeats all names above its node, so it grows with the square of a file's size."""


def collected(lines: Iterable[str]) -> tuple[str, ...]:
    """All lines. Raises FormatError if they have more than MAX_OUTLINE characters."""
    found: list[str] = []
    size = 0
    for line in lines:
        size += len(line) + 1
        if size > MAX_OUTLINE:
            raise FormatError("the outline has more than 4 MiB", todo="shorten the names, or flatten the file")
        found.append(line)
    return tuple(found)
