"""What lessee keeps for this user outside of any project: a folder, and a key in it that no other user knows."""

import fcntl
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from lessee.core.errors import WriteError
from lessee.host.directories import check_writers, open_directory, translate_write_errors

KEY_SIZE = 32
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


def user_state(environ: Mapping[str, str]) -> Path:
    """The folder: `lessee` below $XDG_STATE_HOME, which is `~/.local/state` by default."""
    state = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".local/state"
    return Path(state).absolute() / "lessee"


def user_key(path: Path, *, make: bool) -> bytes | None:
    """The key in a file of this user; without one, a new one if `make`, else None. Raises WriteError."""
    with translate_write_errors(path):
        if not make and not path.exists():
            return None
    folder = open_directory(path.parent, make=(0o700, None, None) if make else None)
    try:
        check_writers(folder, path.parent, uid=None, gid=None)
        with translate_write_errors(path):
            fd = os.open(path.name, _OPEN | (os.O_CREAT if make else 0), 0o600, dir_fd=folder)
            try:
                return _key_of(fd, folder, path, make=make)
            finally:
                os.close(fd)
    finally:
        os.close(folder)


def _key_of(fd: int, folder: int, path: Path, *, make: bool) -> bytes | None:
    if os.fstat(fd).st_uid != os.geteuid():
        raise WriteError("the file belongs to another user", where=str(path), todo="run this command as that user")
    fcntl.flock(fd, fcntl.LOCK_EX)  # Another run may be writing it.
    key = os.pread(fd, KEY_SIZE, 0)
    if len(key) == KEY_SIZE:
        return key
    if not make:
        return None
    key = secrets.token_bytes(KEY_SIZE)
    os.pwrite(fd, key, 0)
    os.fsync(fd)
    os.fsync(folder)
    return key
