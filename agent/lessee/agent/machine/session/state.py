"""What the agent knows of its login, its tokens, and outages of Vault."""

from collections.abc import Mapping

from msgspec import field

from lessee.core.failures import Failure
from lessee.core.immutable import ImmutableStruct
from lessee.core.tokens import Token

NEVER = float("inf")
LONG_AGO = float("-inf")


class Outage(ImmutableStruct, frozen=True):
    """Vault is unavailable, or is suspected to be: the next request is one probe at `next_at`."""

    since: float
    attempts: int
    """Probes that failed. 0: the outage is only suspected."""
    next_at: float
    text: str
    last_failure_at: float = LONG_AGO
    is_open: bool = False
    """During a step: the probe is the first request that any path needs, and not one about the token."""
    probe: int | None = None
    """The request of such a probe."""
    only_token: bool = False
    """Only requests about the token had no answer yet: what an app needs is tried as soon as it is due."""

    @property
    def is_confirmed(self) -> bool:
        """Whether a probe failed as well."""
        return self.attempts > 0


class ReplacedToken(ImmutableStruct, frozen=True):
    """A token that is in use no more. The agent revokes it as soon as no lease depends on it."""

    token: Token
    next_at: float = 0.0
    """When to try the revocation again after a failure."""
    attempts: int = 0
    since: float = 0.0
    request: int | None = None
    revocation_denied: bool = False
    """Vault denied the revocation: the token expires by itself."""


class RevokedLogin(ImmutableStruct, frozen=True):
    """The last login that Vault ended before its time, as `lessee emergency` does."""

    valid_at: float | None
    """When its token was valid for certain; None if it ended before this process began."""
    found_at: float | None
    """When the token was rejected; None if it ended before this process began."""
    logged_in_at: float | None = None
    """When the agent had a new login."""
    emergency_at: float = 0.0
    """When an emergency revoked it, in seconds since 1970, if the new login says so; otherwise 0."""


class Session(ImmutableStruct, frozen=True):
    """The login to Vault: the token, when it is renewed or looked up, and the current outage."""

    token: Token | None = None
    fresh_login: bool = False
    """The next login must not reuse the saved token: that one is invalid or about to expire."""
    renew_at: float = NEVER
    login_at: float = 0.0
    credentials_retry_at: float = 0.0
    """Until then, credentials that Vault refused are sent again only if they have changed."""
    attempts: int = 0
    since: float = 0.0
    last_login_at: float = LONG_AGO
    quick_logins: int = 0
    """Consecutive logins, each soon after the one before."""
    next_login_at: float = LONG_AGO
    """The earliest time of the next login, if logins follow each other quickly."""
    lookup_at: float = NEVER
    """When to look the token up because a request was denied."""
    last_lookup_at: float = LONG_AGO
    idle_lookup_at: float = NEVER
    """When to look the token up if no other request succeeds until then, which would show that it is valid."""
    lease_refresh_interval: float = NEVER
    """The shortest `refresh_interval` of the apps with leases: these expire with the token."""
    lookup_interval: float = 10.0
    """The minimum number of seconds between two look-ups. It grows while they change nothing."""
    invalid_lookups: int = 0
    """Consecutive look-ups that found a token invalid."""
    uses_left: int | None = None
    """Requests that the agent may still send with the token, if Vault limits them (`token_num_uses`)."""
    failure: Failure | None = None
    """Why the last login failed."""
    unanswered: frozenset[str] = frozenset()
    """The types of requests about the token whose last one had no answer: each of their paths may be broken alone."""
    outage: Outage | None = None
    last_outage: Outage | None = None
    """The outage before. It continues if Vault is unavailable again within seconds."""
    outage_ended_at: float = LONG_AGO
    last_response_at: float | None = None
    path_errors: int = 0
    """Consecutive path errors, without a successful request between them."""
    replaced_tokens: Mapping[str, ReplacedToken] = field(default_factory=dict)
    """By the token's id."""
    revoked: RevokedLogin | None = None
