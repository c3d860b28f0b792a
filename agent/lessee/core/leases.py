"""A lease, as the agent holds it and as the state store saves it."""

from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import DynamicSecret
from lessee.core.secrets import Secret

FOREVER = float("inf")


class Lease(ImmutableStruct, frozen=True):
    """An issued dynamic secret, and how long it is valid. Times are seconds on the boot clock.

    Without a `lease_id` it is a certificate whose role creates no leases, or the password of a static role.
    """

    hidden = ("secret",)

    id: str
    """The agent's own identifier, safe as a file name. Each issue, and each password of a static role, has another."""
    need: DynamicSecret
    secret: Secret
    lease_id: str
    token: str
    """The id of the token that it was issued to."""
    issued_at: float
    sent_at: float
    """When the request was sent whose answer contains `ttl`."""
    ttl: float
    """0: it does not expire."""
    renewable: bool
    """False too if the server reported a capped ttl: max_ttl is near, and no renewal extends the lease beyond it."""
    static: bool = False
    """A static role: reading it issues nothing, and `ttl` is the time until its next rotation."""
    apps: frozenset[str] = frozenset()
    """The apps whose files may contain it."""

    @property
    def ends_with_token(self) -> bool:
        """Whether the server revokes it with its token. What has no `lease_id` is valid until its own end."""
        return bool(self.lease_id)

    @property
    def ends_at(self) -> float:
        """When the lease expires, counted from when the request was sent: never later than on the server."""
        return self.sent_at + self.ttl if self.ttl else FOREVER
