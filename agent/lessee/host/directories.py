"""Opens the directory that a path names, and makes it, without following a link that a stranger laid."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lessee.core.errors import WriteError

_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINKS = 16
_PARENT = (0o755, None, None)
_PERMISSION = "let the agent's uid write there, or give it CAP_CHOWN, CAP_FOWNER and CAP_DAC_OVERRIDE"
_TODO = {
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EBUSY: "mount the directory as a whole, never a single file in it",
    errno.EDQUOT: "raise the quota",
    errno.ENOENT: "make the directory again, or restart the agent",
    errno.ENOSPC: "make the tmpfs larger (its size= or nr_inodes=), or remove what fills it",
    errno.EROFS: "mount it writable for the agent; only the app's mount is to be read-only",
}

Ownership = tuple[int, int | None, int | None]
"""Mode, uid, gid; None is the agent's own."""


def open_directory(path: Path, *, make: Ownership | None) -> int:
    """Give a descriptor of the directory at `path`, open for reading; the caller closes it.

    A symlink on the way is followed only where root or our own uid made it: `/var/run` is one. `make` says
    how to make the directory where there is none (None: that is an error); parents that are missing get
    0755. Raises WriteError.
    """
    here = os.open("/", _STEP)
    left = _steps(path.absolute())
    links = 0
    try:
        with cannot_write(path):
            while left:
                name = left.pop()
                there = _enter(here, name, make and (_PARENT if left else make))
                if stat.S_ISDIR(os.fstat(there).st_mode):
                    os.close(here)
                    here = there
                    continue
                links += 1
                target = _target(there, path, links)
                left += _steps(target)
                if target.is_absolute():
                    os.close(here)
                    here = os.open("/", _STEP)
            return os.open(".", _READ, dir_fd=here)
    finally:
        os.close(here)


@contextmanager
def opened(name: str, parent: int) -> Iterator[int]:
    """Open the folder `name` in the directory `parent`; a link is no folder. Raises OSError."""
    fd = os.open(name, _READ, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)


def entries(fd: int) -> frozenset[str]:
    """Give the names that stand in the directory `fd`."""
    return frozenset(os.listdir(fd))


def own(fd: int, uid: int | None, gid: int | None, *, where: Path) -> None:
    """Give the open file to `uid` and `gid` (None: the agent's own); what is right already needs no right.

    Raises WriteError.
    """
    is_now = os.fstat(fd)
    uid = os.geteuid() if uid is None else uid
    gid = os.getegid() if gid is None else gid
    if (is_now.st_uid, is_now.st_gid) == (uid, gid):
        return
    try:
        os.fchown(fd, -1 if is_now.st_uid == uid else uid, -1 if is_now.st_gid == gid else gid)
    except PermissionError:
        raise WriteError(
            f"the agent (uid {os.geteuid()}) may not give files to {uid}:{gid}",
            where=str(where),
            todo="give it CAP_CHOWN, or leave owner out",
        ) from None


def refuse_strangers(fd: int, path: Path, *, uid: int | None, gid: int | None) -> None:
    """Raise WriteError where others than root, the agent and the app (`uid`, `gid`) may write into `fd`."""
    status = os.fstat(fd)
    app_uid = os.geteuid() if uid is None else uid
    app_gid = os.getegid() if gid is None else gid
    if status.st_mode & stat.S_IWOTH:
        who, todo = "everybody", f"chmod o-w {path}, or name a folder in it"
    elif status.st_mode & stat.S_IWGRP and status.st_gid != app_gid:
        who, todo = f"group {status.st_gid}", f"chmod g-w {path}, or chgrp {app_gid} {path}"
    elif status.st_uid not in {0, os.geteuid(), app_uid}:
        who, todo = f"uid {status.st_uid}, its owner,", f"chown {app_uid} {path}"
    else:
        return
    raise WriteError(f"{who} may write into it", where=str(path), todo=todo)


@contextmanager
def cannot_write(where: Path) -> Iterator[None]:
    """Turn an OSError into a WriteError that says what to do; it names files, never what is in them."""
    try:
        yield
    except OSError as exc:
        code = exc.errno or 0
        name = f" ({exc.filename})" if isinstance(exc.filename, str) else ""
        raise WriteError(
            f"cannot write: {os.strerror(code)}{name}", where=str(where), todo=_TODO.get(code, "")
        ) from None


def _steps(path: Path) -> list[str]:
    return [part for part in reversed(path.parts) if part != path.root]


def _enter(here: int, name: str, make: Ownership | None) -> int:
    try:
        return os.open(name, _STEP, dir_fd=here)
    except FileNotFoundError:
        if make is None:
            raise
    # Another agent may be making the same parents at this moment.
    with suppress(FileExistsError):
        _make(here, name, make)
    return os.open(name, _STEP, dir_fd=here)


def _make(here: int, name: str, make: Ownership) -> None:
    mode, uid, gid = make
    os.mkdir(name, 0o700, dir_fd=here)
    fd = os.open(name, _READ, dir_fd=here)
    try:
        own(fd, uid, gid, where=_place(fd))
        os.fchmod(fd, mode)  # mkdir's mode is subject to the umask.
    except BaseException:
        os.rmdir(name, dir_fd=here)
        raise
    finally:
        os.close(fd)


def _target(link: int, path: Path, links: int) -> Path:
    """Read the link through its own descriptor, so that what was judged is what is followed; close it."""
    try:
        status = os.fstat(link)
        place = _place(link)
        if not stat.S_ISLNK(status.st_mode):
            raise WriteError(f"{place} is no directory", where=str(path), todo="remove it")
        if status.st_uid not in {0, os.geteuid()}:
            raise WriteError(
                f"{place} on the way is a link that uid {status.st_uid} made",
                where=str(path),
                todo="name the real directory, or let root make the link",
            )
        if links > _LINKS:
            raise WriteError(f"more than {_LINKS} links on the way", where=str(path), todo="name the real directory")
        return Path(os.readlink("", dir_fd=link))
    finally:
        os.close(link)


def _place(fd: int) -> Path:
    return Path(f"/proc/self/fd/{fd}").readlink()
