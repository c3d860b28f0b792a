"""What rendering a template may cost, in steps and sizes: no clock is asked, so that it always ends the same way."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from lessee.core.secrets import SecretValueError, SecretView

STEPS = 2_000_000
"""A step is about a tenth of a microsecond and makes PER_STEP bytes at most: all of them are less than a second, on a
slow core two, and 64 MiB. A file with ten thousand values takes half a million."""

PER_STEP = 32

TEXT = 8 * 2**20
"""Bytes that a file or a string may have: eight times what Vault and Kubernetes store as a secret by default."""

ITEMS = 100_000
"""That a list may have; Jinja bounds its range() so."""

WIDTH = 1_000
"""Characters by which text may be padded or indented, and which strip() may look for."""

NESTED = 100
"""Levels that lists may lie in each other, as in the formats; Python hashes them in C, down to the stack's end."""

_BITS = 14_285  # Python writes integers of up to 4300 digits.
_ITEM = 2
_LISTED = 5
_SETTLED = frozenset({SecretView, bool, float, type(None)})
_SEQUENCES = (list, tuple)
_MAPPINGS = (dict, SecretView)
_CONTAINERS = _SEQUENCES + _MAPPINGS
_STRINGS = (str, bytes)


class Budget:
    """The steps that are left to a template."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = STEPS

    def renew(self) -> None:
        self._left = STEPS

    def spend(self, steps: int) -> None:
        """Raises SecretValueError where fewer are left."""
        self._left -= steps
        if self._left < 0:
            what, todo = f"the template takes more than {STEPS:,} steps", "loop over less, or make several files of it"
            raise SecretValueError(what, todo=todo)

    def weigh(self, *values: object, rate: int = 1) -> None:
        """Spend what going through values takes, with all that is in them: `[a, a]` weighs twice what `a` does."""
        steps = len(values)
        for value in values:
            if isinstance(value, _STRINGS):
                steps += len(value) // PER_STEP
            elif isinstance(value, _CONTAINERS):
                self._weigh_inside(value, rate)
        self.spend(steps * rate)

    def made(self, value: object) -> object:
        """What an operation gives, if it is within bounds; what Python would make later is made now, as a list."""
        if type(value) in _SETTLED or is_short(value):
            return value
        if isinstance(value, _STRINGS):
            made = size(value)
            refuse_size(made)
            self.spend(made // PER_STEP)
        elif isinstance(value, int):
            refuse_bits(value.bit_length())
        elif isinstance(value, _SEQUENCES):
            refuse_items(len(value))
            self.spend(_ITEM * len(value))
        elif isinstance(value, Iterator):
            return self._listed(value)
        return value

    def copied(self, value: Any) -> Any:
        """What a secret gave: each time it gives its texts and lists anew."""
        if isinstance(value, str):
            self.spend(len(value) // PER_STEP)
        elif isinstance(value, _SEQUENCES):
            self.spend(len(value))
            for item in value:
                self.copied(item)
        return value

    def _listed(self, values: Iterator[object]) -> list[object]:
        items = list(islice(values, ITEMS + 1))
        refuse_items(len(items))
        self.spend(_LISTED * len(items))
        for item in items:
            self.copied(item)
        return items

    def _weigh_inside(self, value: object, rate: int) -> None:
        level = [value]
        for _ in range(NESTED):
            inner: list[object] = []
            for item in level:
                if isinstance(item, _STRINGS):
                    self.spend(rate * (len(item) // PER_STEP))
                elif isinstance(item, _SEQUENCES):
                    self.spend(rate * len(item))
                    inner += item
                elif isinstance(item, _MAPPINGS):
                    self.spend(2 * rate * len(item))
                    inner += (part for pair in item.items() for part in pair)
            if not inner:
                return
            level = inner
        raise SecretValueError(
            f"lists or mappings lie in each other more than {NESTED} levels deep", todo="make them flatter"
        )


def is_short(value: object) -> bool:
    """Whether it is text that costs no more than whatever is done with it."""
    return isinstance(value, str) and len(value) <= PER_STEP


def size(text: str | bytes) -> int:
    """Bytes that it takes at most, in memory and in a file."""
    return len(text) if text.isascii() else 4 * len(text)


def refuse_size(bytes_made: int) -> None:
    """Raises SecretValueError, as do the others."""
    if bytes_made > TEXT:
        raise SecretValueError(
            f"the template makes more than {TEXT // 2**20} MiB", todo="make less, or several files of it"
        )


def refuse_items(count: int) -> None:
    if count > ITEMS:
        raise SecretValueError(f"the template makes a list of more than {ITEMS:,} items", todo="make less of them")


def refuse_bits(count: int) -> None:
    if count > _BITS:
        raise SecretValueError("the template makes a number of more than 4,300 digits", todo="use a string")


def refuse_width(width: int) -> None:
    if width > WIDTH:
        raise SecretValueError(f"an argument asks for more than {WIDTH:,} characters", todo="ask for fewer")
