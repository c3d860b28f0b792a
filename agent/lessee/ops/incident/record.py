"""The record of an emergency response: JSON lines, each synced to disk before the next step."""

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from lessee.core.errors import WriteError


class RecordFile:
    """A new file that is only appended to. It holds names, accessors and counts, and no values."""

    def __init__(self, path: str) -> None:
        """Raises WriteError, also where the file exists."""
        self.path = path
        self.error = ""
        """Why a line could not be written. The response continued nevertheless."""
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o600)
            _sync_folder(path)
        except FileExistsError:
            raise WriteError("the record exists already", where=path, todo="name a new file with --record") from None
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "invalid file name"
            todo = "name another file with --record"
            raise WriteError(f"cannot write the record: {reason}", where=path, todo=todo) from None

    def write(self, event: str, **fields: Any) -> None:
        """Write one line. A full disk does not stop the response; it is reported at the end."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = msgspec.json.encode({"at": at, "event": event, **fields}) + b"\n"
        try:
            while line:
                line = line[os.write(self._file, line) :]
            os.fsync(self._file)
        except OSError as exc:
            self.error = self.error or f"the record {self.path} is incomplete: {exc.strerror}"

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
