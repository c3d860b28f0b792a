"""What is counted since the start."""

from lessee.core.immutable import ImmutableStruct


class Totals(ImmutableStruct, frozen=True):
    """Counters since the start."""

    requests: int = 0
    failures: int = 0
    logins: int = 0
    renders: int = 0
    publishes: int = 0
    notifications: int = 0
    confirmations: int = 0
    rollbacks: int = 0
    issued: int = 0
    lease_renewals: int = 0
    revoked: int = 0
