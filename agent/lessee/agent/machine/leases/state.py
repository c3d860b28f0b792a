"""What the agent knows of its leases, and of the dynamic secrets for which it needs one."""

from typing import Literal

from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.table import TableKind
from lessee.core.failures import Failure
from lessee.core.immutable import ImmutableStruct
from lessee.core.leases import Lease

LeaseStatus = Literal["current", "superseded", "unused"]
"""A lease is superseded once its successor is issued, and unused once no template reads its secret."""


class Issuance(ImmutableStruct, frozen=True):
    """How a dynamic secret that some template reads is issued."""

    refresh_interval: float
    lease: str | None = None
    """The id of its newest lease."""
    quick: int = 0
    """Consecutive leases whose ttl was too short, or reads of a static role that was due."""
    next_at: float = 0.0
    """When to try again after a failure."""
    attempts: int = 0
    since: float = 0.0
    """When the first of these attempts failed."""
    failure: Failure | None = None
    request: int | None = None
    inputs: str | None = ""
    """The digest of its parameters from secrets; None while one of these is not known, or not current."""


class HeldLease(ImmutableStruct, frozen=True):
    """A lease that the agent holds, and what is due for it."""

    lease: Lease
    status: LeaseStatus = "current"
    renew_at: float = NEVER
    replace_at: float = NEVER
    """When to have its successor issued."""
    verified: bool = True
    """False: a previous run stored it, and it was not looked up yet."""
    ended_at: float | None = None
    """When the agent noticed that it had expired, or that Vault does not know it."""
    expiry_handled: bool = False
    """The apps' `on_expiry` was applied."""
    revocation_denied: bool = False
    """Vault denied the revocation: the lease expires by itself."""
    next_at: float = 0.0
    """When to try again after a failure."""
    attempts: int = 0
    since: float = 0.0
    failure: Failure | None = None
    request: int | None = None


def is_replaced(held: HeldLease) -> bool:
    """Whether no app is to use the lease any more, because it has a successor or no app reads it."""
    return held.status != "current"


def has_ended(held: HeldLease) -> bool:
    """Whether the agent has noticed that the lease has ended."""
    return held.ended_at is not None


def not_issued(issuance: Issuance) -> bool:
    """Whether the last attempt to have it issued failed."""
    return issuance.failure is not None


def takes_inputs(issuance: Issuance) -> bool:
    """Whether it has parameters from secrets."""
    return issuance.inputs != ""


ISSUANCES = TableKind[Issuance](predicates=(not_issued, takes_inputs))
LEASES = TableKind[HeldLease](predicates=(is_replaced, has_ended))
