"""The rows of an audit report; each names its source."""

from enum import StrEnum

from lessee.audit_trail.policy.entries import Entry
from lessee.core.immutable import ImmutableStruct


class Section(StrEnum):
    """The section of the report that a row belongs to."""

    ACTIONS = "actions"
    ACCESS = "access"
    READS = "reads"
    ROTATION = "rotation"
    SEPARATION = "separation"
    EXCEPTIONS = "exceptions"


TITLES = {
    Section.ACTIONS: "Actions",
    Section.ACCESS: "Current access",
    Section.READS: "Secret reads",
    Section.ROTATION: "Secret age and rotation",
    Section.SEPARATION: "Separation of environments",
    Section.EXCEPTIONS: "Exceptions",
}


class Row(ImmutableStruct, frozen=True):
    """A row. `source`: a file and line of the audit trail, a path in Vault, or a key of the configuration."""

    section: Section
    environment: str
    actor: str
    """The user, program, role or rotation target, or empty."""
    item: str
    """The action, path, secret or setting."""
    detail: str
    time: str
    """RFC 3339, or empty."""
    source: str


class LocatedEntry(ImmutableStruct, frozen=True):
    """An entry of the audit trail with its location, `file:line`."""

    where: str
    entry: Entry
