"""The fields of a rotator's status and their meanings, from which the reference's page is made."""

from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

Timestamp = str
"""RFC 3339, in UTC."""


class RotatorVaultFields(TypedDict):
    """The server of the rotator."""

    reachable: bool
    """Whether the server answers and accepts the login."""
    last_checked_at: Timestamp | None
    """When it answered last."""


class TargetFields(TypedDict):
    """One target of `rotation`, as its journal in Vault and the rotator know it."""

    step: Literal["idle", "creating", "created", "published", "retaining"]
    """`idle`: no rotation is open. `creating`: a new credential is requested. `created`: it is recorded. `published`:
    apps can read it, and the old one is still valid. `retaining`: the old one is disabled, and can be restored."""
    in_progress: bool
    """Whether this rotator works on it at this moment."""
    open_seconds: float | None
    """Seconds since the open rotation started; null without one."""
    last_rotated_at: Timestamp | None
    """When the last new credential was published."""
    next_rotation_at: Timestamp | None
    """When the next rotation is due."""
    entry_due: bool
    """Whether a person must create a new credential and enter it by `lessee rotate NAME --enter`."""
    rotation_period: float | None
    """The configured period, in seconds; null without one."""
    rotation_count: int
    """How many rotations were published."""
    propagation_seconds: float | None
    """How long the last rotation took from its start until all consumers had confirmed."""
    unconfirmed_consumers: Sequence[str]
    """APP/INSTANCE of agents that have not confirmed: of the open rotation, or of the last one at its revocation."""
    consecutive_failures: int
    """Failures since the last success."""
    failing: bool
    """Whether so many failed that the rotator reports a problem."""
    last_failed_at: Timestamp | None
    """When it failed last; null after a success."""
    error: str | None
    """Why it failed, or why its journal cannot be read."""


class AuditTrailFields(TypedDict):
    """The audit trail of the service."""

    writable: bool
    """Whether actions are recorded."""


class RotatorStatus(TypedDict):
    """The status of a rotator (`lessee rotate --watch`)."""

    version: str
    """The version of lessee that runs."""
    format: int
    """The version of this document's format: it grows with a removed or renamed field, and not with a new one."""
    environment: str | None
    """The environment of its configuration; null without one."""
    ready: bool
    """Whether Vault answers and all journals were read."""
    fresh: bool
    """Whether there is no problem."""
    vault: RotatorVaultFields
    targets: Mapping[str, TargetFields]
    problems: Sequence[str]
    """What is wrong, one line each; empty if nothing is."""
    audit_trail: NotRequired[AuditTrailFields]
