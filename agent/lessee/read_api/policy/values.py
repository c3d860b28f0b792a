"""What the agent has for one app at a moment; the agent's state machine implements it."""

from collections.abc import Collection, Mapping
from typing import Protocol

from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.secrets import Secret


class Published(ImmutableStruct, frozen=True):
    """The generation that readers of the app's directory see."""

    hidden = ("files",)

    number: int
    etag: str
    """It differs from that of every other generation."""
    files: Mapping[str, bytes]


class Issued(ImmutableStruct, frozen=True):
    """A dynamic secret, and the seconds until it ends; None: it has no end."""

    secret: Secret
    seconds_left: float | None


class Values(Protocol):
    """What an app's templates may read, with the newest values that the agent knows."""

    @property
    def published(self) -> Published | None:
        """None: nothing is published, or only an earlier process knows what is in the files."""

    @property
    def mounts(self) -> Collection[str]:
        """The KV mounts of what the templates read."""

    def kv_version(self, mount: str) -> int:
        """1 or 2; 0: not known yet."""

    def reads(self, need: Ref | Folder) -> bool:
        """Whether a template reads it, by itself or with its folder."""

    def secret(self, ref: Ref) -> Secret | None:
        """The newest value that is known; None: not read yet, or it does not exist."""

    def is_missing(self, ref: Ref) -> bool:
        """Whether Vault has said that the secret does not exist."""

    def names(self, folder: Folder) -> Collection[str] | None:
        """The names of the secrets and folders in a folder; None: not read yet."""

    def dynamic(self, path: str) -> DynamicSecret | None:
        """What a template requests at this path without parameters."""

    def issued(self, need: DynamicSecret) -> Issued | None:
        """None: not issued yet, or ended."""
