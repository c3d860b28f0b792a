"""Limits the cost of rendering a template, in steps and sizes. No clock is involved, so the result is reproducible."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from lessee.core.secrets import SecretValueError, SecretView

STEPS = 2_000_000
"""A step takes about a tenth of a microsecond and produces at most PER_STEP bytes. All steps take less than a second,
or two on a slow core, and 64 MiB. A file with ten thousand values takes half a million steps."""

QUICK_STEPS = 100_000
"""Steps of all files of an app together that take so little time that nothing needs to go on meanwhile."""

PER_STEP = 32

TEXT = 8 * 2**20
"""Bytes of a file or string: eight times the size of the largest secret that Vault and Kubernetes store by default."""

ITEMS = 100_000
"""Items of a list, as Jinja limits its range()."""

WIDTH = 1_000
"""Characters of padding, of indentation, and in the argument of strip()."""

NESTED = 100
"""Levels of nested lists, as in the formats. Python hashes nested tuples in C, without a limit of the stack."""

_BITS = 14_285  # Python writes integers of up to 4300 digits.
_ITEM = 2
_LISTED = 5
_SETTLED = frozenset({SecretView, bool, float, type(None)})
_SEQUENCES = (list, tuple)
_MAPPINGS = (dict, SecretView)
_CONTAINERS = _SEQUENCES + _MAPPINGS
_STRINGS = (str, bytes)


class SlowRenderingError(Exception):
    """A rendering that should be quick takes longer. It is no error of a template."""


class Budget:
    """The remaining steps of a template; or of several that must be quick."""

    __slots__ = ("_is_quick", "_left")

    def __init__(self, *, quick: bool = False) -> None:
        self._is_quick = quick
        self._left = QUICK_STEPS if quick else STEPS

    def reset(self) -> None:
        """Begin the next template."""
        if not self._is_quick:
            self._left = STEPS

    def spend(self, steps: int) -> None:
        """Spend steps. Raises SecretValueError if none is left, or SlowRenderingError in a quick budget."""
        self._left -= steps
        if self._left < 0:
            if self._is_quick:
                raise SlowRenderingError
            what, todo = (
                f"the template takes more than {STEPS:,} steps",
                "loop over less, or split it into several files",
            )
            raise SecretValueError(what, todo=todo)

    def charge(self, *values: object, rate: int = 1) -> None:
        """Spend the cost of iterating over values and their contents. `[a, a]` costs twice as much as `a`."""
        steps = len(values)
        for value in values:
            if isinstance(value, _STRINGS):
                steps += len(value) // PER_STEP
            elif isinstance(value, _CONTAINERS):
                self._charge_contents(value, rate)
        self.spend(steps * rate)

    def checked(self, value: object) -> object:
        """The result of an operation, if it is within the limits. An iterator becomes a list."""
        if type(value) in _SETTLED or is_short(value):
            return value
        if isinstance(value, _STRINGS):
            bytes_made = size(value)
            check_size(bytes_made)
            self.spend(bytes_made // PER_STEP)
        elif isinstance(value, int):
            check_bits(value.bit_length())
        elif isinstance(value, _SEQUENCES):
            check_items(len(value))
            self.spend(_ITEM * len(value))
        elif isinstance(value, Iterator):
            return self._to_list(value)
        return value

    def charge_copy(self, value: Any) -> Any:
        """Spend the cost of a secret's value, which is copied with each access."""
        if isinstance(value, str):
            self.spend(len(value) // PER_STEP)
        elif isinstance(value, _SEQUENCES):
            self.spend(len(value))
            for item in value:
                self.charge_copy(item)
        return value

    def _to_list(self, values: Iterator[object]) -> list[object]:
        items = list(islice(values, ITEMS + 1))
        check_items(len(items))
        self.spend(_LISTED * len(items))
        for item in items:
            self.charge_copy(item)
        return items

    def _charge_contents(self, value: object, rate: int) -> None:
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
        raise SecretValueError(f"lists or mappings are nested more than {NESTED} levels deep", todo="flatten them")


def is_short(value: object) -> bool:
    """Whether it is text so short that its length costs nothing."""
    return isinstance(value, str) and len(value) <= PER_STEP


def size(text: str | bytes) -> int:
    """The maximum number of bytes that a text takes in memory and in a file."""
    return len(text) if text.isascii() else 4 * len(text)


def check_size(bytes_made: int) -> None:
    """Raises SecretValueError, as the other checks do."""
    if bytes_made > TEXT:
        raise SecretValueError(
            f"the template produces more than {TEXT // 2**20} MiB", todo="split it into several files"
        )


def check_items(count: int) -> None:
    if count > ITEMS:
        raise SecretValueError(f"the template produces a list of more than {ITEMS:,} items", todo="use fewer items")


def check_bits(count: int) -> None:
    if count > _BITS:
        raise SecretValueError("the template produces a number of more than 4,300 digits", todo="use a string")


def check_width(width: int) -> None:
    if width > WIDTH:
        raise SecretValueError(f"an argument requests more than {WIDTH:,} characters", todo="request fewer")
