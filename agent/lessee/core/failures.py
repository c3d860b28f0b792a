"""What can go wrong with a request to Vault, by what the policy does about it."""

from enum import Enum

from lessee.core.immutable import Record


class Kind(Enum):
    """Why a request failed."""

    UNAVAILABLE = "unavailable"
    """Nobody answered, or the server cannot serve anyone now: refused, hanging, sealed, 5xx."""
    LIMITED = "limited"
    """429: this path is asked too often."""
    PATH_ERROR = "path error"
    """This path is not served, while others are: 500, or no answer."""
    DENIED = "denied"
    """403: the policy does not grant this, or the token is no longer valid."""
    MISSING = "missing"
    """404, or the newest version is deleted."""
    UNSUPPORTED = "unsupported"
    """The server has no such endpoint."""
    INVALID = "invalid"
    """400 and other answers that asking again will not mend."""
    SPENT = "spent"
    """A wrapping token that someone has used before: a security event, never asked again."""


class Failure(Record, frozen=True):
    """A failed request, told in words that hold no value. `retry_after` in seconds, where the server said it."""

    kind: Kind
    text: str
    retry_after: float | None = None
