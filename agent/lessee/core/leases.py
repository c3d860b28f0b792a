"""A lease, as it is held and as the ledger keeps it."""

from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import Dynamic
from lessee.core.secrets import Secret

FOREVER = float("inf")


class Lease(ImmutableStruct, frozen=True):
    """A dynamic secret that was issued, and how long it is good. Times in seconds on the boot clock.

    Without a `lease_id` it is a certificate whose role makes no leases, or a static role.
    """

    hidden = ("secret",)

    id: str
    """Ours, safe as a file's name; of another issue, or another password of a static role, it is another."""
    need: Dynamic
    secret: Secret
    lease_id: str
    token: str
    """The id of the token under which it was issued: it ends with it."""
    issued_at: float
    sent_at: float
    """When its ttl was asked for."""
    ttl: float
    """0: it does not end."""
    renewable: bool
    """False too where the server said that the ttl is capped: its max_ttl is near, and no renewal goes beyond it."""
    static: bool = False
    """A static role: nothing is issued when it is read, and `ttl` is the time to its next rotation."""
    apps: frozenset[str] = frozenset()
    """The apps whose files may hold it."""

    @property
    def ends_at(self) -> float:
        """Counted from the sending of the request, so that it is never later than the server's own end."""
        return self.sent_at + self.ttl if self.ttl else FOREVER
