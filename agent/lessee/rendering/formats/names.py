"""The names of variables, and the notes beside them, in files that hold one variable a line."""

import re
from collections import Counter
from collections.abc import Iterable

from lessee.rendering.formats.value_markers import Marked, Slot

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def name(token: str, marked: Marked) -> str:
    """A variable's name with the values in it. Raises FormatError where values do not make a name."""
    filled = marked.fill(token, text)
    slots = marked.slots_in(token)
    if slots and not NAME.fullmatch(filled):
        raise slots[0].refused("makes no name of a variable", "a name has A-Z, a-z, 0-9 and _, no digit first")
    return filled


def refuse_twins(tokens: Iterable[str], marked: Marked) -> None:
    """Raises FormatError where a value makes a name that another variable of the file has."""
    names = [(token, name(token, marked)) for token in tokens]
    counts = Counter(made for _, made in names)
    for token, made in names:
        slots = marked.slots_in(token)
        if slots and counts[made] > 1:
            raise slots[0].refused("makes the name of a variable that is there already", "make the names differ")


def text(slot: Slot) -> str:
    """The value as text of a variable. Raises FormatError where it has none."""
    value = slot.text()
    if "\0" in value:
        raise slot.refused("holds a NUL, which an environment cannot", "store it encoded, as with base64")
    return value


def comment(slot: Slot) -> str:
    """The value as part of a comment. Raises FormatError where it would end it."""
    text(slot)
    return slot.comment()
