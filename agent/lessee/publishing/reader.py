"""Reads several files of an app, all of the same generation."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lessee.core.errors import DeniedError, LesseeError, UsageError
from lessee.host.directories import open_subdirectory
from lessee.publishing.generations import FOLDER, list_files, open_parent, read_file

REPLACEMENT_TIMEOUT = 5.0
"""Seconds in which one of several generations that quickly replace each other must have been read completely."""

_LIVE = "..data"
_POLL = 0.01
_MAX_SHOWN = 80
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class NotPublishedError(LesseeError):
    """No generation is published."""

    exit_code = 69  # EX_UNAVAILABLE


def read_generation(directory: Path, names: Sequence[str], *, timeout: float) -> Mapping[str, bytes]:
    """The bytes of these files by name, all of one generation that is live, or was a moment ago.

    `timeout`: seconds to wait for a generation with these files; one without them may be left of an earlier
    configuration. Raises NotPublishedError, UsageError (no such file), and DeniedError (the files are not readable).
    """
    began = time.monotonic()
    while True:
        missing: UsageError | None = None
        try:
            contents = _contents(directory, names)
        except FileNotFoundError:
            contents = None
        except _NoSuchFileError as exc:
            contents, missing = None, exc
        except PermissionError:
            todo = "run as the uid or a group that the files belong to"
            raise DeniedError(f"not readable by uid {os.geteuid()}", where=str(directory), todo=todo) from None
        except OSError as exc:
            what, todo = f"cannot be read: {os.strerror(exc.errno or 0)}", "name an app's directory, and files in it"
            raise UsageError(what, where=str(directory), todo=todo) from None
        if contents is not None:
            return contents
        waited = time.monotonic() - began
        if missing is not None and waited >= timeout:
            raise missing
        # One step replaces a live folder by the next: a link without a target is about to change.
        is_published = os.path.lexists(directory / _LIVE)
        if missing is None and waited >= (max(timeout, REPLACEMENT_TIMEOUT) if is_published else timeout):
            raise _not_published(directory, is_published=is_published)
        time.sleep(_POLL)


def _contents(directory: Path, names: Sequence[str]) -> Mapping[str, bytes] | None:
    """None if the generation was removed meanwhile."""
    with _opened(directory) as fd:
        folder = _open_live(fd, directory)
        try:
            return {name: _content(name, folder) for name in names}
        except (FileNotFoundError, NotADirectoryError):
            # While this descriptor is open, no other folder has its inode: if it is still live, it never had the file.
            if os.path.samestat(os.fstat(folder), os.stat(_LIVE, dir_fd=fd)):
                raise _no_such_file(folder, names, directory) from None
            return None
        finally:
            os.close(folder)


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    fd = os.open(directory, _FOLDER)
    try:
        yield fd
    finally:
        os.close(fd)


def _open_live(directory: int, where: Path) -> int:
    """The live generation's folder. Raises UsageError for a link that leads anywhere else, as no agent makes it."""
    target = os.readlink(_LIVE, dir_fd=directory)
    if FOLDER.fullmatch(target) is None:
        what = f"{_LIVE} does not belong to lessee ({ascii(target[:_MAX_SHOWN])[1:-1]})"
        raise UsageError(what, where=str(where), todo="name an app's directory")
    return os.open(target, _FOLDER | os.O_NOFOLLOW, dir_fd=directory)


def _content(name: str, folder: int) -> bytes:
    if not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise FileNotFoundError
    with open_parent(name, folder) as (parent, last):
        return read_file(last, parent)


class _NoSuchFileError(UsageError):
    """The generation does not have a file of this name."""


def _no_such_file(folder: int, names: Sequence[str], where: Path) -> _NoSuchFileError:
    with open_subdirectory(".", folder) as listed:
        existing = list_files(listed)
    missing = ", ".join(name for name in names if name not in existing)
    listed_names = ", ".join(sorted(existing)) or "none"
    return _NoSuchFileError(f"no such file: {missing}", where=str(where), todo=f"published are: {listed_names}")


def _not_published(directory: Path, *, is_published: bool) -> NotPublishedError:
    if is_published:
        what = f"each generation was replaced before it was read, for {REPLACEMENT_TIMEOUT:g} s"
        return NotPublishedError(what, where=str(directory), todo="try again")
    todo = "see `lessee status`, or wait for the first files with --timeout"
    return NotPublishedError("nothing is published here", where=str(directory), todo=todo)
