"""Reads the output of a frontend build as visitors get it: files of any size, in parts, also decompressed."""

import importlib
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from lessee.core.immutable import ImmutableStruct
from lessee.core.sensitive.leaks import Leak, LeakDetector

PART = 2**20
"""Bytes of one part."""
MAX_DECOMPRESSED = 2**30
"""Bytes of a decompressed file; a larger one may be a decompression bomb."""


class Part(ImmutableStruct, frozen=True):
    """A part of a file. It starts with the end of the part before, since a value may cross the border."""

    content: bytes
    at: int
    """The offset of its first byte."""
    line: int
    """The number of its first line, from 1."""
    decompressed: bool
    """Whether it is a part of the decompressed content."""


class IncompleteReadError(Exception):
    """A file cannot be read completely. The text says why."""


def files(folder: Path, errors: list[OSError]) -> Iterator[Path]:
    """All regular files in a directory, also behind symbolic links, which a server follows.

    `errors` gets the errors of directories that cannot be read.
    """
    seen = {_identity(folder)}
    for base, folders, names in os.walk(folder, onerror=errors.append, followlinks=True):
        folders[:] = [name for name in sorted(folders) if _is_new(Path(base, name), seen)]
        for name in sorted(names):
            path = Path(base, name)
            try:
                if path.is_file():
                    yield path
            except OSError as exc:
                errors.append(exc)


def leaks_in_name(path: Path, folder: Path, detector: LeakDetector) -> list[Leak]:
    """The values in the name of a file, or of its directories below `folder`."""
    return list(detector.search(os.fsencode(path.relative_to(folder))))


def printable(path: Path) -> str:
    """A file's name, escaped where it could control a terminal or forge a log line."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(path))


def parts(path: Path, overlap: int) -> Iterator[Part]:
    """The parts of a file, with so many bytes in common, and then those of its decompressed content.

    Raises IncompleteReadError, and OSError.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
        file.seek(0)
        yield from _overlapping(iter(lambda: file.read(PART), b""), overlap, decompressed=False)
        by_head = (decompress for magic, decompress in _BY_MAGIC.items() if head.startswith(magic))
        decompress = next(by_head, _BY_SUFFIX.get(path.suffix))
        if decompress is not None:
            file.seek(0)
            content = _bounded(decompress(iter(lambda: file.read(_COMPRESSED), b"")))
            yield from _overlapping(content, overlap, decompressed=True)


def _overlapping(contents: Iterator[bytes], overlap: int, *, decompressed: bool) -> Iterator[Part]:
    at, line, end = 0, 1, b""
    for content in contents:
        whole = end + content
        yield Part(whole, at, line, decompressed)
        cut = max(len(whole) - overlap, 0)
        at, line, end = at + cut, line + whole.count(b"\n", 0, cut), whole[cut:]


def _bounded(contents: Iterator[bytes]) -> Iterator[bytes]:
    total = 0
    for content in contents:
        total += len(content)
        if total > MAX_DECOMPRESSED:
            raise IncompleteReadError("its decompressed content is larger than 1 GiB")
        yield content


def _gzip(compressed: Iterator[bytes]) -> Iterator[bytes]:
    """The content of all members. Raises IncompleteReadError."""
    decompressor = zlib.decompressobj(wbits=_WITH_HEADER)
    for more in compressed:
        rest = more
        while rest:
            if decompressor.eof:
                decompressor = zlib.decompressobj(wbits=_WITH_HEADER)
            try:
                while len(content := decompressor.decompress(rest, PART)) == PART:
                    yield content  # zlib may have more output, although it has read all input.
                    rest = decompressor.unconsumed_tail
            except zlib.error:
                raise IncompleteReadError("it starts as gzip, but is not valid gzip") from None
            yield content
            rest = decompressor.unused_data
    if not decompressor.eof:
        raise IncompleteReadError("it is truncated gzip")


def _brotli(compressed: Iterator[bytes]) -> Iterator[bytes]:
    """Raises IncompleteReadError."""
    try:
        import brotli  # noqa: PLC0415  # Few builds need it.
    except ImportError:
        raise IncompleteReadError("it is compressed with Brotli: install lessee[dist] to search it") from None
    decompressor: _Decompressor = brotli.Decompressor()
    try:
        for more in compressed:
            yield decompressor.process(more, output_buffer_limit=PART)
            # It may have more output, although it has read all input, and reports that it could read more.
            while rest := decompressor.process(b"", output_buffer_limit=PART):
                yield rest
        is_complete = decompressor.is_finished()
    except brotli.error:
        raise IncompleteReadError("its name ends in .br, but it is not valid Brotli") from None
    if not is_complete:
        raise IncompleteReadError("it is truncated Brotli")


def _zstd(compressed: Iterator[bytes]) -> Iterator[bytes]:
    """The content of all frames. Raises IncompleteReadError."""
    try:
        zstd = _zstd_module()
    except ImportError:
        raise IncompleteReadError("it is compressed with Zstandard: install lessee[dist] to search it") from None
    decompressor = zstd.ZstdDecompressor()
    try:
        for more in compressed:
            rest = more
            while rest or not (decompressor.needs_input or decompressor.eof):
                if decompressor.eof:
                    decompressor = zstd.ZstdDecompressor()
                yield decompressor.decompress(rest, PART)
                rest = decompressor.unused_data if decompressor.eof else b""
    except zstd.ZstdError:
        raise IncompleteReadError("it looks like Zstandard, but is not valid Zstandard") from None
    if not decompressor.eof:
        raise IncompleteReadError("it is truncated Zstandard")


def _zstd_module() -> Any:
    """Python's own since 3.14, or the same module for older ones. Raises ImportError. Few builds need it."""
    if sys.version_info >= (3, 14):
        return importlib.import_module("compression.zstd")
    return importlib.import_module("backports.zstd")


class _Decompressor(Protocol):
    def process(self, data: bytes, output_buffer_limit: int) -> bytes: ...

    def is_finished(self) -> bool: ...


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether a directory was not visited yet: links may form cycles."""
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
_COMPRESSED = 2**16
_BY_MAGIC: dict[bytes, Callable[[Iterator[bytes]], Iterator[bytes]]] = {b"\x1f\x8b": _gzip, b"\x28\xb5\x2f\xfd": _zstd}
_HEAD = max(map(len, _BY_MAGIC))
_BY_SUFFIX: dict[str, Callable[[Iterator[bytes]], Iterator[bytes]]] = {".br": _brotli, ".zst": _zstd}
