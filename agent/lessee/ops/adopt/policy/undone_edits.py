"""Takes edits out of a file that a person may have changed since then, line by line."""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import accumulate
from typing import NamedTuple

from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.adopt.policy.edits import apply_edits
from lessee.ops.adopt.policy.model import Edit

_MARK = re.compile(rb"ref\+openbao://[\w./-]+#[\w.-]+|compose\.lessee\.yaml|lessee-agent: \{\}")
"""What an edit writes that means nothing without lessee: a reference, the name of the override, and its agent."""
_ENDS = b"\r\n"


class LeftLine(ImmutableStruct, frozen=True):
    """An edited line that a person has changed or removed."""

    line: int
    """Where it is, or was, in the file as the undo leaves it."""
    marks: tuple[str, ...]
    """The references that adopt wrote there, or the name of its override."""
    is_marked: bool
    """The file still has one of them, which means nothing without lessee."""


class _Line(NamedTuple):
    """A line after the edits. `old`: the lines of which it was made; None: it was not edited."""

    text: bytes
    old: tuple[bytes, ...] | None


def undone(before: bytes, edits: Sequence[Edit], current: bytes) -> tuple[bytes, tuple[LeftLine, ...]]:
    """`current` without the edits of `before`: each line is as before that is as the edits have left it.

    A line that a person changed stays as it is, and is returned; also one of which nothing is left.
    """
    if current == apply_edits(before, edits):
        return before, ()
    lines = _edited_lines(before, edits)
    now = current.splitlines(keepends=True)
    places = _places(lines, now)
    had = {line.rstrip(_ENDS) for line in now}
    result: list[tuple[bytes, ...]] = [(line,) for line in now]
    lost = []
    for number, (text, old) in enumerate(lines):
        if old is None:
            continue
        if (place := places.get(number)) is not None:
            result[place] = _with_end(old, text, now[place])
        else:
            lost.append(number)
    content = _joined([line for piece in result for line in piece])
    left = []
    for number in lost:
        text, old = lines[number]
        marks = tuple(dict.fromkeys(_MARK.findall(text)))
        is_marked = any(one in content for one in marks)
        # The person may have put the old lines back already.
        if not is_marked and had.issuperset(line.rstrip(_ENDS) for line in old or ()):
            continue
        # Where it is: as far behind a known line as it was.
        known = max((other for other in places if other < number), default=-1)
        above = sum(map(len, result[: places[known] + 1])) if known >= 0 else 0
        line = max(1, min(above + number - known, len(content.splitlines())))
        left.append(LeftLine(line, tuple(map(bytes.decode, marks)), is_marked))
    return content, tuple(left)


def _edited_lines(before: bytes, edits: Iterable[Edit]) -> list[_Line]:
    """The lines after the edits, each with those of which it was made. No edit removes the end of its last line."""
    old = before.splitlines(keepends=True)
    if not before or before.endswith((b"\n", b"\r")):
        old.append(b"")  # What an edit at the end of the file adds to.
    starts = list(accumulate(map(len, old), initial=0))[:-1]
    groups: list[tuple[int, int, list[Edit]]] = []
    for edit in sorted(edits, key=lambda edit: (edit.span.start, edit.span.end)):
        first = bisect_right(starts, edit.span.start) - 1
        stop = bisect_right(starts, max(edit.span.start, edit.span.end - 1))
        if groups and first < groups[-1][1]:
            first, known, others = groups.pop()
            groups.append((first, max(known, stop), [*others, edit]))
        else:
            groups.append((first, stop, [edit]))
    lines: list[_Line] = []
    at = 0
    for first, stop, own in groups:
        lines += (_Line(line, None) for line in old[at:first])
        offset, own_old = starts[first], tuple(line for line in old[first:stop] if line)
        moved = [_moved(edit, offset) for edit in own]
        new = apply_edits(b"".join(own_old), moved).splitlines(keepends=True)
        lines += (_Line(text, own_old[number : number + 1]) for number, text in enumerate(new[:-1]))
        lines += (_Line(text, own_old[len(new) - 1 :]) for text in new[-1:])
        at = stop
    return [*lines, *(_Line(line, None) for line in old[at:])]


def _moved(edit: Edit, offset: int) -> Edit:
    return replace(edit, span=replace(edit.span, start=edit.span.start - offset, end=edit.span.end - offset))


def _places(lines: Sequence[_Line], now: Sequence[bytes]) -> dict[int, int]:
    """The index in `now` of each line that is there, in whatever order; an editor may have changed its end."""
    one, two = [line.text.rstrip(_ENDS) for line in lines], [line.rstrip(_ENDS) for line in now]
    places: dict[int, int] = {}
    for block in SequenceMatcher(None, one, two, autojunk=False).get_matching_blocks():
        places.update({block.a + offset: block.b + offset for offset in range(block.size)})
    taken = set(places.values())
    free = [number for number in range(len(two)) if number not in taken]
    counts = Counter(two[number] for number in free)
    alone = {two[number]: number for number in free if counts[two[number]] == 1}
    for number, line in enumerate(lines):
        if number not in places and line.old is not None and one[number] in alone:
            places[number] = alone.pop(one[number])
    return places


def _with_end(old: tuple[bytes, ...], edited: bytes, now: bytes) -> tuple[bytes, ...]:
    """The old lines; with the end that an editor has given to the edited one."""
    if edited == now:
        return old
    end = now[len(now.rstrip(_ENDS)) :]
    return tuple(line.rstrip(_ENDS) + end for line in old)


def _joined(lines: Sequence[bytes]) -> bytes:
    """The content; what was the last line gets an end if it is not the last any more."""
    *first, last = lines or [b""]
    return b"".join([*(line if line.endswith((b"\n", b"\r")) else line + b"\n" for line in first), last])
