"""Stores an archive's members until their size is known, in encrypted temporary files."""

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
    """A future member of an archive, in a file without a name, encrypted with a key that only this process has.

    AES in counter mode does not detect alterations; the member's hash does.
    """

    def __init__(self, name: str, folder: Path | None) -> None:
        """`folder` None: the system's temporary directory. Raises WriteError."""
        self._name = name
        self._where = str(folder or tempfile.gettempdir())
        self._cipher = Cipher(algorithms.AES256(os.urandom(32)), modes.CTR(os.urandom(16)))
        self._encryptor = self._cipher.encryptor()
        self._hash = hashlib.sha256()
        self._size = 0
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # `close` closes it.
        except OSError as exc:
            raise WriteError(f"cannot create a temporary file: {exc.strerror}", where=self._where) from None

    def write(self, chunk: bytes) -> None:
        """Raises WriteError."""
        self._hash.update(chunk)
        self._size += len(chunk)
        try:
            self._file.write(self._encryptor.update(chunk))
        except OSError as exc:
            raise WriteError(f"cannot write a temporary file: {exc.strerror}", where=self._where) from None

    @property
    def member(self) -> Member:
        """The member as written until now."""
        return Member(self._name, self._size, self._hash.hexdigest())

    def read(self) -> Iterator[bytes]:
        """The written content. Raises WriteError, or ArchiveError where the file was altered."""
        try:
            self._file.seek(0)
        except OSError as exc:  # From buffered data that is written now.
            raise WriteError(f"cannot write a temporary file: {exc.strerror}", where=self._where) from None
        decryptor, found = self._cipher.decryptor(), hashlib.sha256()
        while chunk := decryptor.update(self._file.read(CHUNK_SIZE)):
            found.update(chunk)
            yield chunk
        if found.hexdigest() != self._hash.hexdigest():
            raise ArchiveError("a temporary file was altered")

    def close(self) -> None:
        """Remove the file."""
        with suppress(OSError):  # A full disk was reported before.
            self._file.close()
