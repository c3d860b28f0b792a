"""Keeps in `state_dir` who got a secret_id, so that a restart of the service issues no second one."""

import os
from pathlib import Path

from lessee.host.directories import open_directory, translate_write_errors
from lessee.host.procfs import boot_id
from lessee.ops.issue.policy.issued import Issued, decode, encode

_FILE, _NEW = "issued.json", ".issued.json.new"
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LARGEST = 64 << 20


class Record:
    """The record of one service. It has no secret, and is worthless after a reboot."""

    def __init__(self, directory: Path) -> None:
        """Creates the directory, 0700. Raises WriteError."""
        self._path, self._boot = directory / _FILE, boot_id()
        self._fd = open_directory(directory, make=(0o700, None, None))
        self.issued: Issued = decode(self._read(), self._boot)

    def save(self, issued: Issued) -> None:
        """Raises WriteError; then nothing has changed."""
        with translate_write_errors(self._path):
            file = os.open(_NEW, _CREATE, 0o600, dir_fd=self._fd)
            with os.fdopen(file, "wb") as stream:
                stream.write(encode(issued, self._boot))
            os.rename(_NEW, _FILE, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        self.issued = issued

    def close(self) -> None:
        """Close the directory."""
        os.close(self._fd)

    def _read(self) -> bytes:
        try:
            with os.fdopen(os.open(_FILE, _READ, dir_fd=self._fd), "rb") as stream:
                return stream.read(_LARGEST)
        except OSError:
            return b""
