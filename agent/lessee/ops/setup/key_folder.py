"""A directory for keys, whose files are created before there are keys to lose."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lessee.core.errors import WriteError
from lessee.host.directories import entries, open_directory, translate_write_errors
from lessee.host.ownership import refuse_foreign_writers

_RESERVED = 16384
"""Bytes reserved for a file: a share encrypted with RSA-4096 takes a tenth of it."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class KeyFolder:
    """A new or empty directory of mode 0700. Reserved files that were not written are removed at the end.

    Raises WriteError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_symlink():
            raise WriteError("the directory is a symbolic link", where=str(path), todo="name a new directory")
        self._is_new = not os.path.lexists(path)
        self._fd = open_directory(path, make=(0o700, None, None))
        self._files: dict[str, int] = {}
        try:
            self._require_empty()
            with translate_write_errors(path):
                os.fchmod(self._fd, 0o700)
                # Its owner could exchange the keys before the operator distributes them.
                refuse_foreign_writers(self._fd, path, "the directory")
                self._sync_parent()
        except BaseException:
            os.close(self._fd)
            raise

    def reserve(self, names: Iterable[str]) -> None:
        """Create the files with reserved space on disk. Raises WriteError."""
        for name in names:
            with translate_write_errors(self.path / name):
                self._files[name] = os.open(_part(name), _NEW, 0o600, dir_fd=self._fd)
                os.fchmod(self._files[name], 0o600)
                _replace_content(self._files[name], b"\n" * _RESERVED)
        with translate_write_errors(self.path):
            os.fsync(self._fd)

    def write(self, texts: Mapping[str, str]) -> tuple[Path, ...]:
        """Write every file that can be written; only then raise WriteError for one that failed."""
        failed = None
        for name, text in texts.items():
            try:
                self._write(name, text)
            except WriteError as exc:
                failed = exc
        with translate_write_errors(self.path):
            os.fsync(self._fd)
        if failed is not None:
            raise failed
        return tuple(self.path / name for name in texts)

    def _write(self, name: str, text: str) -> None:
        with translate_write_errors(self.path / name):
            if name not in self._files:
                self._files[name] = os.open(_part(name), _NEW, 0o600, dir_fd=self._fd)
            fd = self._files[name]
            _replace_content(fd, f"{text}\n".encode())
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
            with suppress(OSError):  # Not empty: it holds keys.
                self.path.rmdir()

    def _require_empty(self) -> None:
        if entries(self._fd):
            raise WriteError("the directory is not empty", where=str(self.path), todo="name a new directory")

    def _sync_parent(self) -> None:
        parent = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def _part(name: str) -> str:
    return f".{name}.part"


def _replace_content(fd: int, content: bytes) -> None:
    """Replace a file's content, and flush it to disk."""
    done = 0
    while done < len(content):
        done += os.pwrite(fd, content[done:], done)
    os.ftruncate(fd, len(content))
    os.fsync(fd)
