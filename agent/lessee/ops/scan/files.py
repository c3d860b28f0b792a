"""Finds and opens the files of a directory, without following symbolic links: they may lead anywhere."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lessee.ops.scan.contents import MAX_BYTES

SKIPPED = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        "node_modules",
        ".venv",
        "venv",
        "__pycache__",
        ".tox",
        ".nox",
        ".mypy_cache",
        ".pytest_cache",
    }
    | {
        ".ruff_cache",
        ".import_linter_cache",
        ".hypothesis",
        ".terraform",
        ".next",
        ".nuxt",
        "bower_components",
        ".gradle",
        ".cache",
    }
)
"""The names of directories that programs fill: installed packages, builds and caches."""


class UnreadError(Exception):
    """A file or directory cannot be searched. The text says why."""


def find_files(root: Path, unread: dict[str, str]) -> Iterator[str]:
    """The paths of the regular files below a directory, in order, relative to it.

    `unread` gets the directories that cannot be read, with the reasons.
    """
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            # Not through a link that replaced the directory after it was listed.
            descriptor = os.open(root / folder, os.O_RDONLY | os.O_DIRECTORY | (os.O_NOFOLLOW if folder else 0))
            try:
                with os.scandir(descriptor) as listed:
                    entries = sorted(
                        (entry.name, entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False))
                        for entry in listed
                    )
            finally:
                os.close(descriptor)
        except OSError as exc:
            unread[folder or "."] = exc.strerror or "cannot be read"
            continue
        prefix = f"{folder}/" if folder else ""
        folders += [f"{prefix}{name}" for name, is_folder, _ in reversed(entries) if is_folder and name not in SKIPPED]
        yield from (f"{prefix}{name}" for name, _, is_file in entries if is_file)


def open_file(path: Path) -> BinaryIO:
    """Open a regular file. Raises UnreadError, for a link or a device too, and where it is too large."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as exc:
        raise UnreadError(exc.strerror or "cannot be opened") from None
    file = os.fdopen(descriptor, "rb", buffering=0)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
        file.close()
        raise UnreadError(
            f"larger than {MAX_BYTES >> 20} MiB" if stat.S_ISREG(status.st_mode) else "not a regular file"
        )
    return file
