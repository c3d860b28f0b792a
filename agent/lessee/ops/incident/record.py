"""The record of an emergency: JSON lines, each on the disk before the next step begins."""

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from lessee.core.errors import WriteError


class RecordFile:
    """Appends; never over a file that is there. It holds names, accessors and counts, and no value."""

    def __init__(self, path: str) -> None:
        """Raises WriteError."""
        self.path = path
        self.trouble = ""
        """Why a line could not be written; what it was about was done all the same."""
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o600)
            _sync_folder(path)
        except FileExistsError:
            raise WriteError("a record is there already", where=path, todo="name another with --record") from None
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "no file can be called so"
            raise WriteError(f"the record cannot be written: {reason}", where=path, todo="see --record") from None

    def write(self, event: str, **said: Any) -> None:
        """One line. A full disk does not stop the work: it is told at the end."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = msgspec.json.encode({"at": at, "event": event, **said}) + b"\n"
        try:
            while line:
                line = line[os.write(self._file, line) :]
            os.fsync(self._file)
        except OSError as exc:
            self.trouble = self.trouble or f"the record {self.path} is not complete: {exc.strerror}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)


def _sync_folder(path: str) -> None:
    folder = os.open(Path(path).absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
