"""Reads several files of an app, all of one generation."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lessee.core.errors import LesseeError, RefusedError, UsageError
from lessee.host.directories import entries, opened
from lessee.publishing.generations import read

PATIENCE = 5.0
"""Seconds for which generations may come and go before one of them was read whole."""

_LIVE = "..data"
_LOOK = 0.01
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class NotPublishedError(LesseeError):
    """No generation is there to be read."""

    exit_code = 69  # EX_UNAVAILABLE


def read_whole(directory: Path, names: Sequence[str], *, timeout: float) -> Mapping[str, bytes]:
    """Give the bytes of these files by name, all of the generation that is live, or was a moment ago.

    `timeout`: seconds to wait for a first generation. Raises NotPublishedError, UsageError (no such file), and RefusedError (they
    may not be read).
    """
    began = time.monotonic()
    while True:
        try:
            contents = _contents(directory / _LIVE, names)
        except FileNotFoundError:
            contents = None
        except PermissionError:
            todo = "run as the uid or a group that the files belong to"
            raise RefusedError(f"uid {os.geteuid()} may not read it", where=str(directory), todo=todo) from None
        except OSError as exc:
            what, todo = f"cannot be read: {os.strerror(exc.errno or 0)}", "name an app's directory, and files in it"
            raise UsageError(what, where=str(directory), todo=todo) from None
        if contents is not None:
            return contents
        waited = time.monotonic() - began
        # What is there goes from one folder to another in one step: a link that leads nowhere is about to be another.
        there = os.path.lexists(directory / _LIVE)
        if waited >= (max(timeout, PATIENCE) if there else timeout):
            raise _not_published(directory, there=there)
        time.sleep(_LOOK)


def _contents(live: Path, names: Sequence[str]) -> Mapping[str, bytes] | None:
    """None where the generation went meanwhile."""
    folder = os.open(live, _FOLDER)
    try:
        return {name: _content(name, folder) for name in names}
    except FileNotFoundError:
        # While it is held, no other folder can have its inode: where it is still live, it has never had the file.
        if os.path.samestat(os.fstat(folder), live.stat()):
            raise _no_such_file(folder, names, live.parent) from None
        return None
    finally:
        os.close(folder)


def _content(name: str, folder: int) -> bytes:
    if "/" in name:
        raise FileNotFoundError
    return read(name, folder)


def _no_such_file(folder: int, names: Sequence[str], where: Path) -> UsageError:
    with opened(".", folder) as listed:
        there = entries(listed)
    missing = ", ".join(name for name in names if name not in there)
    known = ", ".join(sorted(there)) or "none"
    return UsageError(f"there is no file {missing}", where=str(where), todo=f"there are: {known}")


def _not_published(directory: Path, *, there: bool) -> NotPublishedError:
    if there:
        return NotPublishedError("no generation stayed until it was read", where=str(directory), todo="try again")
    todo = "look at `lessee status`, or wait for the first files with --timeout"
    return NotPublishedError("nothing is published here", where=str(directory), todo=todo)
