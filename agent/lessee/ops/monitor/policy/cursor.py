"""The position in an audit log, and which of the log's files contains it.

A file is identified by its content: by the time of its first line, which is unique among the log's files, and by the
last line that was read. So a rotation may rename, copy and truncate, date, or compress the files.
"""

from collections.abc import Iterable
from hashlib import blake2b

from lessee.core.immutable import ImmutableStruct

MIN_TAIL, MAX_TAIL = 1 << 9, 1 << 20
"""Bytes before a position that identify it: a whole line, because many lines may share a part of it."""


class Position(ImmutableStruct, frozen=True):
    """How far a file was read. With `offset` 0 nothing was read, and `began` is that of the previous file."""

    began: float
    """The time of the file's first line, in seconds since 1970."""
    device: int = 0
    inode: int = 0
    offset: int = 0
    """Bytes of whole lines, uncompressed."""
    tail: str = ""
    """A hash of the last bytes that were read."""
    tail_length: int = 0
    """The number of hashed bytes."""
    at: float = 0.0
    """The time of the last access that was read, in this file or an earlier one."""
    past: tuple[float, ...] = ()
    """When files began that were read although they seem later: the server's clock was set back."""


class File(ImmutableStruct, frozen=True):
    """A file of the log: the current one, or a rotated one."""

    name: str
    device: int
    inode: int
    size: int
    began: float | None
    """None if the file has no whole line yet."""
    is_compressed: bool = False


def line_tail(text: bytes) -> bytes:
    """The end of what was read, which identifies the position."""
    line = len(text) - (text.rfind(b"\n", 0, -1) + 1)
    return text[-min(max(line, MIN_TAIL), MAX_TAIL) :]


def hash_of(tail: bytes) -> str:
    """The hash that a position stores."""
    return blake2b(tail, digest_size=16).hexdigest()


def candidates(position: Position, files: Iterable[File]) -> list[File]:
    """The files that may contain the position, the likeliest first. The tail decides.

    The same inode proves nothing: the file may have been truncated, or the inode given to another file.
    """
    fitting = [
        file for file in files if file.began == position.began and (file.is_compressed or file.size >= position.offset)
    ]
    own = (position.device, position.inode)
    return sorted(fitting, key=lambda file: (file.is_compressed, (file.device, file.inode) != own, file.name))


def next_file(position: Position, files: Iterable[File], current: str) -> File | None:
    """The file that began next, preferably the uncompressed copy.

    `current` is the name of the file that is written now. It follows all others, whatever the times are.
    """
    begun = [file for file in files if file.began is not None and file.began not in (*position.past, position.began)]
    later = [file for file in begun if file.began is not None and file.began > position.began]
    now = [file for file in begun if file.name == current]
    return min(later or now, key=lambda file: (file.began, file.is_compressed, file.name), default=None)


def past_after(position: Position, file: File, files: Iterable[File]) -> tuple[float, ...]:
    """The `past` of a position in `file`, which follows `position`."""
    assert file.began is not None
    known = {*position.past}
    if file.began < position.began:
        known |= {position.began, *(other.began for other in files if other.began is not None)}
    return tuple(sorted(began for began in known if began > file.began))


def unread_bytes(position: Position, files: Iterable[File]) -> int:
    """Bytes after the position. A compressed file counts with its compressed size, or not if it is being read."""
    unread, counted = 0, set[float]()
    for file in sorted(files, key=lambda file: file.is_compressed):
        if file.began is None or file.began in counted or file.began in position.past:
            continue
        counted.add(file.began)
        if file.began > position.began:
            unread += file.size
        elif file.began == position.began and position.offset and not file.is_compressed:
            unread += max(0, file.size - position.offset)
    return unread
