"""Where in an audit log somebody has read to, and in which of its files that goes on.

A file is known by what stands in it: by the time of its first line, which no other file of the log has, and by the
last line that was read. So it does not matter whether a rotation renames, copies and truncates, dates or packs.
"""

from collections.abc import Iterable
from hashlib import blake2b

from lessee.core.immutable import Record

LEAST_TAIL, MOST_TAIL = 1 << 9, 1 << 20
"""Bytes before a place by which it is known again: the last line, since a part of it says no time, and may be the same
in many lines."""


class Place(Record, frozen=True):
    """How far a file was read. `offset` 0: not at all; then `began` is when the one before it began."""

    began: float
    """Seconds since 1970: the time of the file's first line."""
    device: int = 0
    inode: int = 0
    offset: int = 0
    """Bytes of whole lines, as they were before they were packed."""
    tail: str = ""
    """A hash of the last of these bytes."""
    tail_length: int = 0
    """How many these are."""
    at: float = 0.0
    """The time of the last access that was read, in this file or before."""
    past: tuple[float, ...] = ()
    """When files began that were read although they seem to be later: the server's clock was put back."""


class File(Record, frozen=True):
    """A file of the log: the one that is written, or a rotated one."""

    name: str
    device: int
    inode: int
    size: int
    began: float | None
    """None: it has no whole line yet."""
    is_packed: bool = False


def tail_of(text: bytes) -> bytes:
    """The end of what was read, by which that is known again."""
    line = len(text) - (text.rfind(b"\n", 0, -1) + 1)
    return text[-min(max(line, LEAST_TAIL), MOST_TAIL) :]


def hashed(tail: bytes) -> str:
    """What is kept of it."""
    return blake2b(tail, digest_size=16).hexdigest()


def same(place: Place, files: Iterable[File]) -> list[File]:
    """Those in which the place may be, the likeliest first; which it is, its tail must show.

    The same inode alone says nothing: it may have been truncated, or given to another file.
    """
    fit = [file for file in files if file.began == place.began and (file.is_packed or file.size >= place.offset)]
    own = (place.device, place.inode)
    return sorted(fit, key=lambda file: (file.is_packed, (file.device, file.inode) != own, file.name))


def following(place: Place, files: Iterable[File], current: str) -> File | None:
    """The one that was begun next. Of one that is there twice, that which is not packed.

    `current`: the name of the one that is written now, which is later than all others whatever its times say.
    """
    begun = [file for file in files if file.began is not None and file.began not in (*place.past, place.began)]
    later = [file for file in begun if file.began is not None and file.began > place.began]
    now = [file for file in begun if file.name == current]
    return min(later or now, key=lambda file: (file.began, file.is_packed, file.name), default=None)


def past(place: Place, file: File, files: Iterable[File]) -> tuple[float, ...]:
    """What is past once one reads that file after that place."""
    assert file.began is not None
    known = {*place.past}
    if file.began < place.began:
        known |= {place.began, *(one.began for one in files if one.began is not None)}
    return tuple(sorted(began for began in known if began > file.began))


def behind(place: Place, files: Iterable[File]) -> int:
    """Bytes that are still to be read; of packed files as they lie there, and none of one that is being read."""
    rest, seen = 0, set[float]()
    for file in sorted(files, key=lambda file: file.is_packed):
        if file.began is None or file.began in seen or file.began in place.past:
            continue
        seen.add(file.began)
        if file.began > place.began:
            rest += file.size
        elif file.began == place.began and place.offset and not file.is_packed:
            rest += max(0, file.size - place.offset)
    return rest
