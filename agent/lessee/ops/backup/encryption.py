"""Encrypts and decrypts archives with age as streams, without clear text on disk."""

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

from lessee.core.errors import WriteError
from lessee.ops.backup.keys import Keys, load_pyrage, wrong_key_error
from lessee.ops.backup.policy.archive_format import ArchiveError

CHUNK_SIZE = 1 << 16
HEADER_LIMIT = 1 << 15
"""The size limit of age's header in bytes, with room for 200 recipients.

The library parses a header again from its start each time it reads more of it: one of 800 kB takes a minute.
"""
_END_OF_HEADER = re.compile(rb"\n--- [A-Za-z0-9+/]{43}\n")


def encrypt(chunks: Iterator[bytes], out: IO[bytes], recipients: Sequence[Any]) -> None:
    """Write the encrypted chunks to `out`. Errors of either are raised unchanged."""
    source, sink = _Source(chunks), _Sink(out)
    pyrage = load_pyrage()
    try:
        pyrage.encrypt_io(source, sink, recipients)
        sink.flush()
    except (pyrage.EncryptError, OSError) as exc:
        # pyrage includes the text of our error in its own, and that may hold any value.
        failed = source.failed or sink.failed
        if isinstance(failed, OSError):
            raise WriteError(f"cannot write the archive: {failed.strerror}") from None
        raise failed or WriteError(f"cannot encrypt the archive ({type(exc).__name__})") from None


@contextmanager
def decrypt(file: IO[bytes], keys: Keys, where: str) -> Iterator[IO[bytes]]:
    """The decrypted stream of a file. Read it to its end: only there it is known to be complete.

    Raises ArchiveError where the file is truncated or altered, also in place of an error of the `with` body. age
    authenticates each chunk, so every chunk that can be read is unaltered.
    """
    thread, incoming = _start(file, keys, where)
    with open(incoming, "rb", buffering=CHUNK_SIZE) as clear:  # noqa: PTH123  # A descriptor is no path.
        try:
            yield clear
            rest = _drain(clear)
        except ArchiveError:
            # age's error is the cause: a truncated file also fails in the body, with a misleading error.
            _drain(clear)
            thread.join()
            thread.raise_if_failed(where)
            raise
        finally:
            clear.close()
            thread.join()
    thread.raise_if_failed(where)
    if rest:
        raise ArchiveError("there is data after the end of the archive", where=where)


@contextmanager
def decrypt_start(file: IO[bytes], keys: Keys, where: str) -> Iterator[IO[bytes]]:
    """As `decrypt`, for its first chunks alone: the rest of the file is not read, and not known to be complete."""
    thread, incoming = _start(file, keys, where)
    with open(incoming, "rb", buffering=CHUNK_SIZE) as clear:  # noqa: PTH123  # A descriptor is no path.
        try:
            yield clear
        except ArchiveError:
            clear.close()
            thread.join()
            thread.raise_if_failed(where)
            raise
        finally:
            clear.close()
            thread.join()


def _start(file: IO[bytes], keys: Keys, where: str) -> "tuple[_Decrypting, int]":
    """A thread that decrypts, and the descriptor to read from. Raises ArchiveError for a header beyond its limit."""
    source = _Input(file)
    if not source.has_header():
        raise ArchiveError("no archive, or one without its beginning: age cannot authenticate it", where=where)
    incoming, outgoing = os.pipe()
    thread = _Decrypting(source, keys, outgoing)
    thread.start()
    return thread, incoming


def _drain(clear: IO[bytes]) -> int:
    size = 0
    while chunk := clear.read(CHUNK_SIZE):
        size += len(chunk)
    return size


class _Decrypting(threading.Thread):
    def __init__(self, file: "_Input", keys: Keys, outgoing: int) -> None:
        super().__init__(name="decrypt", daemon=True)
        self._file, self._keys, self._outgoing = file, keys, outgoing
        self._reason = ""

    def run(self) -> None:
        pyrage = load_pyrage()
        with suppress(OSError), open(self._outgoing, "wb", buffering=CHUNK_SIZE) as out:  # noqa: PTH123  # As above.
            sink = _Sink(out)
            try:
                pyrage.decrypt_io(self._file, sink, self._keys.identities())
            except Exception as exc:  # noqa: BLE001  # pyrage's texts may contain ours; only one is compared.
                if sink.failed is None:
                    self._reason = str(exc) or "failed"

    def raise_if_failed(self, where: str) -> None:
        if isinstance(self._file.failed, ArchiveError):
            raise self._file.failed
        if "No matching keys" in self._reason:
            raise wrong_key_error(where)
        if self._reason:
            raise ArchiveError("the archive is truncated or altered: age cannot authenticate it", where=where)


class _Input:
    """The encrypted file, for pyrage. The file is read onward from where it is, and needs no `seek`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._first = b""
        self.failed: BaseException | None = None

    def has_header(self) -> bool:
        """Whether it begins with age's header, of at most HEADER_LIMIT bytes."""
        while len(self._first) < HEADER_LIMIT and (more := self._file.read(HEADER_LIMIT - len(self._first))):
            self._first += more
        return _END_OF_HEADER.search(self._first) is not None

    def read(self, size: int) -> bytes:
        if self._first:
            taken, self._first = self._first[:size], self._first[size:]
            return taken
        try:
            return self._file.read(size)
        except BaseException as exc:
            self.failed = exc
            raise


class _Source:
    """The file object that pyrage reads from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._pieces = chunks
        self._rest = memoryview(b"")
        self.failed: BaseException | None = None

    def read(self, size: int) -> bytes:
        try:
            while not self._rest and (chunk := next(self._pieces, None)) is not None:
                self._rest = memoryview(chunk)
        except BaseException as exc:
            self.failed = exc
            raise
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)


class _Sink:
    """The file object that pyrage writes to."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self.failed: BaseException | None = None

    def write(self, chunk: bytes) -> int:
        try:
            return self._out.write(chunk)
        except BaseException as exc:
            self.failed = exc
            raise

    def flush(self) -> None:
        try:
            self._out.flush()
        except BaseException as exc:
            self.failed = exc
            raise
