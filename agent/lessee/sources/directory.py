"""Reads a directory of files as secrets: a Kubernetes Secret, /run/secrets, or systemd's credentials.

No link, no `..` and no special file leads out of the directory, and what others may write is not read. Kubernetes
replaces all files of a Secret by one rename of `..data`, so they are read below what that link named at one moment.
"""

import os
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from lessee.core.failures import Kind
from lessee.core.secrets import MAX_SIZE
from lessee.host.template_files import open_any_beneath
from lessee.sources.files import (
    CHANGES,
    SETTLING_TIME,
    TRIES,
    content_of,
    open_source,
    opened,
    refuse_writable,
    refuse_writable_above,
)
from lessee.sources.reader import ReadError, bounded

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FILES = 1000
"""In one directory."""
VALUE = "value"
"""The key of a secret that is one file."""
_MAX_ENTRIES = 2 * MAX_FILES
_DATA = "..data"


class DirectoryReader:
    """Reads secrets below one directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def check(self) -> None:
        """Raise ReadError if the directory does not exist, or cannot be opened."""
        open_source(self._directory)

    def read(self, path: str) -> Mapping[str, object]:
        """The content of a file under the key `value`, or of each file in a directory under its name."""
        self.check()
        for attempt in range(TRIES):
            if attempt:
                time.sleep(SETTLING_TIME)
            if (data := self._read_once(path)) is not None:
                return bounded(data)
        raise ReadError(Kind.PATH_ERROR, CHANGES)

    def names(self, folder: str) -> Sequence[str]:
        """The files and directories directly in a directory."""
        self.check()
        path = folder.removesuffix("/")
        try:
            with opened(self._directory, path or ".") as found:
                if not stat.S_ISDIR(os.fstat(found).st_mode):
                    return []
                refuse_writable(found, path or self._directory)
                return _names_in(found)
        except ReadError as exc:
            if exc.failure.kind is Kind.NOT_FOUND:
                return []
            raise

    def _read_once(self, path: str) -> Mapping[str, object] | None:
        """None if a file changed meanwhile."""
        refuse_writable_above(self._directory, path)
        with opened(self._directory, path) as found:
            refuse_writable(found, path)
            if stat.S_ISREG(os.fstat(found).st_mode):
                text = _text_of(found, path)
                return {VALUE: text} if text is not None else None
            names = _names_in(found)
            with _generation(self._directory, path) as generation:
                base, below = (self._directory, f"{path}/") if generation is None else (_folder(generation), "")
                data, size = {}, 0
                for name in names:
                    with opened(base, f"{below}{name}", shown=f"{path}/{name}") as file:
                        if stat.S_ISDIR(os.fstat(file).st_mode):
                            continue
                        refuse_writable(file, f"{path}/{name}")
                        text = _text_of(file, f"{path}/{name}")
                    if text is None:
                        return None
                    data[name] = text
                    # Before the next one is read: together they may have more than this process has memory.
                    if (size := size + len(text)) > MAX_SIZE:
                        return bounded(data)
            return data if _names_in(found) == names else None


def _folder(file: int) -> str:
    return f"/proc/self/fd/{file}"


@contextmanager
def _generation(directory: str, path: str) -> "Iterator[int | None]":
    """The directory that `..data` names now; None without that link."""
    try:
        file = open_any_beneath(directory, f"{path}/{_DATA}")
    except OSError:
        yield None
        return
    try:
        yield file
    finally:
        os.close(file)


def _names_in(directory: int) -> list[str]:
    with os.scandir(_folder(directory)) as entries:
        names = sorted(name for entry in islice(entries, _MAX_ENTRIES) if not (name := entry.name).startswith("."))
    if len(names) > MAX_FILES:
        raise ReadError(Kind.INVALID, f"the directory has more than {MAX_FILES:,} files; distribute them")
    if not all(name.isprintable() for name in names):
        raise ReadError(Kind.INVALID, "the name of a file is not printable text; rename it")
    return names


def _text_of(file: int, name: str) -> str | None:
    """The text of a file without the newline at the end of a single line; None if it changes, or has just changed."""
    if (content := content_of(file, name)) is None:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ReadError(Kind.INVALID, f"{name} is not UTF-8 text; store it as base64") from None
    return text[:-1] if text.count("\n") == 1 and text.endswith("\n") else text
