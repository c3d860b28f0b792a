"""Writes the files of a generation into a directory, and compares them with what the directory holds."""

import os
import re
import stat
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from lessee.core.errors import WriteError
from lessee.core.generation import File
from lessee.host.directories import chown

OWN_PREFIX = "..lessee-"
"""How the names of all entries begin that lessee adds to an app's directory for its own use."""
FOLDER = re.compile(r"\.\.lessee-([0-9]{1,15})-[0-9a-f]{8}")
"""The name of a generation's folder, with its number."""
MAX_ENTRIES = 10_000
"""Entries of an app's directory. With more of them, each publication would delay other apps."""
MAX_FILE = 64 << 20
"""Bytes. More than any file that the agent renders."""
_NAME_MAX = 255
# A FIFO opened for reading would hang without O_NONBLOCK.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_file(file: File, name: str, directory: int, *, where: Path, sync: bool) -> None:
    """Create a new file `name` in the open directory; mode and owner are right before the first byte."""
    fd = os.open(name, _CREATE, 0, dir_fd=directory)
    try:
        chown(fd, file.uid, file.gid, where=where)
        os.fchmod(fd, file.mode)
        write_all(fd, file.content)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, content: bytes) -> None:
    """Write all bytes, although a call may write only some of them."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]


def read_file(name: str, directory: int, limit: int = MAX_FILE) -> bytes:
    """The bytes of a file in the open directory, but at most `limit` and one more.

    Raises OSError, also for a symbolic link.
    """
    fd = os.open(name, _READ, dir_fd=directory)
    try:
        with os.fdopen(fd, "rb", closefd=False) as stream:
            return stream.read(limit + 1)
    finally:
        os.close(fd)  # fdopen raises where it is a directory, and leaves the descriptor open.


def holds_exactly(files: Iterable[File], directory: int) -> bool:
    """Whether the open directory holds these files and no others, with their bytes, modes and owners."""
    by_name = {file.name: file for file in files}
    listed = list_entries(directory, len(by_name))
    return listed == by_name.keys() and all(_matches(file, directory) for file in by_name.values())


def directory_mode(*modes: int) -> int:
    """The mode of a directory for files of these modes: r-x for each class that may read one, and rwx for the owner.

    0440 becomes 0750.
    """
    result = 0o700
    for mode in modes:
        result |= mode & 0o444 | (mode & 0o444) >> 2
    return result


def check_names(names: Iterable[str], where: Path) -> None:
    """Raise WriteError for a name that no file of an app may have."""
    for name in names:
        # Names that begin with `..` are lessee's, as they are Kubernetes' in its volumes.
        invalid = name in {"", "."} or name.startswith("..") or not {"/", "\0"}.isdisjoint(name)
        if invalid or len(os.fsencode(name)) > _NAME_MAX:
            raise WriteError(
                f"{name!r} is not a valid file name",
                where=str(where),
                todo=f"use at most {_NAME_MAX} bytes, without a slash or leading dots",
            )


def list_entries(directory: int, limit: int) -> frozenset[str] | None:
    """The names in the open directory; None if there are more than `limit`."""
    with os.scandir(directory) as listed:
        names = frozenset(entry.name for entry in islice(listed, limit + 1))
    return names if len(names) <= limit else None


def check_no_directories(names: Iterable[str], directory: int, where: Path, limit: int | None = None) -> None:
    """Raise WriteError if one of the names is taken by a directory. It looks at the first `limit` entries."""
    # One listing says it of all entries.
    with os.scandir(directory) as listed:
        taken = {entry.name for entry in islice(listed, limit) if entry.is_dir(follow_symlinks=False)}
    for name in names:
        if name in taken:
            raise WriteError(f"{name} is a directory", where=str(where), todo="remove it, or rename the file")


def _matches(file: File, directory: int) -> bool:
    uid = os.geteuid() if file.uid is None else file.uid
    gid = os.getegid() if file.gid is None else file.gid
    expected = (stat.S_IFREG | file.mode, uid, gid, len(file.content))
    # Not opened yet: an app that owns its directory may have put a FIFO or a link there.
    status = os.stat(file.name, dir_fd=directory, follow_symlinks=False)
    same = (status.st_mode, status.st_uid, status.st_gid, status.st_size) == expected
    return same and read_file(file.name, directory, len(file.content)) == file.content
