"""Which installed distributions run lessee: its requirements, theirs, and those of its extras."""

import re
from collections.abc import Callable, Iterable, Sequence

from lessee.core.immutable import ImmutableStruct

Requires = Callable[[str], Sequence[str] | None]
"""The `Requires-Dist` lines of an installed distribution; None if it is not installed."""
_REQUIREMENT = re.compile(r"\s*(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[(?P<extras>[^\]]*)\])?[^;]*;?(?P<marker>.*)")
_EXTRA = re.compile(r"extra\s*==\s*[\"'](?P<name>[^\"']*)[\"']")
_NO_CONDITION = re.compile(r"(?:\s|[()]|and\b)*")


class Needed(ImmutableStruct, frozen=True):
    """Distributions, by their normalized names."""

    installed: tuple[str, ...]
    missing: tuple[str, ...]


def needed(name: str, extras: Iterable[str], requires: Requires) -> Needed:
    """The distribution, and all that it needs with these extras.

    A requirement for some systems only is needed where it is installed: pip has evaluated its marker.
    """
    found: dict[str, set[str]] = {}
    missing = []
    waiting = [(_normalized(name), frozenset(extras), True)]
    while waiting:
        one, more, is_required = waiting.pop()
        if one in found and more <= found[one]:
            continue
        lines = requires(one)
        if lines is None:
            missing += [one] if is_required else []
            continue
        found.setdefault(one, set()).update(more)
        waiting += [next_ for line in lines if (next_ := _required(line, found[one])) is not None]
    return Needed(tuple(sorted(found)), tuple(sorted(set(missing))))


def _required(line: str, extras: set[str]) -> tuple[str, frozenset[str], bool] | None:
    """What a line requires, with which extras, and whether on each system; None without the line's extra."""
    match = _REQUIREMENT.match(line)
    if match is None:
        return None
    marker = match["marker"]
    named = _EXTRA.findall(marker)
    if named and not extras.intersection(map(_normalized, named)):
        return None
    is_required = _NO_CONDITION.fullmatch(_EXTRA.sub("", marker)) is not None
    more = frozenset(_normalized(extra) for extra in (match["extras"] or "").split(",") if extra.strip())
    return _normalized(match["name"]), more, is_required


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
