"""Seals the record of an adoption: a record that this user did not write on this machine is not believed.

A record says which files and logins an undo removes, and the project's folder may be a clone with a record in it that
another person wrote. The key is outside of all projects.
"""

import hmac
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

import msgspec

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.host.user_state import user_key, user_state


class _Sealed(ImmutableStruct, frozen=True):
    folder: str
    """The project's, which the record is for: in another one it is a copy."""
    mac: str
    record: msgspec.Raw
    inode: int = 0
    """Of the record's folder: `mv` keeps it, and a copy has another one."""


class MovedError(ConfigError):
    """The record is this user's, and of another folder, which no longer has one."""

    def __init__(self, where: Path, old: str, *, is_same_folder: bool) -> None:
        self.old = old
        self.is_same_folder = is_same_folder
        what = f"this record is of the project in {old}, which has none any more"
        todo = f"if you moved the project here, add --moved-from {shlex.quote(old)}"
        if not is_same_folder:
            todo = f"{todo}; if this is a copy, remove {where.parent}"
        super().__init__([LesseeError(what, where=str(where), todo=todo)])


class Seal:
    """Seals and opens the record of one project."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = os.fsencode(folder.resolve()).decode(errors="backslashreplace")
        self._key = user_state(environ) / "adopt" / "key"

    def seal(self, record: bytes, where: Path) -> bytes:
        """The text of the file at `where` for a record in JSON. Raises WriteError."""
        key = user_key(self._key, make=True)
        assert key is not None
        inode = where.parent.stat().st_ino
        sealed = _Sealed(self._folder, _mac(key, self._folder, inode, record), msgspec.Raw(record), inode)
        return msgspec.json.format(msgspec.json.encode(sealed)) + b"\n"

    def opened(self, content: bytes, where: Path, moved_from: str | None = None) -> bytes:
        """The record in JSON. Raises ConfigError where this user did not write it for this folder, and WriteError.

        MovedError where it may have been moved here; `moved_from`: the folder that the user names.
        """
        todo = f"if it came with a clone or a copy, remove {where.parent} and run this command again"
        try:
            sealed = msgspec.json.decode(content, type=_Sealed)
            record = msgspec.json.format(bytes(sealed.record), indent=-1)
        except msgspec.DecodeError:
            what = "not a record of `lessee adopt`"
            raise _refused(where, what, f"{todo}; otherwise restore it from a backup") from None
        key = user_key(self._key, make=False)
        mac = "" if key is None else _mac(key, sealed.folder, sealed.inode, record)
        if not hmac.compare_digest(mac.encode(), sealed.mac.encode()):
            what = "this user did not write this record of an adoption on this machine"
            raise _refused(where, what, f"{todo}; otherwise run it as the user who adopted the project")
        if sealed.folder == self._folder:
            return record
        if os.path.lexists(Path(sealed.folder, where.parent.name, where.name)):
            what = f"this record is of the project in {sealed.folder}, which still has it"
            raise _refused(where, what, f"this is a copy: remove {where.parent} and run this command again")
        if moved_from is None or Path(moved_from) != Path(sealed.folder):
            raise MovedError(where, sealed.folder, is_same_folder=where.parent.stat().st_ino == sealed.inode)
        return record


def _mac(key: bytes, folder: str, inode: int, record: bytes) -> str:
    return hmac.digest(key, b"%b\0%d\0%b" % (folder.encode(), inode, record), "sha256").hex()


def _refused(where: Path, what: str, todo: str) -> ConfigError:
    return ConfigError([LesseeError(what, where=str(where), todo=todo)])
