"""Opens and creates directories, without following a symbolic link that another user made."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lessee.core.errors import WriteError

_COMPONENT = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 16
_PARENT = (0o755, None, None)
_PERMISSION = "let the agent's uid write to it, or give the agent CAP_CHOWN, CAP_FOWNER and CAP_DAC_OVERRIDE"
_TODO = {
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EBUSY: "mount the whole directory instead of a single file in it",
    errno.EDQUOT: "raise the disk quota",
    errno.ENOENT: "create the directory again, or restart the agent",
    errno.ENOSPC: "make the tmpfs larger (its size= or nr_inodes=), or remove what fills it",
    errno.ENOTDIR: "remove the file or link that has the name of a directory",
    errno.EROFS: "mount it writable for the agent, and read-only for the app alone",
}

Ownership = tuple[int, int | None, int | None]
"""Mode, uid and gid; None is the agent's own."""


def open_directory(path: Path, *, make: Ownership | None) -> int:
    """Open the directory at `path` for reading, and return its descriptor, which the caller closes.

    It follows a symbolic link in the path only if root or the agent's own uid made it; `/var/run` is one. `make` is the
    ownership of a directory that does not exist yet (None: that is an error); missing parents get 0755. Raises
    WriteError.
    """
    current = os.open("/", _COMPONENT)
    left = _steps(path.absolute())
    links = 0
    try:
        with translate_write_errors(path):
            while left:
                name = left.pop()
                there = _enter(current, name, make and (_PARENT if left else make))
                if stat.S_ISDIR(os.fstat(there).st_mode):
                    os.close(current)
                    current = there
                    continue
                links += 1
                target = _target(there, current, path, links)
                left += _steps(target)
                if target.is_absolute():
                    os.close(current)
                    current = os.open("/", _COMPONENT)
            return os.open(".", _READ, dir_fd=current)
    finally:
        os.close(current)


@contextmanager
def open_subdirectory(name: str, parent: int) -> Iterator[int]:
    """Open the directory `name` in the directory `parent`, unless it is a link. Raises OSError."""
    fd = os.open(name, _READ, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)


def entries(fd: int) -> frozenset[str]:
    """The names in the open directory."""
    return frozenset(os.listdir(fd))


def chown(fd: int, uid: int | None, gid: int | None, *, where: Path) -> None:
    """Give the open file to `uid` and `gid` (None: the agent's own), unless it has them. Raises WriteError."""
    status = os.fstat(fd)
    uid = os.geteuid() if uid is None else uid
    gid = os.getegid() if gid is None else gid
    if (status.st_uid, status.st_gid) == (uid, gid):
        return
    try:
        os.fchown(fd, -1 if status.st_uid == uid else uid, -1 if status.st_gid == gid else gid)
    except PermissionError:
        raise WriteError(
            f"the agent (uid {os.geteuid()}) may not give files to {uid}:{gid}",
            where=str(where),
            todo="give the agent CAP_CHOWN, or leave out `owner`",
        ) from None


def check_writers(fd: int, path: Path, *, uid: int | None, gid: int | None) -> None:
    """Raise WriteError if others than root, the agent and the app (`uid`, `gid`) may write into the directory."""
    status = os.fstat(fd)
    app_uid = os.geteuid() if uid is None else uid
    app_gid = os.getegid() if gid is None else gid
    if status.st_mode & stat.S_IWOTH:
        who, todo = "every user", f"chmod o-w {path}, or name a directory in it"
    elif status.st_mode & stat.S_IWGRP and status.st_gid != app_gid:
        who, todo = f"group {status.st_gid}", f"chmod g-w {path}, or chgrp {app_gid} {path}"
    elif status.st_uid not in {0, os.geteuid(), app_uid}:
        who, todo = f"its owner, uid {status.st_uid},", f"chown {app_uid} {path}"
    else:
        return
    raise WriteError(f"{who} may write into this directory", where=str(path), todo=todo)


def hold(fd: int, *, shared: bool) -> bool:
    """Lock an open directory until it is closed: flock(2). False: another process holds it, or it cannot be locked."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def translate_write_errors(where: Path) -> Iterator[None]:
    """Turn an OSError into a WriteError that says what to do; it names files and never their content."""
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


def _enter(current: int, name: str, make: Ownership | None) -> int:
    try:
        return os.open(name, _COMPONENT, dir_fd=current)
    except FileNotFoundError:
        if make is None:
            raise
    # Another agent may be making the same parents at this moment.
    with suppress(FileExistsError):
        _make(current, name, make)
    return os.open(name, _COMPONENT, dir_fd=current)


def _make(current: int, name: str, make: Ownership) -> None:
    mode, uid, gid = make
    os.mkdir(name, 0o700, dir_fd=current)
    fd = os.open(name, _READ, dir_fd=current)
    try:
        _check_is_own(fd)
        chown(fd, uid, gid, where=_path_of(fd))
        os.fchmod(fd, mode)  # mkdir's mode is subject to the umask.
    except BaseException:
        with suppress(OSError):
            os.rmdir(name, dir_fd=current)
        raise
    finally:
        os.close(fd)


def _check_is_own(fd: int) -> None:
    """Raise WriteError for a directory that the owner of its parent put in the place of a new one."""
    if os.fstat(fd).st_uid != os.geteuid():
        what, todo = "another user has replaced this directory", "name one that only root or the agent can replace"
        raise WriteError(what, where=str(_path_of(fd)), todo=todo)


def _target(link: int, folder: int, path: Path, links: int) -> Path:
    """Read the link by its own descriptor, so that the link that was checked is the one followed; close it."""
    try:
        status = os.fstat(link)
        place = _path_of(link)
        if not stat.S_ISLNK(status.st_mode):
            raise WriteError(f"{place} is not a directory", where=str(path), todo="remove it")
        if status.st_uid not in {0, os.geteuid()}:
            raise WriteError(
                f"{place}, a part of this path, is a symbolic link that uid {status.st_uid} made",
                where=str(path),
                todo="name the real directory, or let root create the link",
            )
        if status.st_nlink > 1 and (owner := os.fstat(folder).st_uid) not in {0, os.geteuid()}:
            # Without fs.protected_hardlinks, which is a kernel's default, a user may link any link of root.
            raise WriteError(
                f"{place}, a part of this path, is a symbolic link with several names, in a directory of uid {owner}",
                where=str(path),
                todo="name the real directory",
            )
        if links > _MAX_LINKS:
            raise WriteError(
                f"the path has more than {_MAX_LINKS} symbolic links", where=str(path), todo="name the real directory"
            )
        return Path(os.readlink("", dir_fd=link))
    finally:
        os.close(link)


def _path_of(fd: int) -> Path:
    return Path(f"/proc/self/fd/{fd}").readlink()
