"""Finds out whether another user could have made or replaced a directory or a socket."""

import os
import stat
from pathlib import Path

from lessee.core.errors import WriteError
from lessee.core.immutable import ImmutableStruct
from lessee.host.directories import translate_write_errors

_PARENT = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_MAX_DEPTH = 256
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH


class ForeignUse(ImmutableStruct, frozen=True):
    """What lets another user replace something: the place, and how to correct it."""

    what: str
    todo: str


def foreign_writer(directory: int, *, own: bool, entry: os.stat_result | None = None) -> ForeignUse | None:
    """Why another user than root and this process's could replace what is in the open directory; None if none could.

    It checks the directory and all its parents, as ssh does for `authorized_keys` (sshd(8), StrictModes). A sticky
    directory such as /tmp is no problem: only its owner and that of an entry may rename the entry. Neither is the root
    of a mount, such as a Kubernetes emptyDir: the mount decides who reaches it.

    `own`: no other user may write into the directory itself either. Otherwise a user is trusted too whose directory,
    or `entry` in this one, is in a directory that no other user may write to: root gave it to that user.
    """
    uid = os.geteuid()
    trusted = {0, uid}
    chain = _chain(directory)
    is_given = False
    for depth, (status, device) in enumerate(chain):
        if status.st_uid not in trusted:
            if own or not is_given:
                place = _place(directory, len(chain) - 1 - depth)
                return ForeignUse(f"{place} belongs to uid {status.st_uid}", _todo(own=own))
            trusted.add(status.st_uid)
        is_last = depth == len(chain) - 1
        is_given = not status.st_mode & _WRITABLE
        if is_given or (not (own and is_last) and _is_safe_parent(status, device)):
            continue
        place = _place(directory, len(chain) - 1 - depth)
        users = "every user" if status.st_mode & stat.S_IWOTH else f"group {status.st_gid}"
        return ForeignUse(f"{users} may write into {place}", f"chmod go-w {place}, or {_todo(own=own)}")
    if entry is not None and entry.st_uid not in trusted and not is_given:
        return ForeignUse(f"it belongs to uid {entry.st_uid}", _todo(own=own))
    return None


def refuse_foreign_writers(directory: int, path: Path, name: str) -> None:
    """Raise WriteError unless the open directory is this process's alone; `name` says in the error what it is."""
    with translate_write_errors(path):
        found = foreign_writer(directory, own=True)
    if found is not None:
        raise WriteError(f"{name} is not this user's alone: {found.what}", where=str(path), todo=found.todo)


def _todo(*, own: bool) -> str:
    # Never a chown: it would make what the other user left there trusted.
    if own:
        return "remove it, so that lessee creates its own, or name another directory"
    return "name one in a directory of your own, of root, or of a user to whom root gave it"


def _is_safe_parent(status: os.stat_result, parent_device: int) -> bool:
    """Whether an entry of this writable directory can be replaced only by its owner, root, and this process's user."""
    if status.st_mode & stat.S_ISVTX or status.st_dev != parent_device:
        return True
    # The group of one user has the user's own number (umask 002).
    return not status.st_mode & stat.S_IWOTH and status.st_gid in {0, os.getegid(), status.st_uid}


def _chain(directory: int) -> list[tuple[os.stat_result, int]]:
    """The directory and its parents from the root down, each with the device of its parent; by their descriptors."""
    found = [os.fstat(directory)]
    current = os.dup(directory)
    try:
        for _ in range(_MAX_DEPTH):
            parent = os.open("..", _PARENT, dir_fd=current)
            os.close(current)
            current = parent
            status = os.fstat(current)
            if (status.st_dev, status.st_ino) == (found[-1].st_dev, found[-1].st_ino):
                break
            found.append(status)
    finally:
        os.close(current)
    found.reverse()
    return [(status, found[max(depth - 1, 0)].st_dev) for depth, status in enumerate(found)]


def _place(directory: int, levels: int) -> Path:
    path = Path(f"/proc/self/fd/{directory}").readlink()
    return path.parents[levels - 1] if 0 < levels <= len(path.parents) else path
