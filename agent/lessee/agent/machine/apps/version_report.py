"""What the rotator has been told of an app."""

from collections.abc import Mapping

from msgspec import field

from lessee.core.failures import Failure
from lessee.core.immutable import ImmutableStruct


class Statement(ImmutableStruct, frozen=True):
    """Which versions of rotated secrets the rotator was told that an app works with, and where, by this process."""

    where: str = ""
    said: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] | None = None
    """What Vault would not have said."""
    doubtful: bool = False
    """The server may have forgotten it."""
    next_at: float = 0.0
    tries: int = 0
    since: float = 0.0
    failure: Failure | None = None
    call: int | None = None
