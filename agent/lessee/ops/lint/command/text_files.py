"""Reads the files that a check needs, and replaces those that a fix changes, if no other program did meanwhile."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from lessee.core.errors import ConfigError, LesseeError
from lessee.host.user_file import UserFile, replace_all

_MAX_SIZE = 1 << 24


class TextFiles:
    """Files by the paths that findings name. Line breaks stay as they are."""

    def __init__(self) -> None:
        self._read: dict[str, UserFile] = {}

    def text(self, path: str) -> str:
        """The text, read once. Raises ConfigError."""
        if path not in self._read:
            self._read[path] = _read(path)
        try:
            return self._read[path].content.decode("utf-8")
        except UnicodeDecodeError:
            raise _invalid(path, "not UTF-8 text") from None

    def replace(self, texts: Mapping[str, str]) -> None:
        """Replace all files. Raises WriteError, and then changes nothing, unless a rename fails after another one."""
        for path in texts:
            self._read[path].check_writable()
        replace_all((self._read[path], text.encode()) for path, text in texts.items())


def _read(path: str) -> UserFile:
    try:
        real = Path(path).resolve(strict=True)
        fd = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise _invalid(path, f"cannot be read: {exc.strerror}") from None
    except (ValueError, RuntimeError):
        raise _invalid(path, "not a valid file name") from None
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise _invalid(path, "not a regular file")
        content = file.read(_MAX_SIZE + 1)
    if len(content) > _MAX_SIZE:
        raise _invalid(path, f"it is larger than {_MAX_SIZE >> 20} MiB")
    return UserFile(Path(path), real, content, status)


def _invalid(path: str, what: str) -> ConfigError:
    return ConfigError([LesseeError(what, where=path)])
