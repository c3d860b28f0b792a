"""Encrypts and decrypts archives with age as streams, without clear text on disk."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

from lessee.core.errors import WriteError
from lessee.ops.backup.keys import Keys, load_pyrage, wrong_key_error
from lessee.ops.backup.policy.archive_format import ArchiveError

CHUNK_SIZE = 1 << 16


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
    incoming, outgoing = os.pipe()
    thread = _Decrypting(file, keys, outgoing)
    thread.start()
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


def _drain(clear: IO[bytes]) -> int:
    size = 0
    while chunk := clear.read(CHUNK_SIZE):
        size += len(chunk)
    return size


class _Decrypting(threading.Thread):
    def __init__(self, file: IO[bytes], keys: Keys, outgoing: int) -> None:
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
        if "No matching keys" in self._reason:
            raise wrong_key_error(where)
        if self._reason:
            raise ArchiveError("the archive is truncated or altered: age cannot authenticate it", where=where)


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
