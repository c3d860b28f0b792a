"""Writes the files of a generation into a folder, and compares them with what stands there."""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lessee.core.errors import WriteError
from lessee.core.generation import File
from lessee.host.directories import entries, own

OURS = "..lessee-"
"""What all our own entries in an app's directory begin with."""
_NAME_MAX = 255
# A FIFO opened for reading would hang without O_NONBLOCK.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write(file: File, name: str, folder: int, *, where: Path, sync: bool) -> None:
    """Make a new file `name` in the open folder; mode and owner are right before the first byte."""
    fd = os.open(name, _CREATE, 0, dir_fd=folder)
    try:
        own(fd, file.uid, file.gid, where=where)
        os.fchmod(fd, file.mode)
        rest = memoryview(file.content)
        while rest:
            rest = rest[os.write(fd, rest) :]
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def read(name: str, folder: int) -> bytes:
    """Give a file's bytes. Raises OSError, also where a link stands there."""
    fd = os.open(name, _READ, dir_fd=folder)
    try:
        with os.fdopen(fd, "rb", closefd=False) as stream:
            return stream.read()
    finally:
        os.close(fd)  # fdopen raises where it is a directory, and leaves the descriptor open.


def stand(files: Iterable[File], folder: int) -> bool:
    """Whether these files and no others stand in the open folder, with their bytes, modes and owners."""
    by_name = {file.name: file for file in files}
    return entries(folder) == by_name.keys() and all(_stands(file, folder) for file in by_name.values())


def folder_mode(*modes: int) -> int:
    """Give r-x to every class that may read a file, and rwx to the owner: 0440 becomes 0750."""
    folder = 0o700
    for mode in modes:
        folder |= mode & 0o444 | (mode & 0o444) >> 2
    return folder


def refuse_names(names: Iterable[str], where: Path) -> None:
    """Raise WriteError where one is no name that a file of an app may have."""
    for name in names:
        # What begins with `..` is lessee's, as it is Kubernetes' in its volumes.
        bad = name in {"", "."} or name.startswith("..") or not {"/", "\0"}.isdisjoint(name)
        if bad or len(os.fsencode(name)) > _NAME_MAX:
            raise WriteError(
                f"{name!r} is no file name of ours",
                where=str(where),
                todo=f"name one file in at most {_NAME_MAX} bytes, without a slash or leading dots",
            )


def refuse_folders(names: Iterable[str], folder: int, where: Path) -> None:
    """Raise WriteError where a directory stands at one of the names."""
    for name in names:
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise WriteError(
                    f"a directory stands at {name}", where=str(where), todo="remove it, or name the file anew"
                )


def _stands(file: File, folder: int) -> bool:
    uid = os.geteuid() if file.uid is None else file.uid
    gid = os.getegid() if file.gid is None else file.gid
    wanted = (stat.S_IFREG | file.mode, uid, gid, len(file.content))
    # Not opened yet: an app that owns its folder may have put a FIFO or a link there.
    is_now = os.stat(file.name, dir_fd=folder, follow_symlinks=False)
    same = (is_now.st_mode, is_now.st_uid, is_now.st_gid, is_now.st_size) == wanted
    return same and read(file.name, folder) == file.content
