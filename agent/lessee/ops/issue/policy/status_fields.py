"""The fields of the status of `lessee issue` and their meanings, from which the reference's page is made."""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

Timestamp = str
"""RFC 3339, in UTC."""


class IssuedRoleFields(TypedDict):
    """One role of `issue.roles`, since the service started."""

    issued: int
    """How many secret_ids agents got."""
    last_issued_at: Timestamp | None
    """When an agent got the last one; null if none did."""


class AuditTrailFields(TypedDict):
    """The audit trail of the service."""

    writable: bool
    """Whether actions are recorded."""


class IssuerStatus(TypedDict):
    """The status of `lessee issue`."""

    version: str
    """The version of lessee that runs."""
    format: int
    """The version of this document's format: it grows with a removed or renamed field, and not with a new one."""
    environment: str | None
    """The environment of its configuration; null without one."""
    ready: bool
    """True: it answers."""
    fresh: bool
    """Whether there is no problem."""
    roles: Mapping[str, IssuedRoleFields]
    refused: int
    """Refusals; the same one is counted once a minute."""
    problems: Sequence[str]
    """What is wrong, one line each; empty if nothing is."""
    audit_trail: NotRequired[AuditTrailFields]
