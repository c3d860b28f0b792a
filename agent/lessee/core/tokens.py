"""A Vault token without its value."""

from lessee.core.immutable import ImmutableStruct

EMERGENCY_KEY = "lessee_emergency"
"""The key in a secret_id's metadata that says when an emergency revoked the login before; only who may create a
secret_id of the role writes it, and Vault returns it with the login."""


class Token(ImmutableStruct, frozen=True):
    """What the agent knows of a token. Times are in seconds on the boot clock; `ttl` 0 means that it never expires."""

    accessor: str
    """Empty for a batch token, which has none."""
    sent_at: float
    """When the request for the `ttl` was sent."""
    ttl: float
    renewable: bool
    """False also if the server capped the ttl."""
    id: str = ""
    """The agent's own name for the token. It distinguishes batch tokens too."""
    ours: bool = True
    """The agent logged in for it, and may therefore revoke it."""

    uses: int = 0
    """How many requests it still allowed at `sent_at`; 0: any number. With the last one it ends, and its leases do."""
    emergency_at: float = 0.0
    """When an emergency revoked the login before, in seconds since 1970; 0: the login does not say."""
    request_id: str = ""
    """The server's id of the request that answered with this, which its audit log has too."""

    @property
    def ends_at(self) -> float:
        """When it expires. Counted from the request, so it is never later than on the server."""
        return self.sent_at + self.ttl if self.ttl else float("inf")
