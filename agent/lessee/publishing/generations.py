"""Writes the files of a generation into a directory, and compares them with what the directory holds."""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from lessee.core.errors import WriteError
from lessee.core.generation import File
from lessee.host.directories import chown, open_subdirectory

OWN_PREFIX = "..lessee-"
"""How the names of all entries begin that lessee adds to an app's directory for its own use."""
FOLDER = re.compile(r"\.\.lessee-([0-9]{1,15})-([0-9a-f]{8})")
"""The name of a generation's folder: its number, and the code by which `is_authentic` knows it. lessee 0.1.0 accepts
names of this form alone, and after a downgrade must find the files that readers see."""
_VARIANTS = 256
"""Codes of one number: a number that is used again gets another name."""
MAX_ENTRIES = 10_000
"""Entries of an app's directory. With more of them, each publication would delay other apps."""
MAX_FILE = 64 << 20
"""Bytes. More than any file that the agent renders."""
MAX_DEPTH = 32
"""Elements of a file's name, and levels of folders in which files are looked for."""
_NAME_MAX = 255
# A FIFO opened for reading would hang without O_NONBLOCK.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def folder_name(number: int, key: bytes) -> str:
    """A name for the folder of this generation, which no other key gives. Without a key, any agent may have made it."""
    variant = os.urandom(4)
    return f"{OWN_PREFIX}{number}-{_code(str(number), variant[0], key) if key else variant.hex()}"


def is_authentic(name: str, key: bytes) -> bool:
    """Whether `folder_name` made the name with this key. Another key makes it once in 16 million names."""
    match = FOLDER.fullmatch(name)
    if match is None or not key:
        return False
    return match[2] in {_code(match[1], variant, key) for variant in range(_VARIANTS)}


def _code(number: str, variant: int, key: bytes) -> str:
    return blake2b(f"{number}-{variant}".encode(), key=key, digest_size=4).hexdigest()


def folders_of(files: Iterable[File]) -> dict[str, dict[str, File | None]]:
    """What each folder of a generation holds by name: its files, and None for a folder in it.

    The generation's own folder is "", and others end in a slash. Each precedes those in it.
    """
    folders: dict[str, dict[str, File | None]] = {"": {}}
    for file in files:
        folder = ""
        *parents, last = file.name.split("/")
        for name in parents:
            folders[folder][name] = None
            folder += f"{name}/"
            folders.setdefault(folder, {})
        folders[folder][last] = file
    return folders


def folder_modes(folders: dict[str, dict[str, File | None]]) -> dict[str, int]:
    """The mode of each of these folders, by the files in it and below; those inside come first."""
    modes: dict[str, int] = {}
    for folder, entries in reversed(folders.items()):
        below = (modes[f"{folder}{name}/"] if file is None else file.mode for name, file in entries.items())
        modes[folder] = directory_mode(*below)
    return modes


@contextmanager
def open_parent(name: str, directory: int) -> Iterator[tuple[int, str]]:
    """The folder of `name` below the open directory, and the last element of `name`.

    Raises OSError, also for a link in the place of a folder: the app that owns the folders may have put it there.
    """
    *folders, last = name.split("/")
    with ExitStack() as opened:
        for folder in folders:
            directory = opened.enter_context(open_subdirectory(folder, directory))
        yield directory, last


def write_folders(
    files: Iterable[File], directory: int, *, uid: int | None, gid: int | None, where: Path, sync: bool
) -> int:
    """Write all files into the open directory, which is empty; return the mode that it needs for those who read them.

    The folders in it get their owner and mode after all files. Raises OSError or WriteError.
    """
    folders = folders_of(files)
    for folder, entries in folders.items():
        with open_parent(f"{folder}.", directory) as (fd, _):
            for name, file in entries.items():
                if file is None:
                    os.mkdir(name, 0o700, dir_fd=fd)
                else:
                    write_file(file, name, fd, where=where, sync=sync)
    modes = folder_modes(folders)
    for folder, mode in modes.items():
        if folder:
            with open_parent(f"{folder}.", directory) as (fd, _):
                chown(fd, uid, gid, where=where)
                os.fchmod(fd, mode)
                if sync:
                    os.fsync(fd)
    return modes[""]


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
    return all(_holds(folder, entries, directory) for folder, entries in folders_of(files).items())


def directory_mode(*modes: int) -> int:
    """The mode of a directory for files of these modes: r-x for each class that may read one, and rwx for the owner.

    0440 becomes 0750.
    """
    result = 0o700
    for mode in modes:
        result |= mode & 0o444 | (mode & 0o444) >> 2
    return result


def check_names(names: Iterable[str], where: Path) -> None:
    """Raise WriteError for a name that no file of an app may have, or not together with the others."""
    names = tuple(names)
    known = frozenset(names)
    for name in names:
        elements = name.split("/")
        if len(elements) > MAX_DEPTH or not all(map(_is_element, elements)):
            raise WriteError(
                f"{name!r} is not a valid file name",
                where=str(where),
                todo=f"use at most {MAX_DEPTH} elements of at most {_NAME_MAX} bytes, none with two leading dots",
            )
        folders = ("/".join(elements[:depth]) for depth in range(1, len(elements)))
        if (file := next((folder for folder in folders if folder in known), None)) is not None:
            what = f"{file} is a file, so that {name} cannot be in a directory of that name"
            raise WriteError(what, where=str(where), todo="rename one of them")


def list_entries(directory: int, limit: int) -> frozenset[str] | None:
    """The names in the open directory; None if there are more than `limit`."""
    with os.scandir(directory) as listed:
        names = frozenset(entry.name for entry in islice(listed, limit + 1))
    return names if len(names) <= limit else None


def list_files(directory: int, limit: int = MAX_ENTRIES) -> frozenset[str]:
    """The names of the files in the open directory and its folders. It looks at `limit` entries. Raises OSError."""
    found, folders = [], [""]
    while folders and limit > 0:
        folder = folders.pop()
        with open_parent(f"{folder}.", directory) as (fd, _), os.scandir(fd) as listed:
            for entry in islice(listed, limit):
                limit -= 1
                if not entry.is_dir(follow_symlinks=False):
                    found.append(f"{folder}{entry.name}")
                elif folder.count("/") < MAX_DEPTH:
                    folders.append(f"{folder}{entry.name}/")
    return frozenset(found)


def check_no_directories(names: Iterable[str], directory: int, where: Path, limit: int | None = None) -> None:
    """Raise WriteError if one of the names is taken by a directory. It looks at the first `limit` entries."""
    # One listing says it of all entries.
    with os.scandir(directory) as listed:
        taken = {entry.name for entry in islice(listed, limit) if entry.is_dir(follow_symlinks=False)}
    for name in names:
        if name in taken:
            raise WriteError(f"{name} is a directory", where=str(where), todo="remove it, or rename the file")


def _is_element(name: str) -> bool:
    # Names that begin with `..` are lessee's, as they are Kubernetes' in its volumes.
    return (
        name not in {"", "."} and not name.startswith("..") and "\0" not in name and len(os.fsencode(name)) <= _NAME_MAX
    )


def _holds(folder: str, entries: dict[str, File | None], directory: int) -> bool:
    try:
        with open_parent(f"{folder}.", directory) as (fd, _):
            return list_entries(fd, len(entries)) == entries.keys() and all(
                file is None or _matches(file, name, fd) for name, file in entries.items()
            )
    except OSError:
        if not folder:
            raise
        return False  # An app that owns the folder may have removed it, or put a link there.


def _matches(file: File, name: str, directory: int) -> bool:
    uid = os.geteuid() if file.uid is None else file.uid
    gid = os.getegid() if file.gid is None else file.gid
    expected = (stat.S_IFREG | file.mode, uid, gid, len(file.content))
    # Not opened yet: an app that owns its directory may have put a FIFO or a link there.
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    same = (status.st_mode, status.st_uid, status.st_gid, status.st_size) == expected
    return same and read_file(name, directory, len(file.content)) == file.content
