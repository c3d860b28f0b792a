"""What visitors get, as a browser will see it: files of any size, unpacked where they are packed, in parts."""

import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from lessee.core.immutable import Record
from lessee.core.sensitive.traces import Trace, Traces

PART = 2**20
"""Bytes that are looked at at once."""
LARGEST = 2**30
"""Bytes of a packed file, unpacked: more is a bomb."""


class Part(Record, frozen=True):
    """Some of what a file holds; it begins with the end of the part before, since what is looked for may lie across."""

    content: bytes
    at: int
    """The byte at which it begins."""
    line: int
    """The line in which it begins, from 1."""
    unpacked: bool
    """Whether it is of what is packed in the file, and not of the file itself."""


class UnreadError(Exception):
    """A file that cannot be looked at as a whole, with the reason."""


def files(folder: Path, closed: list[OSError]) -> Iterator[Path]:
    """All regular files in it, also those that links lead to, for a server follows them.

    `closed`: why folders could not be read.
    """
    seen = {_identity(folder)}
    for base, folders, names in os.walk(folder, onerror=closed.append, followlinks=True):
        folders[:] = [name for name in sorted(folders) if _is_new(Path(base, name), seen)]
        for name in sorted(names):
            path = Path(base, name)
            try:
                if path.is_file():
                    yield path
            except OSError as exc:
                closed.append(exc)


def in_name(path: Path, folder: Path, traces: Traces) -> list[Trace]:
    """The values that the file's own name holds, or a folder's that it lies in below `folder`."""
    return list(traces.search(os.fsencode(path.relative_to(folder))))


def printable(path: Path) -> str:
    """A build may name a file as it likes, also so that a log or a terminal takes the name for something else."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(path))


def parts(path: Path, overlap: int) -> Iterator[Part]:
    """The file in parts that have so many bytes in common, and then what is packed in it, where it is packed.

    Raises UnreadError, and OSError.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
        file.seek(0)
        yield from _overlapping(iter(lambda: file.read(PART), b""), overlap, unpacked=False)
        begins = (unpacker for magic, unpacker in _MAGIC.items() if head.startswith(magic))
        unpacker = next(begins, _BY_SUFFIX.get(path.suffix))
        if unpacker is not None:
            file.seek(0)
            unpacked = _bounded(unpacker(iter(lambda: file.read(_PACKED), b"")))
            yield from _overlapping(unpacked, overlap, unpacked=True)


def _overlapping(contents: Iterator[bytes], overlap: int, *, unpacked: bool) -> Iterator[Part]:
    at, line, kept = 0, 1, b""
    for content in contents:
        whole = kept + content
        yield Part(whole, at, line, unpacked)
        cut = max(len(whole) - overlap, 0)
        at, line, kept = at + cut, line + whole.count(b"\n", 0, cut), whole[cut:]


def _bounded(contents: Iterator[bytes]) -> Iterator[bytes]:
    total = 0
    for content in contents:
        total += len(content)
        if total > LARGEST:
            raise UnreadError("what is packed in it is larger than 1 GiB")
        yield content


def _gzip(packed: Iterator[bytes]) -> Iterator[bytes]:
    """Of all its members. Raises UnreadError."""
    unpacking = zlib.decompressobj(wbits=_WITH_HEADER)
    for more in packed:
        rest = more
        while rest:
            if unpacking.eof:
                unpacking = zlib.decompressobj(wbits=_WITH_HEADER)
            try:
                while len(unpacked := unpacking.decompress(rest, PART)) == PART:
                    yield unpacked  # zlib may have more, though it took all.
                    rest = unpacking.unconsumed_tail
            except zlib.error:
                raise UnreadError("it begins as gzip does, and is none to its end") from None
            yield unpacked
            rest = unpacking.unused_data
    if not unpacking.eof:
        raise UnreadError("it is gzip that was cut off")


def _brotli(packed: Iterator[bytes]) -> Iterator[bytes]:
    """Raises UnreadError."""
    try:
        import brotli  # noqa: PLC0415  # Few have it, and need it.
    except ImportError:
        raise UnreadError("it is packed with Brotli: install lessee[dist] to have it looked into") from None
    unpacking: _Unpacking = brotli.Decompressor()
    try:
        for more in packed:
            yield unpacking.process(more, output_buffer_limit=PART)
            # It may have more, though it took all, and says that it could take more.
            while rest := unpacking.process(b"", output_buffer_limit=PART):
                yield rest
        whole = unpacking.is_finished()
    except brotli.error:
        raise UnreadError("it is called .br, and is no Brotli to its end") from None
    if not whole:
        raise UnreadError("it is Brotli that was cut off")


def _zstd(packed: Iterator[bytes]) -> Iterator[bytes]:
    """Of all its frames. Raises UnreadError."""
    try:
        from backports import zstd  # noqa: PLC0415  # As above.
    except ImportError:
        raise UnreadError("it is packed with Zstandard: install lessee[dist] to have it looked into") from None
    unpacking = zstd.ZstdDecompressor()
    try:
        for more in packed:
            rest = more
            while rest or not (unpacking.needs_input or unpacking.eof):
                if unpacking.eof:
                    unpacking = zstd.ZstdDecompressor()
                yield unpacking.decompress(rest, PART)
                rest = unpacking.unused_data if unpacking.eof else b""
    except zstd.ZstdError:
        raise UnreadError("it is called .zst, or begins so, and is no Zstandard to its end") from None
    if not unpacking.eof:
        raise UnreadError("it is Zstandard that was cut off")


class _Unpacking(Protocol):
    def process(self, data: bytes, output_buffer_limit: int) -> bytes: ...

    def is_finished(self) -> bool: ...


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    """Links may lead in circles."""
    identity = _identity(folder)
    if identity in seen:
        return False
    seen.add(identity)
    return True


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError:
        return -1, -1
    return status.st_dev, status.st_ino


_WITH_HEADER = zlib.MAX_WBITS | 16
_PACKED = 2**16
_MAGIC: dict[bytes, Callable[[Iterator[bytes]], Iterator[bytes]]] = {b"\x1f\x8b": _gzip, b"\x28\xb5\x2f\xfd": _zstd}
_HEAD = max(map(len, _MAGIC))
_BY_SUFFIX: dict[str, Callable[[Iterator[bytes]], Iterator[bytes]]] = {".br": _brotli, ".zst": _zstd}
