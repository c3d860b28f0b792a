"""A place for what is read until its size is known: on a disk, and readable to this process alone."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from lessee.core.errors import WriteError
from lessee.ops.backup.encryption import CHUNK_SIZE
from lessee.ops.backup.policy.archive_format import ArchiveError, Member


class EncryptedTemporaryFile:
    """A member of an archive to be. Its file has no name, and is encrypted with a key that is nowhere else.

    AES in counter mode says nothing of whether the file was altered; the member's hash does.
    """

    def __init__(self, name: str, folder: Path | None) -> None:
        """`folder` None: where temporary files lie. Raises WriteError."""
        self._name = name
        self._where = str(folder or tempfile.gettempdir())
        self._cipher = Cipher(algorithms.AES256(os.urandom(32)), modes.CTR(os.urandom(16)))
        self._encryptor = self._cipher.encryptor()
        self._hash = hashlib.sha256()
        self._size = 0
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # It lives as long as the spool.
        except OSError as exc:
            raise WriteError(f"no temporary file can be made: {exc.strerror}", where=self._where) from None

    def write(self, chunk: bytes) -> None:
        """Raises WriteError."""
        self._hash.update(chunk)
        self._size += len(chunk)
        try:
            self._file.write(self._encryptor.update(chunk))
        except OSError as exc:
            raise WriteError(f"a temporary file cannot be written: {exc.strerror}", where=self._where) from None

    @property
    def member(self) -> Member:
        """What was written so far."""
        return Member(self._name, self._size, self._hash.hexdigest())

    def read(self) -> Iterator[bytes]:
        """All that was written. Raises WriteError, or ArchiveError where the file is another by now."""
        try:
            self._file.seek(0)
        except OSError as exc:  # Of what had waited to be written.
            raise WriteError(f"a temporary file cannot be written: {exc.strerror}", where=self._where) from None
        decryptor, found = self._cipher.decryptor(), hashlib.sha256()
        while chunk := decryptor.update(self._file.read(CHUNK_SIZE)):
            found.update(chunk)
            yield chunk
        if found.hexdigest() != self._hash.hexdigest():
            raise ArchiveError("a temporary file was altered")

    def close(self) -> None:
        """Nothing is left of it."""
        with suppress(OSError):  # A full disk, which was told.
            self._file.close()
