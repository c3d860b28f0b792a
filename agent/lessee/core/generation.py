"""A generation: the files of one app, rendered from one set of secrets."""

import hashlib
from functools import cached_property
from typing import Literal

import msgspec

from lessee.core.immutable import ImmutableStruct

FallbackKind = Literal["env", "last_known_good"]
"""The source of values that Vault did not return: the agent's environment, or the last-known-good snapshot."""


class File(ImmutableStruct, frozen=True):
    """A file to publish in an app's directory. `uid` or `gid` None: the agent's own."""

    hidden = ("content",)

    name: str
    content: bytes
    mode: int
    uid: int | None = None
    gid: int | None = None


class Generation(ImmutableStruct, frozen=True, dict=True):
    """All files of one app."""

    hidden = ("environ",)

    app: str
    files: tuple[File, ...]
    environ: tuple[tuple[str, str], ...] | None = None
    """The variables that `lessee exec` adds to its child's environment, sorted by name; never written to a file."""

    @cached_property
    def fingerprint(self) -> str:
        """A hash that is equal for generations whose readers see no difference."""
        return hashlib.sha256(msgspec.json.encode((self.files, self.environ))).hexdigest()
