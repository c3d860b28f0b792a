"""Why a request to Vault failed, sorted by what the agent does about it."""

from enum import Enum

from lessee.core.immutable import ImmutableStruct


class Kind(Enum):
    """The kind of a failure; the agent decides by it, and never by the text."""

    UNAVAILABLE = "unavailable"
    """The server did not answer or cannot serve any request now: connection refused, timeout, sealed, 5xx."""
    RATE_LIMITED = "rate limited"
    """429: a rate limit quota applies to this path."""
    PATH_ERROR = "path error"
    """This path fails while others work: 500, or no answer."""
    DENIED = "denied"
    """403: the policy does not grant this, or the token is no longer valid. At a login: 400, wrong credentials."""
    FORBIDDEN = "forbidden"
    """403 at a login. It names no credentials: an outage, a proxy, or a lockout may be the cause, and end by itself."""
    PENDING = "pending"
    """A login waits for a person."""
    NOT_FOUND = "not found"
    """404, or the latest version is deleted."""
    UNSUPPORTED = "unsupported"
    """The server does not have this endpoint."""
    INVALID = "invalid"
    """400 and other answers that a retry does not change."""
    ALREADY_UNWRAPPED = "already unwrapped"
    """Another client has already unwrapped this wrapping token: a security event, and never retried."""


class Failure(ImmutableStruct, frozen=True):
    """A failed request, with a text that holds no secret. `retry_after`: seconds, if the server sent it."""

    kind: Kind
    text: str
    retry_after: float | None = None


def denial_help(failure: Failure) -> dict[str, str]:
    """The field of a log event that says what to do about a denied path; empty for other failures."""
    todo = "correct the path, or grant it: `lessee check --policy` prints the policy that is needed"
    return {"todo": todo} if failure.kind is Kind.DENIED else {}
