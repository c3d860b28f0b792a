"""Makes way for a Unix socket that this process is to serve, and finds one that systemd has made for it."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lessee.core.errors import WriteError
from lessee.host.ownership import foreign_writer

_FIRST_INHERITED = 3
"""SD_LISTEN_FDS_START of sd-daemon.h."""


@contextmanager
def opening_socket(path: Path, mode: int, *, name: str, key: str, directory_mode: int = 0o700) -> Iterator[None]:
    """In the body, a socket is bound to the path: it gets this mode, and its directory is made if it is missing.

    A socket that no process serves any more is removed from the path; anything else there is an error. `name` and `key`
    say in errors what it is. Raises WriteError.
    """
    try:
        _make(path.parent, directory_mode)
        _refuse_foreign(path, name, key)
        _remove_abandoned(path, name, key)
        before = os.umask(0o777 & ~mode)
        try:
            yield
        finally:
            os.umask(before)
    except OSError as exc:
        raise WriteError(
            f"{name} cannot be created: {exc.strerror or exc.args[0]}",
            where=str(path),
            todo=f"set another path with `{key}`",
        ) from None


def _make(directory: Path, mode: int) -> None:
    """Make a directory and its missing parents with this mode, whatever the umask is.

    No chmod follows, which could hit what another user has put into its place.
    """
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    before = os.umask(0o777 & ~mode)
    try:
        for each in reversed(missing):
            each.mkdir(mode=mode, exist_ok=True)
    finally:
        os.umask(before)


def inherited_socket(path: Path) -> socket.socket | None:
    """The listening socket at this path that systemd made for this process (sd_listen_fds(3)); None without one.

    Systemd starts the first process (see `process.protected_fork`), so it may have written that one's pid.
    """
    if os.environ.get("LISTEN_PID") not in {str(os.getpid()), str(os.getppid())}:
        return None
    count = os.environ.get("LISTEN_FDS", "")
    for descriptor in range(_FIRST_INHERITED, _FIRST_INHERITED + int(count if count.isdecimal() else 0)):
        with suppress(OSError):
            os.set_inheritable(descriptor, False)
            found = socket.socket(fileno=os.dup(descriptor))
            if found.family == socket.AF_UNIX and found.getsockname() == str(path):
                return found
            found.close()
    return None


def _remove_abandoned(path: Path, name: str, key: str) -> None:
    """Remove the socket of an earlier process. Raises WriteError for what another process serves, or is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        what = f"{name} cannot be created: something else has this path"
        raise WriteError(what, where=str(path), todo=f"remove it, or set another path with `{key}`")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        # 0: accepted. EAGAIN: its queue is full. EPROTOTYPE: it is of another type.
        if probe.connect_ex(str(path)) in {0, errno.EAGAIN, errno.EPROTOTYPE}:
            what = f"{name} cannot be created: another process serves this path"
            raise WriteError(what, where=str(path), todo=f"stop it, or set another path with `{key}`")
    with suppress(FileNotFoundError):
        path.unlink()


def _refuse_foreign(path: Path, name: str, key: str) -> None:
    """Raise WriteError where another user could put a socket of its own in the place of this one."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = foreign_writer(directory, own=False)
    finally:
        os.close(directory)
    if found is not None:
        what = f"another user could replace {name}: {found.what}"
        raise WriteError(what, where=str(path), todo=f"set another path with `{key}`")
