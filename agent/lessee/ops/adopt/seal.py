"""Seals the record of an adoption: a record that this user did not write on this machine is not believed.

A record says which files and logins an undo removes, and the project's folder may be a clone with a record in it that
another person wrote. The key is outside of all projects.
"""

import hmac
import os
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


class Seal:
    """Seals and opens the record of one project."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = os.fsencode(folder.resolve()).decode(errors="backslashreplace")
        self._key = user_state(environ) / "adopt" / "key"

    def seal(self, record: bytes) -> bytes:
        """The text of the file for a record in JSON. Raises WriteError."""
        key = user_key(self._key, make=True)
        assert key is not None
        sealed = _Sealed(self._folder, _mac(key, self._folder, record), msgspec.Raw(record))
        return msgspec.json.format(msgspec.json.encode(sealed)) + b"\n"

    def opened(self, content: bytes, where: Path) -> bytes:
        """The record in JSON. Raises ConfigError where this user did not write it for this folder, and WriteError."""
        todo = f"if it came with a clone or a copy, remove {where.parent} and run this command again"
        try:
            sealed = msgspec.json.decode(content, type=_Sealed)
            record = msgspec.json.format(bytes(sealed.record), indent=-1)
        except msgspec.DecodeError:
            what = "not a record of `lessee adopt`"
            raise _refused(where, what, f"{todo}; otherwise restore it from a backup") from None
        key = user_key(self._key, make=False)
        if key is None or not hmac.compare_digest(_mac(key, sealed.folder, record).encode(), sealed.mac.encode()):
            what = "this user did not write this record of an adoption on this machine"
            raise _refused(where, what, f"{todo}; otherwise run it as the user who adopted the project")
        if sealed.folder != self._folder:
            what = f"this record is of the project in {sealed.folder}"
            raise _refused(where, what, f"{todo}; if you moved the project, undo the adoption in its old place")
        return record


def _mac(key: bytes, folder: str, record: bytes) -> str:
    return hmac.digest(key, folder.encode() + b"\0" + record, "sha256").hex()


def _refused(where: Path, what: str, todo: str) -> ConfigError:
    return ConfigError([LesseeError(what, where=str(where), todo=todo)])
