"""age, a stream at a time: nothing is held whole, and nothing lies anywhere in the clear."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

from lessee.core.errors import WriteError
from lessee.ops.backup.keys import Keys, does_not_open, load_pyrage
from lessee.ops.backup.policy.archive_format import ArchiveError

CHUNK_SIZE = 1 << 16


def encrypt(chunks: Iterator[bytes], out: IO[bytes], recipients: Sequence[Any]) -> None:
    """Write what comes to `out`, encrypted. What goes wrong with either is raised as it was."""
    source, sink = _Source(chunks), _Sink(out)
    pyrage = load_pyrage()
    try:
        pyrage.encrypt_io(source, sink, recipients)
        sink.flush()
    except (pyrage.EncryptError, OSError) as exc:
        # pyrage puts the text of ours into its own, which may hold anything.
        failed = source.failed or sink.failed
        if isinstance(failed, OSError):
            raise WriteError(f"the archive cannot be written: {failed.strerror}") from None
        raise failed or WriteError(f"the archive cannot be encrypted ({type(exc).__name__})") from None


@contextmanager
def decrypt(file: IO[bytes], keys: Keys, where: str) -> Iterator[IO[bytes]]:
    """What is in a file, to be read to its end: only there it is known to be whole.

    Raises ArchiveError, also in place of what the body raises, where the file is cut or altered. Each piece that can
    be read is as it was made, by age's own checks.
    """
    incoming, outgoing = os.pipe()
    thread = _Decrypting(file, keys, outgoing)
    thread.start()
    with open(incoming, "rb", buffering=CHUNK_SIZE) as clear:  # noqa: PTH123  # A descriptor is no path.
        try:
            yield clear
            rest = _drain(clear)
        except ArchiveError:
            # What age says of it comes first: a file that is cut looks like any other mistake.
            _drain(clear)
            thread.join()
            thread.raise_if_failed(where)
            raise
        finally:
            clear.close()
            thread.join()
    thread.raise_if_failed(where)
    if rest:
        raise ArchiveError("there is more in it than an archive has", where=where)


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
            except Exception as exc:  # noqa: BLE001  # pyrage's texts may hold ours; one alone is told apart.
                if sink.failed is None:
                    self._reason = str(exc) or "failed"

    def raise_if_failed(self, where: str) -> None:
        if "No matching keys" in self._reason:
            raise does_not_open(where)
        if self._reason:
            raise ArchiveError("it is cut or altered: age does not find it whole", where=where)


class _Source:
    """What pyrage reads from."""

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
    """What pyrage writes to."""

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
