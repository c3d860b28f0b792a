"""A generation: the files of one app, rendered from one set of secrets."""

import hashlib
from typing import Literal

import msgspec

from lessee.core.immutable import ImmutableStruct

FallbackKind = Literal["env", "last_good"]
"""Where the values of a generation come from that Vault did not give: variables of the agent, or what it kept."""


class File(ImmutableStruct, frozen=True):
    """A file as it is to stand in an app's directory. `uid` or `gid` None: the agent's own."""

    hidden = ("content",)

    name: str
    content: bytes
    mode: int
    uid: int | None = None
    gid: int | None = None


class Generation(ImmutableStruct, frozen=True):
    """The files of one app, whole."""

    hidden = ("environ",)

    app: str
    files: tuple[File, ...]
    environ: tuple[tuple[str, str], ...] | None = None
    """What `lessee exec` adds to its child's environment, by name; it is never written down."""

    @property
    def fingerprint(self) -> str:
        """The same for generations that are alike in all that a reader sees."""
        return hashlib.sha256(msgspec.json.encode((self.files, self.environ))).hexdigest()
