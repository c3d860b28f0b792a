"""A file with a credential: new content is staged next to it, and replaces it with the same mode and owner."""

import errno
import os
import stat
from pathlib import Path

from lessee.core.errors import WriteError
from lessee.host.directories import translate_write_errors

_MODE = 0o600
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_SIZE = 4096
_MAX_LINKS = 16
_PROBE = "probe" * 16
"""Longer than a credential."""
_NO_TMPFILE = frozenset({errno.EISDIR, errno.EOPNOTSUPP})
"""Errors of open(2) on a file system without O_TMPFILE."""


class CredentialFile:
    """Methods raise WriteError, whose text has no content. A symbolic link stays, and its target is replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> str:
        """The credential, without surrounding white space; empty where there is no file, or no such text in it."""
        return self._content(self._real) or ""

    def staged(self, name: str) -> str | None:
        """The staged credential of this name; None if it is missing."""
        return self._content(self._staged(name))

    def check_replaceable(self) -> None:
        """Raises WriteError where `stage` and `place` would fail."""
        real = self._real
        with translate_write_errors(self.path):
            like = self._status(real)
            try:  # It has no name, and so nothing can be left of it.
                file = os.open(real.parent, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, _MODE)
            except OSError as exc:
                if exc.errno not in _NO_TMPFILE:
                    raise
                return
            _fill(file, _PROBE, like, self.path)
            # rename(2) cannot replace a mount point.
            if like is not None and like.st_dev != real.parent.stat().st_dev:
                todo = "mount the whole directory instead of a single file in it"
                raise WriteError("the file is a mount point, and cannot be replaced", where=str(self.path), todo=todo)

    def stage(self, name: str, content: str) -> None:
        """Write a credential next to the file, which stays as it is."""
        real, staged = self._real, self._staged(name)
        with translate_write_errors(self.path):
            like = self._status(real)
            staged.unlink(missing_ok=True)  # A killed rotator has left it.
            try:
                _fill(os.open(staged, _NEW, _MODE), content, like, self.path)
            except BaseException:
                staged.unlink(missing_ok=True)
                raise
            _sync(real.parent)

    def place(self, name: str) -> None:
        """Replace the file by the staged credential: readers see the old one or the new one, whole."""
        with translate_write_errors(self.path):
            self._staged(name).replace(self._real)
            _sync(self._real.parent)

    def remove(self, name: str) -> None:
        """Remove a staged credential, if there is one."""
        with translate_write_errors(self.path):
            self._staged(name).unlink(missing_ok=True)

    def clean(self) -> None:
        """Remove all staged credentials."""
        with translate_write_errors(self.path):
            parent, prefix = self._real.parent, self._staged("").name
            for other in parent.iterdir():
                if other.name.startswith(prefix):
                    other.unlink(missing_ok=True)

    def _status(self, real: Path) -> os.stat_result | None:
        """The file's mode and owner; None if it is missing."""
        try:
            status = real.lstat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise WriteError("not a regular file", where=str(self.path), todo="correct `secret_id_file`")
        return status

    @property
    def _real(self) -> Path:
        """The path without links. Raises WriteError where another user could put another file there.

        A user who may replace a folder of the path, or whose link it follows, would get the new credential, or have
        any file replaced that this process may replace.
        """
        at, left, links = Path("/"), [*reversed(self.path.absolute().parts[1:])], 0
        while left:
            at, before = at / left.pop(), at
            try:
                status = at.lstat()
            except FileNotFoundError:
                return at.joinpath(*reversed(left))
            except OSError as exc:
                raise WriteError(f"cannot read the file: {exc.strerror}", where=str(self.path)) from None
            if stat.S_ISLNK(status.st_mode):
                links += 1
                self._check_link(at, status.st_uid, links)
                target = at.readlink()
                left += [part for part in reversed(target.parts) if part != target.root]
                at = Path("/") if target.is_absolute() else before
            elif at.name == "..":
                at = before.parent
            elif left:
                _check_folder(at, status)
        return at

    def _check_link(self, link: Path, uid: int, count: int) -> None:
        if count > _MAX_LINKS:
            raise WriteError("too many symbolic links", where=str(self.path), todo="remove them")
        if uid not in {0, os.geteuid()}:
            todo = "remove it, or run the rotator as that user"
            what = f"a symbolic link of uid {uid}, which the rotator does not follow"
            raise WriteError(what, where=str(link), todo=todo)

    def _staged(self, name: str) -> Path:
        return self._real.with_name(f".{self._real.name}.rotated-{name}")

    def _content(self, path: Path) -> str | None:
        try:
            with os.fdopen(os.open(path, _READ), "rb") as stream:
                content = stream.read(_MAX_SIZE) if stat.S_ISREG(os.fstat(stream.fileno()).st_mode) else b""
        except FileNotFoundError:
            return None
        except OSError as exc:
            todo = "let the rotator's user read it"
            raise WriteError(f"cannot read the file: {exc.strerror}", where=str(self.path), todo=todo) from None
        return content.decode("utf-8", "replace").strip()


def _check_folder(folder: Path, status: os.stat_result) -> None:
    """Raises WriteError where users other than root and this process's may rename or replace what is in it."""
    mode = status.st_mode
    if status.st_uid not in {0, os.geteuid()}:
        who = f"it belongs to uid {status.st_uid}"
    elif mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        who = "every user may write into it"
    elif mode & stat.S_IWGRP and not mode & stat.S_ISVTX and status.st_gid not in {0, os.getegid()}:
        who = f"group {status.st_gid} may write into it"
    else:
        return
    todo = "run the rotator as the user who owns it, or move the file to a folder of root or of the rotator's user"
    raise WriteError(f"{who}, and so could put another file into the path", where=str(folder), todo=todo)


def _fill(file: int, content: str, like: os.stat_result | None, path: Path) -> None:
    """Write and close a new file, with the mode and owner of another one."""
    with os.fdopen(file, "w", encoding="utf-8") as stream:
        if like is not None:
            _copy_ownership(file, like, path)
        stream.write(content)
        stream.flush()
        os.fsync(file)


def _copy_ownership(file: int, like: os.stat_result, path: Path) -> None:
    """Give a new file the mode and owner of another one."""
    made = os.fstat(file)
    if (made.st_uid, made.st_gid) != (like.st_uid, like.st_gid):
        try:
            os.fchown(file, like.st_uid, like.st_gid)
        except PermissionError:
            what = f"the rotator (uid {os.geteuid()}) may not give the file to its owner, {like.st_uid}:{like.st_gid}"
            todo = "run the rotator as that user, or give it CAP_CHOWN"
            raise WriteError(what, where=str(path), todo=todo) from None
    os.fchmod(file, stat.S_IMODE(like.st_mode))


def _sync(folder: Path) -> None:
    """Make a rename or a new name in the folder outlive a crash of the machine."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
