"""A folder of keys: all that can fail is tried before there is a key to lose."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lessee.core.errors import WriteError
from lessee.host.directories import cannot_write, entries, open_directory

_ROOM = 16384
"""Bytes for a file: a share encrypted to a key of RSA-4096 takes a tenth of it."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class KeyFolder:
    """A new or empty folder, 0700. What is reserved and not kept is gone at the end. Raises WriteError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_symlink():
            raise WriteError("it is a link", where=str(path), todo="name a new folder")
        self._is_new = not os.path.lexists(path)
        self._fd = open_directory(path, make=(0o700, None, None))
        self._files: dict[str, int] = {}
        try:
            self._refuse_full()
            with cannot_write(path):
                os.fchmod(self._fd, 0o700)
                self._sync_parent()
        except BaseException:
            os.close(self._fd)
            raise

    def reserve(self, names: Iterable[str]) -> None:
        """Make the files, with room on the disk for what will come. Raises WriteError."""
        for name in names:
            with cannot_write(self.path / name):
                self._files[name] = os.open(_part(name), _NEW, 0o600, dir_fd=self._fd)
                os.fchmod(self._files[name], 0o600)
                _write(self._files[name], b"\n" * _ROOM)
        with cannot_write(self.path):
            os.fsync(self._fd)

    def keep(self, texts: Mapping[str, str]) -> tuple[Path, ...]:
        """Write all that can be written, and then complain. Raises WriteError."""
        failed = None
        for name, text in texts.items():
            try:
                self._keep(name, text)
            except WriteError as exc:
                failed = exc
        with cannot_write(self.path):
            os.fsync(self._fd)
        if failed is not None:
            raise failed
        return tuple(self.path / name for name in texts)

    def _keep(self, name: str, text: str) -> None:
        with cannot_write(self.path / name):
            if name not in self._files:
                self._files[name] = os.open(_part(name), _NEW, 0o600, dir_fd=self._fd)
            fd = self._files[name]
            _write(fd, f"{text}\n".encode())
            os.rename(_part(name), name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            os.close(self._files.pop(name))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, fd in self._files.items():
            os.close(fd)
            os.unlink(_part(name), dir_fd=self._fd)
        os.close(self._fd)
        if self._is_new:
            with suppress(OSError):  # It holds keys.
                self.path.rmdir()

    def _refuse_full(self) -> None:
        if entries(self._fd):
            raise WriteError("the folder is not empty", where=str(self.path), todo="name a new one")

    def _sync_parent(self) -> None:
        parent = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def _part(name: str) -> str:
    return f".{name}.part"


def _write(fd: int, content: bytes) -> None:
    """Instead of what is there, down to the disk."""
    done = 0
    while done < len(content):
        done += os.pwrite(fd, content[done:], done)
    os.ftruncate(fd, len(content))
    os.fsync(fd)
